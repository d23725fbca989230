//! What follows from how full relays are: weights, the reserve, and clients that spill over.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::asking::{keys, relays};
use common::world::{Fate, World};
use common::{SECOND, name, region, relay, zone};
use dnsd_core::answer::{Query, answer};
use dnsd_core::health::State;
use dnsd_core::inventory::{Inventory, Policy, Thresholds};
use dnsd_core::steer::Strain;
use hickory_proto::rr::{DNSClass, RecordType};
use liveness::Load;

const SESSIONS_MAX: u32 = 1000;
const EU: [usize; 3] = [0, 1, 2];
const US: [usize; 3] = [3, 4, 5];
/// In reserve in Europe, if there is one.
const RESERVE: usize = 6;

/// Three relays in each of two regions, and one in reserve in Europe if `reserve`.
fn inventory(reserve: bool, headroom_percent: u32) -> Inventory {
    let mut eu = region("eu", &["us"], &["10.0.0.0/8"]);
    eu.default = true;
    let us = region("us", &["eu"], &["11.0.0.0/8"]);
    let mut all = vec![
        relay("fra-1", "eu", "eu-a", "alpha", 1),
        relay("ams-1", "eu", "eu-b", "beta", 2),
        relay("par-1", "eu", "eu-c", "gamma", 3),
        relay("nyc-1", "us", "us-a", "alpha", 4),
        relay("iad-1", "us", "us-b", "beta", 5),
        relay("ord-1", "us", "us-c", "gamma", 6),
    ];
    if reserve {
        let mut entry = relay("waw-1", "eu", "eu-d", "delta", 7);
        entry.standby = true;
        all.push(entry);
    }
    let policy = Policy {
        headroom_percent,
        ..Policy::default()
    };
    Inventory::new(zone(), vec![eu, us], all, policy, Thresholds::default()).unwrap()
}

fn world(inventory: Inventory) -> World {
    let mut world = World::new(inventory, 1);
    world.run(SECOND * 200);
    world
}

/// Each of the relays carries so much, in percent of what it can.
fn load(world: &mut World, relays: &[usize], percent: u32) {
    carry(world, relays, SESSIONS_MAX / 100 * percent);
}

fn carry(world: &mut World, relays: &[usize], sessions: u32) {
    for relay in relays {
        world.relays[*relay].load = Load {
            sessions,
            sessions_max: SESSIONS_MAX,
            ..Load::default()
        };
    }
}

/// The relay that a client of the `number`th network of a region is sent to first.
fn first(world: &World, region: u8, number: usize, owner: &str) -> usize {
    let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
    let name = name(owner);
    let query = Query {
        name: &name,
        record_type: RecordType::A,
        class: DNSClass::IN,
        client: [region, high, low, 1].into(),
        subnet: None,
        dnssec_ok: false,
    };
    let answer = answer(
        world.snapshot.as_ref().unwrap(),
        &keys(),
        world.unix(),
        &query,
    );
    usize::from(relays(&answer)[0]) - 1
}

const NETWORKS: usize = 4000;

/// The European networks that are sent to one of `relays`.
fn sent_to(world: &World, relays: &[usize]) -> BTreeSet<usize> {
    let there = |number: &usize| relays.contains(&first(world, 10, *number, "a.turn.example."));
    (0..NETWORKS).filter(there).collect()
}

fn strain(world: &World, region: usize) -> Strain {
    world.fleet.strains()[region].clone()
}

