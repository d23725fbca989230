//! Fuzzes [`fuzz_tests::channel_data`].

#![cfg_attr(feature = "engine", no_main)]

fuzz_tests::program!(channel_data);
