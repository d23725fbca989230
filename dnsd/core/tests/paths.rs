//! Paths that break by themselves: withdrawn alone, given back after a hold, and never too many.

#![allow(clippy::unwrap_used)]

mod common;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use common::asking::{addresses, ask};
use common::world::{Fate, World};
use common::{HOUR, SECOND, inventory, region, relay, six, three};
use dnsd_core::health::{PathReason, PathVerdict, State, Unwithdrawn};
use dnsd_core::paths::{Family, Path, Transport};
use dnsd_core::steer::{Choice, plan};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use liveness::Transports;

const TLS: Path = Path {
    transport: Transport::Tls,
    family: Family::Ipv4,
};
const UDP6: Path = Path {
    transport: Transport::Udp,
    family: Family::Ipv6,
};
const EVERY: Transports = Transports::UDP.with(Transports::TCP).with(Transports::TLS);
/// A refused path is withdrawn within an interval, a silent one within a burst more, and its time.
const REFUSED: Duration = Duration::from_secs(16);
const SILENT: Duration = Duration::from_secs(24);

/// A fleet that serves every transport and has been well for a while.
fn world(inventory: dnsd_core::inventory::Inventory) -> World {
    let mut world = World::new(inventory, 11);
    world.transports = EVERY;
    world.run(SECOND * 60);
    assert!(withdrawn(&world).is_empty());
    world
}

/// Two regions of five relays.
fn ten() -> dnsd_core::inventory::Inventory {
    let relays = (0..10u8).map(|n| {
        let (region, zone) = if n < 5 { ("eu", "eu") } else { ("us", "us") };
        let id = format!("{region}-{n}");
        relay(
            &id,
            region,
            &format!("{zone}-{n}"),
            &format!("vendor-{}", n % 3),
            n + 1,
        )
    });
    inventory(
        vec![region("eu", &["us"], &[]), region("us", &["eu"], &[])],
        relays.collect(),
    )
}

fn verdict(world: &World, relay: usize, path: Path) -> PathVerdict {
    let mut paths = world.fleet.paths(world.relays[relay].id);
    paths.find(|verdict| verdict.path == path).unwrap()
}

fn withdrawn(world: &World) -> Vec<(usize, Path)> {
    let of = |relay: usize| {
        let paths = world.fleet.paths(world.relays[relay].id);
        paths
            .filter(|path| path.withdrawn)
            .map(move |verdict| (relay, verdict.path))
    };
    (0..world.relays.len()).flat_map(of).collect()
}

fn unwithdrawn(world: &World, relay: usize, path: Path) -> Option<Unwithdrawn> {
    let known = world
        .fleet
        .explain(world.now, world.relays[relay].id)
        .unwrap();
    let mut paths = known.paths.into_iter();
    let facts =
        paths.find(|facts| (facts.transport, facts.family) == (path.transport, path.family));
    facts.unwrap().unwithdrawn
}

/// The relays in any answer for a transport (0: any), for one family.
fn answered(world: &World, transport: usize, family: Family) -> BTreeSet<u16> {
    let view = world.fleet.view(world.now);
    let plans = plan(world.fleet.inventory(), &view).into_iter();
    let plans: Vec<_> = plans
        .map(|plans| match transport {
            0 => plans.main,
            other => plans.by_transport[other].clone(),
        })
        .collect();
    let of = |choice: &Choice| match family {
        Family::Ipv4 => choice.ipv4.to_vec(),
        Family::Ipv6 => choice.ipv6.to_vec(),
    };
    let variants = plans.iter().flat_map(|plan| plan.variants.iter());
    variants
        .flat_map(|variant| variant.lanes.iter().chain([&variant.apex]))
        .flat_map(of)
        .collect()
}

