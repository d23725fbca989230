//! How clients are spread over relays, and what regions and nodes share.
#![allow(clippy::unwrap_used)]

mod common;

use common::asking::{NOW, keys, relays};
use common::shapes::{Shape, build};
use common::{inventory, name, region, relay, zone};
use dnsd_core::answer::{Query, answer};
use dnsd_core::inventory::{Inventory, Policy, RelayEntry, Thresholds};
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::{self, RegionPlan, Seat, Standing, Variant, View};
use hickory_proto::rr::{DNSClass, RecordType};
use proptest::prelude::*;

/// The plans of clients that do not ask for a transport.
fn plan(inventory: &Inventory, view: &View) -> Vec<RegionPlan> {
    let plans = steer::plan(inventory, view).into_iter();
    plans.map(|plans| plans.main).collect()
}

#[test]
fn clients_are_spread_by_weight() {
    let weights = [100, 100, 200, 400, 50, 150];
    let relays: Vec<RelayEntry> = weights
        .iter()
        .zip(["alpha", "beta", "gamma", "alpha", "beta", "gamma"])
        .enumerate()
        .map(|(index, (weight, vendor))| {
            let host = u8::try_from(index + 1).unwrap();
            let mut entry = relay(
                &format!("relay-{index}"),
                "eu",
                &format!("z{index}"),
                vendor,
                host,
            );
            entry.weight = *weight;
            entry
        })
        .collect();
    let mut eu = region("eu", &[], &[]);
    eu.default = true;
    let policy = Policy {
        variants: 1024,
        ..Policy::default()
    };
    let inventory =
        Inventory::new(zone(), vec![eu], relays, policy, Thresholds::default()).unwrap();
    let seat = Seat::new(Standing::Up);
    let view = View {
        seats: vec![seat; 6],
        cautious: false,
        flows: Vec::new(),
    };
    let plans = plan(&inventory, &view);
    for first in [
        |v: &Variant| v.apex.ipv4[0],
        |v: &Variant| v.lanes[0].ipv4[0],
    ] {
        let mut counts = [0u32; 6];
        plans[0]
            .variants
            .iter()
            .for_each(|variant| counts[usize::from(first(variant))] += 1);
        for (count, weight) in counts.into_iter().zip(weights) {
            let share = f64::from(weight) / 1000.0;
            let (mean, deviation) = (1024.0 * share, (1024.0 * share * (1.0 - share)).sqrt());
            let off = (f64::from(count) - mean).abs() / deviation;
            assert!(
                off < 4.0,
                "{counts:?}: {count} is {off:.1} deviations from {mean:.0}"
            );
        }
    }
}

/// The relays that each of many client networks is sent to first, in a lane.
fn sent(snapshot: &Snapshot, lane: &str) -> [u32; 9] {
    let name = name(&format!("{lane}.turn.example."));
    let mut counts = [0; 9];
    for network in 0..NETWORKS {
        let [_, high, mid, low] = network.to_be_bytes();
        let query = Query {
            name: &name,
            record_type: RecordType::A,
            class: DNSClass::IN,
            client: [high + 10, mid, low, 1].into(),
            subnet: None,
            dnssec_ok: false,
        };
        let answer = answer(snapshot, &keys(), NOW, &query);
        counts[usize::from(relays(&answer)[0]) - 1] += 1;
    }
    counts
}

const NETWORKS: u32 = 40_000;

#[test]
fn few_variants_spread_clients_as_evenly_as_many() {
    let vendors = ["alpha", "beta", "gamma"];
    let relay = |index: usize| {
        let (zone, host) = (format!("z{index}"), u8::try_from(index + 1).unwrap());
        relay(
            &format!("relay-{index}"),
            "eu",
            &zone,
            vendors[index % 3],
            host,
        )
    };
    let (inventory, mut view) = up((0..9).map(relay).collect());
    // One has half as much room as the others.
    view.seats[4].free = 500;
    let snapshot = Snapshot::compile(&inventory, &view, 1);
    let lanes = ["a", "b"].map(|lane| sent(&snapshot, lane));
    let both: Vec<u32> = (0..9)
        .map(|relay| lanes[0][relay] + lanes[1][relay])
        .collect();
    for (of, counts) in [(1, &lanes[0][..]), (2, &both[..])] {
        for (relay, count) in counts.iter().enumerate() {
            let share = if relay == 4 { 1 } else { 2 };
            let fair = f64::from(NETWORKS * of * share) / 17.0;
            let off = f64::from(*count) / fair - 1.0;
            assert!(off.abs() < 0.06, "{relay} is off by {off:.2}: {counts:?}");
        }
    }
}

