//! What clients say of relays: it casts doubt where many agree, and nobody alone can bring that about.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::world::{Fate, World};
use common::{HOUR, SECOND, inventory, region, relay, six};
use credentials::label::TenantTag;
use dnsd_core::explain::Explanation;
use dnsd_core::health::{Reason, State};
use dnsd_core::inventory::Inventory;
use dnsd_core::steer::plan;
use dnsd_core::votes::Vote;
use proptest::prelude::*;

/// Two looks at the loads, and what is left until the first.
const SOON: Duration = Duration::from_secs(11);

/// A fleet that has been well for a while.
fn world(inventory: Inventory) -> World {
    let mut world = World::new(inventory, 5);
    world.run(SECOND * 60);
    world
}

/// One region of as many relays as there are weights.
fn region_of(weights: &[u32]) -> Inventory {
    let relays = weights.iter().zip(1..).map(|(weight, host)| {
        let vendor = format!("vendor-{}", host % 3);
        let entry = relay(
            &format!("r{host}"),
            "eu",
            &format!("zone-{host}"),
            &vendor,
            host,
        );
        dnsd_core::inventory::RelayEntry {
            weight: *weight,
            ..entry
        }
    });
    inventory(vec![region("eu", &[], &[])], relays.collect())
}

fn complain(world: &mut World, relay: usize, tenant: Option<u16>, networks: std::ops::Range<u64>) {
    let id = world.relays[relay].id;
    for network in networks {
        world
            .fleet
            .handle_complaint(id, tenant.map(TenantTag), network);
    }
}

/// So many tenants, each from so many networks of its own.
fn tenants_complain(world: &mut World, relay: usize, tenants: u16, networks: u64) {
    for tenant in 1..=tenants {
        let first = u64::from(tenant) * 10_000;
        complain(world, relay, Some(tenant), first..first + networks);
    }
}

fn explained(world: &World, relay: usize) -> Explanation {
    let id = world.relays[relay].id;
    world.fleet.explain(world.now, id).unwrap()
}

fn doubted(world: &World) -> Vec<usize> {
    let all = 0..world.relays.len();
    all.filter(|relay| {
        let verdict = world.fleet.verdict(world.relays[*relay].id).unwrap();
        verdict.reason == Reason::Complaints
    })
    .collect()
}

#[test]
fn a_relay_that_many_complain_about_is_answered_last_and_no_more() {
    let mut world = world(six());
    tenants_complain(&mut world, 0, 4, 5);
    let took = world.run_for(SOON, |world| doubted(world) == [0]);
    assert!(took.expect("in doubt") > SECOND * 5, "two looks");
    let known = explained(&world, 0);
    assert_eq!((known.state, known.finding), (State::Suspect, Vote::Up));
    assert_eq!(known.complaints.tenants, 4);
    // By the hash of each a bit: two may share one.
    assert!((13..=20).contains(&known.complaints.networks), "{known:?}");
    assert!(known.complaints.networks_apart < known.complaints.networks);
    world.settle();
    let plans = plan(world.fleet.inventory(), &world.fleet.view(world.now));
    for variant in plans[0].main.variants.iter() {
        for lane in &variant.lanes {
            assert_ne!(lane.ipv4.first(), Some(&0), "others come first");
        }
    }
    // It stays for two minutes, and then nobody complains any more.
    let took = world.run_for(SECOND * 200, |world| doubted(world).is_empty());
    assert!(took.expect("over") >= SECOND * 115, "{took:?}");
    assert_eq!(world.state(0), State::Up);
    assert_eq!(world.fleet.counters().complained, 1);
}

#[test]
fn floods_of_one_tenant_or_two_change_nothing() {
    let mut world = world(six());
    for _ in 0..24 {
        complain(&mut world, 0, Some(1), 0..1000);
        complain(&mut world, 0, Some(1), 50_000..60_000);
        // Labels that were sealed without a key are one tenant's.
        complain(&mut world, 1, None, 0..1000);
        complain(&mut world, 2, Some(1), 0..1000);
        complain(&mut world, 2, Some(2), 2000..3000);
        world.run(SECOND * 5);
        assert!(doubted(&world).is_empty());
        assert_eq!(explained(&world, 0).complaints.networks_apart, 0);
    }
    assert_eq!(explained(&world, 2).complaints.tenants, 2);
    assert!(world.log.iter().all(|(_, _, state)| *state == State::Up));
}

