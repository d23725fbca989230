//! What must hold whatever happens, held against the truth that only the simulation knows.

use std::collections::BTreeSet;

use dnsd_core::health::State;
use dnsd_core::steer::Variant;
use dnsd_core::votes::Vote;

use super::{Event, Sim};

const SECOND: u64 = 1_000_000;
/// What has lasted for so long is known to all that could know it.
const STEADY: u64 = 6 * SECOND;
/// After trouble between nodes: their patience, and a while.
const SETTLED: u64 = 40 * SECOND;
/// From a death in quiet times to its being known everywhere.
pub const KNOWN: u64 = 5 * SECOND;
/// The same for a node that is the only one: it may take out only so many in a minute.
pub const KNOWN_ALONE: u64 = 70 * SECOND;

/// What really happened, and what was seen of it.
pub struct Truth {
    /// When each relay last changed.
    changed: Vec<u64>,
    /// When the network or the nodes last changed.
    unrest: u64,
    /// Since when no relay works, and when that was last over.
    dark: bool,
    dawn: u64,
    /// When the way between a relay and a node last changed.
    ways: Vec<Vec<u64>>,
    /// Per receiver and sender, the last generation counted.
    generations: Vec<Vec<u64>>,
    /// From each death in quiet times to each node's knowing it, microseconds.
    pub took: Vec<u64>,
    pub removals: u64,
    pub publications: u64,
    pub isolations: u64,
    /// How often a death was looked for, and an answer given to a client that had to be good.
    pub dead: u64,
    pub judged: u64,
}

impl Truth {
    pub fn new(relays: usize, nodes: usize) -> Self {
        Self {
            changed: vec![0; relays],
            unrest: 0,
            dark: false,
            dawn: 0,
            ways: vec![vec![0; nodes]; relays],
            generations: vec![vec![0; nodes]; nodes],
            took: Vec::new(),
            removals: 0,
            publications: 0,
            isolations: 0,
            dead: 0,
            judged: 0,
        }
    }

    pub fn changed(&mut self, relay: usize, now: u64) {
        self.changed[relay] = now;
    }

    pub fn when_changed(&self, relay: usize) -> u64 {
        self.changed[relay]
    }

    /// Whether at `now` the network and the nodes had been as they are for long enough.
    pub fn is_settled(&self, now: u64) -> bool {
        now >= self.unrest + SETTLED
    }

    /// No relay works.
    pub fn fell_dark(&mut self) {
        self.dark = true;
    }

    pub fn is_dark(&self) -> bool {
        self.dark
    }

    /// One does again.
    pub fn dawned(&mut self, now: u64) {
        self.dark = false;
        self.dawn = now;
    }

    /// The last moment at which no relay worked.
    pub fn dark(&self, now: u64) -> u64 {
        if self.dark { now } else { self.dawn }
    }

    pub fn unrest(&mut self, now: u64) {
        self.unrest = now;
    }

    pub fn unrest_of(&mut self, relay: usize, node: usize, now: u64) {
        self.unrest = now;
        self.ways[relay][node] = now;
    }

    /// A node has lost its memory with its life.
    pub fn forget(&mut self, node: usize) {
        self.generations[node].fill(0);
    }

    /// A ballot was counted: none may be that is older than another.
    pub fn counted(&mut self, node: usize, from: usize, generation: u64) {
        let last = &mut self.generations[node][from];
        assert!(
            *last < generation,
            "ns{node} counted {generation} of ns{from} after {last}"
        );
        *last = generation;
    }
}

