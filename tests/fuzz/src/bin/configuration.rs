//! Fuzzes [`fuzz_tests::configuration`].

#![cfg_attr(feature = "engine", no_main)]

fuzz_tests::program!(configuration);
