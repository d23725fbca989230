//! What the shell sees of the fleet: actions, outcomes, counters.

use liveness::{
    Ack, KeyId, NEIGHBOURS_MAX, Neighbour, NodeId, Order, RelayId, Replayed, Report, Seen,
};
use serde::Serialize;

use crate::health::Probe;
use crate::inventory::Refusal;

/// What the fleet wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A relay has joined or been forgotten: the inventory is another one.
    Roster,
    /// Probe a relay now and hand the outcome to [`Fleet::handle_probe`](super::Fleet::handle_probe).
    ProbeNow {
        /// Whom.
        relay: RelayId,
        /// How; handed back unchanged.
        probe: Probe,
    },
    /// Something that answers depend on has changed: call
    /// [`Fleet::publish`](super::Fleet::publish) and serve the result.
    Publish,
    /// It is time for the other observers to hear from this node: call
    /// [`Fleet::ballot`](super::Fleet::ballot) and send the result to all of them. Only a fleet
    /// that has [joined](super::Fleet::join) them wants this.
    Vote,
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    /// Believed; answer it.
    Accepted(Reply),
    /// Not new. Answer it: the relay may have to choose a higher boot id.
    StaleBoot(Reply),
    /// A copy, or overtaken on the way; no answer.
    StaleSequence(Replayed),
    /// No relay of this name is configured, and it may not join; no answer.
    UnknownRelay(Refusal),
    /// Two machines report under this name; not believed. Answer it.
    Twin(Reply),
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
    /// Reports of relays that are neither configured nor may join.
    pub unknown_relay: u64,
    /// Reports signed with another relay's key.
    pub wrong_key: u64,
    /// Reports older than one already seen.
    pub replayed: u64,
    /// Reports that claim addresses other than the configured ones.
    pub address_mismatch: u64,
    /// Relays that joined.
    pub joined: u64,
    /// Reports not believed because two machines have the relay's name.
    pub twins: u64,
    /// Reports that other nameservers passed on and that were news.
    pub hearsay: u64,
    /// Probes asked for.
    pub probes: u64,
    /// Outcomes of probes that were not under way.
    pub stray_outcomes: u64,
    /// Verdicts that went to down.
    pub condemned: u64,
    /// Snapshots published.
    pub published: u64,
    /// Ballots of other observers that counted.
    pub ballots: u64,
    /// Ballots that did not.
    pub ballots_refused: u64,
    /// Complaints of clients about relays that there are.
    pub complaints: u64,
    /// How often complaints cast doubt on a relay.
    pub complained: u64,
    /// How often this node began to distrust itself.
    pub isolated: u64,
}
