//! Reports that another nameserver passed on: what a relay says of itself, to a node that does not
//! hear it. They are no evidence that it can be reached from here.

use std::time::Instant;

use liveness::{KeyId, RelayId, ReplayGuard, Report};

use super::{Fleet, Member};
use crate::inventory::Thresholds;

impl Member {
    /// Takes in a report that came by itself. Where one that was passed on has overtaken it, that the
    /// relay is heard is news, its word is not.
    pub(super) fn hear(&mut self, now: Instant, report: &Report, t: &Thresholds) {
        let overtaken = (report.boot, report.sequence) < self.hearsay;
        let word = self.health.claim().filter(|_| overtaken);
        self.revocations = report.revocations;
        self.health.handle_report(now, report, t);
        if let Some(word) = word {
            self.health.hear_say(now, word, t);
        }
    }
}

impl Fleet {
    /// The relays that are not heard, whose reports others should pass on.
    pub fn unheard(&self, now: Instant) -> Vec<RelayId> {
        let t = self.inventory.thresholds();
        let relays = self.inventory.relays().iter().zip(&self.members);
        let silent = relays.filter(|(_, member)| member.health.silence(now) >= t.silence_suspect);
        silent.map(|(relay, _)| relay.id).collect()
    }

    /// Takes a report that was passed on and whose MAC has been verified with the key `key`; true if
    /// it is news. While the relay is heard it is none: one's own ears go first.
    pub fn handle_hearsay(&mut self, now: Instant, key: KeyId, report: &Report) -> bool {
        let Some(index) = self.inventory.relay_index(&report.relay) else {
            return false;
        };
        let entry = &self.inventory.relays()[index];
        let t = self.inventory.thresholds();
        let elsewhere = self.inventory.has_joined(index) && !entry.agrees_with(report);
        let member = &mut self.members[index];
        let (said, heard) = ((report.boot, report.sequence), member.guard);
        let newest = member.hearsay.max((heard.boot(), heard.sequence()));
        if !entry.keys.contains(&key)
            || elsewhere
            || said <= newest
            || member.health.silence(now) < t.silence_suspect
            || member.twins.are_there(now)
        {
            return false;
        }
        member.hearsay = said;
        if report.boot > heard.boot() {
            // Of this start, and of none before it, reports may still come by themselves.
            member.guard = ReplayGuard::restored(report.boot, 0);
        }
        self.counters.hearsay += 1;
        member.load.observe(now, report, t);
        member.revocations = report.revocations;
        self.publish_wanted |= member.report_transports(now, entry, report.transports, t);
        member.health.hear_say(now, report.state, t);
        self.step(now, index);
        true
    }
}
