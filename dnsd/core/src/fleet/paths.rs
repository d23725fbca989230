//! The paths of all relays: which are probed, which are withdrawn, and what keeps one node's probes
//! from withdrawing too many.

use std::time::{Duration, Instant};

use liveness::{RelayId, Transports};

use super::{Action, Fleet, Member};
use crate::health::{Outcome, PathHealth, PathVerdict, Probe, Unwithdrawn};
use crate::inventory::{RelayEntry, Thresholds};
use crate::paths::{Path, PathSet};
use crate::spread::hash;
use crate::steer::Standing;

impl Member {
    /// Judges the paths that the relay serves, and forgets the others.
    pub(super) fn offer(&mut self, now: Instant, entry: &RelayEntry, t: &Thresholds) {
        let seed = hash(entry.id.as_str().as_bytes());
        let mut known = std::mem::take(&mut self.paths);
        let judged = entry.judged_paths(self.word);
        self.paths = judged
            .map(|path| {
                let place = known.iter().position(|old| old.verdict().path == path);
                place.map_or_else(
                    || PathHealth::new(path, seed, now, t),
                    |place| known.swap_remove(place),
                )
            })
            .collect();
    }

    /// Takes what a report says of the relay's transports. True when clients are to be told.
    pub(super) fn report_transports(
        &mut self,
        now: Instant,
        entry: &RelayEntry,
        named: Transports,
        t: &Thresholds,
    ) -> bool {
        let before = entry.paths(self.word);
        self.word.hear(named);
        let changed = before != entry.paths(self.word);
        if changed {
            self.offer(now, entry, t);
        }
        changed
    }

    /// The paths that clients are kept off.
    pub(super) fn withdrawn(&self) -> PathSet {
        let verdicts = self.paths.iter().map(PathHealth::verdict);
        let withdrawn = verdicts.filter(|verdict| verdict.withdrawn);
        withdrawn.map(|verdict| verdict.path).collect()
    }

    fn path(&self, path: Path) -> Option<&PathHealth> {
        self.paths.iter().find(|own| own.verdict().path == path)
    }

    pub(super) fn path_mut(&mut self, path: Path) -> Option<&mut PathHealth> {
        self.paths.iter_mut().find(|own| own.verdict().path == path)
    }

    /// When a path next wants something; none while the relay as a whole fails.
    pub(super) fn path_deadline(&self, now: Instant, t: &Thresholds) -> Option<Instant> {
        let paths = self.paths.iter().filter(|_| !self.health.fails(t));
        paths.filter_map(|path| path.deadline(now, t)).min()
    }

    /// When clients were last taken off a path, or let back.
    pub(super) fn path_changed(&self) -> Option<Instant> {
        self.paths.iter().filter_map(PathHealth::changed).max()
    }
}

impl Fleet {
    /// Takes what a probe of a path saw of the certificate's life: how much is left of it. To be
    /// told before the probe's outcome.
    pub fn handle_certificate(&mut self, now: Instant, relay: RelayId, path: Path, left: Duration) {
        let index = self.inventory.relay_index(&relay);
        let member = index.and_then(|index| self.members.get_mut(index));
        if let Some(path) = member.and_then(|member| member.path_mut(path)) {
            path.handle_certificate(now, left);
        }
    }

    /// The verdicts on a relay's paths that are judged apart from it.
    pub fn paths(&self, relay: RelayId) -> impl Iterator<Item = PathVerdict> {
        let index = self.inventory.relay_index(&relay);
        let member = index.and_then(|index| self.members.get(index));
        let paths = member.map(|member| member.paths.as_slice());
        paths.unwrap_or_default().iter().map(PathHealth::verdict)
    }

    pub(super) fn handle_path_probe(
        &mut self,
        now: Instant,
        index: usize,
        path: Path,
        (probe, outcome): (Probe, &Outcome),
    ) -> bool {
        let path = self.members[index].path_mut(path);
        path.is_some_and(|path| path.handle_probe(now, probe, outcome))
    }

    /// Asks for the probes of one relay's paths that are due.
    pub(super) fn probe_paths(&mut self, now: Instant, index: usize) {
        let t = self.inventory.thresholds();
        let relay = self.inventory.relays()[index].id;
        let member = &mut self.members[index];
        if member.health.fails(t) {
            for path in &mut member.paths {
                path.forgive(now, t);
            }
            return;
        }
        let Some(interval) = t.path_interval.map(|interval| self.pace.of(interval)) else {
            return;
        };
        let paths = member.paths.iter_mut();
        for probe in paths.filter_map(|path| path.due(now, t, interval)) {
            self.counters.probes += 1;
            self.actions.push_back(Action::ProbeNow { relay, probe });
        }
    }

    /// Judges one relay's paths.
    pub(super) fn judge_paths(&mut self, now: Instant, index: usize) {
        let t = self.inventory.thresholds();
        for place in 0..self.members[index].paths.len() {
            let member = &self.members[index];
            let own = &member.paths[place];
            let path = own.verdict().path;
            let charge = own.charge(now, t, |since| member.health.works_since(since, t));
            let charge = charge.filter(|_| !member.health.fails(t));
            let doubtful = charge.is_some() && self.is_path_doubtful(now, path);
            let guard = charge.and_then(|_| self.unwithdrawn(path, index, doubtful));
            let changed = self.members[index].paths[place].judge(now, t, charge, guard);
            self.publish_wanted |= changed;
            if doubtful {
                for path in self.members.iter_mut().filter_map(|m| m.path_mut(path)) {
                    self.publish_wanted |= path.release(now, t);
                }
            }
        }
    }

    /// What forbids to withdraw a path that fails.
    fn unwithdrawn(&self, path: Path, index: usize, doubtful: bool) -> Option<Unwithdrawn> {
        [
            (self.doubt.current().is_some(), Unwithdrawn::Isolated),
            (doubtful, Unwithdrawn::MostFail),
            (self.is_path_at_floor(path, index), Unwithdrawn::Floor),
        ]
        .into_iter()
        .find_map(|(holds, why)| holds.then_some(why))
    }

    /// Whether a path fails at most relays at once that work otherwise, which says more of this
    /// node, its network or its clock than of them. One relay alone is no majority.
    fn is_path_doubtful(&self, now: Instant, path: Path) -> bool {
        let t = self.inventory.thresholds();
        let works = self.members.iter().filter(|m| !m.health.fails(t));
        let told = works.filter_map(|member| member.path(path)?.fails(now, t));
        let (failing, all) = told.fold((0, 0), |(failing, all), fails| {
            (failing + usize::from(fails), all + 1)
        });
        failing >= 2 && failing * 2 > all
    }

    /// Whether withdrawing a path leaves some clients fewer relays that work there than the floor:
    /// the last one at any rate.
    fn is_path_at_floor(&self, path: Path, index: usize) -> bool {
        let t = self.inventory.thresholds();
        let home = self.inventory.home(index);
        let regions = 0..self.inventory.regions().len();
        let reaches = regions.map(|region| self.inventory.reach(region));
        reaches.filter(|reach| reach.contains(&home)).any(|reach| {
            let within = |other: &usize| reach.contains(&self.inventory.home(*other));
            let offers = |other: &usize| self.members[*other].path(path).is_some();
            let all = (0..self.members.len()).filter(within).filter(offers);
            let works = |other: &usize| {
                let member = &self.members[*other];
                let up = member.standing() == Standing::Up && *other != index;
                up && !member.withdrawn().has(path)
            };
            let floor = (all.clone().count() * t.floor_percent).div_ceil(100).max(1);
            all.filter(works).count() < floor
        })
    }
}
