//! What was sent, what arrived, how long it took.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::payload::Stamp;

/// Set in the sequence numbers of packets that count; clear during warm-up.
pub const COUNTS: u64 = 1 << 63;
/// Longest round trip told apart, in microseconds.
const LONGEST_RTT: u64 = 10_000_000;
/// A part of a run with a 99th percentile of its own, in nanoseconds.
const PART: u64 = 100_000_000;

/// Packets of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Direction {
    /// Packets that the kernel took from the sender.
    pub sent: u64,
    /// Packets that reached the receiver.
    pub received: u64,
}

impl Direction {
    /// The share that did not arrive, in percent.
    pub fn loss_percent(self) -> f64 {
        100.0 * self.sent.saturating_sub(self.received) as f64 / self.sent.max(1) as f64
    }
}

/// Round-trip times in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Median of the 99th percentiles of each tenth of a second: what keeps the machine from running now
    /// and then for a moment does not change it.
    pub usual_p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Longest.
    pub max: u64,
}

/// The counters of one run.
#[derive(Debug)]
pub struct Tally {
    /// Client to peer.
    pub up: Direction,
    /// Peer to client.
    pub down: Direction,
    /// Arrivals of both directions since [`Self::start_interval`], warm-up packets included.
    pub arrivals: u64,
    /// Packets that were none of ours, or another flow's.
    pub foreign: u64,
    /// Packets at the client that came again or later than a younger one.
    pub reordered: u64,
    /// Packets that a fixed rate owed but the generator was too slow to send.
    pub skipped: u64,
    rtt: Histogram<u32>,
    /// The same of the part that ends at this time, and the 99th percentiles of those before.
    part: Histogram<u32>,
    part_ends: u64,
    p99s: Vec<u64>,
}

impl Tally {
    /// Starts at nothing.
    pub fn new() -> Self {
        // Three digits up to ten seconds: a constant that the histogram accepts.
        let rtt: Histogram<_> = Histogram::new_with_max(LONGEST_RTT, 3).expect("constant bounds");
        Self {
            up: Direction::default(),
            down: Direction::default(),
            arrivals: 0,
            foreign: 0,
            reordered: 0,
            skipped: 0,
            part: rtt.clone(),
            part_ends: 0,
            p99s: Vec::new(),
            rtt,
        }
    }

    /// Forgets the arrivals so far: the measured interval begins.
    pub fn start_interval(&mut self) {
        self.arrivals = 0;
        self.skipped = 0;
    }

    /// A packet arrived at a peer.
    pub fn at_peer(&mut self, stamp: Stamp) {
        self.arrivals += 1;
        self.up.received += u64::from(stamp.sequence & COUNTS != 0);
    }

    /// A packet came back to a client; `now` in nanoseconds since the run's start.
    pub fn at_client(&mut self, stamp: Stamp, now: u64) {
        self.arrivals += 1;
        if stamp.sequence & COUNTS != 0 {
            self.down.received += 1;
            if now >= self.part_ends {
                if !self.part.is_empty() {
                    self.p99s.push(self.part.value_at_percentile(99.0));
                    self.part.reset();
                }
                self.part_ends = now + PART;
            }
            let took = now.saturating_sub(stamp.sent) / 1000;
            self.rtt.saturating_record(took);
            self.part.saturating_record(took);
        }
    }

    /// The round-trip times recorded.
    pub fn rtt(&self) -> Percentiles {
        let at = |percentile| self.rtt.value_at_percentile(percentile);
        let mut p99s = self.p99s.clone();
        p99s.sort_unstable();
        Percentiles {
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            // Of less than a part there is one only.
            usual_p99: p99s
                .get(p99s.len() / 2)
                .copied()
                .unwrap_or_else(|| at(99.0)),
            p999: at(99.9),
            max: self.rtt.max(),
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbance_of_a_moment_changes_only_the_percentile_of_all() {
        let mut tally = Tally::new();
        // Ten packets a millisecond for a second; for 30 ms of it each takes 5 ms instead of 0.1.
        for ms in 10..1010_u64 {
            let took = if (500..530).contains(&ms) { 5 } else { 0 } * 1_000_000 + 100_000;
            for _ in 0..10 {
                let sequence = COUNTS;
                let (now, flow) = (ms * 1_000_000, 0);
                let sent = now - took;
                let stamp = Stamp {
                    flow,
                    sequence,
                    sent,
                };
                tally.at_client(stamp, now);
            }
        }
        let rtt = tally.rtt();
        assert_eq!((rtt.p50, rtt.usual_p99), (100, 100), "{rtt:?}");
        assert!((5000..5200).contains(&rtt.p99), "{rtt:?}");
        assert_eq!(Tally::new().rtt().usual_p99, 0);
    }
}
