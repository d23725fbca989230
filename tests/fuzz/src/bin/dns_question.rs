//! Fuzzes [`fuzz_tests::dns_question`].

#![cfg_attr(feature = "engine", no_main)]

fuzz_tests::program!(dns_question);