#[test]
fn as_much_spills_as_the_headroom_lacks_and_nobody_goes_to_and_fro() {
    let mut world = world(inventory(false, 20));
    load(&mut world, &US, 10);
    let mut before = BTreeSet::new();
    let mut shares = Vec::new();
    for sessions in [50, 79, 86, 90, 94] {
        load(&mut world, &EU, sessions);
        world.run(SECOND * 180);
        let spilled = sent_to(&world, &US);
        assert!(spilled.is_superset(&before), "somebody went back");
        let told = strain(&world, 0).spilled_permille as usize;
        let share = spilled.len() * 1000 / NETWORKS;
        assert!(share.abs_diff(told) <= 30, "{share} of {told}");
        shares.push(told);
        before = spilled;
        assert!(
            sent_to(&world, &EU).len() + before.len() == NETWORKS,
            "all are served"
        );
    }
    assert_eq!(shares, [0, 0, 300, 500, 700], "{shares:?}");
    // Nobody but Europeans is moved.
    assert!((0..500).all(|number| US.contains(&first(&world, 11, number, "a.turn.example."))));
    // It goes back as it came: step by step.
    load(&mut world, &EU, 50);
    let mut steps = vec![before.len()];
    for _ in 0..40 {
        world.run(SECOND * 10);
        let spilled = sent_to(&world, &US);
        assert!(spilled.is_subset(&before));
        if spilled.len() != before.len() {
            steps.push(spilled.len());
        }
        before = spilled;
    }
    assert_eq!((steps.len(), before.len()), (8, 0), "{steps:?}");
}

#[test]
fn nothing_spills_where_there_is_no_room_either() {
    let mut world = world(inventory(false, 20));
    load(&mut world, &EU, 95);
    load(&mut world, &US, 95);
    world.run(SECOND * 60);
    assert!(sent_to(&world, &US).is_empty());
    // A region takes less the less room it has, and gives none of its own headroom's half away.
    load(&mut world, &US, 85);
    world.run(SECOND * 180);
    let some = strain(&world, 0).spilled_permille;
    assert!((1..500).contains(&some), "{some}");
    let wanted = strain(&world, 0).relays_wanted;
    assert_eq!(
        wanted, 1,
        "2.85 relays full, and a fifth of room, take 3.57"
    );
}

#[test]
fn without_a_headroom_nothing_spills_and_nobody_in_reserve_is_called() {
    let mut world = world(inventory(true, 0));
    load(&mut world, &EU, 99);
    world.run(SECOND * 120);
    assert!(sent_to(&world, &US).is_empty());
    assert!(sent_to(&world, &[RESERVE]).is_empty());
}

#[test]
fn answers_live_half_as_long_while_clients_spill() {
    let mut world = world(inventory(false, 20));
    let ttls = |world: &World| {
        let plans = world.snapshot.as_ref().unwrap().plans();
        plans.map(|(_, plan)| plan.ttl).collect::<Vec<_>>()
    };
    assert_eq!(ttls(&world), [30, 30]);
    load(&mut world, &EU, 90);
    world.run(SECOND * 60);
    assert_eq!(ttls(&world), [15, 30]);
    load(&mut world, &EU, 10);
    world.run(SECOND * 300);
    assert_eq!(ttls(&world), [30, 30]);
}

#[test]
fn a_restart_or_a_reload_in_the_midst_of_a_spill_sends_nobody_home_at_once() {
    let mut world = world(inventory(true, 20));
    load(&mut world, &US, 10);
    load(&mut world, &EU, 94);
    load(&mut world, &[RESERVE], 90);
    world.run(SECOND * 60);
    // The calls end; but for the reserve, which the others could not do without.
    load(&mut world, &EU, 77);
    load(&mut world, &[RESERVE], 2);
    world.run(SECOND * 20);
    let spilled = sent_to(&world, &US);
    assert!(spilled.len() > NETWORKS / 2, "{}", spilled.len());
    world.fleet.reconfigure(world.now, inventory(true, 20));
    world.settle();
    assert!(sent_to(&world, &US) == spilled, "after a reload");

    let mut again = world.restarted(2);
    assert!(sent_to(&again, &US) == spilled, "before anything is heard");
    assert!(!sent_to(&again, &[RESERVE]).is_empty());
    load(&mut again, &US, 10);
    load(&mut again, &EU, 77);
    load(&mut again, &[RESERVE], 2);
    let mut before = spilled;
    for _ in 0..5 {
        again.run(SECOND * 29);
        let now = sent_to(&again, &US);
        assert!(now.is_subset(&before) && before.len() - now.len() <= NETWORKS / 6);
        before = now;
    }
    again.run(SECOND * 200);
    assert!(sent_to(&again, &US).is_empty());
    assert!(
        !sent_to(&again, &[RESERVE]).is_empty(),
        "as without the restart"
    );
}

