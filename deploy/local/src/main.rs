//! The `local-cluster` command: a whole Turnfleet on this machine.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use local_cluster::options::Options;
use local_cluster::{children, run};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if arguments
        .get(1)
        .is_some_and(|first| first == children::UNDER)
    {
        eprintln!("cannot start: {}", children::run_under(&arguments[2..]));
        return ExitCode::FAILURE;
    }
    run::main(&Options::parse())
}
