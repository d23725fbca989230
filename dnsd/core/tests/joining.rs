//! Relays that nobody listed: who may join, what it takes until clients are sent there, and how they
//! leave. And two machines with one name.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::world::{Fate, World};
use common::{SECOND, inventory, region, relay, six, zone};
use dnsd_core::fleet::ReportOutcome;
use dnsd_core::health::{Override, State};
use dnsd_core::inventory::{Enrolment, Inventory, Policy, Refusal, RelayEntry, Thresholds};
use dnsd_core::overrides::{Entry, Scope};
use liveness::{KeyId, State as Claim};

const KEY: u32 = 9;
const MINUTE: Duration = Duration::from_mins(1);

fn rule() -> Enrolment {
    Enrolment {
        key: KeyId(KEY),
        networks: vec!["10.0.0.0/24".parse().unwrap()],
        region: "eu".parse().unwrap(),
        zone: "eu-x".to_owned(),
        vendor: "delta".to_owned(),
        weight: 100,
        standby: false,
        most: 3,
    }
}

/// A world of six listed relays and a rule, in which all is well.
fn world() -> World {
    let inventory = six().with_enrolments(vec![rule()]).unwrap();
    let mut world = World::new(inventory, 1);
    world.run(SECOND * 30);
    world
}

fn entry<'a>(world: &'a World, id: &str) -> Option<&'a RelayEntry> {
    let relays = world.fleet.inventory().relays();
    relays.iter().find(|relay| relay.id.as_str() == id)
}

fn explained(world: &World, relay: usize) -> dnsd_core::explain::Explanation {
    world
        .fleet
        .explain(world.now, world.relays[relay].id)
        .unwrap()
}

fn refusals(world: &World) -> Vec<Refusal> {
    let refused = world.refused.iter();
    let refusals = refused.filter_map(|(_, outcome)| match outcome {
        ReportOutcome::UnknownRelay(refusal) => Some(refusal.clone()),
        _ => None,
    });
    refusals.collect()
}

#[test]
fn a_new_machine_serves_by_itself_once_it_has_shown_that_it_relays() {
    let mut world = world();
    let (published, new) = (
        world.publications,
        world.appear("asg-1", KEY, "10.0.0.7:3478"),
    );
    world.run(SECOND);
    let found = entry(&world, "asg-1").unwrap();
    assert_eq!(
        (found.region.as_str(), &*found.zone, &*found.vendor),
        ("eu", "eu-x", "delta")
    );
    assert!(explained(&world, new).joined && world.publications > published);
    // Its word alone is not enough.
    assert_eq!((world.state(new), world.rosters), (State::Down, 1));
    let up = world.run_for(SECOND * 10, |world| world.state(new) == State::Up);
    assert!(up.is_some(), "{:?}", explained(&world, new));
    assert!(explained(&world, new).share_permille < 1000, "not overrun");
    world.run(MINUTE * 2);
    assert_eq!(explained(&world, new).share_permille, 1000);
    assert!(world.refused.is_empty());
}

#[test]
fn what_only_says_that_it_is_there_serves_nobody() {
    for fate in [Fate::Gray, Fate::Deaf, Fate::Shut] {
        let mut world = world();
        let new = world.appear("asg-1", KEY, "10.0.0.7:3478");
        world.befall(new, fate);
        world.run(MINUTE * 5);
        assert_eq!(world.state(new), State::Down, "{fate:?}");
        let ever = world
            .log
            .iter()
            .any(|(_, id, state)| id.as_str() == "asg-1" && *state == State::Up);
        assert!(!ever, "{fate:?}");
    }
}

#[test]
fn nobody_joins_against_the_rules() {
    let cases = [
        ("asg-1", 8, "10.0.0.7:3478", Refusal::NoRule),
        // A listed relay's key is good for that relay alone.
        ("asg-1", 1, "10.0.0.7:3478", Refusal::NoRule),
        ("asg-1", KEY, "10.0.1.7:3478", Refusal::Network),
        ("asg-1", KEY, "0.0.0.0:3478", Refusal::Network),
    ];
    for (id, key, address, refusal) in cases {
        let mut world = world();
        world.appear(id, key, address);
        world.run(SECOND * 5);
        assert_eq!(
            refusals(&world).first(),
            Some(&refusal),
            "{id} {key} {address}"
        );
        assert_eq!(
            (world.fleet.inventory().relays().len(), world.rosters),
            (6, 0)
        );
    }
    for (id, address) in [
        ("api", "10.0.0.7:3478"),
        ("us", "10.0.0.7:3478"),
        ("ns1", "10.0.0.7:3478"),
    ] {
        let mut world = world();
        world.appear(id, KEY, address);
        world.run(SECOND * 5);
        assert!(
            matches!(refusals(&world).first(), Some(Refusal::Clash(_))),
            "{id}"
        );
        assert_eq!(world.fleet.inventory().relays().len(), 6);
    }
    // One that is listed is nobody else's to speak for.
    let mut world = world();
    world.appear("fra-1", KEY, "10.0.0.7:3478");
    world.run(SECOND * 5);
    assert!(matches!(
        world.refused[0].1,
        ReportOutcome::WrongKey(KeyId(KEY))
    ));
}