/// Lanes share no vendor while two vendors serve; the first A and AAAA of the apex do not either
/// while two vendors have relays that may come first, as doubtful ones do not.
fn check_spread<'a>(region: &str, variants: &[Variant], vendor: impl Fn(u16) -> &'a str) {
    let vendors = |relays: &mut dyn Iterator<Item = u16>| {
        relays.map(&vendor).collect::<BTreeSet<&str>>().len()
    };
    let two = vendors(&mut variants.iter().flat_map(|v| v.apex.relays())) > 1;
    let firsts = |v: &Variant| [v.apex.ipv4[0], v.apex.ipv6[0]];
    let two_first = vendors(&mut variants.iter().flat_map(firsts)) > 1;
    for variant in variants {
        let [a, b] = variant
            .lanes
            .each_ref()
            .map(|lane| lane.relays().map(&vendor).collect::<BTreeSet<_>>());
        assert!(!two || a.is_disjoint(&b), "{region}: {variant:?}");
        let [a, b] = firsts(variant).map(&vendor);
        assert!(!two_first || a != b, "{region}: {variant:?}");
    }
}

impl Sim {
    /// After every input of a node.
    pub fn check_node(&mut self, node: usize) {
        let now = self.queue.now();
        if self.nodes[node].is_isolated() {
            if self.nodes[node].doubted != Some(now) {
                self.truth.isolations += 1;
            }
            self.nodes[node].doubted = Some(now);
        }
        let condemned = self.nodes[node]
            .fleet
            .as_ref()
            .map(|f| f.counters().condemned);
        let published = self.check_answers(node);
        // Whatever changes how a relay counts is published, or counted.
        if !published && condemned == Some(self.nodes[node].condemned) {
            return;
        }
        self.nodes[node].condemned = condemned.unwrap_or_default();
        let states: Vec<State> = self.states(node);
        for (relay, state) in states.iter().enumerate() {
            let before = self.nodes[node].states[relay];
            if *state == State::Down && before != State::Down {
                self.truth.removals += 1;
                let died = self.truth.changed[relay];
                if self.relays[relay].fate.is_dead() && died >= self.truth.unrest + SETTLED {
                    self.truth.took.push(now - died);
                }
                self.check_removal(node, relay);
            }
        }
        self.nodes[node].states = states;
    }

    fn states(&self, node: usize) -> Vec<State> {
        let Some(fleet) = &self.nodes[node].fleet else {
            return Vec::new();
        };
        let verdict = |relay: &super::Relay| fleet.verdict(relay.id).unwrap().state;
        self.relays.iter().map(verdict).collect()
    }

    /// Answers are never empty and well spread, and their serials rise. Whether there are new ones.
    fn check_answers(&mut self, node: usize) -> bool {
        let node = &mut self.nodes[node];
        let Some(snapshot) = &node.snapshot else {
            return false;
        };
        if snapshot.serial() == node.serial {
            return false;
        }
        self.truth.publications += 1;
        let ahead = snapshot.serial().wrapping_sub(node.serial);
        assert!(node.serial == 0 || ahead < 1 << 31, "serials go back");
        node.serial = snapshot.serial();
        for (region, plan) in snapshot.plans() {
            assert!(!plan.variants.is_empty(), "{region}: no answers");
            for variant in plan.variants.iter() {
                let empty = |choice: &dnsd_core::steer::Choice| {
                    choice.ipv4.is_empty() || choice.ipv6.is_empty()
                };
                let lists = variant.lanes.iter().chain([&variant.apex]);
                assert!(!lists.into_iter().any(empty), "{region}: an empty answer");
            }
            let vendor = |relay: u16| &*self.inventory.relays()[usize::from(relay)].vendor;
            check_spread(region, &plan.variants, vendor);
        }
        true
    }

