//! What a fault of this node itself looks like, and the ways back that need no report.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::world::{Fate, World};
use common::{HOUR, SECOND, six};
use dnsd_core::health::{Reason, State};
use dnsd_core::inventory::{Inventory, Thresholds};
use dnsd_core::steer::Tier;
use liveness::State as Claim;

/// Found not to relay, and not taken out.
const GRAY: (State, Reason) = (State::Suspect, Reason::EchoFails);

fn settled(seed: u64) -> World {
    let mut world = World::new(six(), seed);
    world.run(SECOND * 200);
    world
}

fn with(change: impl FnOnce(&mut Thresholds)) -> Inventory {
    let (six, mut thresholds) = (six(), Thresholds::default());
    change(&mut thresholds);
    Inventory::new(
        six.zone().clone(),
        six.regions().to_vec(),
        six.relays().to_vec(),
        six.policy().clone(),
        thresholds,
    )
    .unwrap()
}

fn all(world: &World, state: State) -> bool {
    (0..6).all(|relay| world.state(relay) == state)
}

fn reason(world: &World, relay: usize) -> Reason {
    world.fleet.verdict(world.relays[relay].id).unwrap().reason
}

fn served(world: &World) -> (Tier, BTreeSet<u16>) {
    let (_, plan) = world.snapshot.as_ref().unwrap().plans().next().unwrap();
    let choices = plan
        .variants
        .iter()
        .flat_map(|variant| variant.lanes.iter().chain([&variant.apex]));
    (
        plan.tier,
        choices
            .flat_map(|c| c.relays().collect::<Vec<_>>())
            .collect(),
    )
}

#[test]
fn after_this_nodes_own_blindness_all_come_back_together_and_none_counts_as_flapping() {
    for seed in 0..20 {
        let mut world = settled(seed);
        for _ in 0..3 {
            world.loss = 1000;
            world.run(SECOND * 20);
            assert!(all(&world, State::Down));
            world.loss = 0;
            world
                .run_for(SECOND * 3, |world| {
                    (0..6).any(|relay| world.state(relay) == State::Up)
                })
                .unwrap();
            let rest = world.run_for(SECOND * 2, |world| all(world, State::Up));
            assert!(rest.is_some(), "seed {seed}: held");
            for relay in 0..6 {
                let id = world.relays[relay].id;
                assert_eq!(world.fleet.explain(world.now, id).unwrap().flaps, 0);
            }
            world.run(SECOND * 30);
        }
        // The window closes: one that dies alone is held again.
        world.befall(0, Fate::Killed);
        world.run(SECOND * 10);
        world.befall(0, Fate::Alive);
        let took = world.run_for(SECOND * 9, |world| world.state(0) == State::Up);
        assert!(took.unwrap() >= SECOND * 2, "seed {seed}: {took:?}");
    }
}

#[test]
fn echo_probes_that_all_fail_say_more_of_this_node_than_of_the_relays() {
    for (seed, gray) in [(1, 6), (2, 4)] {
        let mut world = settled(seed);
        for relay in 0..gray {
            world.befall(relay, Fate::Gray);
        }
        world.run(SECOND * 10);
        for _ in 0..60 {
            for relay in 0..gray {
                assert_eq!(world.state(relay), State::Suspect);
                assert_eq!(reason(&world, relay), Reason::EchoFails);
            }
            world.run(SECOND);
        }
        for relay in 0..gray {
            world.befall(relay, Fate::Alive);
        }
        world.run(SECOND * 10);
        assert!(all(&world, State::Up));
    }
}

#[test]
fn an_echo_that_fails_does_not_condemn_the_last_one_up() {
    let mut world = settled(3);
    for relay in 1..6 {
        world.befall(relay, Fate::Killed);
    }
    world.run(SECOND * 5);
    world.log.clear();
    world.befall(0, Fate::Gray);
    world.run(SECOND * 60);
    assert_eq!(
        (world.state(0), reason(&world, 0)),
        (State::Suspect, Reason::EchoFails)
    );
    assert!(world.log.iter().all(|(_, _, state)| *state != State::Down));
}

