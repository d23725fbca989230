//! Fuzzes [`fuzz_tests::stun_message`].

#![cfg_attr(feature = "engine", no_main)]

fuzz_tests::program!(stun_message);
