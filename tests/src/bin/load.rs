//! `load`: traffic through a TURN server on this machine, and what it cost.
#![forbid(unsafe_code)]

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Parser;
use cluster_tests::load::{self, Pace, Plan, Via, session::Login};

/// Sends traffic both ways through a TURN server on this machine and says what it cost.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server's UDP address, on loopback.
    server: SocketAddr,
    /// The shared secret of time-limited credentials.
    #[arg(long, required_unless_present = "username")]
    secret: Option<String>,
    /// A configured user, instead of a shared secret.
    #[arg(long, requires = "password", conflicts_with = "secret")]
    username: Option<String>,
    /// That user's password.
    #[arg(long)]
    password: Option<String>,
    /// Number of clients, each with an allocation and a peer.
    #[arg(long, default_value_t = 32)]
    allocations: usize,
    /// Payload in bytes.
    #[arg(long, default_value_t = 160)]
    payload: usize,
    /// How clients wrap their payloads.
    #[arg(long, value_enum, default_value = "channel")]
    via: Via,
    /// Packets of each allocation that are always on their way.
    #[arg(long, default_value_t = 4, conflicts_with = "rate")]
    window: u32,
    /// Packets per second over all allocations, instead of a window; each is sent back.
    #[arg(long)]
    rate: Option<u32>,
    /// Seconds of traffic before the measurement.
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seconds of the measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The server's process id, to see its CPU time and memory.
    #[arg(long)]
    server_pid: Option<u32>,
    /// Where the peers listen; loopback of the server's family unless told.
    #[arg(long)]
    peer: Option<IpAddr>,
    /// Fail when more than this share of the packets is lost, in percent.
    #[arg(long, default_value_t = 100.0)]
    max_loss: f64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn plan(&self) -> Result<Plan, String> {
        let seconds = |name: &str, value: f64| {
            Duration::try_from_secs_f64(value).map_err(|error| format!("--{name}: {error}"))
        };
        let login = match (&self.secret, &self.username, &self.password) {
            (None, Some(username), Some(password)) => Login::Password {
                username: username.clone(),
                password: password.clone(),
            },
            (secret, ..) => {
                let now = SystemTime::UNIX_EPOCH
                    .elapsed()
                    .unwrap_or_default()
                    .as_secs();
                let secret = secret.clone().unwrap_or_default();
                Login::Secret {
                    secret,
                    expires: now + 3600,
                }
            }
        };
        let peer_ip = self.peer.unwrap_or_else(|| match self.server {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
        Ok(Plan {
            server: self.server,
            peer_ip,
            login,
            allocations: self.allocations,
            payload: self.payload,
            via: self.via,
            pace: self.rate.map_or(Pace::Window(self.window), Pace::Rate),
            warmup: seconds("warmup", self.warmup)?,
            time: seconds("seconds", self.seconds)?,
            server_pid: self.server_pid,
        })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = arguments
        .plan()
        .and_then(|plan| load::run(&plan).map_err(|error| error.to_string()));
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!("load: {error}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.json {
        println!("{}", serde_json::json!(outcome));
    } else {
        println!("{outcome}");
    }
    if outcome.down.received == 0 {
        eprintln!("load: nothing came back");
        return ExitCode::FAILURE;
    }
    if outcome.loss_percent > arguments.max_loss {
        eprintln!("load: more than {} % were lost", arguments.max_loss);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
