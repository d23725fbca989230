//! What a run has shown, for programs and for people.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{
    Pace, Plan, Via,
    tally::{Direction, Percentiles, Tally},
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

/// What the server has cost.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ServerUsage {
    /// CPU time during the measured interval.
    pub cpu: Cpu,
    /// Relayed packets for one second of CPU time.
    pub packets_per_cpu_second: f64,
    /// CPU time for one relayed packet, in microseconds.
    pub cpu_us_per_packet: f64,
    /// Resident bytes before the allocations.
    pub rss_before: u64,
    /// Resident bytes with all allocations made.
    pub rss_allocated: u64,
    /// Resident bytes at the end of the measured interval.
    pub rss_after: u64,
    /// Growth by the allocations alone, in bytes for each.
    pub rss_per_allocation: u64,
}

impl ServerUsage {
    /// `rss`: before the allocations, with them, after the traffic.
    pub fn new(cpu: Cpu, relayed: u64, rss: [u64; 3], allocations: usize) -> Self {
        let relayed = relayed as f64;
        Self {
            cpu,
            packets_per_cpu_second: relayed / cpu.seconds.max(1e-9),
            cpu_us_per_packet: 1e6 * cpu.seconds / relayed.max(1.0),
            rss_before: rss[0],
            rss_allocated: rss[1],
            rss_after: rss[2],
            rss_per_allocation: rss[1].saturating_sub(rss[0]) / allocations.max(1) as u64,
        }
    }
}

/// The result of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Number of clients.
    pub allocations: usize,
    /// Payload in bytes.
    pub payload: usize,
    /// How payloads travelled.
    pub via: Via,
    /// How fast they were sent.
    pub pace: Pace,
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
    /// What this program has cost.
    pub generator: Cpu,
}

impl Outcome {
    pub(super) fn new(
        plan: &Plan,
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
            payload: plan.payload,
            via: plan.via,
            pace: plan.pace,
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
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let via = match self.via {
            Via::Channel => "ChannelData",
            Via::Indication => "indications",
        };
        let pace = match self.pace {
            Pace::Window(window) => format!("window {window}"),
            Pace::Rate(rate) => format!("{rate} packets/s"),
        };
        let (allocations, payload, seconds) = (self.allocations, self.payload, self.seconds);
        writeln!(
            f,
            "{allocations} allocations, {payload} B, {via}, {pace}, {seconds:.1} s"
        )?;
        writeln!(f, "  relayed    {:.0} packets/s", self.relayed_per_second)?;
        for (name, way) in [("up", self.up), ("down", self.down)] {
            let (sent, got, loss) = (way.sent, way.received, way.loss_percent());
            writeln!(
                f,
                "  {name:<10} {sent} sent, {got} received, {loss:.3} % lost"
            )?;
        }
        let (foreign, reordered, skipped) = (self.foreign, self.reordered, self.skipped);
        writeln!(
            f,
            "  oddities   {foreign} foreign, {reordered} reordered, {skipped} skipped"
        )?;
        let Percentiles {
            p50,
            p90,
            p99,
            p999,
            max,
        } = self.rtt_us;
        writeln!(
            f,
            "  round trip {p50} / {p90} / {p99} / {p999} / {max} us (p50/90/99/99.9/max)"
        )?;
        if let Some(server) = &self.server {
            let (each, rate) = (server.cpu_us_per_packet, server.packets_per_cpu_second);
            let (percent, mib) = (server.cpu.percent, 1024.0 * 1024.0);
            writeln!(
                f,
                "  server     {percent:.0} % CPU: {each:.2} us per packet, {rate:.0} packets per CPU second"
            )?;
            writeln!(
                f,
                "  memory     {:.1} MiB, {:.1} with the allocations ({} B each), {:.1} at the end",
                server.rss_before as f64 / mib,
                server.rss_allocated as f64 / mib,
                server.rss_per_allocation,
                server.rss_after as f64 / mib,
            )?;
        }
        write!(f, "  generator  {:.0} % CPU", self.generator.percent)
    }
}
