//! What follows from one input: probes, a verdict, and what that means for the other relays.

use std::time::Instant;

use super::{Action, Fleet};
use crate::health::{Around, Guards, Reason, State};
use crate::limits;
use crate::steer::Standing;
use crate::votes::Tally;

impl Fleet {
    /// Whether every relay has been judged by this node itself, or has had long enough.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        now >= self.started + self.inventory.thresholds().settle
            || self.members.iter().all(|member| member.health.is_judged())
    }

    /// What follows for one relay from its input: probes, a verdict, and what that means for others.
    pub(super) fn step(&mut self, now: Instant, index: usize) {
        self.probe(now, index);
        let before = self.quiet;
        debug_assert_eq!(before, self.members.iter().filter(|m| m.is_quiet()).count());
        let changed = self.judge(now, index);
        // What has just gone silent may be this node's own fault: then all are judged by that.
        let doubtful = before.max(self.quiet) > 0 || self.doubt.current().is_some();
        if doubtful && self.look_at_self(now) {
            self.judge_all(now);
        } else if changed {
            self.after_change(now);
        }
        if let Some(at) = self.doubt.deadline(now, self.inventory.thresholds()) {
            self.wake_council(at);
        }
        if self.cautious && self.is_settled(now) {
            self.cautious = false;
            self.publish_wanted = true;
        }
    }

    /// Judges all relays again: something that concerns them all has changed.
    pub(super) fn judge_all(&mut self, now: Instant) {
        let mut changed = false;
        for index in 0..self.members.len() {
            changed |= self.judge(now, index);
        }
        if changed {
            self.after_change(now);
        }
    }

    fn after_change(&mut self, now: Instant) {
        self.set_pace(now);
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

    fn probe(&mut self, now: Instant, index: usize) {
        let t = self.inventory.thresholds();
        let relay = self.inventory.relays()[index].id;
        let echo_interval = t.echo_interval.map(|interval| self.pace.of(interval));
        for probe in self.members[index]
            .health
            .handle_timeout(now, t, echo_interval)
            .into_iter()
            .flatten()
        {
            self.counters.probes += 1;
            self.actions.push_back(Action::ProbeNow { relay, probe });
        }
        self.probe_paths(now, index);
    }

    /// Judges one relay; true when that changes how it counts.
    pub(super) fn judge(&mut self, now: Instant, index: usize) -> bool {
        let echo_doubtful = self.is_echo_doubtful(index);
        let t = self.inventory.thresholds();
        let dark = self.dark[self.inventory.home(index)];
        let member = &mut self.members[index];
        let (was_quiet, voted) = (usize::from(member.is_quiet()), member.health.finding());
        let before = (member.standing(), member.health.verdict().state);
        let (spoke, was_gray) = (member.health.speaks(), member.is_gray());
        let finding = member.health.find(now, t, echo_doubtful);
        let around = self.around(now, index, echo_doubtful);
        let t = self.inventory.thresholds();
        let member = &mut self.members[index];
        member.health.judge(now, t, around);
        let after = (member.standing(), member.health.verdict().state);
        let grayed = was_gray != member.is_gray();
        self.quiet = self.quiet + usize::from(member.is_quiet()) - was_quiet;
        // Where nothing is up, those that speak serve first.
        let spoken = dark && spoke != member.health.speaks();
        let silent = member.health.is_silent();
        self.publish_wanted |= before.0 != after.0 || spoken || grayed;
        if before.1 != after.1 && after.1 == State::Down {
            self.counters.condemned += 1;
            if before.0.is_healthy() && silent && !around.tally.is_shared() {
                self.ration(now);
            }
        }
        if finding != voted {
            self.tell();
        }
        self.judge_paths(now, index);
        let t = self.inventory.thresholds();
        let member = &mut self.members[index];
        let health = member.health.deadline(now, t);
        let paths = member.path_deadline(now, t);
        member.deadline = paths.map_or(health, |paths| health.min(paths));
        before.0 != after.0
    }

    /// Counts a relay that this node took out by itself.
    fn ration(&mut self, now: Instant) {
        let window = self.inventory.thresholds().removal_window;
        let old = |at: &Instant| now.saturating_duration_since(*at) >= window;
        while self.removals.front().is_some_and(old) || self.removals.len() >= limits::RELAYS_MAX {
            self.removals.pop_front();
        }
        self.removals.push_back(now);
    }

    /// What the others mean for this one.
    fn around(&self, now: Instant, index: usize, echo_doubtful: bool) -> Around {
        let home = self.inventory.home(index);
        let mending = self.mending[home].is_some_and(|until| now < until);
        let member = &self.members[index].health;
        let mut around = Around {
            alone: self.dark[home] || mending,
            echo_doubtful,
            frozen: self.doubt.current().map(|isolation| isolation.since),
            expecting: self.is_expecting(now),
            tally: self.tally(now, index),
            complained: self.is_complained_of(index),
            ..Around::default()
        };
        if member.accused().is_some() {
            around.guards = Guards {
                last_up: self.dark_regions(Some(index)).any(|region| region == home),
                at_floor: self.is_at_floor(index),
                rationed: self.is_rationed(now, index),
            };
        }
        around
    }

    /// The votes on a relay, this node's own among them.
    pub(super) fn tally(&self, now: Instant, index: usize) -> Tally {
        let relay = &self.inventory.relays()[index].id;
        let own = (self.domain(), self.members[index].health.finding());
        let t = self.inventory.thresholds();
        self.peers.tally(now, relay, own, t)
    }

    /// Whether most relays fail at the echo, so that it says more of this node than of this one.
    fn is_echo_doubtful(&self, index: usize) -> bool {
        let t = self.inventory.thresholds();
        let member = &self.members[index].health;
        if !member.fails_echo(t) && member.verdict().reason != Reason::EchoFails {
            return false;
        }
        let echoed = || self.members.iter().filter(|m| m.health.is_echoed(t));
        let failing = echoed().filter(|m| m.health.fails_echo(t)).count();
        // One relay alone is no majority: what it fails at may well be its own doing.
        failing >= 2 && failing * 2 > echoed().count()
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
