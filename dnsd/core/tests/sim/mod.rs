//! A fleet of nameservers and relays on a network that loses, delays, repeats and is cut, all of
//! it drawn from one seed.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

pub mod chaos;
pub mod node;
pub mod oracles;
pub mod queue;

use std::rc::Rc;
use std::time::Duration;

use dnsd_core::fleet::Action;
use dnsd_core::health::{Outcome, Probe, ProbeKind};
use dnsd_core::votes::Ballot;
use liveness::{KeyId, RelayId};

use super::common::world::report;
use super::common::{inventory, region, relay};
use node::Node;
use oracles::Truth;
use queue::{Queue, Random};

/// What has befallen a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Alive,
    Killed,
    Hung,
    /// Nothing is relayed.
    Gray,
    /// Answers STUN late, but answers.
    Slow,
    /// Tells one nameserver that it serves and the next that it drains.
    Lying,
}

impl Fate {
    pub fn is_dead(self) -> bool {
        matches!(self, Self::Killed | Self::Hung)
    }
}

pub struct Relay {
    pub id: RelayId,
    pub fate: Fate,
    pub claim: u8,
    boot: u64,
    sequence: u64,
    life: u32,
}

#[derive(Clone)]
pub enum Event {
    Send {
        relay: usize,
        life: u32,
    },
    Report {
        node: usize,
        relay: usize,
        boot: u64,
        sequence: u64,
        claim: u8,
    },
    Outcome {
        node: usize,
        born: u32,
        relay: usize,
        probe: Probe,
        outcome: Outcome,
    },
    Ballot {
        node: usize,
        ballot: Rc<Ballot>,
    },
    /// The receiver has seen a later ballot of this one.
    Outrun {
        node: usize,
        generation: u64,
    },
    Timer {
        node: usize,
        armed: u64,
    },
    Chaos(chaos::Deed),
    /// A relay that died should be out by now.
    Check {
        relay: usize,
        life: u32,
    },
}

pub const SERVING: u8 = 1;
const MS: u64 = 1000;

/// The network between relays and nameservers.
pub struct Network {
    /// From a relay to a nameserver, and back.
    pub reports_cut: Vec<Vec<u32>>,
    pub probes_cut: Vec<Vec<u32>>,
    /// From a nameserver to another.
    pub ballots_cut: Vec<Vec<u32>>,
    /// Lost and repeated datagrams per mille; delays in microseconds.
    pub loss: u64,
    pub repeats: u64,
    pub jitter: u64,
}

impl Network {
    /// Whether nothing is cut.
    pub fn is_whole(&self) -> bool {
        let cuts = [&self.reports_cut, &self.probes_cut, &self.ballots_cut];
        cuts.into_iter().flatten().flatten().all(|cut| *cut == 0)
    }
}

pub struct Sim {
    pub queue: Queue<Event>,
    pub random: Random,
    pub relays: Vec<Relay>,
    pub nodes: Vec<Node>,
    pub network: Network,
    pub truth: Truth,
    pub events: u64,
}

