//! Fuzzes [`fuzz_tests::tsig_message`].

#![cfg_attr(feature = "engine", no_main)]

fuzz_tests::program!(tsig_message);
