//! The plan: every region's pool with its answer variants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use credentials::UnixTime;
use credentials::label::Lane;

use super::balance::{WHOLE, balance};
use super::deal::{self, Card, FAMILIES};
use super::pick::pick;
use super::pool::{Pool, pool};
use super::valve::Spill;
use super::{Pause, Tier, View};
use crate::inventory::Inventory;
use crate::paths::Transport;

/// Detours around one relay: those who need one are few.
const DETOURS: usize = 16;

/// Relays to answer with, best first, as places in the inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Answered with their IPv4 address.
    pub ipv4: Box<[u16]>,
    /// Answered with their IPv6 address.
    pub ipv6: Box<[u16]>,
}

impl RegionPlan {
    /// Seconds an answer may be cached that is given now; `least` where a decision is about to run
    /// out.
    pub fn ttl_at(&self, now: UnixTime, least: u32) -> u32 {
        let left = self.ends.map(|ends| ends.0.saturating_sub(now.0));
        let left = left.map_or(self.ttl, |left| u32::try_from(left).unwrap_or(u32::MAX));
        self.ttl.min(left.max(least))
    }
}

impl Choice {
    /// All relays in it; those with both families come twice.
    pub fn relays(&self) -> impl Iterator<Item = u16> {
        self.ipv4.iter().chain(&self.ipv6).copied()
    }
}

/// One of many answers to the same question; clients are spread over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// What lane a and lane b answer.
    pub lanes: [Choice; 2],
    /// What names without a lane answer.
    pub apex: Choice,
    /// What its relays were ranked by.
    pub(super) number: usize,
    /// The relay that it leads around.
    pub(super) without: Option<u16>,
    /// How many of the clients that draw it keep it, of [`WHOLE`]; the others draw again.
    pub(super) share: u32,
}

impl Variant {
    /// Whether a client that has drawn it keeps it; `draw` is independent of which one it drew.
    pub(crate) fn keeps(&self, draw: u64) -> bool {
        draw % u64::from(WHOLE) < u64::from(self.share)
    }
}

impl Variant {
    /// The relays that names of a lane answer, or names without one.
    pub(crate) fn choice(&self, lane: Option<Lane>) -> &Choice {
        match lane {
            Some(Lane::A) => &self.lanes[0],
            Some(Lane::B) => &self.lanes[1],
            None => &self.apex,
        }
    }

    /// Whether another one gives the same answers.
    fn says_as(&self, other: &Self) -> bool {
        (&self.lanes, &self.apex) == (&other.lanes, &other.apex)
    }
}

/// How one region's clients are served.
#[derive(Clone, Debug)]
pub struct RegionPlan {
    /// What kind of relays serve.
    pub tier: Tier,
    /// The region whose relays serve.
    pub served_by: usize,
    /// The relays that serve, in the inventory's order.
    pub relays: Box<[u16]>,
    /// The regions that take some of its clients because there is no headroom, nearest first: each
    /// takes its share of those that the ones before it have left.
    pub spill: Box<[Spill]>,
    /// Seconds the answers may be cached.
    pub ttl: u32,
    /// When they may change because a person's decision runs out: none is cached for longer, save
    /// for the least that any is.
    pub ends: Option<UnixTime>,
    /// The answers; regions with the same pool share them.
    pub variants: Arc<[Variant]>,
    /// Whether they are all the same.
    pub alike: bool,
    /// Answers for clients that must avoid a relay that every one of `variants` names. Their lanes
    /// may share an availability zone, but a vendor no more than the others.
    pub detours: Arc<[Variant]>,
}

/// Pools with their answers.
type Compiled = BTreeMap<[Vec<usize>; 2], [Arc<[Variant]>; 2]>;

/// How one region's clients are served, by what they ask for.
#[derive(Clone, Debug)]
pub struct Plans {
    /// Those that do not say: they are taken to come over each relay's main transport.
    pub main: RegionPlan,
    /// Those that want one transport, in the order of [`Transport::ALL`].
    pub by_transport: [RegionPlan; 3],
}

/// The plans of each region, in the inventory's order. Answers are compiled apart only where their
/// relays are others.
pub fn plan(inventory: &Inventory, view: &View) -> Vec<Plans> {
    plan_pausing(inventory, view, || {})
}

/// The same with a pause before each variant.
pub(crate) fn plan_pausing(inventory: &Inventory, view: &View, pause: Pause) -> Vec<Plans> {
    let mut compiled = Compiled::new();
    let mut plan =
        |region, transport| plan_for(inventory, view, (region, transport), &mut compiled, pause);
    (0..inventory.regions().len())
        .map(|region| Plans {
            main: plan(region, None),
            by_transport: Transport::ALL.map(|transport| plan(region, Some(transport))),
        })
        .collect()
}

