//! Entry point of the `turnd` program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    turnd::cli::main(turnd::cli::Cli::parse())
}
