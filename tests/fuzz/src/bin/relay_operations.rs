//! Fuzzes [`fuzz_tests::relay_operations`].

#![cfg_attr(feature = "engine", no_main)]

fuzz_tests::program!(relay_operations);
