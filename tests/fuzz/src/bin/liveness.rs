//! Fuzzes [`fuzz_tests::liveness`].

#![cfg_attr(feature = "engine", no_main)]

fuzz_tests::program!(liveness);
