//! From names to relays: addresses in turn, as any nameserver gives them, or what ours answers; and
//! what resolvers and browsers keep of it.

use std::net::IpAddr;

use credentials::UnixTime;
use credentials::label::{Label, LabelKeys, Lane, Tag, Transport};
use dnsd_core::inventory::{Inventory, Policy, Thresholds};
use hickory_proto::rr::Name;

use super::super::common::asking::keys;
use super::super::common::world::EPOCH;
use super::super::common::{name, region, zone};
use super::super::sim::queue::Random;
use super::super::sim::{PLACES, Sim, entry};
use super::{Client, LOST, RELAYS, SECOND};

/// How long addresses in turn may be kept.
const TTL: u64 = 30 * SECOND;
/// How long browsers keep the first address of a name, and some resolvers every answer, whatever
/// its time to live.
const MINUTE: u64 = 60 * SECOND;

struct Resolver {
    nearest: usize,
    address: IpAddr,
    /// Keeps everything for a minute.
    long: bool,
    /// Turns the addresses with every answer; else only when it asks anew.
    turns: bool,
    /// The first address of fixed names.
    kept: [Option<(usize, u64)>; 2],
}

/// All resolvers.
pub struct Caches(Vec<Resolver>);

impl Caches {
    pub fn new(count: usize, random: &mut Random) -> Self {
        let resolver = |number: usize| {
            let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
            Resolver {
                nearest: random.below(3) as usize,
                address: [10, high, low, 1].into(),
                long: random.below(3) == 0,
                turns: random.below(2) == 0,
                kept: [None; 2],
            }
        };
        Self((0..count).map(resolver).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The relays that a client allocates at.
pub struct Asked {
    pub relays: [usize; 2],
    pub nameserver_gone: bool,
}

pub struct Steered {
    sim: Sim,
    keys: LabelKeys,
    lanes: [Name; 2],
    gone: Option<usize>,
}

pub enum Names {
    /// One name for each region, with all its relays.
    InTurn,
    Steered(Box<Steered>),
}

/// The relays of [`entry`], and an ordinary configuration.
pub fn inventory() -> Inventory {
    let mut regions = vec![region("eu", &["us"], &[]), region("us", &["eu"], &[])];
    regions[0].default = true;
    let relays = (0..RELAYS).map(entry).collect();
    let policy = Policy::default();
    Inventory::new(zone(), regions, relays, policy, Thresholds::default()).unwrap()
}

impl Names {
    pub fn steered(sim: Sim) -> Self {
        Self::Steered(Box::new(Steered {
            sim,
            keys: keys(),
            lanes: ["a", "b"].map(|lane| name(&format!("{lane}.turn.example."))),
            gone: None,
        }))
    }

    pub fn run_until(&mut self, end: u64) {
        if let Self::Steered(steered) = self {
            steered.sim.run_until(end);
        }
    }

    /// What a relay carries now, for its reports.
    pub fn tell(&mut self, relay: usize, sessions: u32, most: u32) {
        if let Self::Steered(steered) = self {
            let relay = &mut steered.sim.relays[relay];
            (relay.sessions, relay.sessions_max) = (sessions, most);
        }
    }

    pub fn kill(&mut self, relay: usize) {
        if let Self::Steered(steered) = self {
            steered.sim.befall(relay, LOST);
        }
    }

    pub fn lose_nameserver(&mut self, node: usize) {
        if let Self::Steered(steered) = self {
            steered.sim.nodes[node].crash(true);
            steered.gone = Some(node);
        }
    }

    pub fn resolve(
        &self,
        now: u64,
        client: &mut Client,
        caches: &mut Caches,
        random: &mut Random,
    ) -> Asked {
        let resolver = &mut caches.0[client.resolver];
        match self {
            Self::InTurn => Asked {
                relays: [in_turn(now, client, resolver, random); 2],
                nameserver_gone: false,
            },
            Self::Steered(steered) if client.by_hand => Asked {
                relays: [0, 1].map(|lane| steered.by_hand(now, client, resolver, lane)),
                nameserver_gone: steered.gone == Some(resolver.nearest),
            },
            Self::Steered(steered) => Asked {
                relays: steered.by_label(client, resolver, random.next() as u32),
                nameserver_gone: steered.gone == Some(resolver.nearest),
            },
        }
    }
}

/// One of a region's relays: whether it lives is of no consequence.
fn in_turn(now: u64, client: &mut Client, resolver: &mut Resolver, random: &mut Random) -> usize {
    let region = client.region;
    if let Some((relay, _)) = client.kept[0].filter(|(_, until)| now < *until) {
        return relay;
    }
    let places = PLACES.len();
    let any = random.below((RELAYS / places) as u64) as usize * places + region;
    let kept = resolver.kept[region].filter(|(_, until)| now < *until && !resolver.turns);
    let relay = kept.map_or(any, |(relay, _)| relay);
    if kept.is_none() {
        let life = if resolver.long { MINUTE } else { TTL };
        resolver.kept[region] = Some((relay, now + life));
    }
    if client.browser {
        client.kept[0] = Some((relay, now + MINUTE));
    }
    relay
}

impl Steered {
    /// A lane's own name, which resolver and client keep.
    fn by_hand(
        &self,
        now: u64,
        client: &mut Client,
        resolver: &mut Resolver,
        lane: usize,
    ) -> usize {
        if let Some((relay, _)) = client.kept[lane].filter(|(_, until)| now < *until) {
            return relay;
        }
        let kept = resolver.kept[lane].filter(|(_, until)| now < *until);
        let (relay, until) = kept.unwrap_or_else(|| {
            let (relay, ttl) = self.ask(resolver, &self.lanes[lane]);
            let life = if resolver.long { ttl.max(MINUTE) } else { ttl };
            (relay, now + life)
        });
        resolver.kept[lane] = Some((relay, until));
        if client.browser {
            client.kept[lane] = Some((relay, now + MINUTE));
        }
        relay
    }

    /// New names, one in each lane, as the API of the relays hands them out.
    fn by_label(&self, client: &Client, resolver: &Resolver, draw: u32) -> [usize; 2] {
        let inventory = &self.sim.inventory;
        let tag =
            |relay: usize| Tag::of_addr((*inventory.relays()[relay].ipv4.unwrap().ip()).into());
        let label = Label {
            draw,
            region: Some(Tag::of_name(PLACES[client.region])),
            avoid: client.failed.map(|relay| relay.map(tag)),
            tenant: None,
            transport: Some(Transport::Udp),
            expires: UnixTime(EPOCH + 1_000_000),
        };
        Lane::ALL.map(|lane| {
            let text = self.keys.seal(&label, lane);
            let below = &self.lanes[usize::from(lane == Lane::B)];
            let (relay, _) = self.ask(resolver, &below.prepend_label(text.as_bytes()).unwrap());
            relay
        })
    }

    fn ask(&self, resolver: &Resolver, name: &Name) -> (usize, u64) {
        let found = self
            .sim
            .answered(resolver.nearest, resolver.address, &self.keys, name);
        found.expect("a nameserver that runs")
    }
}
