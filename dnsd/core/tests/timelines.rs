//! From an event to the verdict: simulated timelines against the timing promises.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::world::{Fate, World};
use common::{HOUR, MS, SECOND, six, three};
use dnsd_core::health::{Reason, State};
use liveness::State as Claim;

/// Runs a settled fleet for every phase of the report cycle, lets `fate` befall the first relay,
/// and returns how long each verdict took.
fn times_to_down(fate: Fate, jitter: Duration, limit: Duration) -> Vec<Duration> {
    let times = (0..20).map(|phase| {
        let mut world = World::new(six(), phase);
        world.jitter = jitter;
        world.run(SECOND * 20 + MS * 25 * u32::try_from(phase).unwrap());
        assert_eq!(world.state(0), State::Up);
        world.befall(0, fate);
        let took = world.run_for(limit, |world| world.state(0) == State::Down);
        assert!(took.is_some(), "phase {phase}: not down after {limit:?}");
        took.unwrap()
    });
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times
}

#[test]
fn a_killed_relay_is_down_within_a_second_and_a_half() {
    let times = times_to_down(Fate::Killed, Duration::ZERO, MS * 1500);
    assert!(times[10] <= SECOND, "typically {:?}", times[10]);
    times_to_down(Fate::Killed, MS * 100, MS * 1500);
}

#[test]
fn a_hung_relay_is_down_within_two_and_a_half_seconds() {
    let times = times_to_down(Fate::Hung, Duration::ZERO, MS * 2500);
    assert!(times[10] <= MS * 1500, "typically {:?}", times[10]);
    times_to_down(Fate::Hung, MS * 150, MS * 2500);
}

#[test]
fn a_gray_relay_is_down_within_eight_seconds() {
    times_to_down(Fate::Gray, Duration::ZERO, SECOND * 8);
    times_to_down(Fate::Gray, MS * 150, SECOND * 8);
}

#[test]
fn a_relay_that_reports_but_does_not_answer_stun_is_down_within_eight_seconds() {
    times_to_down(Fate::Deaf, MS * 50, SECOND * 8);
}

#[test]
fn a_closed_port_outweighs_fresh_reports() {
    times_to_down(Fate::Shut, Duration::ZERO, SECOND * 4);
}

#[test]
fn a_relay_that_comes_back_without_relaying_stays_down() {
    let mut world = World::new(six(), 9);
    world.run(SECOND * 20);
    world.befall(0, Fate::Killed);
    world.run(SECOND * 10);
    world.befall(0, Fate::Gray);
    assert_eq!(
        world.run_for(SECOND * 60, |world| world.state(0) != State::Down),
        None
    );
}

#[test]
fn the_published_answers_follow_the_verdict_at_once() {
    let mut world = World::new(six(), 1);
    world.run(SECOND * 20);
    let names = |world: &World| -> Vec<u16> {
        let snapshot = world.snapshot.as_ref().unwrap();
        let variants = snapshot.plans().flat_map(|(_, plan)| plan.variants.iter());
        let mut relays: Vec<u16> = variants
            .flat_map(|variant| variant.lanes.iter().chain([&variant.apex]))
            .flat_map(|choice| choice.relays().collect::<Vec<_>>())
            .collect();
        relays.sort_unstable();
        relays.dedup();
        relays
    };
    assert_eq!(names(&world), [0, 1, 2, 3, 4, 5]);
    world.befall(0, Fate::Killed);
    world
        .run_for(SECOND * 2, |world| world.state(0) == State::Down)
        .unwrap();
    assert_eq!(names(&world), [1, 2, 3, 4, 5]);
}

#[test]
fn what_a_relay_signs_acts_with_the_report_that_says_it() {
    for claim in [
        Claim::Draining,
        Claim::Full,
        Claim::Starting,
        Claim::Failing(liveness::Reason::WorkerStuck),
    ] {
        let mut world = World::new(six(), 3);
        world.run(SECOND * 20);
        let before = world.publications;
        world.claim(0, claim);
        let took = world.run_for(SECOND, |world| world.state(0) == State::Draining);
        assert_eq!(took, Some(MS * 10), "{claim:?}: no later than the report");
        assert_eq!(
            world.publications,
            before + 1,
            "{claim:?}: published with it"
        );
        // Back: at once, but for one that called itself failing.
        world.claim(0, Claim::Serving);
        let took = world
            .run_for(SECOND * 10, |world| world.state(0) == State::Up)
            .unwrap();
        let failing = matches!(claim, Claim::Failing(_));
        assert_eq!(took > SECOND, failing, "{claim:?}: back after {took:?}");
    }
}

