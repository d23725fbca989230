//! `load`: traffic through a TURN server on this machine, and what it cost.
#![forbid(unsafe_code)]

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Parser;
use cluster_tests::load::{
    self,
    login::Login,
    plan::{Pace, Plan, Transport, Via},
};

/// Sends traffic both ways through a TURN server on this machine and says what it cost.
#[derive(Debug, Parser)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "flags of a command line are what they are"
)]
struct Arguments {
    /// The server's address, on loopback.
    server: SocketAddr,
    /// What clients speak; a TLS server may show any certificate. Peers speak UDP.
    #[arg(long, value_enum, default_value = "udp")]
    transport: Transport,
    /// The shared secret of time-limited credentials.
    #[arg(long, required_unless_present_any = ["username", "raw"])]
    secret: Option<String>,
    /// A configured user, instead of a shared secret.
    #[arg(long, requires = "password", conflicts_with = "secret")]
    username: Option<String>,
    /// That user's password.
    #[arg(long, requires = "username")]
    password: Option<String>,
    /// The server is a bare forwarder: FORWARD and CLOSE instead of TURN, and no credentials.
    #[arg(long, conflicts_with_all = ["secret", "username"])]
    raw: bool,
    /// Number of clients, each with an allocation and a peer.
    #[arg(long, default_value_t = 32)]
    allocations: usize,
    /// How many clients ask for their allocation at once.
    #[arg(long, default_value_t = 64)]
    opening: usize,
    /// Spread clients over this many addresses of 127.224.0.0/11; 0 for 127.0.0.1 alone.
    #[arg(long, default_value_t = 0)]
    sources: usize,
    /// Allocations whose peers share a socket; 1, or 16 beyond 4000 allocations, unless told.
    #[arg(long)]
    flows_per_peer: Option<usize>,
    /// Payload in bytes.
    #[arg(long, default_value_t = 160)]
    payload: usize,
    /// How clients wrap their payloads.
    #[arg(long, value_enum, default_value = "channel")]
    via: Via,
    /// Packets of each allocation that are always on their way [default: 4].
    #[arg(long, group = "pace")]
    window: Option<u32>,
    /// Packets of all allocations together that are always on their way; allocations take turns.
    #[arg(long, group = "pace")]
    in_flight: Option<u32>,
    /// Packets per second over all allocations, evenly spread; each is sent back.
    #[arg(long, group = "pace")]
    rate: Option<u32>,
    /// Packets that each allocation sends at once, in trains; each train is sent back whole.
    #[arg(long, group = "pace", requires = "every_ms")]
    burst: Option<u32>,
    /// Milliseconds from one train of an allocation to the next.
    #[arg(long, requires = "burst")]
    every_ms: Option<u32>,
    /// What is sent at once leaves in one piece (UDP GSO), a window whole, by clients and peers.
    #[arg(long)]
    coalesce: bool,
    /// Receive each datagram by itself, not those that come in one piece as one (UDP GRO).
    #[arg(long)]
    no_gro: bool,
    /// Never sleep: the server does not have to wake this program then, as it wakes nobody on a network.
    #[arg(long)]
    spin: bool,
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
        let usual = Plan::new(self.server, self.login());
        Ok(Plan {
            peer_ip: self.peer.unwrap_or(usual.peer_ip),
            transport: self.transport,
            allocations: self.allocations,
            opening: self.opening,
            sources: self.sources,
            flows_per_peer: self.flows_per_peer,
            payload: self.payload,
            via: self.via,
            pace: self.pace().unwrap_or(usual.pace),
            coalesce: self.coalesce,
            gro: !self.no_gro,
            spin: self.spin,
            warmup: seconds("warmup", self.warmup)?,
            time: seconds("seconds", self.seconds)?,
            server_pid: self.server_pid,
            ..usual
        })
    }

    fn login(&self) -> Option<Login> {
        match (&self.secret, &self.username, &self.password) {
            (None, Some(username), Some(password)) => Some(Login::Password {
                username: username.clone(),
                password: password.clone(),
            }),
            (Some(secret), ..) => {
                let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
                Some(Login::Secret {
                    secret: secret.clone(),
                    expires: now.as_secs() + 3600,
                })
            }
            _ => None,
        }
    }

    fn pace(&self) -> Option<Pace> {
        let trains = self.burst.zip(self.every_ms);
        let trains = trains.map(|(packets, every_ms)| Pace::Burst { packets, every_ms });
        let rate = self.rate.map(Pace::Rate);
        let turns = self.in_flight.map(Pace::InFlight);
        self.window.map(Pace::Window).or(turns).or(rate).or(trains)
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
