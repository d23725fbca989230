//! Who all this is for: clients in calls over relays, with the timers of ICE, behind resolvers with
//! caches.
//!
//! A client has two lanes from one credential and begins on the first relay of lane a. When its
//! media stops it notices after some seconds, gets a new credential that avoids the relay, asks
//! again and goes to the first relay of either lane that takes it. Some have fixed names in their
//! configuration instead, and with these they depend on what their resolver keeps.

use std::net::IpAddr;

use credentials::UnixTime;
use credentials::label::{Label, LabelKeys, Lane, Tag};
use dnsd_core::answer::{Query, answer};
use hickory_proto::rr::{DNSClass, Name, RecordType};

use super::super::common::asking::{addresses, keys};
use super::super::common::name;
use super::oracles::{KNOWN, KNOWN_ALONE};
use super::{Event, Fate, SERVING, Sim};

const SECOND: u64 = 1_000_000;
/// From the end of media to the client's doing something about it.
const NOTICE: u64 = 5 * SECOND;
const NOTICE_SPREAD: u64 = 3 * SECOND;
/// From a restart that failed to the next.
const AGAIN: u64 = 5 * SECOND;
/// How long some resolvers keep every answer at least, whatever its time to live.
const FLOOR: u64 = 60 * SECOND;
/// From a word of a relay that it takes nobody to its being known.
const TOLD: u64 = 2 * SECOND;
/// The longest that a relay which flapped is held after it has come back.
const HELD: u64 = 300 * SECOND;
/// From a relay's ceasing to relay to that.
const GRAY: u64 = 12 * SECOND;
/// After all were lost, until it is known that one is back.
const DAWN: u64 = 15 * SECOND;

/// What happens in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Begin,
    /// Its media has stopped for long enough.
    Restart,
}

/// One resolver: what it keeps of the two fixed lanes, and until when.
pub struct Resolver {
    floor: u64,
    nearest: usize,
    network: u8,
    kept: [Option<Answered>; 2],
}

/// The first relay of an answer, when it was asked for and until when it is kept.
#[derive(Clone, Copy)]
struct Answered {
    relay: usize,
    asked: u64,
    until: u64,
}

pub struct Client {
    resolver: usize,
    region: Option<Tag>,
    /// Has the lanes' own names in its configuration.
    fixed: bool,
    relay: Option<usize>,
    /// Since when it has no media.
    broken: u64,
    call: u32,
}

/// All of them, and how they fared.
pub struct Crowd {
    keys: LabelKeys,
    lanes: [Name; 2],
    resolvers: Vec<Resolver>,
    clients: Vec<Client>,
    /// From the end of media to media through another relay, microseconds.
    pub took: Vec<u64>,
    pub calls: u64,
    /// Restarts that found no relay.
    pub failed: u64,
}

impl Crowd {
    pub fn new() -> Self {
        Self {
            keys: keys(),
            lanes: ["a", "b"].map(|lane| name(&format!("{lane}.turn.example."))),
            resolvers: Vec::new(),
            clients: Vec::new(),
            took: Vec::new(),
            calls: 0,
            failed: 0,
        }
    }
}

impl Sim {
    /// So many clients come, over the next minute.
    pub fn gather(&mut self, clients: usize) {
        for resolver in 0..clients.div_ceil(8) {
            let resolver = Resolver {
                floor: if self.random.below(3) == 0 { FLOOR } else { 0 },
                nearest: self.random.below(self.nodes.len() as u64) as usize,
                network: resolver as u8,
                kept: [None; 2],
            };
            self.crowd.resolvers.push(resolver);
        }
        for client in 0..clients {
            let region = [None, Some("eu"), Some("us")][self.random.below(3) as usize];
            self.crowd.clients.push(Client {
                resolver: self.random.below(self.crowd.resolvers.len() as u64) as usize,
                region: region.map(Tag::of_name),
                fixed: self.random.below(4) == 0,
                relay: None,
                broken: 0,
                call: 0,
            });
            let begin = SECOND * 5 + self.random.below(60 * SECOND);
            let (call, moment) = (0, Moment::Begin);
            self.queue.push(
                begin,
                Event::Client {
                    client,
                    call,
                    moment,
                },
            );
        }
    }

