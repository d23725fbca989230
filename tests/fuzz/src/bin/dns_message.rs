//! Fuzzes [`fuzz_tests::dns_message`].

#![cfg_attr(feature = "engine", no_main)]

fuzz_tests::program!(dns_message);
