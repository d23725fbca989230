//! What follows from one input: probes, a verdict, and what that means for the other relays.

use std::time::Instant;

use super::{Action, Fleet};
use crate::health::State;
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
            self.find_dark();
            // A relay on its way back is held while others are up; now perhaps none is.
            while let Some(changed) = (0..self.members.len()).find(|other| {
                let waits = self.members[*other].health.verdict().state == State::Down;
                waits && self.dark[self.inventory.home(*other)] && self.judge(now, *other)
            }) {
                debug_assert!(changed < self.members.len());
                self.find_dark();
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
        let t = self.inventory.thresholds();
        let alone = self.dark[self.inventory.home(index)];
        let member = &mut self.members[index];
        let before = (member.standing(), member.health.verdict().state);
        member.health.judge(now, t, alone);
        member.deadline = member.health.deadline(now, t);
        let after = (member.standing(), member.health.verdict().state);
        if before.1 != after.1 && after.1 == State::Down {
            self.counters.condemned += 1;
        }
        self.publish_wanted |= before.0 != after.0;
        before.0 != after.0
    }

    pub(super) fn find_dark(&mut self) {
        let regions = self.inventory.regions().len();
        let mut lit = vec![false; regions];
        for (index, member) in self.members.iter().enumerate() {
            lit[self.inventory.home(index)] |= member.standing() == Standing::Up;
        }
        self.dark = vec![false; regions];
        for region in 0..regions {
            let reach = self.inventory.reach(region);
            if !reach.iter().any(|near| lit[*near]) {
                for near in reach {
                    self.dark[*near] = true;
                }
            }
        }
    }
}
