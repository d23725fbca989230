//! Fleets of every shape, and the slow and obvious model of who may serve.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dnsd_core::inventory::{Inventory, Policy, RelayEntry, Thresholds};
use dnsd_core::steer::{Flow, Seat, Standing, Tier, View};
use proptest::prelude::*;

use super::{region, relay, start, zone};

pub const STANDINGS: [Standing; 6] = [
    Standing::Up,
    Standing::Suspect,
    Standing::Full,
    Standing::Unknown,
    Standing::Leaving,
    Standing::Down,
];

#[derive(Clone, Debug)]
pub struct Shape {
    pub region: usize,
    pub vendor: u8,
    pub zone: u8,
    pub families: u8,
    pub standing: usize,
    pub good_minutes_ago: Option<u64>,
    pub weight: u32,
    pub standby: bool,
    pub gray: bool,
}

pub fn shape(healthy: bool, dual: bool) -> impl Strategy<Value = Shape> {
    let standings = if healthy {
        0..1usize
    } else {
        0..STANDINGS.len()
    };
    let families = if dual { 3..4u8 } else { 1..4u8 };
    (
        0..3usize,
        0..4u8,
        0..6u8,
        families,
        standings,
        proptest::option::of(0..12u64),
        1..1000u32,
        (proptest::bool::weighted(0.2), proptest::bool::ANY),
    )
        .prop_map(|drawn| {
            let (region, vendor, zone, families, standing, good_minutes_ago, weight, rest) = drawn;
            let (standby, gray) = rest;
            Shape {
                region,
                vendor,
                zone,
                families,
                standing,
                good_minutes_ago,
                weight,
                standby,
                gray,
            }
        })
}

/// Three regions, each falling back to the other two, and the relays given.
pub fn build(shapes: &[Shape], answers: usize) -> (Inventory, View) {
    let ids = ["r0", "r1", "r2"];
    let mut regions: Vec<_> = (0..3)
        .map(|own| region(ids[own], &[ids[(own + 1) % 3], ids[(own + 2) % 3]], &[]))
        .collect();
    regions[0].default = true;
    let relays: Vec<RelayEntry> = shapes
        .iter()
        .enumerate()
        .map(|(index, shape)| {
            let (zone, vendor) = (
                format!("zone-{}", shape.zone),
                format!("vendor-{}", shape.vendor),
            );
            let host = u8::try_from(index + 1).unwrap();
            let mut entry = relay(
                &format!("relay-{index}"),
                ids[shape.region],
                &zone,
                &vendor,
                host,
            );
            entry.weight = shape.weight;
            entry.standby = shape.standby;
            entry.ipv4 = entry.ipv4.filter(|_| shape.families & 1 != 0);
            entry.ipv6 = entry.ipv6.filter(|_| shape.families & 2 != 0);
            entry
        })
        .collect();
    let policy = Policy {
        answers,
        variants: 64,
        ..Policy::default()
    };
    let inventory = Inventory::new(zone(), regions, relays, policy, Thresholds::default()).unwrap();
    let now = start() + Duration::from_secs(100_000);
    let seats = shapes.iter().map(|shape| {
        let standing = STANDINGS[shape.standing];
        let ago = |minutes: u64| now.checked_sub(Duration::from_secs(minutes * 60)).unwrap();
        let last_good = if standing.is_healthy() {
            Some(now)
        } else {
            shape.good_minutes_ago.map(ago)
        };
        Seat {
            last_good,
            gray: shape.gray && standing == Standing::Suspect,
            ..Seat::new(standing)
        }
    });
    // Whether a region's reserve is called is drawn, too.
    let weights: u32 = shapes.iter().map(|shape| shape.weight).sum();
    let flow = |region: u32| Flow {
        reserve: (weights >> region) & 1 == 1,
        spill: Vec::new(),
    };
    let view = View {
        seats: seats.collect(),
        cautious: false,
        flows: (0..3).map(flow).collect(),
    };
    (inventory, view)
}

type Rung<'a> = (Tier, &'a dyn Fn(&Seat) -> bool);

/// The model's pool: the first non-empty step of the ladder, written down as the rules say it.
pub fn model(
    inventory: &Inventory,
    view: &View,
    region: usize,
    has: &dyn Fn(&RelayEntry) -> bool,
) -> (Tier, BTreeSet<usize>) {
    let all: Vec<usize> = (0..inventory.relays().len())
        .filter(|i| has(&inventory.relays()[*i]))
        .collect();
    let newest: Option<Instant> = all.iter().filter_map(|i| view.seats[*i].last_good).max();
    let healthy = |s: &Seat| matches!(s.standing, Standing::Up | Standing::Suspect);
    let ladder: [Rung<'_>; 6] = [
        (Tier::Healthy, &healthy),
        (Tier::Healthy, &healthy),
        (Tier::Full, &|s| s.standing == Standing::Full),
        (Tier::LastKnownGood, &|s| {
            s.standing != Standing::Leaving
                && s.last_good
                    .is_some_and(|at| newest.unwrap() - at <= Duration::from_mins(5))
        }),
        (Tier::LastKnownGood, &|s| {
            s.last_good
                .is_some_and(|at| newest.unwrap() - at <= Duration::from_mins(5))
        }),
        (Tier::Configured, &|_| true),
    ];
    for (rung, (tier, fits)) in ladder.into_iter().enumerate() {
        for near in inventory.reach(region) {
            let mut found: BTreeSet<usize> = all
                .iter()
                .copied()
                .filter(|i| inventory.home(*i) == *near && fits(&view.seats[*i]))
                .collect();
            // On the first rung a region counts only if it has one that is not gray.
            if rung == 0 && found.iter().all(|i| view.seats[*i].gray) {
                continue;
            }
            let rests = tier == Tier::Healthy && !view.flows.get(*near).is_some_and(|f| f.reserve);
            let primary = |i: &usize| !inventory.relays()[*i].standby;
            let up = |i: &usize| view.seats[*i].standing == Standing::Up;
            if rests && found.iter().any(|i| primary(i) && up(i)) {
                found.retain(primary);
            }
            if !found.is_empty() {
                return (tier, found);
            }
        }
    }
    (Tier::Configured, BTreeSet::new())
}
