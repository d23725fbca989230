//! The other observers: what each last said, how fresh that is, and how it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use liveness::{NodeId, RelayId};

use super::{Ballot, BallotOutcome, Domain, Tally, Vote};
use crate::explain::{BallotFacts, ObserverFacts};
use crate::inventory::Thresholds;
use crate::limits;

#[derive(Debug)]
struct Peer {
    domain: Domain,
    generation: u64,
    configuration: u64,
    heard: Instant,
    isolated: bool,
    votes: BTreeMap<RelayId, Vote>,
}

impl Peer {
    fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    fn is_live(&self, now: Instant, t: &Thresholds) -> bool {
        self.silence(now) < t.ballot_life
    }

    fn vote(&self, relay: &RelayId) -> Vote {
        self.votes.get(relay).copied().unwrap_or_default()
    }
}

/// The other observers.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    peers: BTreeMap<NodeId, Peer>,
}

impl Peers {
    /// Takes a ballot; with `Counted` comes whether it says or means anything new.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        ballot: &Ballot,
        t: &Thresholds,
    ) -> (BallotOutcome, bool) {
        let Domain { vendor, region } = &ballot.observer.domain;
        let place = vendor.len().max(region.len());
        if ballot.votes.len() > limits::RELAYS_MAX || place > limits::PLACE_MAX {
            return (BallotOutcome::TooLong, false);
        }
        let known = self.peers.get(&ballot.observer.id);
        if let Some(peer) = known.filter(|peer| ballot.generation <= peer.generation) {
            let newest = peer.generation;
            return (BallotOutcome::Stale { newest }, false);
        }
        if known.is_none() && self.peers.len() >= limits::OBSERVERS_MAX && !self.make_room(now, t) {
            return (BallotOutcome::Crowded, false);
        }
        let peer = Peer {
            domain: ballot.observer.domain.clone(),
            generation: ballot.generation,
            configuration: ballot.configuration,
            heard: now,
            isolated: ballot.isolated,
            votes: ballot.votes.iter().copied().collect(),
        };
        let before = self.peers.insert(ballot.observer.id, peer);
        let peer = &self.peers[&ballot.observer.id];
        let same = before.is_some_and(|before| {
            before.is_live(now, t)
                && before.isolated == peer.isolated
                && before.domain == peer.domain
                && before.votes == peer.votes
        });
        (BallotOutcome::Counted, !same)
    }

    /// Forgets the observer that has been gone for longest, if one is gone.
    fn make_room(&mut self, now: Instant, t: &Thresholds) -> bool {
        let gone = self
            .peers
            .iter()
            .filter(|(_, p)| p.silence(now) >= t.patience);
        let longest = gone.min_by_key(|(_, peer)| peer.heard).map(|(id, _)| *id);
        longest.is_some_and(|id| self.peers.remove(&id).is_some())
    }

    /// The votes on a relay that count, `own` of an observer in `domain` among them.
    pub(crate) fn tally(
        &self,
        now: Instant,
        relay: &RelayId,
        (domain, own): (Option<&Domain>, Vote),
        t: &Thresholds,
    ) -> Tally {
        let counting = self.peers.values();
        let counting = counting.filter(|peer| peer.is_live(now, t) && !peer.isolated);
        let said = counting.map(|peer| (Some(&peer.domain), peer.vote(relay)));
        count(said.chain([(domain, own)]))
    }

    /// Whether the other observers, those that distrust themselves included, find a relay dead as
    /// well: no more than a third calls it up, and one in another failure domain calls it down.
    pub(crate) fn confirm(
        &self,
        now: Instant,
        relay: &RelayId,
        domain: &Domain,
        t: &Thresholds,
    ) -> bool {
        let live = || self.peers.values().filter(|peer| peer.is_live(now, t));
        let said = live().map(|peer| (Some(&peer.domain), peer.vote(relay)));
        let with_own = count(said.chain([(Some(domain), Vote::Down)]));
        with_own.condemns() && with_own.down > 1
    }

    /// What each observer heard lately says of a relay.
    pub(crate) fn facts(&self, now: Instant, relay: &RelayId, t: &Thresholds) -> Vec<BallotFacts> {
        let live = self.peers.iter().filter(|(_, peer)| peer.is_live(now, t));
        let facts = live.map(|(id, peer)| BallotFacts {
            observer: id.to_string(),
            vendor: peer.domain.vendor.clone(),
            region: peer.domain.region.clone(),
            vote: peer.vote(relay),
            ago_ms: u64::try_from(peer.silence(now).as_millis()).unwrap_or(u64::MAX),
            generation: peer.generation,
            isolated: peer.isolated,
        });
        facts.collect()
    }

    /// Every observer that has been heard within the patience for silent ones.
    pub(crate) fn observers(&self, now: Instant, t: &Thresholds) -> Vec<ObserverFacts> {
        let known = self.peers.iter();
        let known = known.filter(|(_, peer)| peer.silence(now) < t.patience);
        let facts = known.map(|(id, peer)| {
            let votes = |vote| peer.votes.values().filter(|said| **said == vote).count();
            ObserverFacts {
                observer: id.to_string(),
                vendor: peer.domain.vendor.clone(),
                region: peer.domain.region.clone(),
                ago_ms: u64::try_from(peer.silence(now).as_millis()).unwrap_or(u64::MAX),
                generation: peer.generation,
                configuration: peer.configuration,
                fresh: peer.is_live(now, t),
                isolated: peer.isolated,
                up: votes(Vote::Up),
                down: votes(Vote::Down),
            }
        });
        facts.collect()
    }

    /// Whether anybody has been heard within the patience for silent observers.
    pub(crate) fn any_known(&self, now: Instant, t: &Thresholds) -> bool {
        self.peers.values().any(|p| p.silence(now) < t.patience)
    }

    /// How many observers are known, and since when each of those that are silent is.
    pub(crate) fn silent(&self, now: Instant, t: &Thresholds) -> (usize, Vec<Instant>) {
        let known = || self.peers.values().filter(|p| p.silence(now) < t.patience);
        let silent = known().filter(|peer| !peer.is_live(now, t));
        (known().count(), silent.map(|peer| peer.heard).collect())
    }

    /// When an observer next falls silent or is given up, after `now`.
    pub(crate) fn deadline(&self, now: Instant, t: &Thresholds) -> Option<Instant> {
        let times = self.peers.values();
        let times = times.flat_map(|peer| [peer.heard + t.ballot_life, peer.heard + t.patience]);
        times.filter(|at| *at > now).min()
    }
}

fn count<'a>(said: impl Iterator<Item = (Option<&'a Domain>, Vote)>) -> Tally {
    let (mut domains, mut against) = (BTreeSet::new(), BTreeSet::new());
    let mut tally = Tally::default();
    for (domain, vote) in said {
        tally.observers += 1;
        domains.insert(domain);
        match vote {
            Vote::Up => tally.up += 1,
            Vote::Down => {
                tally.down += 1;
                against.insert(domain);
            }
            Vote::Abstain => {}
        }
    }
    // At most one domain per observer, of which there are few.
    tally.domains = domains.len() as u16;
    tally.down_domains = against.len() as u16;
    tally
}
