//! Load for any TURN server on loopback: many clients, each with an allocation and a peer.
//!
//! What a server costs is told as CPU time per relayed packet, which holds whether or not the
//! generator could saturate it.

#![allow(
    clippy::cast_precision_loss,
    reason = "a run's counters stay far below 2^52"
)]

pub mod datagrams;
pub mod echo;
pub mod flow;
pub mod login;
pub mod outcome;
pub mod payload;
pub mod plan;
pub mod process;
mod report;
pub mod schedule;
pub mod session;
pub mod tally;
pub mod threads;
pub mod traffic;
pub mod trains;

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use datagrams::{Offload, prepare};
use echo::Echo;
use flow::Flow;
use outcome::{Cpu, Outcome, ServerUsage};
use payload::Wrapping;
use plan::{Plan, Via};
use process::Usage;
use session::Session;
use threads::Threads;
use traffic::Traffic;

/// Silence that ends the wait for the last packets.
const DRAIN: Duration = Duration::from_millis(200);
/// How long a permission lives (RFC 8656 section 9), less a margin.
const PERMITTED: Duration = Duration::from_secs(290);

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
    /// The bare forwarder answered otherwise.
    #[error("the forwarder says {0:?}")]
    NotForwarded(String),
    /// The server's answer lacks what it must have.
    #[error("the server's answer is malformed")]
    Malformed,
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One look at the server: the process and its threads.
struct Look {
    usage: Usage,
    threads: Threads,
}

impl Look {
    fn at(plan: &Plan) -> io::Result<Option<Self>> {
        let look = |pid| {
            let (usage, threads) = (Usage::of(pid)?, Threads::of(pid)?);
            Ok(Self { usage, threads })
        };
        plan.server_pid.map(look).transpose()
    }
}

/// Makes the allocations, keeps traffic going, gives them back, and says what was seen.
///
/// # Errors
/// When the plan is out of range or the server does not give every client an allocation.
pub fn run(plan: &Plan) -> Result<Outcome, LoadError> {
    plan.check()?;
    allow_many_sockets()?;
    let mut echo = Echo::new(plan)?;
    let (at_first, opened) = (Look::at(plan)?, Instant::now());
    let mut flows = Vec::with_capacity(plan.allocations);
    for index in 0..plan.allocations {
        let session = Session::open(plan, index, echo.address(index, plan)?)?;
        echo.join(session.relayed, plan)?;
        flows.push(flow(index as u32, session, plan)?);
    }
    if opened.elapsed() + plan.warmup + plan.time > PERMITTED {
        let text = "it took too long to open: the first permissions would expire within the run";
        return Err(LoadError::Range(text.to_owned()));
    }
    let allocated = Look::at(plan)?;
    let mut traffic = Traffic::new(flows, echo, plan)?;
    traffic.run(plan.warmup, false)?;
    let own = std::process::id();
    let (own_before, before, began) = (Usage::of(own)?, Look::at(plan)?, Instant::now());
    traffic.run(plan.time, true)?;
    let (wall, after, own_after) = (began.elapsed(), Look::at(plan)?, Usage::of(own)?);
    let relayed = traffic.tally.arrivals;
    traffic.drain(DRAIN)?;
    traffic
        .flows
        .iter_mut()
        .for_each(|flow| flow.session.close());
    let looks = at_first.zip(allocated).zip(before.zip(after));
    let server = looks.map(|((first, full), (before, after))| {
        let threads = after.threads.since(&before.threads, wall);
        let looks = [first, full, before, after].map(|look| look.usage);
        ServerUsage::new(looks, wall, relayed, plan, threads)
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

/// Prepares an open session for traffic.
fn flow(number: u32, session: Session, plan: &Plan) -> io::Result<Flow> {
    let wrapping = match plan.via {
        Via::Channel => Wrapping::channel(session.channel),
        Via::Indication => Wrapping::indication(number, session.peer, plan.payload),
    };
    let offload = Offload {
        send: plan.coalesce.then_some(wrapping.wire_length(plan.payload)),
        receive: plan.gro,
    };
    prepare(&session.client, offload)?;
    Ok(Flow::new(number, session, wrapping))
}

/// Raises the soft limit of open files to the hard one.
fn allow_many_sockets() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