#[test]
fn a_region_that_dies_takes_back_what_it_took() {
    let mut world = world(inventory(false, 20));
    load(&mut world, &US, 10);
    load(&mut world, &EU, 94);
    world.run(SECOND * 60);
    assert!(!sent_to(&world, &US).is_empty());
    for relay in US {
        world.befall(relay, Fate::Killed);
    }
    let gone = world.run_for(SECOND * 10, |world| {
        US.iter().all(|relay| world.state(*relay) == State::Down)
    });
    assert!(gone.is_some());
    assert!(sent_to(&world, &US).is_empty());
}

#[test]
fn the_reserve_enters_with_the_headroom_gone_and_leaves_when_it_is_back() {
    let mut world = world(inventory(true, 20));
    load(&mut world, &US, 10);
    load(&mut world, &EU, 70);
    world.run(SECOND * 60);
    assert!(sent_to(&world, &[RESERVE]).is_empty(), "at rest");
    load(&mut world, &EU, 84);
    world.run(SECOND * 60);
    assert!(!sent_to(&world, &[RESERVE]).is_empty(), "called");
    assert!(
        sent_to(&world, &US).is_empty(),
        "with it there is room enough"
    );
    // It has taken some over. What counts is whether the others could carry that too.
    load(&mut world, &EU, 70);
    load(&mut world, &[RESERVE], 42);
    world.run(SECOND * 300);
    assert!(!sent_to(&world, &[RESERVE]).is_empty(), "still needed");
    load(&mut world, &EU, 70);
    load(&mut world, &[RESERVE], 3);
    world.run(SECOND * 120);
    assert!(sent_to(&world, &[RESERVE]).is_empty(), "at rest again");
    load(&mut world, &EU, 10);
    world.run(SECOND * 120);
    for relay in EU {
        world.befall(relay, Fate::Killed);
    }
    world.run(SECOND * 10);
    let served = sent_to(&world, &[RESERVE]).len();
    assert_eq!(served, NETWORKS, "before any other region");
}

#[test]
fn the_clients_of_a_dead_relay_are_expected_before_they_come() {
    let mut world = world(inventory(false, 20));
    load(&mut world, &US, 10);
    load(&mut world, &EU, 60);
    world.run(SECOND * 60);
    assert!(sent_to(&world, &US).is_empty());
    world.befall(0, Fate::Hung);
    world
        .run_for(SECOND * 10, |world| world.state(0) == State::Down)
        .unwrap();
    // Sessions for 1.8 relays, and two relays: half of the headroom is missing, though both report 60 %.
    let spilled = strain(&world, 0).spilled_permille;
    assert!((400..=500).contains(&spilled), "{spilled}");
    world.run(SECOND * 600);
    assert_eq!(strain(&world, 0).spilled_permille, 0, "they never came");
}

#[test]
fn no_more_is_sent_on_of_a_herd_than_makes_both_regions_equally_full() {
    let mut world = world(inventory(false, 20));
    load(&mut world, &EU, 65);
    load(&mut world, &US, 72);
    world.run(SECOND * 60);
    world.befall(0, Fate::Hung);
    world
        .run_for(SECOND * 10, |world| world.state(0) == State::Down)
        .unwrap();
    // Of 0.65 that are on their way 0.31 make it 1.64 of two relays and 2.47 of three.
    let spilled = strain(&world, 0).spilled_permille;
    assert!((300..=400).contains(&spilled), "{spilled}");
}

#[test]
fn whoever_was_to_go_to_a_region_that_loses_relays_too_stays_at_once() {
    let mut world = world(inventory(false, 20));
    load(&mut world, &EU, 60);
    load(&mut world, &US, 60);
    world.run(SECOND * 60);
    for relay in [EU[0], US[0]] {
        world.befall(relay, Fate::Hung);
        world
            .run_for(SECOND * 10, |world| world.state(relay) == State::Down)
            .unwrap();
        let spilled = [0, 1].map(|region| strain(&world, region).spilled_permille);
        if relay == EU[0] {
            assert!(spilled[0] >= 300 && spilled[1] == 0, "{spilled:?}");
        } else {
            assert_eq!(spilled, [0, 0]);
        }
    }
}

