//! What RFC 8489 and RFC 8656 demand of a server, scenario by scenario.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod codec;
mod model;
mod step;
mod world;

mod algorithms;
mod allocate;
mod authentication;
mod binding;
mod capacity;
mod caps;
mod challenges;
mod channels;
mod data;
mod drain;
mod dual;
mod icmp;
mod idempotency;
mod mobility;
mod nat;
mod permissions;
mod probes;
mod reconfigure;
mod refresh;
mod reservations;
mod revocations;
mod robustness;
mod tcp;
