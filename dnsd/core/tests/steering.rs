//! The choice against a slow and obvious model of its rules, for fleets of every shape.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::shapes::{Shape, build, model, shape};
use dnsd_core::inventory::{Inventory, RelayEntry};
use dnsd_core::steer::{self, Choice, RegionPlan, Standing, Variant, View};
use proptest::prelude::*;

/// The plans of clients that do not ask for a transport.
fn plan(inventory: &Inventory, view: &View) -> Vec<RegionPlan> {
    let plans = steer::plan(inventory, view).into_iter();
    plans.map(|plans| plans.main).collect()
}

fn lists(variant: &Variant) -> [&Choice; 3] {
    [&variant.lanes[0], &variant.lanes[1], &variant.apex]
}

fn families(choice: &Choice) -> [&[u16]; 2] {
    [&choice.ipv4, &choice.ipv6]
}

fn distinct<T: Ord>(relays: &[u16], of: impl Fn(u16) -> T) -> BTreeSet<T> {
    relays.iter().map(|relay| of(*relay)).collect()
}

fn has_family(family: usize) -> impl Fn(&RelayEntry) -> bool {
    move |relay| {
        if family == 0 {
            relay.ipv4.is_some()
        } else {
            relay.ipv6.is_some()
        }
    }
}

fn check_membership(inventory: &Inventory, view: &View, region: usize, plan: &RegionPlan) {
    let (tier, base) = model(inventory, view, region, &|_| true);
    assert_eq!(plan.tier, tier);
    let anyone_healthy = view.seats.iter().any(|seat| seat.standing.is_healthy());
    for variant in plan.variants.iter() {
        for choice in lists(variant) {
            assert!(choice.relays().next().is_some(), "an empty answer");
            for (family, relays) in families(choice).into_iter().enumerate() {
                let has = has_family(family);
                let within: BTreeSet<usize> = base
                    .iter()
                    .copied()
                    .filter(|i| has(&inventory.relays()[*i]))
                    .collect();
                let (further_tier, further) = model(inventory, view, region, &has);
                let allowed = if within.is_empty() { &further } else { &within };
                assert!(relays.iter().all(|r| allowed.contains(&usize::from(*r))));
                assert!(
                    within.is_empty() || !relays.is_empty(),
                    "lacks a family the pool has"
                );
                assert!(relays.is_empty() || !within.is_empty() || further_tier <= tier);
                assert_eq!(relays.len(), distinct(relays, |r| r).len(), "named twice");
                assert!(relays.len() <= inventory.policy().answers);
                let healthy = |r: &u16| view.seats[usize::from(*r)].standing.is_healthy();
                assert!(!anyone_healthy || relays.iter().all(healthy));
                let doubt = |r: &u16| {
                    let seat = view.seats[usize::from(*r)];
                    (seat.standing == Standing::Suspect, seat.gray)
                };
                assert!(
                    relays.is_sorted_by_key(doubt),
                    "a suspect before a healthy one"
                );
            }
        }
        // The apex has the whole pool to choose from: it never begins with a suspect for nothing.
        for (family, relays) in families(&variant.apex).into_iter().enumerate() {
            let up = |i: &usize| view.seats[*i].standing == Standing::Up;
            let has = has_family(family);
            let any_up = base.iter().any(|i| up(i) && has(&inventory.relays()[*i]));
            assert!(!any_up || up(&usize::from(relays[0])));
        }
    }
}

