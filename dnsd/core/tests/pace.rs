//! Constant work: as many probes are sent whether the relays are well or half of them dead.
#![allow(clippy::unwrap_used)]

mod common;

use common::world::{Fate, World};
use common::{SECOND, six};

/// Probes ordered within a hundred seconds.
fn probes(world: &mut World) -> u64 {
    let before = world.fleet.counters().probes;
    world.run(SECOND * 100);
    world.fleet.counters().probes - before
}

#[test]
fn half_of_the_relays_dead_is_no_less_work_and_hardly_more() {
    for (seed, fate) in [(1, Fate::Killed), (2, Fate::Hung)] {
        let mut world = World::new(six(), seed);
        world.run(SECOND * 20);
        let well = probes(&mut world);
        for relay in [0, 2, 4] {
            world.befall(relay, fate);
        }
        // The alarm: bursts of probes, but few.
        let during = probes(&mut world);
        let dead = probes(&mut world);
        for relay in [0, 2, 4] {
            world.befall(relay, Fate::Alive);
        }
        let back = probes(&mut world);
        println!("{fate:?}: {well} well, {during} then, {dead} dead, {back} back");
        for now in [during, dead, back] {
            assert!((well * 95 / 100..=well * 120 / 100).contains(&now), "{now}");
        }
    }
}

#[test]
fn one_that_is_left_is_probed_four_times_as_often_and_no_more() {
    let mut world = World::new(six(), 3);
    world.run(SECOND * 20);
    for relay in 1..6 {
        world.befall(relay, Fate::Hung);
    }
    world.run(SECOND * 10);
    let others = probes(&mut world) - 600;
    // STUN goes to all once a second; an echo in 2.5 s and two paths in 10 s, four times as often.
    assert!((220..=260).contains(&others), "{others}");
}