#[test]
fn many_tenants_behind_few_networks_are_too_few() {
    let mut world = world(six());
    for tenant in 1..=16 {
        complain(&mut world, 0, Some(tenant), 0..7);
    }
    world.run(SECOND * 20);
    assert!(doubted(&world).is_empty());
    assert_eq!(explained(&world, 0).complaints.tenants, 16);
    for tenant in 1..=16 {
        complain(&mut world, 0, Some(tenant), 0..20);
    }
    world.run(SOON);
    assert_eq!(doubted(&world), [0]);
}

#[test]
fn what_clients_say_of_all_relays_alike_says_nothing_of_one() {
    let mut world = world(region_of(&[100, 100, 100, 100, 400]));
    for relay in 0..4 {
        tenants_complain(&mut world, relay, 5, 3);
    }
    // Four times the clients, four times the complaints.
    tenants_complain(&mut world, 4, 5, 12);
    world.run(SECOND * 30);
    assert!(doubted(&world).is_empty());
    // And now the same of one that is not popular.
    tenants_complain(&mut world, 1, 16, 60);
    world.run(SECOND * 30);
    assert_eq!(doubted(&world), [1]);
}

#[test]
fn no_more_than_a_quarter_and_never_the_last_of_a_region() {
    // One bad look is not enough, three relays are too few, of eight it may be two.
    for (relays, most) in [(3, 0), (4, 1), (7, 1), (8, 2)] {
        let mut world = world(region_of(&vec![100; relays]));
        for relay in 0..relays / 2 {
            tenants_complain(&mut world, relay, 6, 8);
        }
        world.run(SECOND * 20);
        assert_eq!(doubted(&world).len(), most, "of {relays}");
    }
    // The others die: whoever is left is not in doubt any more.
    let mut world = world(region_of(&[100; 4]));
    tenants_complain(&mut world, 0, 6, 8);
    world.run(SOON);
    assert_eq!(doubted(&world), [0]);
    (1..4).for_each(|relay| world.befall(relay, Fate::Killed));
    world
        .run_for(SECOND * 5, |world| world.state(0) == State::Up)
        .expect("up again");
    // A region with one relay cannot be compared with anything.
    let alone = inventory(
        vec![region("eu", &["us"], &[]), region("us", &["eu"], &[])],
        (1..=5)
            .map(|n| {
                relay(
                    &format!("r{n}"),
                    if n == 1 { "eu" } else { "us" },
                    "z",
                    "v",
                    n,
                )
            })
            .collect(),
    );
    let mut world = self::world(alone);
    tenants_complain(&mut world, 0, 6, 8);
    world.run(SECOND * 30);
    assert!(doubted(&world).is_empty());
}

#[test]
fn doubt_that_comes_again_stays_longer_until_it_is_forgotten() {
    let mut world = world(six());
    let mut stayed = Vec::new();
    for round in 0..3 {
        tenants_complain(&mut world, 0, 4, 5);
        world
            .run_for(SOON, |world| doubted(world) == [0])
            .expect("in doubt");
        stayed.push(
            world
                .run_for(HOUR, |world| doubted(world).is_empty())
                .unwrap(),
        );
        if round == 1 {
            world.run(HOUR);
        }
    }
    assert!(stayed[1] > stayed[0] * 3 / 2, "{stayed:?}");
    assert!(stayed[2] < stayed[1] * 3 / 4, "{stayed:?}");
    // While they go on complaining, it goes on.
    for _ in 0..120 {
        tenants_complain(&mut world, 0, 4, 5);
        world.run(SECOND * 10);
    }
    assert_eq!(doubted(&world), [0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whoever floods alone neither takes a relay out that others have little to say of, nor hides
    /// one that they have much to say of.
    #[test]
    fn whoever_floods_alone_decides_nothing(
        chance in proptest::collection::vec((0..6usize, 2..12u16, 0..1000u64), 0..24),
        targets in proptest::collection::vec(proptest::bool::ANY, 6),
        bad in proptest::option::of(0..3usize),
        networks in 100..2000u64,
    ) {
        let mut world = world(six());
        for _ in 0..8 {
            // By chance, never eight about one relay.
            let mut said = [0; 6];
            for (relay, tenant, network) in &chance {
                said[*relay] += 1;
                if said[*relay] < 8 {
                    complain(&mut world, *relay, Some(*tenant), *network..network + 1);
                }
            }
            if let Some(bad) = bad {
                for tenant in 2..12 {
                    let first = u64::from(tenant) * 5000;
                    complain(&mut world, bad, Some(tenant), first..first + 12);
                }
            }
            for (relay, _) in targets.iter().enumerate().filter(|(_, target)| **target) {
                complain(&mut world, relay, Some(1), 100_000..100_000 + networks);
            }
            world.run(SECOND * 5);
        }
        prop_assert_eq!(doubted(&world), bad.into_iter().collect::<Vec<_>>());
    }
}
