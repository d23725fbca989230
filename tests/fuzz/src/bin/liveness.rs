//! Fuzzes [`fuzz_tests::liveness`].

#![cfg_attr(fuzzing, no_main)]

fuzz_tests::program!(liveness);
