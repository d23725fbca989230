//! What follows from one input: probes, a verdict, and what that means for the other relays.

use std::time::Instant;

use super::{Action, Fleet, Member};
use crate::health::{Around, Reason, State};
use crate::steer::Standing;

impl Fleet {
    /// Whether every relay has been judged by this node itself, or has had long enough.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        now >= self.started + self.inventory.thresholds().settle
            || self.members.iter().all(|member| member.health.is_judged())
    }

    /// What follows for one relay from its input: probes, a verdict, and what that means for others.
    pub(super) fn step(&mut self, now: Instant, index: usize) {
        self.probe(now, index);
        if self.judge(now, index) {
            self.find_dark(now);
            // A relay on its way back is held while others are up; now perhaps none is.
            while let Some(changed) = (0..self.members.len()).find(|other| {
                let waits = self.members[*other].health.verdict().state == State::Down;
                waits && self.dark[self.inventory.home(*other)] && self.judge(now, *other)
            }) {
                debug_assert!(changed < self.members.len());
                self.find_dark(now);
            }
        }
        if self.cautious && self.is_settled(now) {
            self.cautious = false;
            self.publish_wanted = true;
        }
    }

    fn probe(&mut self, now: Instant, index: usize) {
        let t = self.inventory.thresholds();
        let relay = self.inventory.relays()[index].id;
        for probe in self.members[index]
            .health
            .handle_timeout(now, t)
            .into_iter()
            .flatten()
        {
            self.counters.probes += 1;
            self.actions.push_back(Action::ProbeNow { relay, probe });
        }
    }

    /// Judges one relay; true when that changes how it counts.
    pub(super) fn judge(&mut self, now: Instant, index: usize) -> bool {
        let around = self.around(now, index);
        let t = self.inventory.thresholds();
        let dark = self.dark[self.inventory.home(index)];
        let member = &mut self.members[index];
        let seen = |member: &Member| (member.standing(), member.health.verdict().state);
        let (before, spoke) = (seen(member), member.health.speaks());
        member.health.judge(now, t, around);
        member.deadline = member.health.deadline(now, t);
        let after = seen(member);
        if before.1 != after.1 && after.1 == State::Down {
            self.counters.condemned += 1;
        }
        // Where nothing is up, those that speak serve first.
        let spoken = dark && spoke != member.health.speaks();
        self.publish_wanted |= before.0 != after.0 || spoken;
        before.0 != after.0
    }

    /// What the others mean for this one.
    fn around(&self, now: Instant, index: usize) -> Around {
        let t = self.inventory.thresholds();
        let home = self.inventory.home(index);
        let mut around = Around {
            alone: self.dark[home] || self.mending[home].is_some_and(|until| now < until),
            ..Around::default()
        };
        let member = &self.members[index].health;
        if member.fails_echo(t) || member.verdict().reason == Reason::EchoFails {
            around.last_up = self.dark_regions(Some(index)).any(|region| region == home);
            let echoed = || self.members.iter().filter(|m| m.health.is_echoed(t));
            let failing = echoed().filter(|m| m.health.fails_echo(t)).count();
            // One relay alone is no majority: what it fails at may well be its own doing.
            around.echo_doubtful = failing >= 2 && failing * 2 > echoed().count();
        }
        around
    }

    /// The regions whose relays serve some clients that have no relay that is up, not counting
    /// `without`; with repetitions.
    fn dark_regions(&self, without: Option<usize>) -> impl Iterator<Item = usize> + '_ {
        let regions = self.inventory.regions().len();
        let mut lit = vec![false; regions];
        for (index, member) in self.members.iter().enumerate() {
            let up = member.standing() == Standing::Up && without != Some(index);
            lit[self.inventory.home(index)] |= up;
        }
        let reaches = (0..regions).map(|region| self.inventory.reach(region));
        reaches
            .filter(move |reach| !reach.iter().any(|near| lit[*near]))
            .flatten()
            .copied()
    }

    pub(super) fn find_dark(&mut self, now: Instant) {
        let t = self.inventory.thresholds();
        let regions = self.inventory.regions().len();
        let mut dark = vec![false; regions];
        for region in self.dark_regions(None) {
            dark[region] = true;
        }
        let before = std::mem::replace(&mut self.dark, dark);
        self.mending.resize(regions, None);
        let window = t.hold + t.echo_interval.unwrap_or_default();
        for (region, was_dark) in before.into_iter().enumerate() {
            if was_dark && !self.dark[region] {
                self.mending[region] = Some(now + window);
            }
        }
        // All that went together had one cause, and it was hardly their own.
        for (index, member) in self.members.iter_mut().enumerate() {
            if self.dark[self.inventory.home(index)] {
                member.health.pardon(now, t);
            }
        }
    }
}
