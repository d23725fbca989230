//! Fuzzes [`fuzz_tests::configuration`].

#![cfg_attr(fuzzing, no_main)]

fuzz_tests::program!(configuration);