#[test]
fn broken_tls_leaves_the_tls_names_alone() {
    let mut world = world(six());
    for (refused, limit) in [(true, REFUSED), (false, SILENT)] {
        world.broken.insert((0, TLS), refused);
        world
            .run_for(limit, |world| withdrawn(world) == [(0, TLS)])
            .expect("withdrawn");
        let reason = verdict(&world, 0, TLS).reason;
        assert_eq!(
            reason,
            if refused {
                PathReason::PortClosed
            } else {
                PathReason::Fails
            }
        );
        assert_eq!(world.state(0), State::Up);
        let all: BTreeSet<u16> = (0..6).collect();
        let others: BTreeSet<u16> = (1..6).collect();
        for transport in [0, 1] {
            assert_eq!(answered(&world, transport, Family::Ipv4), all);
        }
        assert_eq!(answered(&world, 2, Family::Ipv4), others);
        assert_eq!(answered(&world, 2, Family::Ipv6), all);
        world.broken.clear();
        world
            .run_for(SECOND * 120, |world| withdrawn(world).is_empty())
            .expect("given back");
        assert_eq!(answered(&world, 2, Family::Ipv4), all);
        world.run(SECOND * 700);
    }
}

#[test]
fn broken_ipv6_withdraws_the_aaaa_records_alone() {
    let mut world = world(six());
    world.broken.insert((1, UDP6), false);
    world
        .run_for(SILENT, |world| withdrawn(world) == [(1, UDP6)])
        .expect("withdrawn");
    assert_eq!(world.state(1), State::Up);
    assert!(answered(&world, 0, Family::Ipv4).contains(&1));
    assert!(!answered(&world, 0, Family::Ipv6).contains(&1));
    assert!(
        answered(&world, 1, Family::Ipv6).contains(&1),
        "TCP still works"
    );
}

#[test]
fn what_fails_with_the_whole_relay_is_not_held_against_a_path() {
    let mut world = world(six());
    for fate in [Fate::Killed, Fate::Hung, Fate::Gray, Fate::Shut, Fate::Deaf] {
        world.befall(0, fate);
        world.run(SECOND * 90);
        assert_eq!(withdrawn(&world), [], "{fate:?}");
        world.befall(0, Fate::Alive);
        world
            .run_for(SECOND * 400, |world| world.state(0) == State::Up)
            .expect("up again");
        world.run(SECOND * 30);
        assert_eq!(withdrawn(&world), [], "after {fate:?}");
    }
}

/// What fails beside a relay that is about to be found failing: before that, while it lasts, after
/// it, and however the moments lie.
#[test]
fn a_refusal_that_comes_with_the_relays_own_failure_is_not_held_against_a_path() {
    let most = Cell::new(0);
    for moment in 0..40 {
        let mut world = world(six());
        world.run(SECOND / 4 * moment);
        world.befall(0, Fate::Deaf);
        for path in Path::all().filter(|path| path.transport != Transport::Udp) {
            world.broken.insert((0, path), true);
        }
        let wrongly = |world: &World| {
            most.set(most.get().max(path_points(world, 0)));
            !withdrawn(world).is_empty()
        };
        let failing = world.run_for(SECOND * 4, wrongly);
        assert_eq!(failing, None, "{moment}: while the relay fails");
        world.befall(0, Fate::Alive);
        world.broken.clear();
        let after = world.run_for(SECOND * 30, wrongly);
        assert_eq!(after, None, "{moment}: when it is over");
    }
    assert!(most.get() >= 6, "some were about to be withdrawn");
}

/// The most points that any path of a relay has.
fn path_points(world: &World, relay: usize) -> u32 {
    let known = world.fleet.explain(world.now, world.relays[relay].id);
    let paths = known.unwrap().paths.into_iter();
    paths
        .map(|facts| facts.probe.points)
        .max()
        .unwrap_or_default()
}

#[test]
fn nothing_is_withdrawn_of_a_relay_that_is_down_not_even_for_its_certificate() {
    let mut world = world(six());
    let relay = world.relays[2].id;
    let left = HOUR + SECOND * 60;
    world.fleet.handle_certificate(world.now, relay, TLS, left);
    world.befall(2, Fate::Hung);
    world.run(SECOND * 120);
    assert_eq!(
        (world.state(2), withdrawn(&world)),
        (State::Down, Vec::new())
    );
    world.befall(2, Fate::Alive);
    world
        .run_for(SECOND * 120, |world| withdrawn(world) == [(2, TLS)])
        .expect("it is up again, and its certificate still expires");
}

