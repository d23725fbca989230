//! The fleet among other observers: their ballots in, its own out, and what it thinks of itself.

use std::time::Instant;

use credentials::UnixTime;
use liveness::NodeId;

use super::Fleet;
use crate::explain::ObserverFacts;
use crate::health::Override;
use crate::steer::Standing;
use crate::votes::{Ballot, BallotOutcome, Domain, Glimpse, Isolation, Observer, Sight, Vote};

/// The generations of one second: so many ballots fit it before they run ahead of the clock.
const PER_SECOND: u32 = 20;

/// This node's own part in the votes.
#[derive(Debug)]
pub(super) struct Seat {
    observer: Observer,
    since: Instant,
    last_ballot: Option<Instant>,
    /// Something others should know has changed since.
    news: bool,
}

impl Fleet {
    /// Takes part in the votes from now on, as `me`. Until the ballots of others have had their
    /// time nothing is taken out.
    pub fn join(&mut self, now: Instant, unix: UnixTime, me: Observer) {
        self.generation = self.generation.max(unix.0 << PER_SECOND);
        self.seat = Some(Seat {
            observer: me,
            since: now,
            last_ballot: None,
            news: true,
        });
        self.wake_council(now);
        self.judge_all(now);
    }

    /// Takes what another observer says. `now` is what its age is counted from.
    pub fn handle_ballot(&mut self, now: Instant, ballot: &Ballot) -> BallotOutcome {
        let Some(seat) = &self.seat else {
            return BallotOutcome::NotJoined;
        };
        if seat.observer.id == ballot.observer.id {
            return BallotOutcome::Own;
        }
        let (outcome, news) = self.peers.take(now, ballot, self.inventory.thresholds());
        if outcome == BallotOutcome::Counted {
            self.counters.ballots += 1;
            // Secondaries that ask both must not see the serial fall.
            self.publish_wanted |= self.damper.hear(ballot.zones);
            self.wake_council(now + self.inventory.thresholds().ballot_life);
        } else {
            self.counters.ballots_refused += 1;
        }
        if news {
            self.look_at_self(now);
            self.judge_all(now);
        }
        outcome
    }

    /// Another node has seen a ballot of this one numbered `generation`: its own count was lost.
    pub fn outrun(&mut self, generation: u64) {
        self.generation = self.generation.max(generation);
    }

    /// What this node says now; to be sent to all other observers. `None` unless it has joined.
    pub fn ballot(&mut self, now: Instant) -> Option<Ballot> {
        let seat = self.seat.as_mut()?;
        seat.last_ballot = Some(now);
        seat.news = false;
        self.vote_wanted = false;
        self.generation += 1;
        let members = self.inventory.relays().iter().zip(&self.members);
        let votes = members.map(|(entry, member)| (entry.id, member.health.finding()));
        Some(Ballot {
            observer: seat.observer.clone(),
            generation: self.generation,
            configuration: self.inventory.generation(),
            zones: self.damper.edition(),
            isolated: self.doubt.current().is_some(),
            votes: votes.filter(|(_, vote)| *vote != Vote::Abstain).collect(),
        })
    }

    /// Whether this node distrusts itself, since when and why.
    pub fn isolation(&self) -> Option<Isolation> {
        self.doubt.current()
    }

    /// The other observers that have been heard lately.
    pub fn observers(&self, now: Instant) -> Vec<ObserverFacts> {
        self.peers.observers(now, self.inventory.thresholds())
    }

    /// This node's own id among the observers.
    pub fn observer(&self) -> Option<NodeId> {
        self.seat.as_ref().map(|seat| seat.observer.id)
    }

    /// What this node shares its fate with.
    pub(super) fn domain(&self) -> Option<&Domain> {
        self.seat.as_ref().map(|seat| &seat.observer.domain)
    }

    /// Whether it is too early to be sure that there are no other observers.
    pub(super) fn is_expecting(&self, now: Instant) -> bool {
        let life = self.inventory.thresholds().ballot_life;
        let early = |seat: &Seat| now < seat.since + life;
        self.seat.as_ref().is_some_and(early)
            && !self.peers.any_known(now, self.inventory.thresholds())
    }

    /// The others should hear of a change.
    pub(super) fn tell(&mut self) {
        if let Some(seat) = &mut self.seat {
            seat.news = true;
        }
    }

