//! What a change of the configuration takes out of the answers, and how much is too much.

mod common;

use std::time::Duration;

use common::world::{Fate, World};
use common::{name, relay, six, zone};
use dnsd_core::difference::{Difference, Objection};
use dnsd_core::fleet::Fleet;
use dnsd_core::inventory::{Inventory, Policy, Region, RelayEntry, Thresholds, Zone};

fn settled(inventory: Inventory) -> World {
    let mut world = World::new(inventory, 1);
    world.run(Duration::from_secs(30));
    world
}

fn built(zone: Zone, regions: Vec<Region>, relays: Vec<RelayEntry>) -> Inventory {
    let (policy, thresholds) = (Policy::default(), Thresholds::default());
    Inventory::new(zone, regions, relays, policy, thresholds).expect("consistent")
}

/// The six relays with a change.
fn changed(change: impl FnOnce(&mut Vec<RelayEntry>)) -> Inventory {
    let six = six();
    let mut relays = six.relays().to_vec();
    change(&mut relays);
    built(zone(), six.regions().to_vec(), relays)
}

fn without(gone: &[&str]) -> Inventory {
    changed(|relays| relays.retain(|relay| !gone.contains(&relay.id.as_str())))
}

fn difference(world: &World, to: &Inventory) -> Difference {
    world.fleet.difference(world.now, to)
}

#[test]
fn nothing_changes_nothing() {
    let found = difference(&settled(six()), &six());
    assert_eq!((found.serving, &found.removed[..]), (6, &[][..]));
    assert!(found.added.is_empty() && found.regions.is_empty() && found.zone.is_none());
    assert_eq!(found.objections(0), []);
}

#[test]
fn one_relay_may_go_and_a_third_may_not() {
    let world = settled(six());
    let one = difference(&world, &without(&["fra-1"]));
    assert_eq!(one.removed, ["fra-1"]);
    assert_eq!(one.objections(30), []);
    // However small the share is that may go: with two relays it would be half of them.
    assert_eq!(one.objections(0), []);
    let two = difference(&world, &without(&["fra-1", "nyc-1"]));
    assert_eq!(two.removed, ["fra-1", "nyc-1"]);
    let share = Objection::Share {
        removed: 2,
        serving: 6,
        percent: 30,
    };
    assert_eq!(two.objections(30), [share]);
    assert_eq!(two.objections(34), []);
}

#[test]
fn a_region_keeps_its_last_relay_and_its_name() {
    let world = settled(six());
    let all = difference(&world, &without(&["fra-1", "ams-1", "par-1"]));
    let last = Objection::Last {
        region: "eu".to_owned(),
        serving: 3,
    };
    assert_eq!(all.objections(100), std::slice::from_ref(&last));
    // Elsewhere they are no help to it.
    let us = "us".parse().expect("region");
    let moved = changed(|relays| {
        let eu = relays.iter_mut().filter(|relay| relay.region != us);
        eu.for_each(|relay| relay.region = us.clone());
    });
    let moved = difference(&world, &moved);
    assert_eq!(
        (&moved.removed[..], moved.objections(0)),
        (&[][..], vec![last])
    );
    let six = six();
    let mut regions = six.regions()[..1].to_vec();
    regions[0].fallback = Some(Vec::new());
    let mut relays = six.relays().to_vec();
    for relay in &mut relays {
        relay.region = regions[0].id.clone();
    }
    let gone = difference(&world, &built(zone(), regions, relays));
    let region = Objection::Region {
        region: "us".to_owned(),
    };
    assert_eq!(
        (&gone.removed[..], gone.objections(0)),
        (&[][..], vec![region])
    );
}