#[test]
fn a_region_whose_last_relays_do_not_relay_is_served_by_the_next() {
    let mut world = settled(9);
    // Half stay in any case, and those that are up are less.
    for relay in [0, 3] {
        world.befall(relay, Fate::Killed);
    }
    world.run(SECOND * 10);
    for relay in [1, 2] {
        world.befall(relay, Fate::Gray);
    }
    world.run(SECOND * 10);
    for relay in [1, 2] {
        assert_eq!((world.state(relay), reason(&world, relay)), GRAY);
    }
    assert_eq!(served(&world), (Tier::Healthy, BTreeSet::from([4, 5])));
    // Nobody else is up: what may work is better than what is gone.
    for relay in [4, 5] {
        world.befall(relay, Fate::Killed);
    }
    world.run(SECOND * 10);
    assert_eq!(served(&world), (Tier::Healthy, BTreeSet::from([1, 2])));
}

#[test]
fn among_the_last_known_good_those_that_still_speak_serve() {
    let mut world = settled(4);
    world.befall(0, Fate::Deaf);
    for relay in 1..6 {
        world.befall(relay, Fate::Hung);
    }
    world.run(SECOND * 20);
    assert!(all(&world, State::Down));
    assert_eq!(served(&world), (Tier::LastKnownGood, BTreeSet::from([0])));
    world.befall(0, Fate::Hung);
    world.run(SECOND * 5);
    assert_eq!(
        served(&world),
        (Tier::LastKnownGood, BTreeSet::from([0, 1, 2]))
    );
}

#[test]
fn a_condemned_relay_whose_reports_are_lost_comes_back_as_suspect() {
    let mut world = settled(5);
    world.befall(0, Fate::Hung);
    world.run(SECOND * 10);
    assert_eq!(world.state(0), State::Down);
    world.befall(0, Fate::Muted);
    let took = world.run_for(SECOND * 8, |world| world.state(0) == State::Suspect);
    assert!(took.unwrap() >= SECOND * 2, "{took:?}");
    world.log.clear();
    world.run(HOUR);
    assert!(world.log.is_empty(), "{:?}", world.log);
    // And without an answer it stays where it is.
    world.befall(1, Fate::Hung);
    world.run(SECOND * 60);
    assert_eq!(world.state(1), State::Down);
}

#[test]
fn being_full_passes_with_silence_and_draining_does_not() {
    for (claim, later) in [
        (Claim::Full, State::Suspect),
        (Claim::Draining, State::Draining),
    ] {
        let mut world = settled(6);
        world.claim(0, claim);
        world.run(SECOND);
        world.befall(0, Fate::Muted);
        world.run(SECOND * 9);
        assert_eq!(world.state(0), State::Draining, "{claim:?}");
        world.run(SECOND * 3);
        assert_eq!(world.state(0), later, "{claim:?}");
        world.run(SECOND * 60);
        assert_eq!(world.state(0), later, "{claim:?}");
    }
}

#[test]
fn one_that_is_silent_and_answers_stays_suspect_at_any_probe_interval() {
    for seconds in [3, 10, 60] {
        let stun_interval = Duration::from_secs(seconds);
        let mut world = World::new(with(|t| t.stun_interval = stun_interval), 7);
        world.run(stun_interval * 5);
        world.befall(0, Fate::Muted);
        world.run(SECOND * 3);
        world.log.clear();
        world.run(HOUR);
        assert!(world.log.is_empty(), "{seconds} s: {:?}", world.log);
        assert_eq!(world.state(0), State::Suspect);
    }
}

#[test]
fn the_way_back_does_not_wait_for_the_next_regular_echo() {
    for seed in 0..5 {
        let mut world = World::new(with(|t| t.echo_interval = Some(SECOND * 120)), seed);
        world.run(SECOND * 200);
        world.befall(0, Fate::Killed);
        world.run(SECOND * 5);
        world.befall(0, Fate::Alive);
        let took = world.run_for(SECOND * 4, |world| world.state(0) == State::Up);
        assert!(took.is_some(), "seed {seed}");
    }
}

#[test]
fn one_that_did_not_relay_and_then_goes_altogether_is_known_as_gone() {
    let mut world = settled(8);
    world.befall(0, Fate::Gray);
    world.run(SECOND * 10);
    assert_eq!(world.state(0), State::Down);
    world.befall(0, Fate::Killed);
    world.run(SECOND * 10);
    assert_eq!(
        (world.state(0), reason(&world, 0)),
        (State::Down, Reason::PortClosed)
    );
}
