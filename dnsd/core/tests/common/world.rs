//! A simulated world around a fleet: relays that live, die, hang or lie, and a network that loses
//! and delays. Time is made of instants that nobody waits for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::{Duration, Instant};

use credentials::UnixTime;
use dnsd_core::dnssec::{Cache, Keys};
use dnsd_core::fleet::{Action, Fleet, ReportOutcome, Saved};
use dnsd_core::health::{Outcome, Probe, ProbeKind, State, Verdict};
use dnsd_core::inventory::Inventory;
use dnsd_core::paths::Path;
use dnsd_core::snapshot::Snapshot;
use liveness::{KeyId, Load, RelayId, Report, State as Claim, Transports};

use super::{MS, start};

pub const EPOCH: u64 = 1_795_000_000;

/// What has befallen a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Alive,
    /// The process is gone: its port is closed and the host says so.
    Killed,
    /// The machine is gone, or the process hangs: nothing comes back.
    Hung,
    /// Reports and STUN are fine, nothing is relayed.
    Gray,
    /// All is well, but reports do not get through.
    Muted,
    /// Reports get through, STUN does not.
    Deaf,
    /// Reports get through, and the host says that the port is closed.
    Shut,
    /// Nothing gets through to this node, though the relay lives: its reports go on elsewhere.
    Unheard,
}

pub struct SimRelay {
    pub id: RelayId,
    pub fate: Fate,
    pub claim: Claim,
    pub load: Load,
    pub boot: u64,
    pub sequence: u64,
    /// Reports of an earlier life are not sent any more.
    life: u32,
    seen: State,
    key: KeyId,
    /// Where it says that it is.
    ipv4: Option<SocketAddrV4>,
    /// It was not there from the beginning, and may be refused.
    stranger: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Send {
        relay: usize,
        life: u32,
    },
    Arrive {
        relay: usize,
        boot: u64,
        sequence: u64,
        claim: u8,
    },
    Outcome {
        relay: usize,
        probe: ProbeKind,
        sent: Instant,
        timeout: Duration,
        kind: u8,
    },
}

pub struct World {
    pub fleet: Fleet,
    pub relays: Vec<SimRelay>,
    pub now: Instant,
    pub began: Instant,
    epoch: u64,
    pub snapshot: Option<Snapshot>,
    pub publications: usize,
    /// Every time a relay's verdict changed.
    pub log: Vec<(Instant, RelayId, State)>,
    /// Lost datagrams per mille, each way; extra delay of at most this, each way.
    pub loss: u64,
    pub jitter: Duration,
    /// What became of strangers' reports that were not accepted.
    pub refused: Vec<(RelayId, ReportOutcome)>,
    /// How often the fleet said that there are other relays now.
    pub rosters: usize,
    /// This node has no network: it hears nothing, and cannot even send.
    pub offline: bool,
    /// What all relays say of their transports.
    pub transports: Transports,
    /// What some say instead.
    pub words: BTreeMap<usize, Transports>,
    /// Paths that fail by themselves, and whether they are refused.
    pub broken: BTreeMap<(usize, Path), bool>,
    /// How many probes of paths were asked for.
    pub path_probes: usize,
    /// What zones are signed with.
    pub keys: Arc<Keys>,
    pub cache: Cache,
    queue: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    tie: u64,
    random: u64,
}

const CLAIMS: [Claim; 5] = [
    Claim::Starting,
    Claim::Serving,
    Claim::Full,
    Claim::Draining,
    Claim::Failing(liveness::Reason::WorkerStuck),
];

impl World {
    pub fn new(inventory: Inventory, seed: u64) -> Self {
        Self::begin(inventory, None, EPOCH, seed, Arc::default())
    }

    /// The world after a restart of the node at the moment that `saved` was made.
    pub fn restarted(&self, seed: u64) -> Self {
        let text = serde_json::to_string(&self.fleet.saved(self.now, self.unix())).unwrap();
        let saved = serde_json::from_str(&text).unwrap();
        Self::begin(
            self.fleet.inventory().clone(),
            Some(&saved),
            self.unix().0,
            seed,
            Arc::clone(&self.keys),
        )
    }

