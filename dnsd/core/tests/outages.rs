//! When everything is down, and when this node itself has just come up: what is answered then.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::world::{EPOCH, Fate, World};
use common::{HOUR, MS, SECOND, inventory, region, relay, six, start};
use credentials::UnixTime;
use dnsd_core::fleet::{Action, Fleet};
use dnsd_core::health::{Override, State};
use dnsd_core::steer::Tier;
use liveness::State as Claim;

/// Every relay that any variant of a region answers with.
fn answered(world: &World, region: &str) -> BTreeSet<String> {
    let snapshot = world.snapshot.as_ref().unwrap();
    let (_, plan) = snapshot.plans().find(|(id, _)| *id == region).unwrap();
    plan.variants
        .iter()
        .flat_map(|variant| variant.lanes.iter().chain([&variant.apex]))
        .flat_map(|choice| choice.relays().collect::<Vec<_>>())
        .map(|index| world.relays[usize::from(index)].id.to_string())
        .collect()
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn ttl(world: &World, region: &str) -> u32 {
    let snapshot = world.snapshot.as_ref().unwrap();
    snapshot
        .plans()
        .find(|(id, _)| *id == region)
        .unwrap()
        .1
        .ttl
}

fn tier(world: &World, region: &str) -> Tier {
    let snapshot = world.snapshot.as_ref().unwrap();
    snapshot
        .plans()
        .find(|(id, _)| *id == region)
        .unwrap()
        .1
        .tier
}

fn settled(seed: u64) -> World {
    let mut world = World::new(six(), seed);
    world.run(SECOND * 200);
    assert_eq!((ttl(&world, "eu"), tier(&world, "eu")), (30, Tier::Healthy));
    world
}

const EU: [&str; 3] = ["fra-1", "ams-1", "par-1"];
const US: [&str; 3] = ["nyc-1", "iad-1", "ord-1"];

#[test]
fn a_region_that_dies_is_served_by_the_next_and_gets_its_clients_back() {
    let mut world = settled(1);
    assert_eq!(answered(&world, "eu"), set(&EU));
    for relay in 0..3 {
        world.befall(relay, Fate::Hung);
    }
    world.run(SECOND * 3);
    assert_eq!(answered(&world, "eu"), set(&US));
    assert_eq!((ttl(&world, "eu"), tier(&world, "eu")), (5, Tier::Healthy));
    world.befall(1, Fate::Alive);
    world.run(SECOND * 6);
    assert_eq!(answered(&world, "eu"), set(&["ams-1"]));
}

#[test]
fn doubt_shortens_the_time_to_live_and_passes() {
    let mut world = settled(2);
    world.befall(0, Fate::Killed);
    world.run(SECOND * 3);
    assert_eq!((ttl(&world, "eu"), ttl(&world, "us")), (5, 30));
    world.run(SECOND * 121);
    assert_eq!(ttl(&world, "eu"), 30, "long dead is no news");
}

#[test]
fn when_all_are_down_the_last_known_good_serve() {
    let mut world = settled(3);
    // Dead for more than five minutes before the rest: not among the last known good.
    world.befall(0, Fate::Killed);
    world.run(SECOND * 400);
    // Dead for less than that: among them.
    world.befall(1, Fate::Killed);
    world.run(SECOND * 100);
    for relay in 2..6 {
        world.befall(relay, Fate::Hung);
    }
    world.run(SECOND * 5);
    assert!((0..6).all(|relay| world.state(relay) == State::Down));
    for _ in 0..2 {
        assert_eq!(answered(&world, "eu"), set(&["ams-1", "par-1"]));
        assert_eq!(answered(&world, "us"), set(&US));
        assert_eq!(
            (ttl(&world, "eu"), tier(&world, "eu")),
            (5, Tier::LastKnownGood)
        );
        // And still so after a night.
        world.run(HOUR * 8);
    }
    // One comes back: it alone is answered, in both regions, within three seconds of its report.
    world.befall(4, Fate::Alive);
    let took = world.run_for(SECOND * 3, |world| {
        tier(world, "eu") == Tier::Healthy && answered(world, "eu") == set(&["iad-1"])
    });
    assert!(took.is_some());
    assert_eq!(answered(&world, "us"), set(&["iad-1"]));
    assert_eq!((ttl(&world, "eu"), tier(&world, "eu")), (5, Tier::Healthy));
}

#[test]
fn the_first_one_back_is_not_held_for_its_past() {
    let mut world = settled(4);
    // A flapper with minutes of hold ahead of it.
    for _ in 0..8 {
        world.befall(0, Fate::Killed);
        world.run(SECOND * 3);
        world.befall(0, Fate::Alive);
        world.run(SECOND * 3);
    }
    for relay in 0..6 {
        world.befall(relay, Fate::Killed);
    }
    world.run(SECOND * 10);
    world.befall(0, Fate::Alive);
    let took = world.run_for(SECOND * 3, |world| world.state(0) == State::Up);
    assert!(
        took.unwrap() < MS * 100,
        "one report and one probe: {took:?}"
    );
    assert_eq!(answered(&world, "us"), set(&["fra-1"]));
}

#[test]
fn a_held_relay_returns_when_the_last_other_one_dies() {
    let mut world = settled(5);
    for relay in 2..6 {
        world.befall(relay, Fate::Killed);
    }
    for _ in 0..8 {
        world.befall(0, Fate::Killed);
        world.run(SECOND * 3);
        world.befall(0, Fate::Alive);
        world.run(SECOND * 3);
    }
    assert_eq!(world.state(0), State::Down, "held");
    assert_eq!(answered(&world, "eu"), set(&["ams-1"]));
    world.befall(1, Fate::Killed);
    world
        .run_for(SECOND * 3, |world| world.state(1) == State::Down)
        .unwrap();
    assert_eq!(
        answered(&world, "eu"),
        set(&["fra-1"]),
        "at that very moment"
    );
}

#[test]
fn full_relays_serve_before_dead_ones() {
    let mut world = settled(6);
    world.befall(0, Fate::Killed);
    for relay in 1..3 {
        world.claim(relay, Claim::Full);
    }
    for relay in 3..6 {
        world.claim(relay, Claim::Draining);
    }
    world.run(SECOND * 3);
    assert_eq!(
        (answered(&world, "eu"), tier(&world, "eu")),
        (set(&EU[1..]), Tier::Full)
    );
    assert_eq!(answered(&world, "us"), set(&EU[1..]));
}

#[test]
fn a_first_start_answers_all_until_there_is_evidence_and_then_only_that() {
    let inventory = six();
    let mut fleet = Fleet::new(inventory, None, start(), UnixTime(EPOCH));
    assert_eq!(
        fleet.poll_action().map(|a| matches!(a, Action::Publish)),
        Some(true)
    );
    let mut world = World::new(six(), 7);
    for relay in 1..6 {
        world.befall(relay, Fate::Hung);
    }
    assert_eq!(answered(&world, "eu"), set(&EU));
    assert_eq!(
        (ttl(&world, "eu"), tier(&world, "eu")),
        (5, Tier::Configured)
    );
    world
        .run_for(SECOND, |world| world.state(0) == State::Up)
        .unwrap();
    assert_eq!(answered(&world, "eu"), set(&["fra-1"]));
    assert_eq!(answered(&world, "us"), set(&["fra-1"]));
}

#[test]
fn a_restart_serves_what_was_known_and_judges_from_then_on() {
    let mut world = settled(8);
    world.befall(1, Fate::Killed);
    world.claim(2, Claim::Full);
    world.run(SECOND * 20);
    let serial = world.snapshot.as_ref().unwrap().serial();
    let mut world = world.restarted(9);
    let known = [
        State::Up,
        State::Down,
        State::Draining,
        State::Up,
        State::Up,
        State::Up,
    ];
    assert_eq!([0, 1, 2, 3, 4, 5].map(|relay| world.state(relay)), known);
    assert_eq!(answered(&world, "eu"), set(&["fra-1"]));
    assert_eq!((ttl(&world, "eu"), tier(&world, "eu")), (5, Tier::Healthy));
    assert!(
        world.snapshot.as_ref().unwrap().serial() > serial,
        "serials rise across restarts"
    );
    // One of those thought up has died meanwhile: the ordinary rules find out, from now on.
    world.befall(0, Fate::Hung);
    world.befall(1, Fate::Killed);
    world.relays[2].claim = Claim::Full;
    world.run(MS * 990);
    assert_eq!(
        world.state(0),
        State::Up,
        "nothing is taken out before one full round"
    );
    let took = world.run_for(SECOND * 3, |world| world.state(0) == State::Down);
    assert!(took.is_some());
    assert_eq!(answered(&world, "eu"), set(&US));
    world.run(SECOND * 130);
    assert_eq!(ttl(&world, "us"), 30, "the caution of the start has passed");
}

#[test]
fn a_restart_during_an_outage_keeps_the_last_known_good() {
    let mut world = settled(10);
    world.befall(0, Fate::Hung);
    world.run(SECOND * 400);
    for relay in 1..6 {
        world.befall(relay, Fate::Hung);
    }
    world.run(HOUR);
    let mut world = world.restarted(11);
    assert_eq!(answered(&world, "eu"), set(&["ams-1", "par-1"]));
    for relay in 0..6 {
        world.befall(relay, Fate::Hung);
    }
    world.run(SECOND * 60);
    assert_eq!(answered(&world, "eu"), set(&["ams-1", "par-1"]));
    assert_eq!(tier(&world, "eu"), Tier::LastKnownGood);
}

#[test]
fn a_persons_decision_wins() {
    let mut world = settled(12);
    let id = world.relays[0].id;
    common::force(&mut world.fleet, world.now, id, Some(Override::Down));
    world.run(SECOND);
    assert_eq!(world.state(0), State::ForcedDown);
    assert_eq!(answered(&world, "eu"), set(&EU[1..]));
    common::force(&mut world.fleet, world.now, id, Some(Override::Up));
    for relay in 0..6 {
        world.befall(relay, Fate::Killed);
    }
    world.run(SECOND * 3);
    assert_eq!(answered(&world, "us"), set(&["fra-1"]));
    common::force(&mut world.fleet, world.now, id, None);
    world.run(SECOND);
    assert_eq!(world.state(0), State::Down);
}

#[test]
fn a_relay_put_aside_by_a_person_is_not_among_the_last_known_good() {
    let mut world = settled(14);
    let id = world.relays[0].id;
    common::force(&mut world.fleet, world.now, id, Some(Override::Down));
    for relay in 0..6 {
        world.befall(relay, Fate::Hung);
    }
    world.run(SECOND * 5);
    assert_eq!(answered(&world, "eu"), set(&EU[1..]));
}

#[test]
fn nothing_is_taken_out_before_one_full_round() {
    let mut world = settled(15).restarted(16);
    world.befall(0, Fate::Killed);
    assert_eq!(
        world.run_for(MS * 990, |world| world.state(0) == State::Down),
        None
    );
    assert!(
        world
            .run_for(SECOND, |world| world.state(0) == State::Down)
            .is_some()
    );
}

#[test]
fn a_restarted_node_is_cautious_until_it_has_heard_of_everybody() {
    let mut world = settled(17).restarted(18);
    assert_eq!(ttl(&world, "eu"), 5);
    world.run(SECOND * 2);
    assert_eq!(ttl(&world, "eu"), 30);
}

#[test]
fn a_changed_inventory_keeps_what_is_known_of_relays_that_stayed() {
    let mut world = settled(13);
    let mut moved = relay("ams-1", "eu", "eu-b", "beta", 99);
    moved.weight = 7;
    let changed = inventory(
        vec![region("eu", &[], &[])],
        vec![
            relay("new-1", "eu", "eu-c", "gamma", 50),
            moved,
            relay("fra-1", "eu", "eu-a", "alpha", 11),
        ],
    );
    let saved = world.fleet.saved(world.now, world.unix());
    let restarted = Fleet::new(changed.clone(), Some(&saved), world.now, world.unix());
    world.fleet.reconfigure(world.now, changed);
    for fleet in [&restarted, &world.fleet] {
        let state = |id: &str| fleet.verdict(id.parse().unwrap()).map(|v| v.state);
        assert_eq!(state("fra-1"), Some(State::Up));
        assert_eq!(state("ams-1"), Some(State::Unknown), "it has moved");
        assert_eq!(state("new-1"), Some(State::Unknown));
        assert_eq!(state("par-1"), None);
    }
    assert_eq!(world.fleet.poll_action(), Some(Action::Publish));
}
