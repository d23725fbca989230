//! What RFC 8656 (TURN) asks of a server, section by section, of our relay and of coturn.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod capacity;
mod dont_fragment;
mod dual_allocation;
mod ports;
mod section_10;
mod section_11;
mod section_11_5;
mod section_12;
mod section_13;
mod section_5;
mod section_7_2;
mod section_8;
mod section_9;
mod streams;

use std::process::ExitCode;

use cluster_tests::rules;
use cluster_tests::subject::Setup;

fn main() -> ExitCode {
    rules::run(
        "RFC 8656",
        &Setup::default(),
        &[
            ("section_5", section_5::RULES),
            ("section_7_2", section_7_2::RULES),
            ("dual_allocation", dual_allocation::RULES),
            ("ports", ports::RULES),
            ("dont_fragment", dont_fragment::RULES),
            ("capacity", capacity::RULES),
            ("section_8", section_8::RULES),
            ("section_9", section_9::RULES),
            ("section_10", section_10::RULES),
            ("section_11", section_11::RULES),
            ("section_11_5", section_11_5::RULES),
            ("section_12", section_12::RULES),
            ("section_13", section_13::RULES),
            ("streams", streams::RULES),
        ],
    )
}