impl Sim {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let nodes = [1, 2, 3, 3, 3, 4, 5, 5, 7, 9][random.below(10) as usize];
        let many = random.below(40) == 0;
        let relays = if many {
            60
        } else {
            4 + random.below(7) as usize
        };
        let places = ["eu", "us"];
        let vendors = ["alpha", "beta", "gamma"];
        let entry = |index: usize| {
            let (place, vendor) = (places[index % 2], vendors[index % 3]);
            let host = u8::try_from(index + 1).unwrap();
            relay(
                &format!("relay-{index}"),
                place,
                &format!("{place}-{vendor}"),
                vendor,
                host,
            )
        };
        let inventory = inventory(
            vec![region("eu", &["us"], &[]), region("us", &["eu"], &[])],
            (0..relays).map(entry).collect(),
        );
        let mut sim = Self {
            queue: Queue::default(),
            relays: inventory
                .relays()
                .iter()
                .map(|entry| Relay {
                    id: entry.id,
                    fate: Fate::Alive,
                    claim: SERVING,
                    boot: 1,
                    sequence: 0,
                    life: 0,
                })
                .collect(),
            nodes: Vec::new(),
            network: Network {
                reports_cut: vec![vec![0; nodes]; relays],
                probes_cut: vec![vec![0; nodes]; relays],
                ballots_cut: vec![vec![0; nodes]; nodes],
                loss: 0,
                repeats: random.below(20),
                jitter: 2 * MS + random.below(60) * MS,
            },
            truth: Truth::new(relays, nodes),
            random,
            events: 0,
        };
        for node in 0..nodes {
            let skew = Duration::from_secs(sim.random.below(7200));
            let domain = (vendors[node % 3], places[node % 2]);
            sim.nodes
                .push(Node::new(node, domain, inventory.clone(), skew));
            sim.after_input(node);
        }
        for relay in 0..relays {
            let phase = sim.random.below(500) * MS;
            sim.queue.push(phase, Event::Send { relay, life: 0 });
        }
        sim
    }

    pub fn run(&mut self, seconds: u64) {
        let end = self.queue.now() + seconds * 1000 * MS;
        while let Some(event) = self.queue.pop_until(end) {
            self.events += 1;
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.queue.now();
        match event {
            Event::Send { relay, life } => self.send(relay, life),
            Event::Report {
                node,
                relay,
                boot,
                sequence,
                claim,
            } => {
                let said = report(self.relays[relay].id, boot, sequence, claim);
                if let Some((fleet, at)) = self.nodes[node].input(now) {
                    fleet.handle_report(at, KeyId(1), &said);
                    self.after_input(node);
                }
            }
            Event::Outcome {
                node,
                born,
                relay,
                probe,
                outcome,
            } => {
                let id = self.relays[relay].id;
                if self.nodes[node].born != born {
                    return;
                }
                if let Some((fleet, at)) = self.nodes[node].input(now) {
                    fleet.handle_probe(at, id, probe, &outcome);
                    self.after_input(node);
                }
            }
            Event::Ballot { node, ballot } => self.ballot(node, &ballot),
            Event::Outrun { node, generation } => {
                if let Some((fleet, _)) = self.nodes[node].input(now) {
                    fleet.outrun(generation);
                }
            }
            Event::Timer { node, armed } => {
                if self.nodes[node].armed != armed {
                    return;
                }
                if let Some((fleet, at)) = self.nodes[node].input(now) {
                    fleet.handle_timeout(at);
                    self.after_input(node);
                }
            }
            Event::Chaos(deed) => self.wreak(deed),
            Event::Check { relay, life } => {
                if self.relays[relay].life == life {
                    self.check_dead(relay);
                }
            }
        }
    }

    /// A relay dies, changes or comes back; the latter with a new boot.
    pub fn befall(&mut self, relay: usize, fate: Fate) {
        let was = std::mem::replace(&mut self.relays[relay].fate, fate);
        self.truth.changed(relay, self.queue.now());
        let sim = &mut self.relays[relay];
        sim.life += 1;
        let life = sim.life;
        if was.is_dead() && !fate.is_dead() {
            sim.boot += 1;
            sim.sequence = 0;
        }
        if fate.is_dead() {
            self.queue
                .push(oracles::KNOWN, Event::Check { relay, life });
        } else {
            self.queue.push(0, Event::Send { relay, life });
        }
    }

    fn send(&mut self, relay: usize, life: u32) {
        let sim = &mut self.relays[relay];
        if sim.life != life || sim.fate.is_dead() {
            return;
        }
        sim.sequence += 1;
        let (boot, sequence, fate, claim) = (sim.boot, sim.sequence, sim.fate, sim.claim);
        for node in 0..self.nodes.len() {
            let lies = fate == Fate::Lying && (node as u64 + sequence / 20).is_multiple_of(2);
            let claim = if lies { 3 } else { claim };
            let cut = self.network.reports_cut[relay][node] > 0;
            self.transmit(
                cut,
                &Event::Report {
                    node,
                    relay,
                    boot,
                    sequence,
                    claim,
                },
            );
        }
        self.queue.push(500 * MS, Event::Send { relay, life });
    }

    fn lost(&mut self) -> bool {
        self.random.below(1000) < self.network.loss
    }

    fn delay(&mut self) -> u64 {
        5 * MS + self.random.below(self.network.jitter + 1)
    }

    /// Puts a datagram on the way: perhaps nothing of it arrives, or two, in any order.
    fn transmit(&mut self, cut: bool, event: &Event) {
        let copies = 1 + u64::from(self.random.below(1000) < self.network.repeats);
        for _ in 0..copies {
            let lost = self.lost();
            let delay = self.delay();
            if !cut && !lost {
                self.queue.push(delay, event.clone());
            }
        }
    }

    fn ballot(&mut self, node: usize, ballot: &Rc<Ballot>) {
        use dnsd_core::votes::BallotOutcome;
        let now = self.queue.now();
        let Some((fleet, at)) = self.nodes[node].input(now) else {
            return;
        };
        let outcome = fleet.handle_ballot(at, ballot);
        let from = self
            .nodes
            .iter()
            .position(|n| n.observer == ballot.observer)
            .unwrap();
        match outcome {
            BallotOutcome::Counted => self.truth.counted(node, from, ballot.generation),
            BallotOutcome::Stale { newest } => {
                let cut = self.network.ballots_cut[node][from] > 0;
                self.transmit(
                    cut,
                    &Event::Outrun {
                        node: from,
                        generation: newest,
                    },
                );
            }
            other => panic!("{other:?}"),
        }
        self.after_input(node);
    }

    /// Carries out what a node wants, looks whether all is right, and arms its timer.
    pub fn after_input(&mut self, node: usize) {
        let now = self.queue.now();
        while let Some(action) = self.nodes[node].action() {
            match action {
                Action::ProbeNow { relay, probe } => {
                    let relay = self.relays.iter().position(|r| r.id == relay).unwrap();
                    self.probe(node, relay, probe);
                }
                Action::Roster => {}
                Action::Vote => {
                    let ballot = Rc::new(self.nodes[node].ballot(now));
                    for other in (0..self.nodes.len()).filter(|other| *other != node) {
                        let cut = self.network.ballots_cut[node][other] > 0;
                        let ballot = Rc::clone(&ballot);
                        self.transmit(
                            cut,
                            &Event::Ballot {
                                node: other,
                                ballot,
                            },
                        );
                    }
                }
                Action::Publish => self.nodes[node].publish(now),
            }
        }
        self.check_node(node);
        if let Some((wait, armed)) = self.nodes[node].arm(now) {
            self.queue.push(wait, Event::Timer { node, armed });
        }
    }

    fn probe(&mut self, node: usize, relay: usize, probe: Probe) {
        let fate = self.relays[relay].fate;
        let stun = probe.kind == ProbeKind::Stun;
        let cut = self.network.probes_cut[relay][node] > 0;
        // An echo sends again what is lost.
        let tries = if stun { 1 } else { 3 };
        let lost = (0..tries).all(|_| self.lost() | self.lost());
        let slow = if fate == Fate::Slow { 200 * MS } else { 0 };
        let took = self.delay() + self.delay() + slow;
        let timeout = u64::try_from(probe.timeout.as_micros()).unwrap();
        let rtt = Duration::from_micros(took);
        let outcome = match fate {
            _ if cut || lost || took > timeout => Outcome::Timeout,
            Fate::Killed => Outcome::Refused,
            Fate::Gray if !stun => Outcome::Timeout,
            Fate::Hung => Outcome::Timeout,
            _ => Outcome::Ok { rtt },
        };
        let after = if outcome == Outcome::Timeout {
            timeout
        } else {
            took
        };
        let born = self.nodes[node].born;
        self.queue.push(
            after,
            Event::Outcome {
                node,
                born,
                relay,
                probe,
                outcome,
            },
        );
    }

    pub fn claims(&mut self, relay: usize, claim: u8) {
        self.relays[relay].claim = claim;
        self.befall(relay, self.relays[relay].fate);
    }

    /// Whether the relay serves whoever comes, and says so.
    pub fn is_healthy(&self, relay: usize) -> bool {
        self.relays[relay].fate == Fate::Alive && self.relays[relay].claim == SERVING
    }
}
