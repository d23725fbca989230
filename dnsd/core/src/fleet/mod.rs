//! All relays together: judges them one by one, asks for probes, says when to publish.

use std::time::Instant;

use credentials::UnixTime;
use liveness::{
    Ack, KeyId, NEIGHBOURS_MAX, Neighbour, NodeId, Order, RelayId, Replayed, Report, Seen,
};
use serde::{Deserialize, Serialize};

use crate::explain::Explanation;
use crate::health::{Outcome, Override, Probe, Verdict};
use crate::inventory::Inventory;
use crate::snapshot::Snapshot;

/// What the fleet wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Probe a relay now and hand the outcome to [`Fleet::handle_probe`].
    ProbeNow {
        /// Whom.
        relay: RelayId,
        /// How; handed back unchanged.
        probe: Probe,
    },
    /// Something that answers depend on has changed: call [`Fleet::publish`] and serve the result.
    Publish,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    /// Believed; answer it.
    Accepted(Reply),
    /// Not new. Answer it: the relay may have to choose a higher boot id.
    StaleBoot(Reply),
    /// A copy, or overtaken on the way; no answer.
    StaleSequence(Replayed),
    /// No relay of this name is configured; no answer.
    UnknownRelay,
    /// Signed with a key that this relay may not use; no answer.
    WrongKey(KeyId),
}

/// What to tell a relay in answer to its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 0, or the boot id that the relay's next one must exceed.
    pub boot_floor: u64,
    /// What an operator wants of it.
    pub order: Order,
    /// How it is seen.
    pub seen: Seen,
    /// Other relays to send clients to, best first.
    pub neighbours: [Neighbour; NEIGHBOURS_MAX],
}

impl Reply {
    /// The acknowledgement of `report` by `node`. `revocations` is the newest generation the node
    /// knows.
    pub fn ack(&self, report: &Report, node: NodeId, sent_at_ms: u64, revocations: u64) -> Ack {
        Ack {
            relay: report.relay,
            boot: report.boot,
            sequence: report.sequence,
            node,
            sent_at_ms,
            boot_floor: self.boot_floor,
            order: self.order,
            seen: self.seen,
            revocations,
            neighbours: self.neighbours,
        }
    }
}

/// What is counted; never falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Reports believed.
    pub reports: u64,
    /// Reports of relays that are not configured.
    pub unknown_relay: u64,
    /// Reports signed with another relay's key.
    pub wrong_key: u64,
    /// Reports older than one already seen.
    pub replayed: u64,
    /// Reports that claim addresses other than the configured ones.
    pub address_mismatch: u64,
    /// Probes asked for.
    pub probes: u64,
    /// Outcomes of probes that were not under way.
    pub stray_outcomes: u64,
    /// Verdicts that went to down.
    pub condemned: u64,
    /// Snapshots published.
    pub published: u64,
}

/// What survives a restart. The shell stores it; every field is checked again when it comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {}

/// The relay is not configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no relay {0} is configured")]
pub struct UnknownRelay(pub RelayId);

/// All relays and what is known of them.
#[derive(Debug)]
pub struct Fleet {
    inventory: Inventory,
}

impl Fleet {
    /// A fleet as it was saved, or one about which nothing is known. Either way it wants to
    /// publish at once.
    pub fn new(
        inventory: Inventory,
        restored: Option<&Saved>,
        now: Instant,
        unix: UnixTime,
    ) -> Self {
        let _ = (restored, now, unix);
        Self { inventory }
    }

    /// Takes a new inventory over; what is known of relays that stay as they were is kept.
    pub fn reconfigure(&mut self, now: Instant, inventory: Inventory) {
        let _ = now;
        self.inventory = inventory;
    }

    /// The inventory in force.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Takes a report whose MAC has been verified with the key `key`.
    pub fn handle_report(&mut self, now: Instant, key: KeyId, report: &Report) -> ReportOutcome {
        let _ = (now, key, report);
        todo!()
    }

    /// Takes the outcome of a probe.
    pub fn handle_probe(&mut self, now: Instant, relay: RelayId, probe: Probe, outcome: &Outcome) {
        let _ = (now, relay, probe, outcome);
        todo!()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }

    /// Sets or lifts a person's decision about a relay.
    pub fn force(
        &mut self,
        now: Instant,
        relay: RelayId,
        decision: Option<Override>,
    ) -> Result<(), UnknownRelay> {
        let _ = (now, relay, decision);
        todo!()
    }

    /// Compiles the answers that follow from what is known now, under a serial above the last.
    pub fn publish(&mut self, now: Instant, unix: UnixTime) -> Snapshot {
        let _ = (now, unix);
        todo!()
    }

    /// The verdict on a relay.
    pub fn verdict(&self, relay: RelayId) -> Option<Verdict> {
        let _ = relay;
        todo!()
    }

    /// Everything known about a relay, in words.
    pub fn explain(&self, now: Instant, relay: RelayId) -> Option<Explanation> {
        let _ = (now, relay);
        todo!()
    }

    /// What to store so that a restart forgets nothing.
    pub fn saved(&self, now: Instant, unix: UnixTime) -> Saved {
        let _ = (now, unix);
        todo!()
    }

    /// The counts so far.
    pub fn counters(&self) -> Counters {
        todo!()
    }
}