#[test]
fn no_more_join_than_may() {
    let mut world = world();
    for host in 1..=5 {
        world.appear(&format!("asg-{host}"), KEY, &format!("10.0.0.{host}:3478"));
    }
    world.run(SECOND * 5);
    assert_eq!(world.fleet.inventory().relays().len(), 9);
    assert!(refusals(&world).contains(&Refusal::Full));
}

#[test]
fn a_machine_takes_the_place_of_one_that_is_gone_and_of_no_other() {
    let mut world = world();
    let first = world.appear("asg-1", KEY, "10.0.0.7:3478");
    world.run(MINUTE);
    let second = world.appear("asg-2", KEY, "10.0.0.7:3478");
    world.run(SECOND * 5);
    assert!(matches!(refusals(&world).first(), Some(Refusal::Clash(_))));
    assert_eq!(world.state(first), State::Up);
    world.befall(first, Fate::Killed);
    world.run(MINUTE);
    assert!(entry(&world, "asg-1").is_none());
    assert_eq!(world.state(second), State::Up);
    // The same name at another address.
    world.befall(second, Fate::Killed);
    world.run(MINUTE);
    let third = world.appear("asg-2", KEY, "10.0.0.8:3478");
    world.run(MINUTE);
    assert_eq!(world.state(third), State::Up);
    assert_eq!(
        entry(&world, "asg-2").unwrap().ipv4.unwrap().ip().octets(),
        [10, 0, 0, 8]
    );
}

#[test]
fn who_leaves_is_forgotten() {
    for (claim, before, after) in [
        (Claim::Serving, MINUTE * 50, MINUTE * 15),
        (Claim::Draining, SECOND * 50, SECOND * 30),
    ] {
        let mut world = world();
        let new = world.appear("asg-1", KEY, "10.0.0.7:3478");
        world.run(MINUTE);
        world.claim(new, claim);
        world.run(SECOND * 5);
        world.befall(new, Fate::Hung);
        world.run(before);
        assert!(entry(&world, "asg-1").is_some(), "{claim:?}");
        world.run(after);
        assert!(entry(&world, "asg-1").is_none(), "{claim:?}");
        assert_eq!(world.rosters, 2);
        world.befall(0, Fate::Killed);
        world.run(SECOND * 5);
        assert_eq!(world.state(0), State::Down, "the others are judged as ever");
    }
}

#[test]
fn a_restart_and_another_configuration_keep_who_has_joined() {
    let mut world = world();
    let new = world.appear("asg-1", KEY, "10.0.0.7:3478");
    world.run(MINUTE);
    assert_eq!(world.state(new), State::Up);
    let text = serde_json::to_string(&world.fleet.saved(world.now, world.unix())).unwrap();
    let saved = serde_json::from_str(&text).unwrap();
    let listed = six().with_enrolments(vec![rule()]).unwrap();
    let again = dnsd_core::fleet::Fleet::new(listed.clone(), Some(&saved), world.now, world.unix());
    assert_eq!(
        again.verdict(world.relays[new].id).unwrap().state,
        State::Up
    );
    assert_eq!(again.difference(world.now, &listed).removed, [""; 0]);
    // Without the rule it would be gone, which counts as a loss.
    assert_eq!(world.fleet.difference(world.now, &six()).removed, ["asg-1"]);
    world.fleet.reconfigure(world.now, listed);
    assert_eq!(world.state(new), State::Up);
    world.fleet.reconfigure(world.now, six());
    assert!(entry(&world, "asg-1").is_none());
}

#[test]
fn rules_that_cannot_be_are_refused() {
    let wrong: [fn(&mut Enrolment); 5] = [
        |rule| rule.networks.clear(),
        |rule| rule.region = "mars".parse().unwrap(),
        |rule| rule.weight = 0,
        |rule| rule.most = 0,
        |rule| rule.vendor.clear(),
    ];
    for change in wrong {
        let mut rule = rule();
        change(&mut rule);
        assert_eq!(six().with_enrolments(vec![rule]).unwrap_err().len(), 1);
    }
    assert!(six().with_enrolments(vec![rule(), rule()]).is_err());
}

#[test]
fn two_machines_with_one_name_are_both_disbelieved_and_one_that_starts_anew_is_not() {
    let one = || {
        let regions = vec![region("eu", &[], &[])];
        let relays = vec![
            relay("fra-1", "eu", "eu-a", "alpha", 11),
            relay("ams-1", "eu", "eu-b", "beta", 12),
        ];
        inventory(regions, relays)
    };
    let mut world = World::new(one(), 1);
    world.run(SECOND * 30);
    // Ten starts in a row are no twins.
    for _ in 0..10 {
        world.befall(0, Fate::Killed);
        world.befall(0, Fate::Alive);
        world.run(SECOND);
        assert!(!explained(&world, 0).twins);
    }
    world.run(MINUTE * 10);
    let twin = world.appear("fra-1", 1, "192.0.2.99:3478");
    world.claim(twin, Claim::Draining);
    let found = world.run_for(SECOND * 10, |world| explained(world, 0).twins);
    assert!(found.is_some());
    world.run(SECOND * 5);
    // Judged by probes, which go to the configured address: not the word of either.
    assert_eq!(world.state(0), State::Suspect);
    world.befall(twin, Fate::Killed);
    world.run(MINUTE);
    assert!(!explained(&world, 0).twins);
    assert_eq!(world.state(0), State::Up);
}

