//! Fuzzes [`fuzz_tests::stream_framing`].

#![cfg_attr(fuzzing, no_main)]

fuzz_tests::program!(stream_framing);
