//! Fuzzes [`fuzz_tests::channel_data`].

#![cfg_attr(fuzzing, no_main)]

fuzz_tests::program!(channel_data);