#[test]
fn a_clone_elsewhere_of_one_that_has_joined_is_told_at_once() {
    let mut world = world();
    let new = world.appear("asg-1", KEY, "10.0.0.7:3478");
    world.run(MINUTE);
    world.appear("asg-1", KEY, "10.0.0.8:3478");
    world.run(SECOND);
    assert!(explained(&world, new).twins);
    assert!(
        world
            .refused
            .iter()
            .all(|(_, outcome)| matches!(outcome, ReportOutcome::Twin(_)))
    );
    assert_eq!(
        entry(&world, "asg-1").unwrap().ipv4.unwrap().ip().octets(),
        [10, 0, 0, 7]
    );
}

#[test]
fn rules_outlive_nothing_that_is_listed() {
    // A relay that had joined is listed now: it is one relay, and keeps what is known of it.
    let mut world = world();
    let new = world.appear("asg-1", KEY, "10.0.0.7:3478");
    world.run(MINUTE);
    let six = six();
    let mut relays = six.relays().to_vec();
    relays.push(entry(&world, "asg-1").unwrap().clone());
    let (policy, thresholds) = (Policy::default(), Thresholds::default());
    let listed = Inventory::new(zone(), six.regions().to_vec(), relays, policy, thresholds);
    let listed = listed.unwrap().with_enrolments(vec![rule()]).unwrap();
    world.fleet.reconfigure(world.now, listed);
    assert_eq!(world.state(new), State::Up);
    assert!(!explained(&world, new).joined);
    assert_eq!(world.fleet.inventory().relays().len(), 7);
}

#[test]
fn one_that_is_still_there_in_any_way_keeps_its_place() {
    // Its reports do not get through, but it answers; or it reports, and relays nothing.
    for fate in [Fate::Muted, Fate::Gray] {
        let mut world = world();
        let first = world.appear("asg-1", KEY, "10.0.0.7:3478");
        world.run(MINUTE);
        world.befall(first, fate);
        world.run(MINUTE);
        world.appear("asg-2", KEY, "10.0.0.7:3478");
        world.run(MINUTE);
        assert!(entry(&world, "asg-1").is_some(), "{fate:?}");
        assert!(entry(&world, "asg-2").is_none(), "{fate:?}");
    }
}

#[test]
fn a_vendor_that_is_evacuated_gets_no_new_machines_either() {
    let mut world = world();
    let evacuated = Entry {
        scope: "vendor:delta".parse().unwrap(),
        decision: Some(Override::Drain),
        until: None,
        why: "it burns".to_owned(),
        who: "someone".to_owned(),
        at_ms: world.unix().0 * 1000,
        node: "ns1".to_owned(),
    };
    world
        .fleet
        .take_override(world.now, world.unix(), evacuated);
    world.settle();
    let new = world.appear("asg-1", KEY, "10.0.0.7:3478");
    world.run(MINUTE);
    assert_eq!(world.state(new), State::ForcedDown);
}

#[test]
fn machines_of_a_reserve_rest_until_they_are_needed() {
    let reserve = Enrolment {
        standby: true,
        ..rule()
    };
    let inventory = six().with_enrolments(vec![reserve]).unwrap();
    let mut world = World::new(inventory, 1);
    world.run(SECOND * 30);
    let new = world.appear("asg-1", KEY, "10.0.0.7:3478");
    world.run(MINUTE * 3);
    assert_eq!(world.state(new), State::Up);
    let answered = |world: &World| {
        let plans = world.snapshot.as_ref().unwrap().plans();
        let variants = plans.flat_map(|(_, plan)| plan.variants.iter());
        let mut relays = variants.flat_map(|variant| variant.apex.relays());
        relays.any(|relay| usize::from(relay) == 6)
    };
    assert!(!answered(&world), "the listed ones do");
    for listed in ["fra-1", "ams-1", "par-1"] {
        let gone = world.index(listed);
        world.befall(gone, Fate::Killed);
    }
    world.run(MINUTE);
    assert!(answered(&world));
}

#[test]
fn what_only_a_rule_names_can_be_decided_about() {
    let inventory = six().with_enrolments(vec![rule()]).unwrap();
    let is_in = |scope: &str, inventory| scope.parse::<Scope>().unwrap().is_in(inventory);
    for scope in ["vendor:delta", "zone:eu-x", "vendor:alpha", "region:eu"] {
        assert!(is_in(scope, &inventory), "{scope}");
    }
    for scope in ["vendor:eu-x", "zone:delta", "relay:delta", "vendor:nobody"] {
        assert!(!is_in(scope, &inventory), "{scope}");
    }
    assert!(!is_in("vendor:delta", &six()));
}