proptest! {
    #[test]
    fn the_clients_of_a_dead_relay_spread_over_the_others_by_weight(
        weights in proptest::collection::vec(50..400u32, 4..8),
        gone in any::<prop::sample::Index>(),
    ) {
        let shape = |(place, weight): (usize, &u32)| Shape {
            region: 0,
            vendor: place as u8,
            zone: place as u8,
            families: 3,
            standing: 0,
            good_minutes_ago: None,
            weight: *weight,
            standby: false,
            gray: false,
        };
        let shapes: Vec<Shape> = weights.iter().enumerate().map(shape).collect();
        let (inventory, view) = build(&shapes, 2);
        let policy = Policy { variants: 1024, ..inventory.policy().clone() };
        let inventory = Inventory::new(
            zone(),
            inventory.regions().to_vec(),
            inventory.relays().to_vec(),
            policy,
            Thresholds::default(),
        ).unwrap();
        let gone = gone.index(weights.len());
        let mut without = view.clone();
        without.seats[gone].standing = Standing::Down;
        let (before, after) = (plan(&inventory, &view), plan(&inventory, &without));
        let pairs = before[0].variants.iter().zip(after[0].variants.iter());
        let mut counts = vec![0_u32; weights.len()];
        for (_, new) in pairs.filter(|(old, _)| usize::from(old.apex.ipv4[0]) == gone) {
            counts[usize::from(new.apex.ipv4[0])] += 1;
        }
        prop_assert_eq!(counts[gone], 0);
        let moved = f64::from(counts.iter().sum::<u32>());
        let rest: u32 = weights.iter().sum::<u32>() - weights[gone];
        for (place, count) in counts.iter().enumerate().filter(|(place, _)| *place != gone) {
            let share = f64::from(weights[place]) / f64::from(rest);
            let deviation = (moved * share * (1.0 - share)).sqrt();
            let off = (f64::from(*count) - moved * share).abs();
            prop_assert!(off <= 5.0 * deviation + 1.0, "{:?} of {:?}", counts, weights);
        }
    }
}

#[test]
fn two_nodes_with_the_same_view_choose_alike_and_regions_share_what_is_the_same() {
    let (inventory, view) = build(
        &[0u8, 1, 2].map(|vendor| Shape {
            region: 0,
            vendor,
            zone: vendor,
            families: 3,
            standing: 0,
            good_minutes_ago: None,
            weight: 100,
            standby: false,
            gray: false,
        }),
        2,
    );
    let (one, other) = (
        plan(&inventory, &view),
        plan(&inventory.clone(), &view.clone()),
    );
    assert_eq!(one[0].variants, other[0].variants);
    assert!(std::sync::Arc::ptr_eq(&one[0].variants, &one[1].variants));
}

#[test]
fn an_address_family_that_is_gone_here_is_fetched_from_further_away_only_if_it_works() {
    let mut v4_only = relay("fra-1", "eu", "eu-a", "alpha", 1);
    v4_only.ipv6 = None;
    let dual = relay("fra-2", "eu", "eu-b", "beta", 2);
    let far = relay("nyc-1", "us", "us-a", "alpha", 3);
    let inventory = inventory(
        vec![region("eu", &["us"], &[]), region("us", &["eu"], &[])],
        vec![v4_only, dual, far],
    );
    let seat = Seat::new;
    let (up, down) = (seat(Standing::Up), seat(Standing::Down));
    let ipv6 = |seats: Vec<Seat>| {
        let plans = plan(
            &inventory,
            &View {
                seats,
                cautious: false,
                flows: Vec::new(),
            },
        );
        plans[0].variants[0].apex.ipv6.to_vec()
    };
    assert_eq!(ipv6(vec![up, up, up]), [1]);
    assert_eq!(ipv6(vec![up, down, up]), [2]);
    assert_eq!(
        ipv6(vec![up, down, down]),
        [0u16; 0],
        "no dead address while another family works"
    );
}

fn up(relays: Vec<RelayEntry>) -> (Inventory, View) {
    let seat = Seat::new(Standing::Up);
    let view = View {
        seats: vec![seat; relays.len()],
        cautious: false,
        flows: Vec::new(),
    };
    (inventory(vec![region("eu", &[], &[])], relays), view)
}

#[test]
fn a_single_vendors_lanes_stand_in_different_zones_with_all_that_these_have() {
    let (inventory, view) = up(vec![
        relay("a-1", "eu", "eu-a", "alpha", 1),
        relay("a-2", "eu", "eu-a", "alpha", 2),
        relay("b-1", "eu", "eu-b", "alpha", 3),
        relay("b-2", "eu", "eu-b", "alpha", 4),
    ]);
    for variant in plan(&inventory, &view)[0].variants.iter() {
        let lanes = [0, 1].map(|lane| {
            let mut relays = variant.lanes[lane].ipv4.to_vec();
            relays.sort_unstable();
            relays
        });
        assert!(
            lanes == [[0, 1], [2, 3]] || lanes == [[2, 3], [0, 1]],
            "{lanes:?}"
        );
    }
}

#[test]
fn another_vendor_in_doubt_is_no_reason_to_pass_over_a_healthy_relay() {
    let (inventory, mut view) = up(vec![
        relay("a-1", "eu", "eu-a", "alpha", 1),
        relay("a-2", "eu", "eu-b", "alpha", 2),
        relay("b-1", "eu", "eu-c", "beta", 3),
    ]);
    view.seats[2].standing = Standing::Suspect;
    for variant in plan(&inventory, &view)[0].variants.iter() {
        assert!(!variant.apex.relays().any(|relay| relay == 2));
        assert_eq!(
            variant.lanes[1].ipv4.to_vec(),
            [2],
            "it has a lane to itself"
        );
    }
}
