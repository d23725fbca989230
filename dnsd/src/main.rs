//! `dnsd`: see `dnsd --help`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    dnsd::cli::main()
}