fn check_lanes(inventory: &Inventory, view: &View, region: usize, plan: &RegionPlan) {
    let relays = inventory.relays();
    let vendor = |r: u16| relays[usize::from(r)].vendor.clone();
    let zone = |r: u16| relays[usize::from(r)].zone.clone();
    let (_, base) = model(inventory, view, region, &|_| true);
    for family in 0..2 {
        let has = has_family(family);
        let pool: Vec<u16> = base
            .iter()
            .filter(|i| has(&relays[**i]))
            .map(|i| u16::try_from(*i).unwrap())
            .collect();
        let (vendors, zones) = (distinct(&pool, vendor).len(), distinct(&pool, zone).len());
        for variant in plan.variants.iter() {
            let [a, b] = [0, 1].map(|lane| families(&variant.lanes[lane])[family]);
            if vendors >= 2 {
                assert!(
                    distinct(a, vendor).is_disjoint(&distinct(b, vendor)),
                    "{a:?} {b:?}"
                );
            } else if zones >= 2 {
                assert!(
                    distinct(a, zone).is_disjoint(&distinct(b, zone)),
                    "{a:?} {b:?}"
                );
            } else if pool.len() >= 2 {
                assert!(
                    distinct(a, |r| r).is_disjoint(&distinct(b, |r| r)),
                    "{a:?} {b:?}"
                );
            }
        }
    }
}

/// Whether the vendors can be split so that both lanes have every address family, each with
/// vendors of its own: tried by brute force.
fn can_be_split(has: &[[bool; 2]]) -> bool {
    (0..1u32 << has.len()).any(|split| {
        (0..2).all(|family| {
            [0, 1].into_iter().all(|lane| {
                has.iter()
                    .enumerate()
                    .any(|(v, has)| has[family] && (split >> v) & 1 == lane)
            })
        })
    })
}

