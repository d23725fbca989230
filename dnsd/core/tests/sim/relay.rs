//! A simulated relay: what befalls it, what it carries, and what it says of itself.

use liveness::{Load, RelayId};

use super::oracles::KNOWN;
use super::{Event, MS, Sim};

/// What has befallen a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Alive,
    Killed,
    Hung,
    /// Nothing is relayed.
    Gray,
    /// Answers STUN late, but answers.
    Slow,
    /// Tells one nameserver that it serves and the next that it drains.
    Lying,
}

impl Fate {
    pub fn is_dead(self) -> bool {
        matches!(self, Self::Killed | Self::Hung)
    }
}

pub const SERVING: u8 = 1;
const FULL: u8 = 2;
/// Shares of its capacity, in thousandths, at which a relay calls itself full, and below which it no
/// longer does.
const HIGH: u32 = 900;
const LOW: u32 = 800;

pub struct Relay {
    pub id: RelayId,
    pub fate: Fate,
    pub claim: u8,
    /// The allocations that it has, and the most that it takes; 0: it does not say.
    pub sessions: u32,
    pub sessions_max: u32,
    full: bool,
    boot: u64,
    sequence: u64,
    pub life: u32,
}

impl Relay {
    pub fn new(id: RelayId) -> Self {
        Self {
            id,
            fate: Fate::Alive,
            claim: SERVING,
            sessions: 0,
            sessions_max: 0,
            full: false,
            boot: 1,
            sequence: 0,
            life: 0,
        }
    }

    fn load(&self) -> Load {
        Load {
            sessions: self.sessions,
            sessions_max: self.sessions_max,
            ..Load::default()
        }
    }

    /// What share of its capacity is taken, in thousandths.
    pub fn used(&self) -> u32 {
        (self.sessions * 1000)
            .checked_div(self.sessions_max)
            .unwrap_or(0)
    }

    /// The state that it reports: nearly full, it says that it is, until it is less so.
    fn says(&mut self) -> u8 {
        self.full = self.used() >= if self.full { LOW } else { HIGH };
        if self.full && self.claim == SERVING {
            FULL
        } else {
            self.claim
        }
    }
}

impl Sim {
    /// A relay dies, changes or comes back; the latter with a new boot.
    pub fn befall(&mut self, relay: usize, fate: Fate) {
        let was = std::mem::replace(&mut self.relays[relay].fate, fate);
        let now = self.queue.now();
        self.truth.changed(relay, now);
        if !(0..self.relays.len()).any(|relay| self.is_healthy(relay)) {
            self.truth.fell_dark();
        } else if self.truth.is_dark() {
            self.truth.dawned(now);
        }
        let sim = &mut self.relays[relay];
        sim.life += 1;
        let life = sim.life;
        if was.is_dead() && !fate.is_dead() {
            sim.boot += 1;
            sim.sequence = 0;
            sim.sessions = 0;
            sim.full = false;
        }
        self.disturb(relay);
        if fate.is_dead() {
            self.queue.push(KNOWN, Event::Check { relay, life });
        } else {
            self.queue.push(0, Event::Send { relay, life });
        }
    }

    pub fn send(&mut self, relay: usize, life: u32) {
        let sim = &mut self.relays[relay];
        if sim.life != life || sim.fate.is_dead() {
            return;
        }
        sim.sequence += 1;
        let (boot, sequence, fate, load) = (sim.boot, sim.sequence, sim.fate, sim.load());
        let claim = sim.says();
        for node in 0..self.nodes.len() {
            let lies = fate == Fate::Lying && (node as u64 + sequence / 20).is_multiple_of(2);
            let claim = if lies { 3 } else { claim };
            let cut = self.network.reports_cut[relay][node] > 0;
            self.transmit(
                cut,
                &Event::Report {
                    node,
                    relay,
                    boot,
                    sequence,
                    claim,
                    load,
                },
            );
        }
        self.queue.push(500 * MS, Event::Send { relay, life });
    }

    pub fn claims(&mut self, relay: usize, claim: u8) {
        self.relays[relay].claim = claim;
        self.befall(relay, self.relays[relay].fate);
    }

    /// Whether the relay serves whoever comes, and says so.
    pub fn is_healthy(&self, relay: usize) -> bool {
        self.relays[relay].fate == Fate::Alive && self.relays[relay].claim == SERVING
    }
}
