//! The command line: what can be asked of the program, and the exit codes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// A failure while running.
pub const EXIT_FAILURE: u8 = 1;
/// A configuration that is wrong (`EX_CONFIG` of sysexits.h); wrong usage is 2, by clap.
pub const EXIT_CONFIGURATION: u8 = 78;

/// TURN relay of a Turnfleet cluster.
///
/// Relays media for clients that cannot reach each other (RFC 8656), issues the credentials for it
/// over REST, and reports to the cluster's nameservers how it is.
#[derive(Debug, Parser)]
#[command(name = "turnd", version, propagate_version = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Signals of a running turnd:
  SIGTERM, SIGINT  drain: take no new sessions, leave when the last one has ended
                   or after relay.drain_grace; the second one ends it at once
  SIGHUP           read the configuration again, like `turnd reload`

Exit codes:
  0   done
  1   failed while running
  2   wrong usage
  78  wrong configuration, or one that the running relay refused";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the relay in the foreground
    Run(Run),
    /// Check a configuration file and say everything that is wrong with it
    Check(Check),
    /// Tell the running relay to read its configuration again, and say what has changed
    Reload(Ask),
    /// Say how the running relay is
    Status(Ask),
    /// Mint a credential from the configured secret
    Credential(Credential),
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// Configuration file
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "/etc/turnfleet/turnd.toml"
    )]
    pub config: PathBuf,
}

/// `turnd run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Where the configuration is.
    #[command(flatten)]
    pub file: ConfigFile,
}

/// `turnd check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Where the configuration is.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `turnd reload`, `turnd status`.
#[derive(Debug, Args)]
pub struct Ask {
    /// Where the configuration is, which names the relay's admin socket.
    #[command(flatten)]
    pub file: ConfigFile,
    /// The relay's admin socket, instead of the one its configuration names
    #[arg(long, value_name = "SOCKET")]
    pub socket: Option<PathBuf>,
    /// Print the answer as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `turnd credential`.
#[derive(Debug, Args)]
pub struct Credential {
    /// Where the configuration is.
    #[command(flatten)]
    pub file: ConfigFile,
    /// User id to put into the username
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// How long the credential is valid: a whole number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub ttl: Duration,
    /// Print the iceServers list only, as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Reads a duration as the configuration file writes it, without the quotes.
fn duration(text: &str) -> Result<Duration, String> {
    use settings::{Scalar, Value};
    let read = Duration::read(Scalar::String(text));
    read.map_err(|wrong| {
        wrong
            .reason
            .unwrap_or_else(|| "expected a whole number with s, m, h or d".to_owned())
    })
}

/// Runs what was asked for.
pub fn main(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Run(run) => crate::control::run(&run.file.config),
        Command::Check(check) => crate::commands::check(&check.file.config, check.json),
        Command::Reload(ask) => crate::commands::reload(&ask),
        Command::Status(ask) => crate::commands::status(&ask),
        Command::Credential(credential) => crate::commands::credential(&credential),
    }
}
