//! The fleet's part in revocations: keeps the list, and knows which relays apply another one.

use std::time::Instant;

use credentials::UnixTime;

use super::Fleet;
use crate::revocations::{Entry, Merged, Revocations};

impl Fleet {
    /// Those whose credentials no longer count.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Takes a revocation of a person here.
    pub fn take_revocation(&mut self, unix: UnixTime, entry: Entry) -> Merged {
        self.revocations.merge(unix, entry)
    }

    /// Takes revocations from another nameserver; those that are news.
    pub fn take_revocations(&mut self, unix: UnixTime, entries: Vec<Entry>) -> Vec<Entry> {
        self.revocations.merge_all(unix, entries)
    }

    /// Lets revocations run out; to be called every few seconds. True if any did, or, where the
    /// clock went back, holds again.
    pub fn pass_revocations(&mut self, unix: UnixTime) -> bool {
        self.revocations.tell_time(unix)
    }

    /// The relays that were heard lately and apply others than this node knows.
    pub fn behind(&self, now: Instant) -> Vec<String> {
        let t = self.inventory.thresholds();
        let relays = self.inventory.relays().iter().zip(&self.members);
        let heard = relays.filter(|(_, member)| member.health.silence(now) < t.silence_dead);
        let generation = self.revocations.generation();
        let behind = heard.filter(|(_, member)| member.revocations != generation);
        behind.map(|(relay, _)| relay.id.to_string()).collect()
    }
}
