//! Entry point of the `dnsd` program.
#![forbid(unsafe_code)]

use std::panic;
use std::process::{self, ExitCode};

fn main() -> ExitCode {
    // In every build profile a thread that panics ends the process: half alive is worse than dead.
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        report(panicked);
        process::abort();
    }));
    dnsd::cli::main()
}
