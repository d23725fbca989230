//! The command line: what can be asked of `dnsd`, and what it prints.

mod key;
mod talk;

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use settings::Errors;
use talk::{ask, decided, revoked, taken};

use crate::clock;
use crate::config::{Config, DEFAULT_PATH};
use crate::daemon;
use crate::history::text::history;
use crate::orders::{self, Decide, Forced, Lift};
use crate::readable;
use crate::revoking::{self, Reinstatement, Revocation};

/// Something at run time.
const FAILURE: u8 = 1;
/// A wrong configuration (`EX_CONFIG` of sysexits.h).
const CONFIGURATION: u8 = 78;

/// What `dnsd --help` says of them.
const EXIT_CODES: &str = "Exit codes: 0 success; 1 failure, as where no daemon runs or it refuses; \
                          2 wrong usage; 78 wrong configuration";

/// Health-steered authoritative DNS: answers only with TURN relays that work.
#[derive(Debug, Parser)]
#[command(name = "dnsd", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve DNS until SIGTERM; SIGHUP reloads the configuration
    Run {
        #[command(flatten)]
        file: File,
        /// Take the place of the daemon that runs with the same control socket, if one does: it goes on
        /// until this one serves, and no query is lost
        #[arg(long)]
        take_over: bool,
    },
    /// Judge a configuration file and change nothing
    Check {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        output: Output,
    },
    /// Show what a new configuration would take out of the running daemon's answers, and whether a
    /// reload would be refused for it (exit code 1)
    Diff {
        /// The new configuration file
        new: PathBuf,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
    /// Have the running daemon read its configuration again, as SIGHUP does, and say what became of
    /// it (exit code 1 if it was refused)
    Reload {
        /// Take it over however much goes from the answers
        #[arg(long)]
        yes_i_mean_it: bool,
        #[command(flatten)]
        daemon: Daemon,
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
    /// Take a relay, or all of a zone, region or vendor, out of the answers, and have them drain
    Drain {
        #[command(flatten)]
        decide: Decide,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
    /// Lift what was decided about a relay, or all of a zone, region or vendor
    Undrain {
        #[command(flatten)]
        lift: Lift,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
    /// Have a relay, or all of a zone, region or vendor, count as up or down whatever the evidence
    Force {
        /// As what
        forced: Forced,
        #[command(flatten)]
        decide: Decide,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
    /// Show what people have decided, here and at the other nameservers, and what before
    Overrides {
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
    /// Show what changed since the running daemon started, oldest first: verdicts, paths, answers,
    /// loads, decisions, configurations, other nameservers
    History {
        /// Only the last DURATION, as in 1h: a whole number with s, m, h or d
        #[arg(long = "for", value_name = "DURATION", value_parser = orders::seconds)]
        lasting: Option<u64>,
        /// Only what concerns this relay
        #[arg(long, value_name = "RELAY")]
        relay: Option<String>,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
    /// Have the credentials of a user, or of all users of a tenant, no longer count at any relay:
    /// running sessions end
    Revoke {
        #[command(flatten)]
        revoke: Revocation,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
    /// Lift the revocation of a user or tenant
    Reinstate {
        #[command(flatten)]
        reinstate: Reinstatement,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
    /// Show who is revoked, and which relays do not apply that yet
    Revocations {
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
    /// Make, show and roll the keys that zones are signed with
    Key {
        #[command(subcommand)]
        command: key::Command,
    },
    /// Show what the running daemon would answer, how it comes to that, and why each relay that is
    /// not in the answer is not
    Answer {
        /// The name to ask for
        name: String,
        /// The record type to ask for
        #[arg(long = "type", value_name = "TYPE", default_value = "A")]
        kind: String,
        /// Who asks: a resolver's address, or a client's network as EDNS Client Subnet tells it
        #[arg(long, value_name = "ADDRESS|NETWORK")]
        from: Option<String>,
        /// The only relay of which to tell why it is not answered
        #[arg(long, value_name = "RELAY")]
        relay: Option<String>,
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
        Command::Run { file, take_over } => run(&file.config, take_over),
        Command::Check { file, output } => check(&file.config, output.json),
        Command::Diff {
            new,
            daemon,
            output,
        } => diff(&new, &daemon, output.json),
        Command::Reload {
            yes_i_mean_it,
            daemon,
            output,
        } => {
            let path = format!("/v1/reload?confirm={yes_i_mean_it}");
            taken(
                &daemon,
                &path,
                String::new(),
                output.json,
                readable::reloaded,
            )
        }
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
        Command::Drain {
            decide,
            daemon,
            output,
        } => decided(&daemon, decide.drain(), output.json),
        Command::Undrain {
            lift,
            daemon,
            output,
        } => decided(&daemon, lift.lift(), output.json),
        Command::Force {
            forced,
            decide,
            daemon,
            output,
        } => decided(&daemon, decide.force(forced), output.json),
        Command::Overrides { daemon, output } => {
            ask(&daemon, orders::PATH, output.json, orders::decisions)
        }
        Command::History {
            lasting,
            relay,
            daemon,
            output,
        } => {
            let seconds = lasting.map(|seconds| format!("seconds={seconds}"));
            let relay = relay.map(|relay| format!("relay={}", escaped(&relay)));
            let asked: Vec<_> = seconds.into_iter().chain(relay).collect();
            let path = format!("/v1/history?{}", asked.join("&"));
            ask(&daemon, &path, output.json, history)
        }
        Command::Revoke {
            revoke,
            daemon,
            output,
        } => revoked(&daemon, revoke.request(), output.json),
        Command::Reinstate {
            reinstate,
            daemon,
            output,
        } => revoked(&daemon, reinstate.request(), output.json),
        Command::Revocations { daemon, output } => {
            ask(&daemon, revoking::PATH, output.json, revoking::list)
        }
        Command::Key { command } => key::run(&command),
        Command::Answer {
            name,
            kind,
            from,
            relay,
            daemon,
            output,
        } => {
            let mut path = format!("/v1/answer?name={}&type={}", escaped(&name), escaped(&kind));
            for (key, value) in [("from", from), ("relay", relay)] {
                if let Some(value) = value {
                    let _ = write!(path, "&{key}={}", escaped(&value));
                }
            }
            ask(&daemon, &path, output.json, readable::answer)
        }
    }
}

fn run(path: &Path, take_over: bool) -> ExitCode {
    match daemon::run(path, take_over) {
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
            let geoip = config.geoip.map(|geoip| geoip.view(clock::unix().0));
            print(&if json {
                json!({
                    "ok": true,
                    "zone": zone.to_string(),
                    "relays": relays,
                    "regions": regions,
                    "geoip": geoip,
                })
                .to_string()
            } else {
                let geoip = geoip.map(|geoip| readable::geoip(&geoip) + "\n");
                format!(
                    "{}{}: zone {zone}, {relays} relays, {regions} regions: fine",
                    geoip.unwrap_or_default(),
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

/// Compares a file with what runs. What is wrong with the file itself is told as `check` tells it.
fn diff(new: &Path, daemon: &Daemon, json: bool) -> ExitCode {
    let (path, text) = match std::path::absolute(new).and_then(|path| {
        let text = std::fs::read_to_string(&path)?;
        Ok((path, text))
    }) {
        Ok(read) => read,
        Err(error) => return fail(&format!("{}: {error}", new.display())),
    };
    let name = path.to_string_lossy();
    if let Err(errors) = Config::parse(&settings::File::new(&*name, &*text)) {
        return wrong(&errors);
    }
    let path = format!("/v1/diff?name={}", escaped(&name));
    taken(daemon, &path, text, json, readable::compared)
}

fn show(value: &Value, json: bool, readable: fn(&Value) -> String) -> ExitCode {
    if json {
        print(&format!("{value:#}"))
    } else {
        print(readable(value).trim_end())
    }
}

/// A closed pipe is no reason to panic.
fn print(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILURE),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
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
