//! What RFC 8489 (STUN) asks of a server, section by section, of our relay and of coturn.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod section_10;
mod section_14;
mod section_5;
mod section_6_3;
mod section_9_2;
mod section_9_2_1;

use std::process::ExitCode;

use cluster_tests::rules;
use cluster_tests::subject::Setup;

fn main() -> ExitCode {
    rules::run(
        "RFC 8489",
        &Setup::default(),
        &[
            ("section_5", section_5::RULES),
            ("section_6_3", section_6_3::RULES),
            ("section_9_2", section_9_2::RULES),
            ("section_9_2_1", section_9_2_1::RULES),
            ("section_10", section_10::RULES),
            ("section_14", section_14::RULES),
        ],
    )
}
