//! Clients that are not of our making, each through our relay and through coturn.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod aioice;
mod uclient;
mod webrtc_rs;
mod ystreet;

use std::process::ExitCode;

use cluster_tests::rules;
use cluster_tests::subject::Setup;

fn main() -> ExitCode {
    rules::run(
        "Interop",
        &Setup {
            tcp_allocations: true,
            mobility: true,
            ..Setup::default()
        },
        &[
            ("aioice", aioice::RULES),
            ("uclient", uclient::RULES),
            ("webrtc_rs", webrtc_rs::RULES),
            ("ystreet", ystreet::RULES),
        ],
    )
}
