//! Fuzzes [`fuzz_tests::peer_filter`].

#![cfg_attr(fuzzing, no_main)]

fuzz_tests::program!(peer_filter);