#[test]
fn a_relay_of_tls_alone_is_left_before_its_certificate_expires() {
    let tls = |mut entry: dnsd_core::inventory::RelayEntry| {
        entry.transports = Some(Transports::TLS);
        entry.ipv6 = None;
        entry
    };
    let relays = six().relays().iter().cloned().map(tls).collect();
    let regions = six().regions().to_vec();
    let mut world = World::new(inventory(regions, relays), 11);
    world.transports = Transports::TLS;
    world.run(SECOND * 60);
    let relay = world.relays[2].id;
    let left = HOUR + SECOND * 60;
    world.fleet.handle_certificate(world.now, relay, TLS, left);
    assert_eq!(verdict(&world, 2, TLS).expires, Some(world.now + left));
    world.run(SECOND * 55);
    assert!(answered(&world, 0, Family::Ipv4).contains(&2));
    world.run(SECOND * 10);
    assert_eq!(withdrawn(&world), [(2, TLS)]);
    for transport in [0, 2] {
        let named = answered(&world, transport, Family::Ipv4);
        assert_eq!(named, BTreeSet::from([0, 1, 3, 4, 5]));
    }
    assert_eq!(world.state(2), State::Up, "it is only not named");
    world
        .fleet
        .handle_certificate(world.now, relay, TLS, HOUR * 2000);
    world.run(SECOND * 30);
    assert_eq!(withdrawn(&world), []);
}

#[test]
fn a_path_that_comes_and_goes_is_held_longer_each_time() {
    let mut world = world(six());
    let mut back = Vec::new();
    for _ in 0..3 {
        world.broken.insert((0, TLS), true);
        world
            .run_for(REFUSED, |world| !withdrawn(world).is_empty())
            .expect("withdrawn");
        world.broken.clear();
        let took = world.run_for(SECOND * 400, |world| withdrawn(world).is_empty());
        back.push(took.expect("given back"));
    }
    assert!(back[0] < SECOND * 16, "{back:?}");
    assert!(back[1] > SECOND * 32, "{back:?}");
    assert!(back[2] > SECOND * 300, "{back:?}");
}

#[test]
fn what_fails_at_most_relays_at_once_is_taken_for_this_nodes_own_fault() {
    let mut world = world(ten());
    for relay in 0..10 {
        world.broken.insert((relay, TLS), relay % 2 == 0);
    }
    world.run(SILENT);
    world.run(SECOND * 300);
    assert_eq!(withdrawn(&world), []);
    assert_eq!(unwithdrawn(&world, 3, TLS), Some(Unwithdrawn::MostFail));
    // What lasts when it is over was the relays' own.
    world.broken.retain(|(relay, _), _| *relay == 3);
    world.run(SECOND * 60);
    assert_eq!(withdrawn(&world), [(3, TLS)]);
}

#[test]
fn the_last_that_works_is_kept_and_half_of_all() {
    let mut world = world(three());
    world.broken.insert((0, TLS), true);
    world.run(SECOND * 60);
    assert_eq!(withdrawn(&world), [(0, TLS)]);
    // Long after, so that it is not one event: a floor of two of three.
    world.broken.insert((1, TLS), true);
    world.run(SECOND * 60);
    assert_eq!(withdrawn(&world), [(0, TLS)]);
    assert_eq!(unwithdrawn(&world, 1, TLS), Some(Unwithdrawn::Floor));

    let single = inventory(
        vec![region("eu", &[], &[])],
        vec![relay("fra-1", "eu", "a", "v", 1)],
    );
    let mut world = self::world(single);
    world.broken.insert((0, TLS), true);
    world.run(SECOND * 60);
    assert_eq!(withdrawn(&world), []);
    assert_eq!(unwithdrawn(&world, 0, TLS), Some(Unwithdrawn::Floor));
}

#[test]
fn a_certificate_is_withdrawn_before_it_expires_and_given_back_when_renewed() {
    let mut world = world(six());
    let relay = world.relays[2].id;
    world
        .fleet
        .handle_certificate(world.now, relay, TLS, HOUR + SECOND * 100);
    world.run(SECOND * 95);
    assert_eq!(withdrawn(&world), []);
    // No probe has to tell it when the time comes.
    world.run(SECOND * 20);
    assert_eq!(withdrawn(&world), [(2, TLS)]);
    assert_eq!(
        verdict(&world, 2, TLS).reason,
        PathReason::CertificateExpires
    );
    assert_eq!(world.state(2), State::Up);
    world.run(HOUR * 2);
    assert_eq!(withdrawn(&world), [(2, TLS)], "expired");
    world
        .fleet
        .handle_certificate(world.now, relay, TLS, HOUR * 2000);
    world.run(SECOND * 30);
    assert_eq!(withdrawn(&world), []);
}

