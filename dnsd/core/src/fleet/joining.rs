//! Whose a report is: a listed relay's, or one's that joins by itself, is replaced, leaves again.

use std::time::Instant;

use liveness::{KeyId, ReplayGuard, Report};

use super::{Action, Fleet, Member, ReportOutcome};
use crate::health::Health;
use crate::inventory::{Applicant, Inventory, Refusal};

impl Fleet {
    /// The place of the relay that a report is from; one that may join gets one now.
    pub(super) fn place(
        &mut self,
        now: Instant,
        key: KeyId,
        report: &Report,
    ) -> Result<usize, Box<ReportOutcome>> {
        if let Some(index) = self.inventory.relay_index(&report.relay) {
            let entry = &self.inventory.relays()[index];
            if !entry.keys.contains(&key) {
                self.counters.wrong_key += 1;
                return Err(Box::new(ReportOutcome::WrongKey(key)));
            }
            // Where one that has joined is, it said itself.
            let elsewhere = self.inventory.has_joined(index) && !entry.agrees_with(report);
            if !elsewhere {
                return Ok(index);
            }
            if !self.has_gone(now, index) {
                self.members[index].twins.fence(now);
                return Err(Box::new(self.twins(now, index)));
            }
            self.dismiss(now, index);
        }
        self.enrol(now, key, report).map_err(|refusal| {
            self.counters.unknown_relay += 1;
            Box::new(ReportOutcome::UnknownRelay(refusal))
        })
    }

    /// A report of one of two machines with one name: which, nobody knows.
    pub(super) fn twins(&mut self, now: Instant, index: usize) -> ReportOutcome {
        self.counters.twins += 1;
        self.members[index].health.disbelieve();
        self.step(now, index);
        ReportOutcome::Twin(self.reply(index, 0))
    }

    /// Takes in a relay that is not listed; its place.
    fn enrol(&mut self, now: Instant, key: KeyId, report: &Report) -> Result<usize, Refusal> {
        let applicant = Applicant::new(key, report);
        if !self
            .inventory
            .enrolments()
            .iter()
            .any(|rule| rule.key == key)
        {
            return Err(Refusal::NoRule);
        }
        // A new machine may have the address of one that is gone.
        while let Some(gone) = (0..self.members.len()).find(|index| {
            let entry = &self.inventory.relays()[*index];
            let same = entry.is_at(applicant.ipv4, applicant.ipv6);
            same && entry.keys.contains(&key) && self.has_gone(now, *index)
        }) {
            self.dismiss(now, gone);
        }
        self.inventory.admit(&applicant)?;
        let health = Health::joined(report.relay, now);
        let mut member = Member::new(health, ReplayGuard::new(), now);
        let (entry, t) = (
            &self.inventory.relays()[self.members.len()],
            self.inventory.thresholds(),
        );
        member.offer(now, entry, t);
        self.members.push(member);
        self.counters.joined += 1;
        self.roster_changed(now);
        // What people decided of its zone or vendor holds for it, too.
        self.obey(now);
        Ok(self.members.len() - 1)
    }

    /// Whether a relay has joined and is neither good nor heard any more.
    fn has_gone(&self, now: Instant, index: usize) -> bool {
        let member = &self.members[index];
        let t = self.inventory.thresholds();
        self.inventory.has_joined(index)
            && !member.standing().is_healthy()
            && member.health.silence(now) >= t.silence_dead
    }

    /// Forgets relays that have joined and are long gone.
    pub(super) fn forget(&mut self, now: Instant) {
        let t = self.inventory.thresholds();
        let (long, leaving) = (t.forget, t.forget_leaving);
        let passed = |fleet: &Self, index: usize| {
            let member = &fleet.members[index];
            let after = if member.health.said_goodbye() {
                leaving
            } else {
                long
            };
            fleet.has_gone(now, index) && member.health.silence(now) >= after
        };
        while let Some(index) = (0..self.members.len()).rev().find(|i| passed(self, *i)) {
            self.dismiss(now, index);
        }
    }

    fn dismiss(&mut self, now: Instant, index: usize) {
        self.members.remove(index);
        self.inventory.dismiss(index);
        self.roster_changed(now);
    }

    fn roster_changed(&mut self, now: Instant) {
        self.quiet = self.members.iter().filter(|m| m.is_quiet()).count();
        self.find_dark(now);
        self.publish_wanted = true;
        if !self.actions.contains(&Action::Roster) {
            self.actions.push_back(Action::Roster);
        }
        self.tell();
        self.wake_council(now);
    }

    /// `inventory` with the relays that have joined and may stay by its rules.
    pub(super) fn with_joined(&self, mut inventory: Inventory) -> Inventory {
        for (index, entry) in self.inventory.relays().iter().enumerate() {
            if self.inventory.has_joined(index)
                && let Some(applicant) = Applicant::again(entry)
            {
                // What does not fit any more is gone: that is what the change is for.
                let _ = inventory.admit(&applicant);
            }
        }
        inventory
    }
}
