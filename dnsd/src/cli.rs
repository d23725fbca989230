//! The command line: what can be asked of `dnsd`, and what it prints.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use settings::Errors;

use crate::api::client;
use crate::config::{Config, DEFAULT_PATH};
use crate::daemon;
use crate::readable;

/// Something at run time.
const FAILURE: u8 = 1;
/// A wrong configuration (`EX_CONFIG` of sysexits.h).
const CONFIGURATION: u8 = 78;

/// Health-steered authoritative DNS: answers only with TURN relays that work.
#[derive(Debug, Parser)]
#[command(name = "dnsd", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve DNS until SIGTERM; SIGHUP reloads the configuration
    Run(File),
    /// Judge a configuration file and change nothing
    Check {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        output: Output,
    },
    /// Show every relay with the running daemon's verdict
    Status {
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
    /// Show everything the running daemon knows about one relay, and why it judges as it does
    Explain {
        /// The relay's id
        relay: String,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
    /// Show what the running daemon would answer, and how it comes to that
    Answer {
        /// The name to ask for
        name: String,
        /// The record type to ask for
        #[arg(long = "type", value_name = "TYPE", default_value = "A")]
        kind: String,
        /// Who asks: a resolver's address, or a client's network as EDNS Client Subnet tells it
        #[arg(long, value_name = "ADDRESS|NETWORK")]
        from: Option<String>,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
struct File {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct Daemon {
    /// The daemon's control socket, instead of the one its configuration names
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    #[command(flatten)]
    file: File,
}

#[derive(Debug, Args)]
struct Output {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the program. Exit codes: 0 for success, 1 for a failure, 2 for wrong usage, 78 for a wrong
/// configuration.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(file) => run(&file.config),
        Command::Check { file, output } => check(&file.config, output.json),
        Command::Status { daemon, output } => {
            ask(&daemon, "/v1/relays", output.json, readable::status)
        }
        Command::Explain {
            relay,
            daemon,
            output,
        } => {
            let path = format!("/v1/relays/{}", escaped(&relay));
            ask(&daemon, &path, output.json, readable::explanation)
        }
        Command::Answer {
            name,
            kind,
            from,
            daemon,
            output,
        } => {
            let mut path = format!("/v1/answer?name={}&type={}", escaped(&name), escaped(&kind));
            if let Some(from) = from {
                let _ = write!(path, "&from={}", escaped(&from));
            }
            ask(&daemon, &path, output.json, readable::answer)
        }
    }
}

fn run(path: &Path) -> ExitCode {
    match daemon::run(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(daemon::Error::Config(errors)) => wrong(&errors),
        Err(error) => fail(&error),
    }
}

fn check(path: &Path, json: bool) -> ExitCode {
    match Config::read(path) {
        Ok(config) => {
            let inventory = &config.inventory;
            let (relays, regions) = (inventory.relays().len(), inventory.regions().len());
            let zone = &inventory.zone().name;
            print(&if json {
                json!({
                    "ok": true,
                    "zone": zone.to_string(),
                    "relays": relays,
                    "regions": regions,
                })
                .to_string()
            } else {
                format!(
                    "{}: zone {zone}, {relays} relays, {regions} regions: fine",
                    path.display()
                )
            })
        }
        Err(errors) if json => {
            print(
                &json!({ "ok": false, "problems": readable::problems(path, &errors) }).to_string(),
            );
            ExitCode::from(CONFIGURATION)
        }
        Err(errors) => wrong(&errors),
    }
}

/// Asks the running daemon and prints its answer: as it came, or made readable.
fn ask(daemon: &Daemon, path: &str, json: bool, readable: fn(&Value) -> String) -> ExitCode {
    let socket = match &daemon.control {
        Some(socket) => socket.clone(),
        None => match Config::read(&daemon.file.config) {
            Ok(config) => config.node.control,
            Err(errors) => return wrong(&errors),
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let answer = match runtime {
        Ok(runtime) => runtime.block_on(client::get(&socket, path)),
        Err(error) => return fail(&error),
    };
    let value = answer.map(|body| serde_json::from_slice::<Value>(&body));
    match value {
        Ok(Ok(value)) if json => print(&format!("{value:#}")),
        Ok(Ok(value)) => print(readable(&value).trim_end()),
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}

/// A closed pipe is no reason to panic.
fn print(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILURE),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "dnsd: {error}");
    ExitCode::from(FAILURE)
}

fn wrong(errors: &Errors) -> ExitCode {
    let mut stderr = std::io::stderr();
    let text = errors.render(stderr.is_terminal());
    let _ = writeln!(stderr, "{}", text.trim_end());
    ExitCode::from(CONFIGURATION)
}

/// Percent-encodes all but unreserved characters (RFC 3986 section 2.3).
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_asked_arrives_as_it_was_meant() {
        assert_eq!(escaped("a b/c?d&e=f"), "a%20b%2Fc%3Fd%26e%3Df");
        assert_eq!(escaped("2001:db8::/32"), "2001%3Adb8%3A%3A%2F32");
        assert_eq!(escaped("ns1.turn-x_~"), "ns1.turn-x_~");
    }
}