#[test]
fn clients_go_where_there_is_room_and_a_flickering_load_moves_nobody() {
    let mut world = world(inventory(false, 20));
    load(&mut world, &[EU[0]], 80);
    load(&mut world, &EU[1..], 20);
    world.run(SECOND * 60);
    let counts = EU.map(|relay| sent_to(&world, &[relay]).len());
    // Two to eight to eight.
    for (count, share) in counts.into_iter().zip([2, 8, 8]) {
        let expected = NETWORKS * share / 18;
        assert!(count.abs_diff(expected) < NETWORKS / 10, "{counts:?}");
    }
    world.run(SECOND * 200);
    let published = world.publications;
    for second in 0..3600 {
        let flicker = [0, 4, 1, 5, 2, 3][second % 6];
        load(&mut world, &[EU[0]], 78 + flicker);
        load(&mut world, &EU[1..], 23 - flicker);
        world.run(SECOND);
    }
    assert!(world.publications - published <= 1);
}

/// What was seen while clients lived.
struct Lived {
    /// Most sessions on one relay.
    fullest: u32,
    /// Least and most of the European clients that were sent elsewhere, in thousandths.
    spilled: [u32; 2],
    changes: usize,
}

/// Clients come, ask, stay for some minutes and go. `wanted`: how many are there at a time. The
/// first ten minutes are not looked at.
fn live(world: &mut World, wanted: [usize; 2], minutes: u32) -> Lived {
    const STAY: u32 = 200;
    let mut random = 7_u64;
    let mut draw = move |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    let mut sessions = BTreeMap::<usize, Vec<u32>>::new();
    let (mut fullest, mut due, mut spilled) = (0, [0; 2], [1000, 0]);
    let mut published = 0;
    for second in 0..minutes * 60 {
        for (place, prefix) in [10, 11].into_iter().enumerate() {
            due[place] += wanted[place];
            while due[place] >= STAY as usize {
                due[place] -= STAY as usize;
                let relay = first(world, prefix, draw(60_000), "a.turn.example.");
                let ends = second + STAY / 2 + u32::try_from(draw(STAY as usize)).unwrap();
                sessions.entry(relay).or_default().push(ends);
            }
        }
        for (relay, ends) in &mut sessions {
            ends.retain(|end| *end > second);
            let carried = u32::try_from(ends.len()).unwrap();
            carry(world, &[*relay], carried);
            if second > 600 {
                fullest = fullest.max(carried);
            }
        }
        world.run(SECOND);
        if second == 600 {
            published = world.publications;
        } else if second > 600 {
            let now = strain(world, 0).spilled_permille;
            spilled = [spilled[0].min(now), spilled[1].max(now)];
        }
    }
    Lived {
        fullest,
        spilled,
        changes: world.publications - published,
    }
}

#[test]
fn more_clients_than_a_region_holds_find_room_elsewhere_in_a_steady_way() {
    let mut steady = world(inventory(false, 20));
    let lived = live(&mut steady, [3200, 900], 70);
    let Lived {
        fullest, spilled, ..
    } = lived;
    assert!(fullest < SESSIONS_MAX, "{fullest} sessions");
    assert!(spilled[1] - spilled[0] <= 300, "swings: {spilled:?}");
    // An hour has 720 looks at the loads.
    assert!(lived.changes <= 180, "{} changes", lived.changes);
    let mut overrun = world(inventory(false, 0));
    let lived = live(&mut overrun, [3200, 900], 20);
    assert!(lived.fullest > SESSIONS_MAX);
}

#[test]
fn a_load_is_looked_at_no_sooner_than_its_turn() {
    let mut world = world(inventory(false, 20));
    let published = world.publications;
    load(&mut world, &EU, 99);
    world.run(Duration::from_mins(2));
    // Six steps of weight at most, and as many of the spill, in 24 looks.
    assert!(world.publications - published <= 12);
}
