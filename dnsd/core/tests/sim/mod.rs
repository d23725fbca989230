//! A fleet of nameservers and relays on a network that loses, delays, repeats and is cut, all of
//! it drawn from one seed.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

pub mod chaos;
pub mod clients;
pub mod network;
pub mod node;
pub mod oracles;
pub mod queue;
pub mod relay;
pub mod size;

use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::rc::Rc;
use std::time::Duration;

use dnsd_core::fleet::Action;
use dnsd_core::health::{Outcome, Probe, ProbeKind};
use dnsd_core::inventory::{Inventory, RelayEntry};
use dnsd_core::votes::Ballot;
use liveness::{KeyId, Load, RelayId, Report};

use super::common::world::report;
use super::common::{inventory, region, relay};
use clients::Crowd;
use network::Network;
use node::Node;
use oracles::Truth;
use queue::{Queue, Random};
pub use relay::{Fate, Relay, SERVING};
use size::Size;

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
        load: Load,
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
    Client {
        client: usize,
        call: u32,
        moment: clients::Moment,
    },
    /// A relay that died should be out by now.
    Check {
        relay: usize,
        life: u32,
    },
}

pub const MS: u64 = 1000;
pub const PLACES: [&str; 2] = ["eu", "us"];
pub const VENDORS: [&str; 3] = ["alpha", "beta", "gamma"];

pub struct Sim {
    pub size: Size,
    pub inventory: Inventory,
    pub queue: Queue<Event>,
    pub random: Random,
    pub relays: Vec<Relay>,
    pub nodes: Vec<Node>,
    pub network: Network,
    pub truth: Truth,
    pub crowd: Crowd,
    pub events: u64,
}

/// The relay with this number: regions and vendors in turn, one zone per vendor and region.
pub fn entry(index: usize) -> RelayEntry {
    let (place, vendor) = (PLACES[index % 2], VENDORS[index % 3]);
    let id = format!("relay-{index}");
    let mut entry = relay(&id, place, &format!("{place}-{vendor}"), vendor, 1);
    let index = u16::try_from(index + 1).unwrap();
    let [high, low] = index.to_be_bytes();
    entry.ipv4 = Some(SocketAddrV4::new([198, 51, high, low].into(), 3478));
    let ipv6 = [0x2001, 0xdb8, 1, 0, 0, 0, 0, index];
    entry.ipv6 = Some(SocketAddrV6::new(ipv6.into(), 3478, 0, 0));
    entry
}

impl Sim {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let size = Size::drawn(&mut random);
        Self::sized(size, random)
    }

    pub fn sized(size: Size, random: Random) -> Self {
        let entries = (0..size.relays).map(entry).collect();
        let inventory = inventory(
            vec![region("eu", &["us"], &[]), region("us", &["eu"], &[])],
            entries,
        );
        Self::with(inventory, size, random)
    }

    /// A world whose relays are those of `inventory`, with ids and addresses of [`entry`].
    pub fn with(inventory: Inventory, size: Size, mut random: Random) -> Self {
        let Size { relays, nodes, .. } = size;
        let mut sim = Self {
            size,
            queue: Queue::default(),
            relays: inventory
                .relays()
                .iter()
                .map(|entry| Relay::new(entry.id))
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
            crowd: Crowd::new(),
            random,
            events: 0,
            inventory,
        };
        for node in 0..nodes {
            let skew = Duration::from_secs(sim.random.below(7200));
            let domain = (VENDORS[node % 3], PLACES[node % 2]);
            // Quartz is off by a hundred parts at most, a virtual machine's clock by some more.
            let drift = sim.random.below(1001).cast_signed() - 500;
            let inventory = sim.inventory.clone();
            sim.nodes
                .push(Node::new(node, domain, inventory, skew, drift));
            sim.after_input(node);
        }
        for relay in 0..relays {
            let phase = sim.random.below(500) * MS;
            sim.queue.push(phase, Event::Send { relay, life: 0 });
        }
        sim.gather(size.clients);
        sim
    }

    /// The relay with an id of [`Sim::sized`].
    fn relay_of(id: &RelayId) -> usize {
        id.as_str()["relay-".len()..].parse().unwrap()
    }

    /// The relay with an IPv4 address of [`Sim::sized`].
    pub fn relay_at(address: IpAddr) -> usize {
        let IpAddr::V4(ipv4) = address else {
            panic!("{address} was not asked for");
        };
        let [_, _, high, low] = ipv4.octets();
        usize::from(u16::from_be_bytes([high, low])) - 1
    }

    pub fn run(&mut self, seconds: u64) {
        self.run_until(self.queue.now() + seconds * 1000 * MS);
    }

    /// Lets time pass until then, in microseconds since the beginning.
    pub fn run_until(&mut self, end: u64) {
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
                load,
            } => {
                let said = Report {
                    load,
                    ..report(self.relays[relay].id, boot, sequence, claim)
                };
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
            Event::Client {
                client,
                call,
                moment,
            } => self.call(client, call, moment),
            Event::Check { relay, life } => {
                if self.relays[relay].life == life {
                    self.check_dead(relay);
                }
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
                    self.probe(node, Self::relay_of(&relay), probe);
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
}