    /// Whether the relay takes a new client and serves it.
    fn works(&self, relay: usize) -> bool {
        let relay = &self.relays[relay];
        matches!(relay.fate, Fate::Alive | Fate::Slow | Fate::Lying) && relay.claim == SERVING
    }

    /// Something has befallen a relay: its clients will notice if their media is gone. What has
    /// restarted has forgotten them, too.
    pub fn disturb(&mut self, relay: usize) {
        if matches!(
            self.relays[relay].fate,
            Fate::Alive | Fate::Slow | Fate::Lying
        ) {
            return;
        }
        let now = self.queue.now();
        for client in 0..self.crowd.clients.len() {
            let one = &mut self.crowd.clients[client];
            if one.relay != Some(relay) {
                continue;
            }
            one.broken = now;
            self.restart_in(NOTICE, client);
        }
    }

    fn restart_in(&mut self, wait: u64, client: usize) {
        let call = self.crowd.clients[client].call;
        let wait = wait + self.random.below(NOTICE_SPREAD);
        let moment = Moment::Restart;
        self.queue.push(
            wait,
            Event::Client {
                client,
                call,
                moment,
            },
        );
    }

    pub fn call(&mut self, client: usize, call: u32, moment: Moment) {
        let now = self.queue.now();
        let one = &mut self.crowd.clients[client];
        if one.call != call {
            return;
        }
        let left = one.relay.take();
        if moment == Moment::Begin {
            one.broken = now;
        }
        let handed = self.resolve(client, left);
        let good = handed
            .iter()
            .flatten()
            .find(|answered| self.works(answered.relay));
        let good = good.map(|answered| answered.relay);
        self.check_handed(client, &handed, good.is_some());
        let Some(relay) = good else {
            self.crowd.failed += 1;
            self.restart_in(AGAIN, client);
            return;
        };
        let one = &mut self.crowd.clients[client];
        one.relay = Some(relay);
        one.call += 1;
        let (call, broken) = (one.call, one.broken);
        match moment {
            Moment::Begin => self.crowd.calls += 1,
            Moment::Restart => self.crowd.took.push(now - broken),
        }
        let lasts = 60 * SECOND + self.random.below(600 * SECOND);
        let moment = Moment::Begin;
        self.queue.push(
            lasts,
            Event::Client {
                client,
                call,
                moment,
            },
        );
    }

    /// The first relays of both lanes.
    fn resolve(&mut self, client: usize, failed: Option<usize>) -> [Option<Answered>; 2] {
        let now = self.queue.now();
        let one = &self.crowd.clients[client];
        let (resolver, fixed, region) = (one.resolver, one.fixed, one.region);
        let avoid = failed.map(|relay| {
            let address = self.inventory.relays()[relay].ipv4.unwrap();
            Tag::of_addr((*address.ip()).into())
        });
        let label = Label {
            draw: self.random.next() as u32,
            region,
            avoid: [avoid, None],
            tenant: None,
            transport: None,
            expires: UnixTime(super::super::common::world::EPOCH + 1_000_000),
        };
        Lane::ALL.map(|lane| {
            let index = usize::from(lane == Lane::B);
            let kept = self.crowd.resolvers[resolver].kept[index];
            if let Some(kept) = kept.filter(|kept| fixed && now < kept.until) {
                return Some(kept);
            }
            let below = &self.crowd.lanes[index];
            let name = if fixed {
                below.clone()
            } else {
                let text = self.crowd.keys.seal(&label, lane);
                below.prepend_label(text.as_bytes()).unwrap()
            };
            let answered = self.ask(resolver, &name)?;
            if fixed {
                self.crowd.resolvers[resolver].kept[index] = Some(answered);
            }
            Some(answered)
        })
    }

