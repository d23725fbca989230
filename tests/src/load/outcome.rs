//! What a run has shown.

use std::time::Duration;

use serde::Serialize;

use super::{
    plan::{Pace, Plan, Transport, Via},
    process::Usage,
    tally::{Direction, Percentiles, Tally},
    threads::ThreadUsage,
};

/// CPU time over an interval.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cpu {
    /// User and system time in seconds.
    pub seconds: f64,
    /// The same as a share of one core, in percent.
    pub percent: f64,
}

impl Cpu {
    /// `used` during `wall`.
    pub fn new(used: Duration, wall: Duration) -> Self {
        let seconds = used.as_secs_f64();
        Self {
            seconds,
            percent: 100.0 * seconds / wall.as_secs_f64().max(1e-9),
        }
    }
}

/// What it took to make the allocations: from the first unsigned request to the last success, without
/// connections before and permissions after.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Allocating {
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Allocations per second.
    pub per_second: f64,
    /// The server's CPU time for one allocation, in microseconds, where its process is known.
    pub cpu_us_per_allocation: Option<f64>,
    /// This program's share of a core meanwhile, in percent.
    pub generator_percent: f64,
}

impl Allocating {
    /// From the server's and this program's CPU time during `wall`.
    pub(super) fn new(
        allocations: usize,
        server: Option<Duration>,
        own: Duration,
        wall: Duration,
    ) -> Self {
        let (seconds, count) = (wall.as_secs_f64(), allocations as f64);
        Self {
            seconds,
            per_second: count / seconds.max(1e-9),
            cpu_us_per_allocation: server.map(|cpu| 1e6 * cpu.as_secs_f64() / count.max(1.0)),
            generator_percent: Cpu::new(own, wall).percent,
        }
    }
}

/// What the server has cost.
#[derive(Debug, Clone, Serialize)]
pub struct ServerUsage {
    /// CPU time during the measured interval.
    pub cpu: Cpu,
    /// Relayed packets for one second of CPU time.
    pub packets_per_cpu_second: f64,
    /// CPU time for one relayed packet, in microseconds.
    pub cpu_us_per_packet: f64,
    /// CPU time for one relayed byte of payload, in nanoseconds.
    pub cpu_ns_per_byte: f64,
    /// CPU time of the busiest thread for one relayed packet of all, in microseconds: where each thread
    /// has a core, this one sets the limit.
    pub busiest_us_per_packet: f64,
    /// Its threads' share of that CPU time; those with half a percent of a core or less are left out.
    pub threads: Vec<ThreadUsage>,
    /// Resident bytes before the allocations.
    pub rss_before: u64,
    /// Resident bytes with all allocations made.
    pub rss_allocated: u64,
    /// Resident bytes at the end of the measured interval.
    pub rss_after: u64,
    /// Growth by the allocations alone, in bytes for each.
    pub rss_per_allocation: u64,
    /// Anonymous memory, which no file is behind, in bytes before the allocations.
    pub anon_before: u64,
    /// The same with all allocations made.
    pub anon_allocated: u64,
    /// The same at the end of the measured interval.
    pub anon_after: u64,
    /// Its growth by the allocations alone, in bytes for each.
    pub anon_per_allocation: u64,
}

impl ServerUsage {
    /// From what was seen before the allocations, with them, before and after the measured interval.
    pub(super) fn new(
        [first, full, before, after]: [Usage; 4],
        wall: Duration,
        relayed: u64,
        plan: &Plan,
        threads: Vec<ThreadUsage>,
    ) -> Self {
        let cpu = Cpu::new(after.cpu.saturating_sub(before.cpu), wall);
        let (packets, allocations) = (relayed as f64, plan.allocations.max(1) as u64);
        let bytes = packets * plan.payload as f64;
        let busiest = threads.first().map_or(0.0, |thread| thread.cpu_seconds);
        Self {
            cpu,
            packets_per_cpu_second: packets / cpu.seconds.max(1e-9),
            cpu_us_per_packet: 1e6 * cpu.seconds / packets.max(1.0),
            cpu_ns_per_byte: 1e9 * cpu.seconds / bytes.max(1.0),
            busiest_us_per_packet: 1e6 * busiest / packets.max(1.0),
            threads,
            rss_before: first.rss,
            rss_allocated: full.rss,
            rss_after: after.rss,
            rss_per_allocation: full.rss.saturating_sub(first.rss) / allocations,
            anon_before: first.anon,
            anon_allocated: full.anon,
            anon_after: after.anon,
            anon_per_allocation: full.anon.saturating_sub(first.anon) / allocations,
        }
    }
}

/// The result of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Number of clients.
    pub allocations: usize,
    /// What it took to make them.
    pub allocate: Allocating,
    /// What clients spoke.
    pub transport: Transport,
    /// The cipher suite, where that was TLS.
    pub cipher: Option<String>,
    /// Payload in bytes.
    pub payload: usize,
    /// How payloads travelled.
    pub via: Via,
    /// How fast they were sent.
    pub pace: Pace,
    /// Whether they left in one piece where several left at once.
    pub coalesce: bool,
    /// The measured interval in seconds.
    pub seconds: f64,
    /// Packets that came through the server in the interval, both directions together.
    pub relayed: u64,
    /// The same per second.
    pub relayed_per_second: f64,
    /// Client to peer.
    pub up: Direction,
    /// Peer to client.
    pub down: Direction,
    /// Packets lost, both directions, in percent.
    pub loss_percent: f64,
    /// Packets that were none of ours, or another flow's.
    pub foreign: u64,
    /// Packets that came again or late.
    pub reordered: u64,
    /// Packets that the rate owed but the generator could not send.
    pub skipped: u64,
    /// Client to peer and back, in microseconds.
    pub rtt_us: Percentiles,
    /// What the server has cost, where its process is known.
    pub server: Option<ServerUsage>,
    /// What this program has cost, without the time it waited awake.
    pub generator: Cpu,
    /// How long the server and this program were ready to run but had no core, in percent of the interval:
    /// somebody else had it.
    pub waited_percent: f64,
}

impl Outcome {
    pub(super) fn new(
        plan: &Plan,
        (allocate, cipher): (Allocating, Option<String>),
        tally: &Tally,
        relayed: u64,
        wall: Duration,
        server: Option<ServerUsage>,
        generator: Cpu,
    ) -> Self {
        let (up, down) = (tally.up, tally.down);
        let both = Direction {
            sent: up.sent + down.sent,
            received: up.received + down.received,
        };
        Self {
            allocations: plan.allocations,
            allocate,
            transport: plan.transport,
            cipher,
            payload: plan.payload,
            via: plan.via,
            pace: plan.pace,
            coalesce: plan.coalesce,
            seconds: wall.as_secs_f64(),
            relayed,
            relayed_per_second: relayed as f64 / wall.as_secs_f64().max(1e-9),
            up,
            down,
            loss_percent: both.loss_percent(),
            foreign: tally.foreign,
            reordered: tally.reordered,
            skipped: tally.skipped,
            rtt_us: tally.rtt(),
            server,
            generator,
            waited_percent: 0.0,
        }
    }
}
