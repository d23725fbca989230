//! Fuzzes [`fuzz_tests::dtls_hello`].

#![cfg_attr(feature = "engine", no_main)]

fuzz_tests::program!(dtls_hello);
