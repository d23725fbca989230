//! Load for any TURN server on loopback: many clients, each with an allocation and a peer.
//!
//! What a server costs is told as CPU time per relayed packet, which holds whether or not the
//! generator could saturate it.

#![allow(
    clippy::cast_precision_loss,
    reason = "a run's counters stay far below 2^52"
)]

pub mod dance;
pub mod datagrams;
pub mod echo;
pub mod flow;
pub mod link;
pub mod login;
pub mod opening;
pub mod outcome;
pub mod payload;
pub mod plan;
pub mod process;
mod report;
pub mod schedule;
pub mod session;
pub mod stream;
pub mod tally;
pub mod threads;
pub mod timers;
pub mod tls;
pub mod traffic;
pub mod trains;
pub mod waiter;

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use dance::Step;
use echo::Echo;
use flow::Flow;
use opening::Opening;
use outcome::{Allocating, Cpu, Outcome, ServerUsage};
use payload::Wrapping;
use plan::{Plan, Transport, Via};
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

/// One look at a process and its threads.
struct Look {
    usage: Usage,
    threads: Threads,
}

impl Look {
    fn of(pid: u32) -> io::Result<Self> {
        let (usage, threads) = (Usage::of(pid)?, Threads::of(pid)?);
        Ok(Self { usage, threads })
    }

    /// At the server.
    fn at(plan: &Plan) -> io::Result<Option<Self>> {
        plan.server_pid.map(Self::of).transpose()
    }

    /// At this program.
    fn own() -> io::Result<Self> {
        Self::of(std::process::id())
    }
}

/// Makes the allocations, keeps traffic going, gives them back, and says what was seen.
///
/// # Errors
/// When the plan is out of range or the server does not give every client an allocation.
pub fn run(plan: &Plan) -> Result<Outcome, LoadError> {
    plan.check()?;
    allow_many_sockets()?;
    let at_first = Look::at(plan)?;
    let (mut traffic, allocate) = open(plan)?;
    let allocated = Look::at(plan)?;
    traffic.run(plan.warmup, false)?;
    let (stolen, idled) = (process::stolen()?, traffic.idled());
    let (own_before, before, began) = (Look::own()?, Look::at(plan)?, Instant::now());
    traffic.run(plan.time, true)?;
    let (wall, after, own_after) = (began.elapsed(), Look::at(plan)?, Look::own()?);
    let mut waited = process::stolen()?.saturating_sub(stolen);
    waited += own_after.threads.waited_since(&own_before.threads);
    if let Some((before, after)) = before.as_ref().zip(after.as_ref()) {
        waited += after.threads.waited_since(&before.threads);
    }
    let idled = traffic.idled().saturating_sub(idled);
    let relayed = traffic.tally.arrivals;
    traffic.drain(DRAIN)?;
    let (mut sessions, tally) = traffic.end()?;
    let suite = sessions.first().and_then(|session| session.link.suite());
    let cipher = suite.and_then(|suite| suite.as_str()).map(str::to_owned);
    Opening::new(plan, &mut sessions)?.all(Step::Close)?;
    let looks = at_first.zip(allocated).zip(before.zip(after));
    let server = looks.map(|((first, full), (before, after))| {
        let threads = after.threads.since(&before.threads, wall);
        let looks = [first, full, before, after].map(|look| look.usage);
        ServerUsage::new(looks, wall, relayed, plan, threads)
    });
    let own = own_after.usage.cpu.saturating_sub(own_before.usage.cpu);
    let generator = Cpu::new(own.saturating_sub(idled), wall);
    let outcome = Outcome::new(
        plan,
        (allocate, cipher),
        &tally,
        relayed,
        wall,
        server,
        generator,
    );
    Ok(Outcome {
        waited_percent: Cpu::new(waited, wall).percent,
        ..outcome
    })
}

/// Makes all allocations, and lets the peers in.
fn open(plan: &Plan) -> Result<(Traffic, Allocating), LoadError> {
    let mut echo = Echo::new(plan)?;
    let mut sessions = Vec::with_capacity(plan.allocations);
    for index in 0..plan.allocations {
        sessions.push(Session::new(plan, index, echo.address(index, plan)?)?);
    }
    let mut opening = Opening::new(plan, &mut sessions)?;
    let cpu = || -> io::Result<_> {
        let server = plan.server_pid.map(process::cpu).transpose()?;
        Ok((server, process::cpu(std::process::id())?))
    };
    let (before, began) = (cpu()?, Instant::now());
    opening.all(Step::Allocate)?;
    let (after, wall) = (cpu()?, began.elapsed());
    let server = after.0.zip(before.0);
    let server = server.map(|(after, before)| after.saturating_sub(before));
    let own = after.1.saturating_sub(before.1);
    let allocate = Allocating::new(plan.allocations, server, own, wall);
    let admitting = Instant::now();
    opening.all(Step::Admit)?;
    drop(opening);
    let mut flows = Vec::with_capacity(sessions.len());
    for (number, session) in (0..).zip(sessions) {
        echo.join(session.dance.relayed.ok_or(LoadError::Malformed)?, plan)?;
        flows.push(flow(number, session, plan)?);
    }
    if admitting.elapsed() + plan.warmup + plan.time > PERMITTED {
        let text = "it took too long to open: the first permissions would expire within the run";
        return Err(LoadError::Range(text.to_owned()));
    }
    Ok((Traffic::new(flows, echo, plan)?, allocate))
}

/// Prepares an open session for traffic.
fn flow(number: u32, session: Session, plan: &Plan) -> io::Result<Flow> {
    let stream = plan.transport != Transport::Udp;
    let wrapping = match plan.via {
        Via::Channel => Wrapping::channel(session.dance.channel, stream),
        Via::Indication => Wrapping::indication(number, session.dance.peer, plan.payload),
    };
    if plan.coalesce {
        let length = wrapping.wire_length(plan.payload);
        session.link.coalesce(Some(length))?;
    }
    Ok(Flow::new(number, session, wrapping))
}

/// Raises the soft limit of open files to the hard one.
fn allow_many_sockets() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
