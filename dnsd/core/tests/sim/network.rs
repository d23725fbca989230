//! The network between relays and nameservers: what it loses, delays, repeats, and where it is cut.

use super::{Event, MS, Sim};

/// The network between relays and nameservers.
pub struct Network {
    /// From a relay to a nameserver, and back.
    pub reports_cut: Vec<Vec<u32>>,
    pub probes_cut: Vec<Vec<u32>>,
    /// From a nameserver to another.
    pub ballots_cut: Vec<Vec<u32>>,
    /// Lost and repeated datagrams per mille; delays in microseconds.
    pub loss: u64,
    pub repeats: u64,
    pub jitter: u64,
}

impl Network {
    /// Whether nothing is cut.
    pub fn is_whole(&self) -> bool {
        let cuts = [&self.reports_cut, &self.probes_cut, &self.ballots_cut];
        cuts.into_iter().flatten().flatten().all(|cut| *cut == 0)
    }
}

impl Sim {
    pub fn lost(&mut self) -> bool {
        self.random.below(1000) < self.network.loss
    }

    pub fn delay(&mut self) -> u64 {
        5 * MS + self.random.below(self.network.jitter + 1)
    }

    /// Puts a datagram on the way: perhaps nothing of it arrives, or two, in any order.
    pub fn transmit(&mut self, cut: bool, event: &Event) {
        let copies = 1 + u64::from(self.random.below(1000) < self.network.repeats);
        for _ in 0..copies {
            let lost = self.lost();
            let delay = self.delay();
            if !cut && !lost {
                self.queue.push(delay, event.clone());
            }
        }
    }
}