    /// A healthy relay is not removed while a quorum sees it.
    fn check_removal(&self, node: usize, relay: usize) {
        let now = self.queue.now();
        let steady = |since: u64| now - since >= STEADY;
        if !self.is_healthy(relay) || !steady(self.truth.changed[relay]) {
            return;
        }
        let clear = |observer: usize| {
            self.network.reports_cut[relay][observer] == 0
                && self.network.probes_cut[relay][observer] == 0
                && steady(self.truth.ways[relay][observer])
        };
        let running = |other: &usize| self.nodes[*other].fleet.is_some();
        let sees = |other: &usize| {
            let seer = &self.nodes[*other];
            running(other)
                && steady(seer.since)
                && seer.doubted.is_none_or(steady)
                && clear(*other)
                && (*other == node || self.network.ballots_cut[*other][node] == 0)
        };
        let nodes = 0..self.nodes.len();
        let witnesses = nodes.clone().filter(sees).count();
        // In rough weather, and while nodes come and go, what each sees is a matter of luck.
        let quiet = self.network.loss == 0 && steady(self.truth.unrest);
        assert!(
            !(quiet && witnesses * 3 > nodes.clone().filter(running).count()),
            "ns{node} took out relay-{relay}, which {witnesses} of {} see: {:?}",
            nodes.len(),
            self.explain(node, relay)
        );
        let mut all = nodes;
        let whole = all.all(clear);
        let fair = self.network.loss <= 50 && steady(self.truth.unrest);
        assert!(
            !(fair && whole),
            "ns{node} took out relay-{relay}: {:?}",
            self.explain(node, relay)
        );
    }

    /// A dead relay is gone within its bound, at every nameserver that is connected.
    pub fn check_dead(&mut self, relay: usize) {
        let now = self.queue.now();
        let died = self.truth.changed[relay];
        let running = self
            .nodes
            .iter()
            .filter(|node| node.fleet.is_some())
            .count();
        let quiet_before = died >= self.truth.unrest + SETTLED;
        let bound = match (running, quiet_before) {
            (..=1, _) => died.max(self.truth.unrest) + KNOWN_ALONE,
            (_, true) => died + KNOWN,
            (_, false) => died.max(self.truth.unrest) + SETTLED + KNOWN,
        };
        let life = self.relays[relay].life;
        let calm = self.network.loss <= 50;
        if now < bound || !calm {
            let wait = bound.saturating_sub(now).max(SECOND);
            self.queue.push(wait, Event::Check { relay, life });
            return;
        }
        for node in 0..self.nodes.len() {
            if !self.is_connected(node, running) {
                continue;
            }
            self.truth.dead += 1;
            let state = self.states(node)[relay];
            assert!(
                matches!(state, State::Down | State::Draining),
                "relay-{relay} has been dead for {} ms and ns{node} has it {state:?}: {:#?}",
                (now - died) / 1000,
                (0..self.nodes.len())
                    .map(|node| self.explain(node, relay))
                    .collect::<Vec<_>>()
            );
        }
        if !self.network.is_whole() {
            self.queue.push(KNOWN, Event::Check { relay, life });
        }
    }

    /// Whether a running node hears all relays, and exchanges votes with most of the others of
    /// which that is true, which are more than half of all.
    fn is_connected(&self, node: usize, running: usize) -> bool {
        let network = &self.network;
        let hears = |node: usize| {
            let clear = |relay: usize| {
                network.reports_cut[relay][node] == 0 && network.probes_cut[relay][node] == 0
            };
            self.nodes[node].fleet.is_some() && (0..self.relays.len()).all(clear)
        };
        let votes = |other: &usize| {
            network.ballots_cut[node][*other] == 0 && network.ballots_cut[*other][node] == 0
        };
        let others = (0..self.nodes.len()).filter(|other| hears(*other));
        hears(node) && others.filter(votes).count() * 2 > running
    }

    /// Who does not yet agree that all is well, if anybody does not.
    pub fn dissent(&self) -> Option<String> {
        (0..self.nodes.len()).find_map(|node| {
            let fleet = self.nodes[node].fleet.as_ref()?;
            if fleet.isolation().is_some() {
                return Some(format!("ns{node} still distrusts itself"));
            }
            (0..self.relays.len()).find_map(|relay| {
                let explained = self.explain(node, relay)?;
                let agreed = explained.state == State::Up
                    && explained.finding == Vote::Up
                    && usize::from(explained.votes.up) == self.nodes.len();
                (!agreed).then(|| format!("ns{node}: {explained:?}"))
            })
        })
    }

    fn explain(&self, node: usize, relay: usize) -> Option<dnsd_core::explain::Explanation> {
        let now = self.queue.now();
        let node = &self.nodes[node];
        let at = node.instant(now);
        node.fleet.as_ref()?.explain(at, self.relays[relay].id)
    }
}
