//! Fuzzes [`fuzz_tests::zone_file`].

#![cfg_attr(feature = "engine", no_main)]

fuzz_tests::program!(zone_file);
