//! `dns_labels`: labels as the fleet seals them, for benchmarks.

use std::io::{self, BufWriter, Write as _};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;
use credentials::label::{Label, LabelKeys, Lane};
use credentials::{Secret, SecretRing, UnixTime};

/// Seconds from now on in which they hold.
const LIFE: u64 = 24 * 3600;

/// Prints questions, a name and a type on each line, whose labels are all genuine and none twice.
#[derive(Debug, Parser)]
struct Options {
    /// The fleet's shared secret.
    secret: String,
    /// The zone.
    zone: String,
    /// How many.
    #[arg(default_value_t = 100_000)]
    count: u32,
}

fn main() -> ExitCode {
    let Err(error) = run(Options::parse()) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let secret = Secret::new(options.secret.into_bytes())?;
    let keys = LabelKeys::derive(&SecretRing::new(secret, Vec::new())?);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let mut out = BufWriter::new(io::stdout().lock());
    for draw in 0..options.count {
        let label = Label {
            draw,
            region: None,
            avoid: [None; 2],
            tenant: None,
            transport: None,
            expires: UnixTime(now.as_secs() + LIFE),
        };
        let (lane, name) = [(Lane::A, 'a'), (Lane::B, 'b')][draw as usize % 2];
        let label = keys.seal(&label, lane);
        writeln!(out, "{label}.{name}.{} A", options.zone)?;
    }
    Ok(out.flush()?)
}