fn plan_for(
    inventory: &Inventory,
    view: &View,
    (region, transport): (usize, Option<Transport>),
    compiled: &mut Compiled,
    pause: Pause,
) -> RegionPlan {
    let policy = inventory.policy();
    let pool = pool(inventory, view, region, transport);
    let spill = view.spill(region);
    let strained = !spill.is_empty() || view.is_reserve_called(pool.served_by);
    let ttl = if pool.doubt {
        policy.ttl_min
    } else if strained {
        (policy.ttl_max / 2).max(policy.ttl_min)
    } else {
        policy.ttl_max
    };
    let [variants, detours] = compiled
        .entry([pool.ipv4.clone(), pool.ipv6.clone()])
        .or_insert_with(|| variants(inventory, view, &pool, pause))
        .clone();
    RegionPlan {
        spill: spill.into(),
        ttl,
        ends: pool.ends,
        ..unspilled(&pool, variants, detours)
    }
}

/// How a pool serves where nobody spills and no decision runs out.
pub(super) fn unspilled(
    pool: &Pool,
    variants: Arc<[Variant]>,
    detours: Arc<[Variant]>,
) -> RegionPlan {
    RegionPlan {
        tier: pool.tier,
        served_by: pool.served_by,
        relays: pool.relays(),
        spill: Box::default(),
        ttl: 0,
        ends: None,
        alike: variants.windows(2).all(|pair| pair[0].says_as(&pair[1])),
        variants,
        detours,
    }
}

/// A pool's answers, and the ones around each relay that all of those name.
fn variants(inventory: &Inventory, view: &View, pool: &Pool, pause: Pause) -> [Arc<[Variant]>; 2] {
    let mut cards = deal::cards(inventory, view, pool);
    let policy = inventory.policy();
    let variants = compile(&mut cards, None, (policy.variants, policy.answers), pause);
    let everywhere = |relay: u16| {
        let named = |variant: &Variant| {
            variant
                .lanes
                .iter()
                .any(|lane| lane.relays().any(|r| r == relay))
        };
        variants.iter().all(named)
    };
    let detours = cards
        .iter()
        .filter(|card| everywhere(card.relay))
        .flat_map(|card| {
            let rest = cards
                .iter()
                .copied()
                .filter(|other| other.relay != card.relay);
            let mut rest: Vec<Card> = rest.collect();
            if can_do_with(&cards, &rest) {
                compile(
                    &mut rest,
                    Some(card.relay),
                    (DETOURS, policy.answers),
                    pause,
                )
            } else {
                Vec::new()
            }
        });
    let detours = detours.collect();
    [variants.into(), detours]
}

/// Whether `rest` of the cards can serve alone: it has the families of all of them, and lanes on
/// different vendors if all of them give that.
fn can_do_with(all: &[Card], rest: &[Card]) -> bool {
    FAMILIES.into_iter().all(|family| {
        let vendors = |cards: &[Card]| {
            let having = cards.iter().filter(|card| card.has[family]);
            having
                .map(|card| card.vendor)
                .collect::<BTreeSet<_>>()
                .len()
        };
        vendors(rest) >= vendors(all).min(2)
    })
}

pub(super) fn compile(
    cards: &mut [Card],
    without: Option<u16>,
    (variants, answers): (usize, usize),
    pause: Pause,
) -> Vec<Variant> {
    let variant = |number| {
        pause();
        deal::rank(cards, number);
        let choice = |picked: &[Vec<usize>; 2]| {
            let [ipv4, ipv6] = FAMILIES.map(|family| {
                picked[family]
                    .iter()
                    .map(|index| cards[*index].relay)
                    .collect()
            });
            Choice { ipv4, ipv6 }
        };
        let (lanes, _) = pick(cards, &deal::deal(cards), answers);
        let (whole, _) = pick(cards, &deal::whole(cards), answers);
        Variant {
            lanes: [choice(&lanes[0]), choice(&lanes[1])],
            apex: choice(&whole[0]),
            number,
            without,
            share: WHOLE,
        }
    };
    let mut compiled: Vec<Variant> = (0..variants).map(variant).collect();
    balance(cards, &mut compiled);

    compiled
}

/// Deals a pool's cards as they were dealt for a variant: to two lanes, or to one.
pub(super) fn deal_again(cards: &mut Vec<Card>, variant: &Variant, lanes: bool) -> [deal::Lane; 2] {
    cards.retain(|card| Some(card.relay) != variant.without);
    deal::rank(cards, variant.number);
    if lanes {
        deal::deal(cards)
    } else {
        deal::whole(cards)
    }
}