#[test]
fn a_drained_relay_that_exits_and_returns_is_not_taken_for_a_flapper() {
    let mut world = World::new(six(), 4);
    world.run(SECOND * 20);
    world.claim(0, Claim::Draining);
    world.run(SECOND);
    world.befall(0, Fate::Killed);
    world.run(SECOND * 10);
    assert_eq!(world.state(0), State::Down);
    world.relays[0].claim = Claim::Serving;
    world.befall(0, Fate::Alive);
    let took = world
        .run_for(SECOND * 5, |world| world.state(0) == State::Up)
        .unwrap();
    assert!(
        (SECOND..SECOND * 2).contains(&took),
        "three reports and good probes: {took:?}"
    );
}

#[test]
fn a_relay_whose_reports_are_lost_is_suspect_and_never_down() {
    let mut world = World::new(six(), 5);
    world.run(SECOND * 20);
    world.befall(0, Fate::Muted);
    world
        .run_for(SECOND * 3, |world| world.state(0) == State::Suspect)
        .unwrap();
    world.log.clear();
    world.run(HOUR);
    assert_eq!(world.state(0), State::Suspect);
    assert!(
        world.log.len() <= world.relays.len(),
        "changed: {:?}",
        world.log
    );
    // And when it then dies, that is seen as fast as ever.
    world.befall(0, Fate::Hung);
    world
        .run_for(SECOND * 3, |world| world.state(0) == State::Down)
        .unwrap();
}

#[test]
fn a_day_of_loss_and_jitter_condemns_nobody() {
    let mut world = World::new(three(), 0x5eed);
    world.loss = 50;
    world.jitter = MS * 300;
    world.run(HOUR * 24);
    let down: Vec<_> = world
        .log
        .iter()
        .filter(|(_, _, state)| *state == State::Down)
        .collect();
    assert!(down.is_empty(), "{down:?}");
    let suspect = world
        .log
        .iter()
        .filter(|(_, _, state)| *state == State::Suspect)
        .count();
    println!(
        "suspect {suspect} times, {} publications",
        world.publications
    );
    // About the number of times that three reports in a row are lost or late.
    assert!(suspect < 3 * 400, "suspect {suspect} times");
}

#[test]
fn a_flapper_is_held_ever_longer_and_forgiven_after_a_steady_time() {
    let mut world = World::new(six(), 7);
    world.run(SECOND * 20);
    world.log.clear();
    let mut comebacks = 0;
    for _ in 0..60 {
        world.befall(0, Fate::Killed);
        world.run(SECOND * 10);
        world.befall(0, Fate::Alive);
        comebacks += u32::from(
            world
                .run_for(SECOND * 10, |world| world.state(0) == State::Up)
                .is_some(),
        );
    }
    // A hold of 2 s ends within ten good seconds; 32 s never do.
    assert_eq!(comebacks, 1);
    let took = world
        .run_for(SECOND * 60, |world| world.state(0) == State::Up)
        .unwrap();
    assert!(took > SECOND * 5, "held: {took:?}");
    // Ten steady minutes later one failure is a first one again.
    world.run(SECOND * 601);
    world.befall(0, Fate::Killed);
    world.run(SECOND * 10);
    world.befall(0, Fate::Alive);
    let took = world
        .run_for(SECOND * 10, |world| world.state(0) == State::Up)
        .unwrap();
    assert!((SECOND * 2..SECOND * 4).contains(&took), "{took:?}");
}

#[test]
fn one_that_dies_again_within_its_hold_does_not_come_back_in_between() {
    for after in (1020..1300).step_by(20) {
        let mut world = World::new(six(), after);
        world.run(SECOND * 20);
        world.befall(0, Fate::Killed);
        world.run(SECOND * 5);
        world.befall(0, Fate::Alive);
        world.run(MS * u32::try_from(after).unwrap());
        world.befall(0, Fate::Killed);
        let back = world.run_for(SECOND * 5, |world| world.state(0) == State::Up);
        assert_eq!(back, None, "it died {after} ms after it came back");
    }
}

#[test]
fn the_reason_is_named() {
    for (fate, reasons) in [
        (Fate::Killed, &[Reason::PortClosed][..]),
        (Fate::Hung, &[Reason::Unreachable]),
        (Fate::Shut, &[Reason::PortClosed, Reason::EchoFails]),
        (Fate::Gray, &[Reason::EchoFails]),
        (Fate::Deaf, &[Reason::StunFails]),
    ] {
        let mut world = World::new(six(), 8);
        world.run(SECOND * 20);
        world.befall(0, fate);
        world
            .run_for(SECOND * 8, |world| world.state(0) == State::Down)
            .unwrap();
        let verdict = world.fleet.verdict(world.relays[0].id).unwrap();
        assert!(
            reasons.contains(&verdict.reason),
            "{fate:?}: {:?}",
            verdict.reason
        );
        let explained = world.fleet.explain(world.now, world.relays[0].id).unwrap();
        assert_eq!(explained.reason, verdict.reason);
        assert!(explained.history.iter().any(|past| past.state == State::Up));
    }
}
