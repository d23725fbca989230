//! The plan: every region's pool with its answer variants.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::deal::{self, FAMILIES};
use super::pick::pick;
use super::pool::{Pool, pool};
use super::{Tier, View};
use crate::inventory::Inventory;

/// Relays to answer with, best first, as places in the inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Answered with their IPv4 address.
    pub ipv4: Box<[u16]>,
    /// Answered with their IPv6 address.
    pub ipv6: Box<[u16]>,
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
}

/// How one region's clients are served.
#[derive(Clone, Debug)]
pub struct RegionPlan {
    /// What kind of relays serve.
    pub tier: Tier,
    /// The region whose relays serve.
    pub served_by: usize,
    /// Seconds the answers may be cached.
    pub ttl: u32,
    /// The answers; regions with the same pool share them.
    pub variants: Arc<[Variant]>,
}

/// A plan per region, in the inventory's order.
pub fn plan(inventory: &Inventory, view: &View) -> Vec<RegionPlan> {
    let policy = inventory.policy();
    let mut compiled: BTreeMap<[Vec<usize>; 2], Arc<[Variant]>> = BTreeMap::new();
    (0..inventory.regions().len())
        .map(|region| {
            let pool = pool(inventory, view, region);
            let ttl = if pool.doubt {
                policy.ttl_min
            } else {
                policy.ttl_max
            };
            let (tier, served_by) = (pool.tier, pool.served_by);
            let variants = compiled
                .entry([pool.ipv4.clone(), pool.ipv6.clone()])
                .or_insert_with(|| variants(inventory, view, &pool))
                .clone();
            RegionPlan {
                tier,
                served_by,
                ttl,
                variants,
            }
        })
        .collect()
}

fn variants(inventory: &Inventory, view: &View, pool: &Pool) -> Arc<[Variant]> {
    let mut cards = deal::cards(inventory, view, pool);
    let count = inventory.policy().answers;
    (0..inventory.policy().variants)
        .map(|variant| {
            deal::rank(&mut cards, variant);
            let choice = |picked: &[Vec<usize>; 2]| {
                let [ipv4, ipv6] = FAMILIES.map(|family| {
                    picked[family]
                        .iter()
                        .map(|index| cards[*index].relay)
                        .collect()
                });
                Choice { ipv4, ipv6 }
            };
            let lanes = pick(&cards, &deal::deal(&cards), count);
            let whole = pick(&cards, &[deal::all(&cards), deal::Lane::default()], count);
            Variant {
                lanes: [choice(&lanes[0]), choice(&lanes[1])],
                apex: choice(&whole[0]),
            }
        })
        .collect()
}
