//! Reports passed on by another nameserver: the relay's word is taken, and proves nothing else.

mod common;

use common::world::{Fate, World, report};
use common::{MS, SECOND, six};
use dnsd_core::health::{Reason, State};
use liveness::{KeyId, Report, State as Claim};

const SERVING: u8 = 1;
const FULL: u8 = 2;
const DRAINING: u8 = 3;

/// A world in which the reports of the first relay do not get through any more.
fn muted() -> World {
    let mut world = World::new(six(), 3);
    world.run(SECOND * 10);
    assert_eq!(world.state(0), State::Up);
    world.befall(0, Fate::Muted);
    world.run(SECOND * 4);
    assert_eq!(world.state(0), State::Suspect);
    world
}

/// What the first relay reports to another nameserver next.
fn next(world: &mut World, claim: u8) -> Report {
    let relay = &mut world.relays[0];
    relay.sequence += 1;
    report(relay.id, relay.boot, relay.sequence, claim)
}

/// Whether it is news when it is passed on.
fn hear(world: &mut World, report: &Report) -> bool {
    let taken = world.fleet.handle_hearsay(world.now, KeyId(1), report);
    world.run(MS);
    taken
}

#[test]
fn what_a_relay_says_elsewhere_counts_here_at_once() {
    let mut world = muted();
    assert_eq!(world.fleet.unheard(world.now), [world.relays[0].id]);
    let drains = next(&mut world, DRAINING);
    assert!(hear(&mut world, &drains));
    assert_eq!(world.state(0), State::Draining);
    let serves = next(&mut world, SERVING);
    assert!(hear(&mut world, &serves));
    assert_eq!(world.state(0), State::Suspect, "not heard from here");
    let failing = Report {
        state: Claim::Failing(liveness::Reason::RelaySockets),
        ..next(&mut world, SERVING)
    };
    assert!(hear(&mut world, &failing));
    let verdict = world.fleet.verdict(world.relays[0].id).expect("listed");
    assert_ne!(verdict.state, State::Suspect);
    assert_eq!(verdict.reason, Reason::RelaySockets);
    assert_eq!(world.fleet.counters().hearsay, 3);
}

#[test]
fn nothing_old_foreign_or_needless_is_taken() {
    let mut world = muted();
    let drains = next(&mut world, DRAINING);
    let stranger = Report {
        relay: "who-1".parse().expect("id"),
        ..drains
    };
    let earlier = Report { boot: 1, ..drains };
    let heard = Report {
        relay: world.relays[1].id,
        sequence: 1_000_000,
        ..drains
    };
    for wrong in [stranger, earlier, heard] {
        assert!(!hear(&mut world, &wrong), "{wrong:?}");
    }
    let key = KeyId(9);
    assert!(!world.fleet.handle_hearsay(world.now, key, &drains));
    let serves = next(&mut world, SERVING);
    assert!(hear(&mut world, &serves));
    assert!(!hear(&mut world, &serves), "a copy");
    assert!(!hear(&mut world, &drains), "an older one");
    assert_eq!(world.state(0), State::Suspect);
    assert_eq!(world.state(1), State::Up);
}

#[test]
fn a_dead_relay_is_not_kept_by_hearsay() {
    let mut world = muted();
    world.befall(0, Fate::Hung);
    for _ in 0..10 {
        let serves = next(&mut world, SERVING);
        assert!(hear(&mut world, &serves));
        world.run(MS * 500);
    }
    assert_eq!(world.state(0), State::Down);
}

#[test]
fn a_full_relay_stays_full_while_others_say_so_and_no_longer() {
    let mut world = muted();
    for _ in 0..20 {
        let full = next(&mut world, FULL);
        assert!(hear(&mut world, &full));
        world.run(SECOND);
        assert_eq!(world.state(0), State::Draining);
    }
    world.run(SECOND * 11);
    assert_eq!(world.state(0), State::Suspect, "judged by probes again");
}

#[test]
fn a_relay_that_is_heard_again_is_believed_again() {
    let mut world = muted();
    let drains = next(&mut world, DRAINING);
    assert!(hear(&mut world, &drains));
    // One that was overtaken on its way says that it is heard, and takes nothing back.
    let mut late = report(drains.relay, drains.boot, drains.sequence - 1, SERVING);
    world.fleet.handle_report(world.now, KeyId(1), &late);
    world.run(MS);
    assert_eq!(world.state(0), State::Draining);
    assert!(world.fleet.unheard(world.now).is_empty());
    late.boot -= 1;
    late.sequence += 10;
    let old = world.fleet.handle_report(world.now, KeyId(1), &late);
    assert!(!matches!(old, dnsd_core::fleet::ReportOutcome::Accepted(_)));
    world.befall(0, Fate::Alive);
    let up = world.run_for(SECOND * 30, |world| world.state(0) == State::Up);
    assert!(up.is_some(), "{:?}", world.state(0));
}
