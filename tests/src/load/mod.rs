//! Load for any TURN server on loopback: many clients, each with an allocation and a peer.
//!
//! What a server costs is told as CPU time per relayed packet, which holds whether or not the
//! generator could saturate it.

#![allow(
    clippy::cast_precision_loss,
    reason = "a run's counters stay far below 2^52"
)]

pub mod batch;
pub mod outcome;
pub mod payload;
pub mod process;
pub mod session;
pub mod tally;
pub mod traffic;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use outcome::{Cpu, Outcome, ServerUsage};
use payload::Wrapping;
use process::Usage;
use session::{Login, Session};
use traffic::Traffic;

/// Most allocations of one run: two sockets each stay below a common hard limit of 20 000.
pub const MOST_ALLOCATIONS: usize = 9000;
/// Longest run: a permission lives 300 s (RFC 8656 section 9) and is not renewed here.
pub const LONGEST_RUN: Duration = Duration::from_mins(4);
/// Silence that ends the wait for the last packets.
const DRAIN: Duration = Duration::from_millis(200);

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The target or the relayed address is somewhere else than on this machine.
    #[error("{0} is not a loopback address: this generator speaks to its own machine only")]
    NotLoopback(SocketAddr),
    /// A number is out of its range.
    #[error("{0}")]
    Range(String),
    /// The server did not answer.
    #[error("the server does not answer")]
    Silent,
    /// The server answered with an error.
    #[error("the server refused method {method:#x} with {code}")]
    Refused {
        /// The request's message type.
        method: u16,
        /// ERROR-CODE.
        code: u16,
    },
    /// The server's answer lacks what it must have.
    #[error("the server's answer is malformed")]
    Malformed,
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How fast packets are sent.
#[derive(Debug, Clone, Copy, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// This many packets of each allocation are always on their way; each that returns is replaced.
    Window(u32),
    /// This many packets per second over all allocations, each of which is sent back.
    Rate(u32),
}

/// How a client's payloads travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// ChannelData (Chromium).
    Channel,
    /// Send and Data indications (Firefox).
    Indication,
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The TURN server, UDP, on loopback.
    pub server: SocketAddr,
    /// Where the peers listen, on loopback.
    pub peer_ip: IpAddr,
    /// How clients log in.
    pub login: Login,
    /// Number of clients, 1..=[`MOST_ALLOCATIONS`].
    pub allocations: usize,
    /// Payload in bytes, [`payload::SHORTEST`]..=[`payload::LONGEST`].
    pub payload: usize,
    /// How payloads travel.
    pub via: Via,
    /// How fast.
    pub pace: Pace,
    /// Traffic before the measurement.
    pub warmup: Duration,
    /// The measurement; with the warm-up at most [`LONGEST_RUN`].
    pub time: Duration,
    /// The server's process, for what it costs.
    pub server_pid: Option<u32>,
}

impl Plan {
    fn check(&self) -> Result<(), LoadError> {
        if !self.server.ip().is_loopback() {
            return Err(LoadError::NotLoopback(self.server));
        }
        if !self.peer_ip.is_loopback() {
            return Err(LoadError::NotLoopback(SocketAddr::new(self.peer_ip, 0)));
        }
        let most = MOST_ALLOCATIONS;
        let (shortest, longest) = (payload::SHORTEST, payload::LONGEST);
        if !(1..=most).contains(&self.allocations) {
            return Err(LoadError::Range(format!("allocations must be 1 to {most}")));
        }
        if !(shortest..=longest).contains(&self.payload) {
            return Err(LoadError::Range(format!(
                "payload must be {shortest} to {longest} bytes"
            )));
        }
        if self.time.is_zero() || self.warmup + self.time > LONGEST_RUN {
            let longest = LONGEST_RUN.as_secs();
            return Err(LoadError::Range(format!(
                "warm-up and run must end within {longest} s"
            )));
        }
        if matches!(
            self.pace,
            Pace::Window(0 | 1025..) | Pace::Rate(0 | 10_000_001..)
        ) {
            let text = "the window must be 1 to 1024, the rate 1 to 10000000 per second";
            return Err(LoadError::Range(text.to_owned()));
        }
        Ok(())
    }
}

/// Makes the allocations, keeps traffic going, gives them back, and says what was seen.
///
/// # Errors
/// When the plan is out of range or the server does not give every client an allocation.
pub fn run(plan: &Plan) -> Result<Outcome, LoadError> {
    plan.check()?;
    allow_many_sockets()?;
    let look = || plan.server_pid.map(Usage::of).transpose();
    let at_first = look()?;
    let sessions = (0..plan.allocations)
        .map(|index| Session::open(plan.server, plan.peer_ip, index, &plan.login, plan.via))
        .collect::<Result<Vec<_>, _>>()?;
    let allocated = look()?;
    let wrap = |flow, session: &Session| {
        Ok(match plan.via {
            Via::Channel => Wrapping::channel(session.channel),
            Via::Indication => Wrapping::indication(flow, session.peer_address()?, plan.payload),
        })
    };
    let mut traffic = Traffic::new(sessions, wrap, plan.payload, plan.pace)?;
    traffic.run(plan.warmup, false)?;
    let own = std::process::id();
    let (own_before, before, began) = (Usage::of(own)?, look()?, Instant::now());
    traffic.run(plan.time, true)?;
    let (wall, after, own_after) = (began.elapsed(), look()?, Usage::of(own)?);
    let relayed = traffic.tally.arrivals;
    traffic.drain(DRAIN)?;
    traffic.close();
    let server = at_first
        .zip(allocated)
        .zip(before.zip(after))
        .map(|((first, full), (a, b))| {
            let cpu = Cpu::new(b.cpu.saturating_sub(a.cpu), wall);
            ServerUsage::new(cpu, relayed, [first.rss, full.rss, b.rss], plan.allocations)
        });
    let generator = Cpu::new(own_after.cpu.saturating_sub(own_before.cpu), wall);
    Ok(Outcome::new(
        plan,
        &traffic.tally,
        relayed,
        wall,
        server,
        generator,
    ))
}

/// Raises the soft limit of open files to the hard one.
fn allow_many_sockets() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