    fn ask(&self, resolver: usize, name: &Name) -> Option<Answered> {
        let now = self.queue.now();
        let resolver = &self.crowd.resolvers[resolver];
        let client = [10, 0, resolver.network, 1].into();
        let (relay, ttl) = self.answered(resolver.nearest, client, &self.crowd.keys, name)?;
        Some(Answered {
            relay,
            asked: now,
            until: now + ttl.max(resolver.floor),
        })
    }

    /// What a resolver at `client` gets from the nearest nameserver that answers: the first relay,
    /// and for how long that may be kept, in microseconds.
    pub fn answered(
        &self,
        nearest: usize,
        client: IpAddr,
        keys: &LabelKeys,
        name: &Name,
    ) -> Option<(usize, u64)> {
        let now = self.queue.now();
        let mut near = (0..self.nodes.len()).map(|n| (nearest + n) % self.nodes.len());
        let node = near.find(|node| self.nodes[*node].fleet.is_some())?;
        let query = Query {
            name,
            record_type: RecordType::A,
            class: DNSClass::IN,
            client,
            subnet: None,
            dnssec_ok: false,
        };
        let node = &self.nodes[node];
        let snapshot = node.snapshot.as_ref()?;
        let answer = answer(snapshot, keys, node.unix(now), &query);
        let first = *addresses(&answer.answers)
            .first()
            .expect("no answer is empty");
        let ttl = u64::from(answer.answers[0].ttl) * SECOND;
        Some((Self::relay_at(first), ttl))
    }

    /// Whether a client may be sent to a relay that does not relay: most do not, so that it may be
    /// the nameserver, or no other is certain to be up.
    fn is_gray_excused(&self, asked: u64) -> bool {
        let since = |relay: &usize| self.truth.when_changed(*relay);
        let count = |wanted: &dyn Fn(&usize) -> bool| (0..self.relays.len()).filter(wanted).count();
        let gray = |relay: &usize| self.relays[*relay].fate == Fate::Gray;
        let fails = |relay: &usize| gray(relay) || asked < since(relay) + GRAY;
        let answers = |relay: &usize| !self.relays[*relay].fate.is_dead() || fails(relay);
        // One that has come back may be held, and is as good as none until then.
        let held = |relay: &usize| self.relays[*relay].life > 0 && asked < since(relay) + HELD;
        let up = |relay: &usize| self.works(*relay) && !held(relay);
        let failing = count(&fails);
        (failing >= 2 && failing * 2 > count(&answers)) || count(&up) == 0
    }

    /// What a client was handed must be of use, but for what nobody could have known.
    fn check_handed(&mut self, client: usize, handed: &[Option<Answered>; 2], landed: bool) {
        let now = self.queue.now();
        let running = self
            .nodes
            .iter()
            .filter(|node| node.fleet.is_some())
            .count();
        let everywhere = running == self.nodes.len() && self.network.is_whole();
        let asked = handed.iter().flatten().map(|answered| answered.asked).min();
        let fair = asked.is_some_and(|asked| self.truth.is_settled(asked)) && everywhere;
        let dark = self.truth.dark(now) + DAWN > asked.unwrap_or(now);
        if !fair || self.network.loss > 50 || dark {
            return;
        }
        self.truth.judged += 1;
        let excused = |answered: &Answered| {
            let known = match self.relays[answered.relay].fate {
                Fate::Gray if self.is_gray_excused(answered.asked) => return true,
                Fate::Gray => GRAY,
                fate if !fate.is_dead() => TOLD,
                _ if running == 1 => KNOWN_ALONE,
                _ => KNOWN,
            };
            answered.asked < self.truth.when_changed(answered.relay) + known
        };
        assert!(
            landed || handed.iter().flatten().any(excused),
            "client {client} is sent to {:?}, of which none works",
            handed.map(|one| one.map(|one| (
                one.relay,
                self.relays[one.relay].fate,
                now - one.asked
            ))),
        );
    }
}
