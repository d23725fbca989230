//! The fleet under people's decisions: obeys those that hold, and foresees what one would do.

use std::time::Instant;

use credentials::UnixTime;
use serde::Serialize;

use super::Fleet;
use crate::health::Override;
use crate::overrides::{Entry, Merged, Overrides};
use crate::steer::Standing;
use crate::votes::Vote;

/// What a decision would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Foresight {
    /// The relays that would be treated otherwise than now.
    pub relays: Vec<String>,
    /// By region of clients, the relays that its clients may be sent to.
    pub regions: Vec<Reserve>,
}

/// The relays that the clients of one region may be sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reserve {
    /// The region.
    pub region: String,
    /// How many there are.
    pub relays: usize,
    /// How many are up.
    pub up: usize,
    /// How many would be.
    pub would_be_up: usize,
    /// How many should be.
    pub floor: usize,
}

impl Foresight {
    /// The regions left with fewer relays than should be, because of the decision.
    pub fn below_floor(&self) -> impl Iterator<Item = &Reserve> {
        let below = |reserve: &&Reserve| {
            reserve.would_be_up < reserve.floor && reserve.would_be_up < reserve.up
        };
        self.regions.iter().filter(below)
    }
}

impl Fleet {
    /// The decisions of people.
    pub fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// Takes a decision, of a person here or from another nameserver, and obeys it.
    pub fn take_override(&mut self, now: Instant, unix: UnixTime, entry: Entry) -> Merged {
        let merged = self.overrides.merge(unix, entry);
        if merged == Merged::News {
            self.obey(now);
        }
        merged
    }

    /// Lets decisions run out; to be called every few seconds. Those that have, or, where the
    /// clock went back, hold again.
    pub fn pass_overrides(&mut self, now: Instant, unix: UnixTime) -> Vec<Entry> {
        let changed = self.overrides.tell_time(unix);
        if !changed.is_empty() {
            self.obey(now);
        }
        changed
    }

    /// What a decision would do, before it is taken.
    pub fn foresee(&self, unix: UnixTime, entry: Entry) -> Foresight {
        let mut then = self.overrides.clone();
        then.merge(unix, entry);
        let relays = self.inventory.relays();
        let changes = relays
            .iter()
            .zip(&self.members)
            .filter(|(relay, member)| then.decision(relay) != member.health.decision());
        let would_be_up = |index: usize| {
            let health = &self.members[index].health;
            let up = self.members[index].standing() == Standing::Up;
            match then.decision(&relays[index]) {
                decision if decision == health.decision() => up,
                Some(decision) => decision == Override::Up,
                None => health.finding() == Vote::Up,
            }
        };
        let regions = self.inventory.regions().iter().enumerate();
        let regions = regions.map(|(region, entry)| {
            let reach = self.inventory.reach(region);
            let within = |index: &usize| reach.contains(&self.inventory.home(*index));
            let all: Vec<_> = (0..relays.len()).filter(within).collect();
            let up = |index: &&usize| self.members[**index].standing() == Standing::Up;
            Reserve {
                region: entry.id.to_string(),
                relays: all.len(),
                up: all.iter().filter(up).count(),
                would_be_up: all.iter().filter(|index| would_be_up(**index)).count(),
                floor: self.floor(all.len()),
            }
        });
        Foresight {
            relays: changes.map(|(relay, _)| relay.id.to_string()).collect(),
            regions: regions.collect(),
        }
    }

    /// Treats every relay as people have decided.
    pub(super) fn obey(&mut self, now: Instant) {
        for index in 0..self.members.len() {
            let decision = self.overrides.decision(&self.inventory.relays()[index]);
            let member = &mut self.members[index];
            let before = member.health.decision();
            if before != decision {
                let drained = before == Some(Override::Drain);
                member.undrain = drained && decision != Some(Override::Drain);
                member.health.force(decision);
                self.step(now, index);
            }
        }
    }
}