#[test]
fn what_is_replaced_in_one_step_serves_nobody() {
    let world = settled(six());
    let other = changed(|relays| {
        for relay in relays {
            let address = relay.ipv4.as_mut().expect("IPv4");
            address.set_port(address.port() + 1);
        }
    });
    let found = difference(&world, &other);
    assert_eq!((found.removed.len(), found.added.len()), (6, 6));
    assert_eq!(found.objections(99).len(), 3);
    // Added first, and judged, the old ones may go.
    let mut both = six().relays().to_vec();
    both.push(relay("muc-1", "eu", "eu-d", "delta", 14));
    let mut world = settled(built(zone(), six().regions().to_vec(), both.clone()));
    both.retain(|relay| relay.region.as_str() == "us" || relay.id.as_str() == "muc-1");
    let later = built(zone(), six().regions().to_vec(), both);
    assert_eq!(difference(&world, &later).objections(50), []);
    // But not while the new one is dead.
    let new = world.index("muc-1");
    world.befall(new, Fate::Killed);
    world.run(Duration::from_secs(30));
    let objections = difference(&world, &later).objections(50);
    assert!(matches!(&objections[..], [Objection::Last { region, serving: 3 }] if region == "eu"));
}

#[test]
fn dead_relays_are_no_loss() {
    let mut world = settled(six());
    for id in ["fra-1", "ams-1"] {
        let dead = world.index(id);
        world.befall(dead, Fate::Killed);
    }
    world.run(Duration::from_secs(30));
    let found = difference(&world, &without(&["fra-1", "ams-1"]));
    assert_eq!((found.serving, &found.removed[..]), (4, &[][..]));
    assert_eq!(found.objections(0), []);
}

#[test]
fn before_anything_is_known_all_that_is_configured_counts() {
    let world = World::new(six(), 1);
    let found = difference(&world, &without(&["fra-1", "ams-1", "nyc-1"]));
    assert_eq!((found.serving, found.removed.len()), (6, 3));
    assert_eq!(found.objections(30).len(), 1);
}

#[test]
fn another_zone_is_told() {
    let other = Zone {
        name: name("other.example."),
        ..zone()
    };
    let six = six();
    let other = built(other, six.regions().to_vec(), six.relays().to_vec());
    let found = difference(&settled(six), &other);
    assert!(matches!(
        &found.objections(100)[..],
        [Objection::Zone { .. }]
    ));
}

#[test]
fn an_old_configuration_is_told_even_after_a_restart() {
    let mut world = settled(six().numbered(7));
    assert_eq!(difference(&world, &six().numbered(7)).objections(0), []);
    assert_eq!(difference(&world, &six().numbered(8)).objections(0), []);
    world.fleet.reconfigure(world.now, six().numbered(8));
    // The file was put back while the daemon was down.
    let saved = world.fleet.saved(world.now, world.unix());
    let again = Fleet::new(six().numbered(6), Some(&saved), world.now, world.unix());
    assert_eq!(again.newest_configuration(), 8);
    let older = Objection::Older {
        generation: 7,
        newest: 8,
    };
    for fleet in [&world.fleet, &again] {
        let found = fleet
            .difference(world.now, &six().numbered(7))
            .objections(100);
        assert_eq!(found, std::slice::from_ref(&older));
        assert!(found[0].is_final());
    }
}

#[test]
fn time_goes_on_after_another_inventory() {
    let mut world = settled(six());
    world.fleet.reconfigure(world.now, without(&["fra-1"]));
    world.fleet.handle_timeout(world.now);
    while world.fleet.poll_action().is_some() {}
    let _ = world.fleet.publish(world.now, world.unix());
    let due = world.fleet.poll_timeout();
    assert!(due.is_some_and(|due| due > world.now), "{due:?}");
}

#[test]
fn a_relay_that_is_put_in_reserve_is_one_less() {
    let rest = |ids: &[&str]| {
        changed(|relays| {
            for relay in relays {
                relay.standby |= ids.contains(&relay.id.as_str());
            }
        })
    };
    let world = settled(six());
    let two = difference(&world, &rest(&["fra-1", "nyc-1"]));
    assert_eq!(two.removed, ["fra-1", "nyc-1"]);
    assert_eq!(two.objections(30).len(), 1);
    assert!(two.added.is_empty(), "they are known");
    let all = difference(&world, &rest(&["fra-1", "ams-1", "par-1"]));
    assert!(matches!(&all.objections(100)[..], [Objection::Last { .. }]));
    // One that rests already serves nobody who would miss it, nor does one that is waked.
    let world = settled(rest(&["fra-1"]));
    for to in [rest(&["fra-1"]), six()] {
        assert_eq!(difference(&world, &to).removed, [""; 0]);
    }
}