    /// Asks whether what has gone silent says more of this node than of the relays. True when the
    /// answer is another one than before.
    pub(super) fn look_at_self(&mut self, now: Instant) -> bool {
        let t = self.inventory.thresholds();
        let Some(seat) = &self.seat else {
            return false;
        };
        let domain = &seat.observer.domain;
        let relays = self.inventory.relays().iter().zip(&self.members);
        let relays = relays.filter(|(_, member)| member.standing().is_healthy());
        let relays = relays.filter(|(_, member)| member.health.decision() != Some(Override::Up));
        let relays = relays.map(|(entry, member)| {
            let quiet = member.health.quiet();
            Glimpse {
                vendor: &entry.vendor,
                quiet,
                confirmed: quiet.is_some() && self.peers.confirm(now, &entry.id, domain, t),
            }
        });
        let sight = Sight {
            relays: relays.collect(),
            peers: self.peers.silent(now, t),
            accompanied: self.peers.any_known(now, t),
        };
        let changed = self.doubt.look(now, &sight, t);
        if changed {
            self.counters.isolated += u64::from(self.doubt.current().is_some());
            self.tell();
        }
        changed
    }

    /// Lets time pass for ballots and self-doubt.
    pub(super) fn pass_council(&mut self, now: Instant) {
        let t = self.inventory.thresholds();
        let Some(seat) = &self.seat else {
            // Or the time set would stay behind for ever, and nothing else would get its turn.
            self.council_due = None;
            return;
        };
        let expected = seat.since + t.ballot_life;
        let passed = self.council_due.is_some_and(|at| at <= now);
        self.vote_wanted |= self.ballot_due().is_some_and(|at| at <= now);
        if passed {
            self.look_at_self(now);
            self.judge_all(now);
        }
        let t = self.inventory.thresholds();
        let due = [
            Some(expected).filter(|at| *at > now),
            self.peers.deadline(now, t),
            self.doubt.deadline(now, t),
        ];
        self.council_due = due.into_iter().flatten().min();
    }

    /// Has votes and self-doubt looked at no later than `at`.
    pub(super) fn wake_council(&mut self, at: Instant) {
        self.council_due = Some(self.council_due.map_or(at, |due| due.min(at)));
    }

    /// When the next ballot is due.
    pub(super) fn ballot_due(&self) -> Option<Instant> {
        let t = self.inventory.thresholds();
        let seat = self.seat.as_ref()?;
        Some(match seat.last_ballot {
            None => seat.since,
            Some(last) if seat.news => last + t.ballot_spacing,
            Some(last) => last + t.ballot_interval,
        })
    }

    /// Whether this node has lately taken out as many relays as it may by itself.
    pub(super) fn is_rationed(&self, now: Instant, index: usize) -> bool {
        let t = self.inventory.thresholds();
        let share = (self.members.len() * t.removal_percent)
            .div_ceil(100)
            .max(2);
        let lately = |at: &&Instant| now.saturating_duration_since(**at) < t.removal_window;
        let taken = self.removals.iter().filter(lately).count();
        // Where no other is up, a ration keeps nobody: the last-known-good serve.
        let mut others = (0..self.members.len()).filter(|other| *other != index);
        taken >= share && others.any(|other| self.members[other].standing() == Standing::Up)
    }

    /// How many of `relays` should stay up.
    pub(super) fn floor(&self, relays: usize) -> usize {
        let percent = self.inventory.thresholds().floor_percent;
        (relays * percent).div_ceil(100).max(1)
    }

    /// Whether taking one relay out leaves some clients fewer that are up than the floor.
    pub(super) fn is_at_floor(&self, index: usize) -> bool {
        let home = self.inventory.home(index);
        let regions = 0..self.inventory.regions().len();
        let reaches = regions.map(|region| self.inventory.reach(region));
        reaches.filter(|reach| reach.contains(&home)).any(|reach| {
            let within = |other: &usize| reach.contains(&self.inventory.home(*other));
            let all = (0..self.members.len()).filter(within);
            let up =
                |other: &usize| *other != index && self.members[*other].standing() == Standing::Up;
            let floor = self.floor(all.clone().count());
            // Where no other is up, the last-known-good serve, this one among them.
            (1..floor).contains(&all.filter(up).count())
        })
    }
}