#[test]
fn a_restart_keeps_what_was_withdrawn() {
    let mut world = world(six());
    world.broken.insert((0, TLS), true);
    world.run(SECOND * 30);
    assert_eq!(withdrawn(&world), [(0, TLS)]);
    let mut after = world.restarted(5);
    after.transports = EVERY;
    after.broken = world.broken.clone();
    assert_eq!(withdrawn(&after), [(0, TLS)]);
    after.run(SECOND * 60);
    assert_eq!(withdrawn(&after), [(0, TLS)]);
    after.broken.clear();
    after.run(SECOND * 60);
    assert_eq!(withdrawn(&after), []);
}

#[test]
fn loss_alone_withdraws_no_path() {
    let mut world = world(six());
    world.loss = 50;
    world.jitter = Duration::from_millis(300);
    let mut seen = Vec::new();
    for _ in 0..60 * 4 {
        world.run(SECOND * 15);
        seen.extend(withdrawn(&world));
    }
    assert_eq!(seen, []);
}

#[test]
fn probes_of_paths_are_spread_over_the_interval() {
    let mut world = World::new(ten(), 3);
    world.transports = EVERY;
    let paths = |world: &World| world.fleet.counters().probes;
    world.run(SECOND * 60);
    let mut most = 0;
    let mut before = paths(&world);
    let begun = before;
    for _ in 0..1200 {
        world.run(SECOND / 10);
        most = most.max(paths(&world) - before);
        before = paths(&world);
    }
    // In 120 s: STUN each second, echo each 2.5 s, and six paths each 10 s, of ten relays.
    let expected = 120 * 10 + 48 * 10 + 12 * 60;
    let told = before - begun;
    assert!(
        (expected * 9 / 10..=expected * 11 / 10).contains(&told),
        "{told}"
    );
    assert!(most <= 12, "{most} of {} at one moment", 10 * 8);
}

#[test]
fn the_first_probes_of_paths_are_spread_too() {
    let mut world = World::new(ten(), 3);
    world.transports = EVERY;
    let (mut most, mut before) = (0, 0);
    for _ in 0..22 {
        world.run(SECOND / 2);
        most = most.max(world.path_probes - before);
        before = world.path_probes;
    }
    // Six paths of ten relays within the first interval: three in half a second, by chance more.
    assert!((60..=90).contains(&before), "{before}");
    assert!(most <= 12, "{most} of 60 in half a second");
}

#[test]
fn names_by_transport_leave_out_whom_it_is_broken_at() {
    let mut world = world(six());
    world.broken.insert((0, TLS), true);
    world
        .run_for(REFUSED, |world| withdrawn(world) == [(0, TLS)])
        .expect("withdrawn");
    world.settle();
    let snapshot = world.snapshot.as_ref().unwrap();
    let first = six().relays()[0].ipv4.map(|a| IpAddr::V4(*a.ip())).unwrap();
    let named = |owner: &str| {
        let clients = (0..=255).map(|host| format!("127.0.1.{host}"));
        let networks = (0..=255).map(|net| format!("10.{net}.0.1"));
        clients
            .chain(networks)
            .flat_map(|client| addresses(&ask(snapshot, owner, RecordType::A, &client).answers))
            .any(|address| address == first)
    };
    for (owner, expected) in [
        ("turn.example.", true),
        ("udp.turn.example.", true),
        ("tcp.turn.example.", true),
        ("tls.turn.example.", false),
        ("tls.a.turn.example.", false),
        ("TLS.b.turn.example.", false),
        // A label like any other.
        ("tlsx.a.turn.example.", true),
    ] {
        assert_eq!(named(owner), expected, "{owner}");
    }
    let nowhere = ask(snapshot, "tls.eu.turn.example.", RecordType::A, "127.0.1.1");
    assert_eq!(nowhere.rcode, ResponseCode::NXDomain);
}