    fn begin(
        inventory: Inventory,
        saved: Option<&Saved>,
        epoch: u64,
        seed: u64,
        keys: Arc<Keys>,
    ) -> Self {
        let now = start();
        let ids: Vec<RelayId> = inventory.relays().iter().map(|relay| relay.id).collect();
        // A new boot of every relay, above all earlier ones.
        let relays = ids.into_iter().map(|id| SimRelay {
            id,
            fate: Fate::Alive,
            claim: Claim::Serving,
            load: Load::default(),
            boot: epoch,
            sequence: 0,
            life: 0,
            seen: State::Unknown,
            key: KeyId(1),
            ipv4: None,
            stranger: false,
        });
        let mut world = Self {
            relays: relays.collect(),
            fleet: Fleet::new(inventory, saved, now, UnixTime(epoch)),
            now,
            began: now,
            epoch,
            snapshot: None,
            publications: 0,
            log: Vec::new(),
            loss: 0,
            jitter: Duration::ZERO,
            refused: Vec::new(),
            rosters: 0,
            offline: false,
            transports: Transports::UDP,
            words: BTreeMap::new(),
            broken: BTreeMap::new(),
            path_probes: 0,
            keys,
            cache: Cache::default(),
            queue: BinaryHeap::new(),
            tie: 0,
            random: seed,
        };
        for relay in 0..world.relays.len() {
            let phase = MS * u32::try_from(world.draw() % 500).unwrap();
            world.push(phase, Event::Send { relay, life: 0 });
        }
        world.drain();
        world
    }

    pub fn unix(&self) -> UnixTime {
        UnixTime(self.epoch + (self.now - self.began).as_secs())
    }

    fn draw(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let x = self.random ^ (self.random >> 33);
        x.wrapping_mul(0xff51_afd7_ed55_8ccd) >> 20
    }

    fn push(&mut self, after: Duration, event: Event) {
        self.tie += 1;
        self.queue
            .push(Reverse((self.now + after, self.tie, event)));
    }

    fn lost(&mut self) -> bool {
        self.draw() % 1000 < self.loss
    }

    fn delay(&mut self) -> Duration {
        let micros = u64::try_from(self.jitter.as_micros()).unwrap();
        MS * 10 + Duration::from_micros(self.draw() % (micros + 1))
    }

    /// Something befalls a relay. Coming back to life is a new boot.
    pub fn befall(&mut self, relay: usize, fate: Fate) {
        let dead = |fate| matches!(fate, Fate::Killed | Fate::Hung);
        let was = std::mem::replace(&mut self.relays[relay].fate, fate);
        if dead(was) && !dead(fate) {
            let sim = &mut self.relays[relay];
            sim.life += 1;
            sim.boot += 1;
            sim.sequence = 0;
            let life = sim.life;
            self.push(Duration::ZERO, Event::Send { relay, life });
        }
    }

    pub fn claim(&mut self, relay: usize, claim: Claim) {
        let sim = &mut self.relays[relay];
        sim.claim = claim;
        sim.life += 1;
        let life = sim.life;
        self.push(Duration::ZERO, Event::Send { relay, life });
    }

    /// A relay appears that may not be listed, under a name that may be another's.
    pub fn appear(&mut self, id: &str, key: u32, ipv4: &str) -> usize {
        let relay = self.relays.len();
        self.relays.push(SimRelay {
            id: id.parse().unwrap(),
            fate: Fate::Alive,
            claim: Claim::Serving,
            load: Load::default(),
            boot: self.epoch + (self.now - self.began).as_secs(),
            sequence: 0,
            life: 0,
            seen: State::Unknown,
            key: KeyId(key),
            ipv4: Some(ipv4.parse().unwrap()),
            stranger: true,
        });
        self.push(Duration::ZERO, Event::Send { relay, life: 0 });
        relay
    }

    pub fn index(&self, id: &str) -> usize {
        self.relays
            .iter()
            .position(|relay| relay.id.as_str() == id)
            .unwrap()
    }

