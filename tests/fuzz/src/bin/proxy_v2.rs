//! Fuzzes [`fuzz_tests::proxy_v2`].

#![cfg_attr(feature = "engine", no_main)]

fuzz_tests::program!(proxy_v2);