proptest! {
    #[test]
    fn lanes_share_no_vendor_across_families_where_that_can_be(
        shapes in proptest::collection::vec(shape(true, false), 2..12),
    ) {
        let (inventory, view) = build(&shapes, 2);
        for (region, plan) in plan(&inventory, &view).iter().enumerate() {
            let (_, base) = model(&inventory, &view, region, &|_| true);
            let vendor = |r: u16| inventory.relays()[usize::from(r)].vendor.clone();
            let pool: Vec<u16> = base.iter().map(|i| u16::try_from(*i).unwrap()).collect();
            let has: Vec<[bool; 2]> = distinct(&pool, vendor).into_iter().map(|name| {
                [0, 1].map(|family| pool.iter().any(|r| {
                    vendor(*r) == name && has_family(family)(&inventory.relays()[usize::from(*r)])
                }))
            }).collect();
            if !can_be_split(&has) {
                continue;
            }
            for variant in plan.variants.iter() {
                let [a, b]: [Vec<u16>; 2] =
                    [0, 1].map(|lane| variant.lanes[lane].relays().collect());
                prop_assert!(
                    distinct(&a, vendor).is_disjoint(&distinct(&b, vendor)),
                    "{:?} {:?} {:?}", has, a, b
                );
            }
        }
    }

    #[test]
    fn answers_are_never_empty_and_come_from_the_right_pool(
        shapes in proptest::collection::vec(shape(false, false), 1..12),
        answers in 1..5usize,
    ) {
        let (inventory, view) = build(&shapes, answers);
        for (region, plan) in plan(&inventory, &view).iter().enumerate() {
            check_membership(&inventory, &view, region, plan);
        }
    }

    #[test]
    fn lanes_share_no_vendor_else_no_zone_else_no_relay(
        shapes in proptest::collection::vec(shape(false, false), 1..12),
        answers in 1..5usize,
    ) {
        let (inventory, view) = build(&shapes, answers);
        for (region, plan) in plan(&inventory, &view).iter().enumerate() {
            check_lanes(&inventory, &view, region, plan);
        }
    }

    #[test]
    fn healthy_dual_stack_fleets_meet_every_constraint_at_once(
        shapes in proptest::collection::vec(shape(true, true), 1..12),
        answers in 1..5usize,
    ) {
        let (inventory, view) = build(&shapes, answers);
        let relays = inventory.relays();
        let vendor = |r: u16| relays[usize::from(r)].vendor.clone();
        let zone = |r: u16| relays[usize::from(r)].zone.clone();
        for (region, plan) in plan(&inventory, &view).iter().enumerate() {
            let (_, base) = model(&inventory, &view, region, &|_| true);
            let pool: Vec<u16> = base.iter().map(|i| u16::try_from(*i).unwrap()).collect();
            let (vendors, zones) = (distinct(&pool, vendor).len(), distinct(&pool, zone).len());
            for variant in plan.variants.iter() {
                let [a, b]: [Vec<u16>; 2] =
                    [0, 1].map(|lane| variant.lanes[lane].relays().collect());
                if vendors >= 2 {
                    prop_assert!(distinct(&a, vendor).is_disjoint(&distinct(&b, vendor)));
                }
                if zones >= 2 {
                    prop_assert!(distinct(&a, zone).is_disjoint(&distinct(&b, zone)));
                }
                let Choice { ipv4, ipv6 } = &variant.apex;
                for list in [ipv4, ipv6] {
                    let expected = answers.min(pool.len());
                    prop_assert_eq!(list.len(), expected);
                    prop_assert_eq!(distinct(list, vendor).len(), vendors.min(expected));
                    if vendors == 1 {
                        prop_assert_eq!(distinct(list, zone).len(), zones.min(expected));
                    }
                }
                prop_assert!(vendors == 1 || vendor(ipv4[0]) != vendor(ipv6[0]));
                prop_assert!(vendors > 1 || zones == 1 || zone(ipv4[0]) != zone(ipv6[0]));
                prop_assert!(pool.len() == 1 || ipv4[0] != ipv6[0]);
            }
        }
    }

    #[test]
    fn four_vendors_make_two_in_each_lane(
        hosts in proptest::collection::vec(0..4u8, 0..8),
        answers in 2..5usize,
    ) {
        // Every relay in a zone of its own, so that zones bind nobody.
        let shapes: Vec<Shape> = (0..4).chain(hosts).enumerate().map(|(zone, vendor)| Shape {
            region: 0, vendor, zone: u8::try_from(zone).unwrap(), families: 3, standing: 0,
            good_minutes_ago: None, weight: 100, standby: false, gray: false,
        }).collect();
        let (inventory, view) = build(&shapes, answers);
        let vendor = |r: u16| inventory.relays()[usize::from(r)].vendor.clone();
        for variant in plan(&inventory, &view)[0].variants.iter() {
            for Choice { ipv4, ipv6 } in &variant.lanes {
                prop_assert_ne!(vendor(ipv4[0]), vendor(ipv4[1]));
                prop_assert_ne!(vendor(ipv6[0]), vendor(ipv6[1]));
                prop_assert_ne!(vendor(ipv4[0]), vendor(ipv6[0]));
            }
        }
    }

    #[test]
    fn a_relay_that_leaves_moves_nobody_else(
        shapes in proptest::collection::vec(shape(true, true), 2..12),
        gone in any::<prop::sample::Index>(),
    ) {
        // Who is called from the reserve takes clients from everybody.
        let shapes: Vec<Shape> =
            shapes.into_iter().map(|shape| Shape { standby: false, ..shape }).collect();
        let (inventory, view) = build(&shapes, 2);
        let gone = gone.index(shapes.len());
        let mut without = view.clone();
        without.seats[gone].standing = Standing::Down;
        without.seats[gone].last_good = None;
        let before = plan(&inventory, &view);
        let after = plan(&inventory, &without);
        for (region, (before, after)) in before.iter().zip(&after).enumerate() {
            if before.served_by != after.served_by {
                continue;
            }
            for (old, new) in before.variants.iter().zip(after.variants.iter()) {
                let first = old.apex.ipv4[0];
                prop_assert!(
                    usize::from(first) == gone || first == new.apex.ipv4[0],
                    "region {}: {} moved to {}", region, first, new.apex.ipv4[0]
                );
            }
        }
    }
}