    pub fn state(&self, relay: usize) -> State {
        self.fleet.verdict(self.relays[relay].id).unwrap().state
    }

    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.run_until(end, |_| false);
    }

    /// Runs until `done` or until `limit` has passed; says after how long, if done.
    pub fn run_for(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Option<Duration> {
        let from = self.now;
        self.run_until(from + limit, done).then(|| self.now - from)
    }

    fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let timer = self.fleet.poll_timeout().unwrap().max(self.now);
            let event = self.queue.peek().map(|Reverse((at, ..))| *at);
            let next = event.map_or(timer, |event| event.min(timer));
            if next > end {
                self.now = end;
                return false;
            }
            self.now = next;
            if event == Some(next) {
                let Reverse((_, _, event)) = self.queue.pop().unwrap();
                self.happen(event);
            } else {
                self.fleet.handle_timeout(self.now);
            }
            self.drain();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Send { relay, life } => self.send(relay, life),
            Event::Arrive {
                relay,
                boot,
                sequence,
                claim,
            } => {
                let sim = &mut self.relays[relay];
                let report = Report {
                    ipv4: sim.ipv4,
                    load: sim.load,
                    transports: *self.words.get(&relay).unwrap_or(&self.transports),
                    ..report(sim.id, boot, sequence, claim)
                };
                let outcome = self.fleet.handle_report(self.now, sim.key, &report);
                if let ReportOutcome::StaleBoot(reply) = &outcome {
                    sim.boot = sim.boot.max(reply.boot_floor + 1);
                    sim.sequence = 0;
                }
                let fine = matches!(
                    outcome,
                    ReportOutcome::Accepted(_) | ReportOutcome::StaleSequence(_)
                );
                if !fine {
                    self.refused.push((report.relay, outcome));
                }
                let strangers = self.relays.iter().any(|relay| relay.stranger);
                assert!(fine || strangers, "{:?}", self.refused.last());
            }
            Event::Outcome {
                relay,
                probe,
                sent,
                timeout,
                kind,
            } => {
                let probe = Probe {
                    kind: probe,
                    sent,
                    timeout,
                };
                let outcome = match kind {
                    0 => Outcome::Ok {
                        rtt: self.now - sent,
                    },
                    1 => Outcome::Refused,
                    3 => Outcome::Unsent("Network is unreachable".to_owned()),
                    _ => Outcome::Timeout,
                };
                self.fleet
                    .handle_probe(self.now, self.relays[relay].id, probe, &outcome);
            }
        }
    }

    fn send(&mut self, relay: usize, life: u32) {
        let sim = &mut self.relays[relay];
        if sim.life != life || matches!(sim.fate, Fate::Killed | Fate::Hung) {
            return;
        }
        sim.sequence += 1;
        let (boot, sequence, muted) = (
            sim.boot,
            sim.sequence,
            matches!(sim.fate, Fate::Muted | Fate::Unheard),
        );
        let claim = CLAIMS.iter().position(|claim| *claim == sim.claim).unwrap() as u8;
        if !self.lost() && !muted && !self.offline {
            let delay = self.delay();
            self.push(
                delay,
                Event::Arrive {
                    relay,
                    boot,
                    sequence,
                    claim,
                },
            );
        }
        self.push(MS * 500, Event::Send { relay, life });
    }

    /// Carries out what the fleet wants after an input of the test's own.
    pub fn settle(&mut self) {
        self.drain();
    }

    /// Has answers compiled, and signed where there are keys.
    pub fn publish(&mut self) {
        let (now, unix) = (self.now, self.unix());
        let (keys, cache) = (&self.keys, &mut self.cache);
        let snapshot = self.fleet.publish_signed(now, unix, keys, cache);
        self.snapshot = Some(snapshot);
    }

    fn drain(&mut self) {
        while let Some(action) = self.fleet.poll_action() {
            match action {
                Action::ProbeNow { relay, probe } => self.probe(relay, probe),
                Action::Vote => drop(self.fleet.ballot(self.now)),
                Action::Roster => self.rosters += 1,
                Action::Publish => {
                    self.publish();
                    self.publications += 1;
                }
            }
        }
        for relay in &mut self.relays {
            let Some(Verdict { state, .. }) = self.fleet.verdict(relay.id) else {
                assert!(relay.stranger, "listed relays stay");
                continue;
            };
            if std::mem::replace(&mut relay.seen, state) != state {
                self.log.push((self.now, relay.id, state));
            }
        }
    }

    fn probe(&mut self, id: RelayId, probe: Probe) {
        // The one at the address that the fleet has: there may be two of a name.
        let index = self.fleet.inventory().relay_index(&id).unwrap();
        let place = self.fleet.inventory().relays()[index].ipv4;
        let there = |sim: &SimRelay| sim.id == id && (sim.ipv4.is_none() || sim.ipv4 == place);
        let relay = self.relays.iter().position(there).unwrap();
        let stun = probe.kind == ProbeKind::Stun;
        self.path_probes += usize::from(matches!(probe.kind, ProbeKind::Path(_)));
        let fate = self.relays[relay].fate;
        let lost = self.lost() | self.lost();
        let round_trip = self.delay() + self.delay();
        let broken = match probe.kind {
            ProbeKind::Path(path) => self.broken.get(&(relay, path)),
            ProbeKind::Stun | ProbeKind::Echo => None,
        };
        let kind = match fate {
            _ if self.offline => 3,
            Fate::Alive | Fate::Muted | Fate::Deaf if broken.is_some() => {
                2 - u8::from(broken == Some(&true))
            }
            _ if lost || round_trip > probe.timeout => 2,
            Fate::Alive | Fate::Muted => 0,
            Fate::Killed | Fate::Shut => 1,
            Fate::Gray if stun => 0,
            Fate::Hung | Fate::Gray | Fate::Deaf | Fate::Unheard => 2,
        };
        let after = if kind == 2 { probe.timeout } else { round_trip };
        let Probe { sent, timeout, .. } = probe;
        self.push(
            after,
            Event::Outcome {
                relay,
                probe: probe.kind,
                sent,
                timeout,
                kind,
            },
        );
    }
}

pub fn report(relay: RelayId, boot: u64, sequence: u64, claim: u8) -> Report {
    Report {
        relay,
        boot,
        sequence,
        sent_at_ms: 0,
        state: CLAIMS[usize::from(claim)],
        load: Load::default(),
        ipv4: None,
        ipv6: None,
        transports: Transports::UDP,
        workers: 1,
        configuration: 0,
        revocations: 0,
    }
}
