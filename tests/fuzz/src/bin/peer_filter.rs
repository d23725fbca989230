//! Fuzzes [`fuzz_tests::peer_filter`].

#![cfg_attr(feature = "engine", no_main)]

fuzz_tests::program!(peer_filter);
