//! Gives the files named on the command line to a target, one after the other.

use std::process::ExitCode;

use crate::Target;

/// Ends with the target's panic, or with failure if a file cannot be read.
pub fn replay(target: Target) -> ExitCode {
    for path in std::env::args_os().skip(1) {
        match std::fs::read(&path) {
            Ok(input) => target(&input),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
