//! What a run has shown, for people.

use std::fmt;

use super::{
    outcome::{Allocating, Outcome, ServerUsage},
    plan::{Pace, Transport, Via},
    tally::Percentiles,
};

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let via = match self.via {
            Via::Channel => "ChannelData",
            Via::Indication => "indications",
        };
        let pace = match self.pace {
            Pace::Window(window) => format!("window {window}"),
            Pace::InFlight(packets) => format!("{packets} in flight"),
            Pace::Rate(rate) => format!("{rate} packets/s"),
            Pace::Burst { packets, every_ms } => format!("{packets} packets every {every_ms} ms"),
        };
        let whole = if self.coalesce { " in one piece" } else { "" };
        let (allocations, payload, seconds) = (self.allocations, self.payload, self.seconds);
        let transport = match self.transport {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => self.cipher.as_deref().unwrap_or("TLS"),
        };
        writeln!(
            f,
            "{allocations} allocations, {transport}, {payload} B, {via}, {pace}{whole}, {seconds:.1} s"
        )?;
        writeln!(f, "{}", self.allocate)?;
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
            ..
        } = self.rtt_us;
        writeln!(
            f,
            "  round trip {p50} / {p90} / {p99} / {p999} / {max} us (p50/90/99/99.9/max)"
        )?;
        if let Some(server) = &self.server {
            write!(f, "{server}")?;
        }
        let (own, waited) = (self.generator.percent, self.waited_percent);
        write!(
            f,
            "  generator  {own:.0} % CPU; it and the server waited {waited:.0} % for a core"
        )
    }
}

impl fmt::Display for Allocating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, own) = (self.per_second, self.generator_percent);
        write!(f, "  allocated  {rate:.0} per second")?;
        if let Some(each) = self.cpu_us_per_allocation {
            write!(f, ", {each:.1} us of the server's CPU for each")?;
        }
        write!(f, ", generator {own:.0} % CPU")
    }
}

impl fmt::Display for ServerUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (each, rate) = (self.cpu_us_per_packet, self.packets_per_cpu_second);
        let (percent, byte) = (self.cpu.percent, self.cpu_ns_per_byte);
        writeln!(
            f,
            "  server     {percent:.0} % CPU: {each:.2} us per packet, {byte:.2} ns per byte, \
             {rate:.0} packets per CPU second"
        )?;
        for thread in &self.threads {
            writeln!(f, "    {:<18} {:.1} %", thread.name, thread.percent)?;
        }
        for (name, each, sizes) in [
            (
                "memory",
                self.rss_per_allocation,
                [self.rss_before, self.rss_allocated, self.rss_after],
            ),
            (
                "anonymous",
                self.anon_per_allocation,
                [self.anon_before, self.anon_allocated, self.anon_after],
            ),
        ] {
            let [before, allocated, after] = sizes.map(|bytes| bytes as f64 / 1_048_576.0);
            writeln!(
                f,
                "  {name:<10} {before:.1} MiB, {allocated:.1} with the allocations ({each} B each), \
                 {after:.1} at the end"
            )?;
        }
        Ok(())
    }
}
