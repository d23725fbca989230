//! How much one node may take out by itself, and how what was out comes back.
#![allow(clippy::unwrap_used)]

mod common;

use common::panel::Panel;
use common::world::{Fate, World};
use common::{MS, SECOND, inventory, region, relay, six};
use dnsd_core::health::{Spared, State};
use dnsd_core::inventory::Inventory;
use dnsd_core::votes::Vote;

fn settled(inventory: Inventory, seed: u64) -> World {
    let mut world = World::new(inventory, seed);
    world.run(SECOND * 200);
    world
}

fn down(world: &World) -> usize {
    (0..world.relays.len())
        .filter(|relay| world.state(*relay) == State::Down)
        .count()
}

fn spared(world: &World, relay: usize) -> Option<Spared> {
    world
        .fleet
        .explain(world.now, world.relays[relay].id)
        .unwrap()
        .spared
}

#[test]
fn probes_alone_leave_half_of_what_clients_can_reach() {
    let mut world = settled(six(), 1);
    // One after the other, so that it is not taken for this node's own fault.
    for relay in 0..5 {
        world.befall(relay, Fate::Deaf);
        world.run(SECOND * 20);
    }
    assert_eq!(down(&world), 3);
    assert_eq!(spared(&world, 3), Some(Spared::Floor));
    assert_eq!(world.state(3), State::Suspect);
    // The relay's own silence is more than probes alone.
    world.befall(3, Fate::Hung);
    world.run(SECOND * 3);
    assert_eq!(world.state(3), State::Down);
}

#[test]
fn others_that_agree_may_go_below_the_floor() {
    let mut panel = Panel::settled(six(), 2, &["beta", "gamma"]);
    for relay in 0..5 {
        panel.befall(relay, Fate::Deaf);
        panel.run(SECOND * 10);
        panel.say(relay, Vote::Down);
        panel.run(SECOND * 10);
        assert_eq!(panel.state(relay), State::Down);
    }
}

#[test]
fn one_node_alone_takes_out_half_within_a_minute() {
    let mut world = settled(six(), 3);
    for relay in 0..5 {
        world.befall(relay, Fate::Hung);
    }
    world.run(SECOND * 20);
    assert_eq!(down(&world), 3);
    let kept: Vec<_> = (0..5)
        .filter(|relay| world.state(*relay) == State::Suspect)
        .collect();
    assert_eq!(kept.len(), 2);
    assert!(
        kept.iter()
            .all(|relay| spared(&world, *relay) == Some(Spared::Rationed))
    );
    world.run(SECOND * 45);
    assert_eq!(down(&world), 5, "the rest a minute later");
}

#[test]
fn refusals_are_not_rationed_nor_is_what_others_agree_on() {
    let mut world = settled(six(), 4);
    for relay in 0..5 {
        world.befall(relay, Fate::Killed);
    }
    world.run(SECOND * 5);
    assert_eq!(down(&world), 5);
    let mut panel = Panel::settled(six(), 4, &["beta", "gamma"]);
    for relay in 0..5 {
        panel.befall(relay, Fate::Hung);
        panel.say(relay, Vote::Down);
    }
    panel.run(SECOND * 5);
    assert_eq!(down(&panel), 5);
}

/// In how many answers the first relay comes first.
fn firsts(world: &World) -> usize {
    let (_, plan) = world.snapshot.as_ref().unwrap().plans().next().unwrap();
    let firsts = plan
        .variants
        .iter()
        .filter(|variant| variant.apex.ipv4.first() == Some(&0));
    firsts.count()
}

#[test]
fn one_that_was_down_gets_its_clients_back_step_by_step() {
    let relays = vec![
        relay("fra-1", "eu", "eu-a", "alpha", 11),
        relay("ams-1", "eu", "eu-b", "beta", 12),
    ];
    let mut world = settled(inventory(vec![region("eu", &[], &[])], relays), 5);
    let share = |world: &World| {
        let explained = world.fleet.explain(world.now, world.relays[0].id);
        explained.unwrap().share_permille
    };
    assert_eq!(share(&world), 1000);
    let whole = firsts(&world);
    world.befall(0, Fate::Killed);
    world.run(SECOND * 10);
    world.befall(0, Fate::Alive);
    world
        .run_for(SECOND * 10, |world| world.state(0) == State::Up)
        .unwrap();
    let (mut shares, mut counts) = (vec![share(&world)], vec![firsts(&world)]);
    for _ in 0..10 {
        world.run(SECOND * 6 + MS);
        shares.push(share(&world));
        counts.push(firsts(&world));
    }
    let tenths: Vec<u32> = (1..=10).map(|tenth| tenth * 100).chain([1000]).collect();
    assert_eq!(shares, tenths);
    assert!(counts[0] < whole / 2, "{counts:?}");
    assert!(counts.is_sorted(), "{counts:?}");
    assert_eq!(counts.last(), Some(&whole), "and all of them in the end");
}

#[test]
fn a_flapper_changes_twice_in_ten_minutes_and_no_more() {
    for (up, down) in [(3, 3), (5, 20), (10, 10), (25, 5)] {
        let mut world = settled(six(), 6);
        world.log.clear();
        let began = world.now;
        while world.now < began + SECOND * 3600 {
            world.befall(0, Fate::Killed);
            world.run(SECOND * down);
            world.befall(0, Fate::Alive);
            world.run(SECOND * up);
        }
        let id = world.relays[0].id;
        let turns = world
            .log
            .iter()
            .filter(|(_, relay, to)| *relay == id && matches!(to, State::Down | State::Up));
        // What counts is that it enters or leaves the answers; to be in doubt on the way is not.
        let mut turns: Vec<_> = turns.map(|(at, _, to)| (*at, *to)).collect();
        turns.dedup_by_key(|(_, to)| *to);
        // The first is not the flapping yet.
        let turns = &turns[1..];
        let most = turns.iter().map(|(from, _)| {
            let within = turns
                .iter()
                .filter(|(at, _)| at >= from && *at < *from + SECOND * 600);
            within.count()
        });
        let most = most.max().unwrap_or_default();
        assert!(
            most <= 2,
            "{up} s up, {down} s down: {most} times, {turns:?}"
        );
    }
}
