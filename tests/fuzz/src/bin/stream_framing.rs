//! Fuzzes [`fuzz_tests::stream_framing`].

#![cfg_attr(feature = "engine", no_main)]

fuzz_tests::program!(stream_framing);
