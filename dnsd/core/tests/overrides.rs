//! People's decisions: the same everywhere whatever the order of the news, bounded, and obeyed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;

use common::asking::{EU, US, keys};
use common::{SECOND, UNIX, six, start};
use credentials::UnixTime;
use dnsd_core::answer::{Query, answer};
use dnsd_core::fleet::{Fleet, Saved};
use dnsd_core::health::{Override, State};
use dnsd_core::limits::OVERRIDES_MAX;
use dnsd_core::overrides::{Entry, KEPT, Merged, Overrides};
use hickory_proto::rr::{DNSClass, RecordType};
use proptest::prelude::*;

fn entry(scope: &str, decision: Option<Override>, until: Option<u64>, at_ms: u64) -> Entry {
    Entry {
        scope: scope.parse().unwrap(),
        decision,
        until,
        why: "because".to_owned(),
        who: "someone".to_owned(),
        at_ms: UNIX.0 * 1000 + at_ms,
        node: "ns1".to_owned(),
    }
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let scope = prop_oneof!["relay:[a-c]", "zone:[ab]", "region:[ab]", "vendor:[ab]",];
    let decision = prop_oneof![
        Just(None),
        Just(Some(Override::Up)),
        Just(Some(Override::Down)),
        Just(Some(Override::Drain)),
    ];
    // Few values, so that entries meet.
    let until = prop_oneof![Just(None), (0_u64..3).prop_map(Some)];
    (scope, decision, until, 0_u64..4, "[ab]", "ns[12]").prop_map(
        |(scope, decision, until, at_ms, why, node)| Entry {
            why,
            node,
            ..entry(
                &scope,
                decision,
                until.map(|n| UNIX.0 - KEPT.as_secs() + n),
                at_ms,
            )
        },
    )
}

/// More scopes than there is room for.
fn crowd() -> impl Strategy<Value = Entry> {
    (0..OVERRIDES_MAX + 20, 0_u64..2000)
        .prop_map(|(n, at_ms)| entry(&format!("relay:r-{n}"), Some(Override::Drain), None, at_ms))
}

fn all(overrides: &Overrides) -> Vec<Entry> {
    overrides.entries().cloned().collect()
}

fn merged<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Overrides {
    let mut overrides = Overrides::default();
    for entry in entries {
        overrides.merge(UNIX, entry.clone());
    }
    overrides
}

/// The rule in the plainest words: of each scope the newest, of those the newest so many.
fn model<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<Entry> {
    let rank = |entry: &Entry| {
        let decision = entry.decision.map(|decision| match decision {
            Override::Up => 0,
            Override::Down => 1,
            Override::Drain => 2,
        });
        (
            entry.at_ms,
            entry.node.clone(),
            decision,
            entry.until,
            entry.why.clone(),
            entry.scope.clone(),
        )
    };
    let over = |entry: &Entry| {
        let end = match (entry.decision, entry.until) {
            (None, _) => Some(entry.at_ms / 1000),
            (_, until) => until,
        };
        end.is_some_and(|end| end + KEPT.as_secs() <= UNIX.0)
    };
    let mut newest = BTreeMap::new();
    for entry in entries.into_iter().filter(|entry| !over(entry)) {
        let kept: &mut Entry = newest
            .entry(entry.scope.clone())
            .or_insert_with(|| entry.clone());
        if rank(kept) < rank(entry) {
            *kept = entry.clone();
        }
    }
    let mut newest: Vec<_> = newest.into_values().collect();
    newest.sort_by_key(|entry| std::cmp::Reverse(rank(entry)));
    newest.truncate(OVERRIDES_MAX);
    newest.sort_by_key(|entry| entry.scope.clone());
    newest
}

proptest! {
    #[test]
    fn any_order_and_any_repetition_end_the_same(
        entries in proptest::collection::vec(any_entry(), 0..40).prop_shuffle(),
        again in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let expected = model(&entries);
        prop_assert_eq!(&all(&merged(&entries)), &expected);
        prop_assert_eq!(&all(&merged(entries.iter().rev())), &expected);
        let repeated = entries.iter().chain(again.iter().filter(|_| !entries.is_empty()).map(|i| i.get(&entries)));
        prop_assert_eq!(all(&merged(repeated)), expected);
    }

    #[test]
    fn what_two_have_heard_apart_is_the_same_when_they_meet(
        left in proptest::collection::vec(any_entry(), 0..20),
        right in proptest::collection::vec(any_entry(), 0..20),
        third in proptest::collection::vec(any_entry(), 0..20),
    ) {
        let meet = |a: &Overrides, b: &Overrides| merged(a.entries().chain(b.entries()));
        let (a, b, c) = (merged(&left), merged(&right), merged(&third));
        prop_assert_eq!(all(&meet(&a, &b)), all(&meet(&b, &a)));
        prop_assert_eq!(all(&meet(&meet(&a, &b), &c)), all(&meet(&a, &meet(&b, &c))));
        prop_assert_eq!(all(&meet(&a, &a)), all(&a));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_crowd_is_bounded_and_all_keep_the_same(
        entries in proptest::collection::vec(crowd(), OVERRIDES_MAX..OVERRIDES_MAX * 3),
    ) {
        let (forth, back) = (merged(&entries), merged(entries.iter().rev()));
        prop_assert!(forth.entries().count() <= OVERRIDES_MAX);
        prop_assert_eq!(all(&forth), model(&entries));
        prop_assert_eq!(all(&forth), all(&back));
    }
}

#[test]
fn the_most_particular_decision_holds() {
    let inventory = six();
    let relay = &inventory.relays()[0];
    let mut overrides = Overrides::default();
    let scopes = [
        format!("vendor:{}", relay.vendor),
        format!("region:{}", relay.region),
        format!("zone:{}", relay.zone),
        relay.id.to_string(),
    ];
    for (n, scope) in scopes.iter().enumerate() {
        // The more particular is older: that does not count.
        let at = 100 - n as u64;
        overrides.merge(UNIX, entry(scope, Some(Override::Drain), None, at));
        let holding = overrides.holding(relay).unwrap();
        assert_eq!(holding.scope, scope.parse().unwrap());
    }
    overrides.merge(UNIX, entry(&scopes[3], None, None, 200));
    assert_eq!(
        overrides.holding(relay).unwrap().scope,
        scopes[2].parse().unwrap()
    );
    let other = inventory
        .relays()
        .iter()
        .find(|other| other.vendor != relay.vendor && other.region != relay.region);
    assert_eq!(overrides.decision(other.unwrap()), None);
}

#[test]
fn what_is_malformed_or_dated_far_ahead_is_refused() {
    let good = entry("fra-1", Some(Override::Down), None, 1);
    let day = 24 * 3600 * 1000;
    for bad in [
        Entry {
            why: String::new(),
            ..good.clone()
        },
        Entry {
            why: "x".repeat(201),
            ..good.clone()
        },
        Entry {
            who: "x".repeat(65),
            ..good.clone()
        },
        Entry {
            node: "no node".to_owned(),
            ..good.clone()
        },
        Entry {
            at_ms: good.at_ms + day,
            ..good.clone()
        },
    ] {
        assert_eq!(Overrides::default().merge(UNIX, bad), Merged::Malformed);
    }
    assert_eq!(Overrides::default().merge(UNIX, good), Merged::News);
    for text in ["", "relay:", "pool:x", "zone:"] {
        assert!(
            text.parse::<dnsd_core::overrides::Scope>().is_err(),
            "{text}"
        );
    }
}

#[test]
fn a_decision_runs_out_and_no_older_one_comes_back_until_it_is_forgotten() {
    let now = start();
    let mut fleet = Fleet::new(six(), None, now, UNIX);
    let id = fleet.inventory().relays()[0].id;
    let state = |fleet: &Fleet| fleet.verdict(id).unwrap().state;
    let older = entry(id.as_str(), Some(Override::Down), None, 1);
    let limited = entry(id.as_str(), Some(Override::Down), Some(UNIX.0 + 60), 2);
    assert_eq!(fleet.take_override(now, UNIX, limited), Merged::News);
    assert_eq!(state(&fleet), State::ForcedDown);
    let at = |seconds: u64| (now + SECOND * seconds as u32, UnixTime(UNIX.0 + seconds));
    let (later, unix) = at(59);
    assert!(fleet.pass_overrides(later, unix).is_empty());
    let (later, unix) = at(60);
    assert_eq!(fleet.pass_overrides(later, unix).len(), 1);
    assert_ne!(state(&fleet), State::ForcedDown);
    assert_eq!(fleet.take_override(later, unix, older), Merged::Known);
    let (later, unix) = at(60 + KEPT.as_secs());
    assert!(fleet.pass_overrides(later, unix).is_empty());
    assert_eq!(fleet.overrides().entries().count(), 0, "forgotten");
    assert_eq!(fleet.overrides().journal().count(), 1);
}

#[test]
fn a_machine_that_slept_through_the_end_and_the_week_after_obeys_no_longer() {
    let now = start();
    let mut fleet = Fleet::new(six(), None, now, UNIX);
    let id = fleet.inventory().relays()[0].id;
    let limited = entry(id.as_str(), Some(Override::Down), Some(UNIX.0 + 60), 2);
    fleet.take_override(now, UNIX, limited);
    let slept = 61 + KEPT.as_secs();
    let unix = UnixTime(UNIX.0 + slept);
    assert_eq!(fleet.pass_overrides(now + SECOND, unix).len(), 1);
    assert_ne!(fleet.verdict(id).unwrap().state, State::ForcedDown);
    assert_eq!(fleet.overrides().entries().count(), 0);
}

#[test]
fn decisions_survive_a_restart_and_hold_for_relays_that_come_later() {
    let now = start();
    let mut fleet = Fleet::new(six(), None, now, UNIX);
    let vendor = fleet.inventory().relays()[0].vendor.clone();
    let scope = format!("vendor:{vendor}");
    fleet.take_override(now, UNIX, entry(&scope, Some(Override::Drain), None, 1));
    let text = serde_json::to_string(&fleet.saved(now, UNIX)).unwrap();
    let saved: Saved = serde_json::from_str(&text).unwrap();
    let fleet = Fleet::new(six(), Some(&saved), now, UNIX);
    for relay in fleet.inventory().relays() {
        let forced = fleet.verdict(relay.id).unwrap().state == State::ForcedDown;
        assert_eq!(forced, relay.vendor == vendor, "{}", relay.id);
    }
    assert_eq!(fleet.overrides().journal().count(), 1);
    // Its relays are gone from the configuration, and come back.
    let few = common::inventory(
        vec![common::region("eu", &[], &[])],
        vec![common::relay("new-1", "eu", "eu-z", "other", 9)],
    );
    let mut fleet = Fleet::new(few, Some(&saved), now, UNIX);
    fleet.reconfigure(now, six());
    let id = fleet.inventory().relays()[0].id;
    assert_eq!(fleet.verdict(id).unwrap().state, State::ForcedDown);
}

#[test]
fn what_a_decision_would_do_is_foreseen() {
    let mut world = common::world::World::new(six(), 3);
    world.run(SECOND * 120);
    let fleet = &world.fleet;
    assert!(
        fleet
            .inventory()
            .relays()
            .iter()
            .all(|r| fleet.verdict(r.id).unwrap().state == State::Up)
    );
    let vendors: std::collections::BTreeSet<_> = fleet
        .inventory()
        .relays()
        .iter()
        .map(|relay| relay.vendor.clone())
        .collect();
    for scope in fleet
        .inventory()
        .relays()
        .iter()
        .map(|relay| relay.id.to_string())
        .chain(vendors.iter().map(|vendor| format!("vendor:{vendor}")))
    {
        let drain = entry(&scope, Some(Override::Drain), None, 1);
        let foreseen = fleet.foresee(UNIX, drain.clone());
        let covered = fleet
            .inventory()
            .relays()
            .iter()
            .filter(|relay| drain.scope.covers(relay));
        assert_eq!(foreseen.relays.len(), covered.count(), "{scope}");
        // What was foreseen comes to pass.
        let mut then = common::world::World::new(six(), 3);
        then.run(SECOND * 120);
        let now = then.now;
        then.fleet.take_override(now, UNIX, drain);
        let lift = then.fleet.foresee(UNIX, entry(&scope, None, None, 2));
        for (before, after) in foreseen.regions.iter().zip(&lift.regions) {
            assert_eq!(before.would_be_up, after.up, "{scope} {before:?}");
            assert_eq!(after.would_be_up, before.up, "{scope} {after:?}");
        }
    }
    let half = entry("region:eu", Some(Override::Down), None, 1);
    assert_eq!(fleet.foresee(UNIX, half.clone()).below_floor().count(), 0);
    let now = world.now;
    let fleet = &mut world.fleet;
    fleet.take_override(now, UNIX, half);
    let one_more = entry("nyc-1", Some(Override::Drain), None, 1);
    let foreseen = fleet.foresee(UNIX, one_more);
    let below: Vec<_> = foreseen
        .below_floor()
        .map(|r| (r.would_be_up, r.floor))
        .collect();
    assert_eq!(below, [(2, 3), (2, 3)]);
    let up = fleet.foresee(UNIX, entry("region:eu", Some(Override::Up), None, 1));
    assert_eq!(up.below_floor().count(), 0);
}

#[test]
fn answers_are_cached_no_longer_than_a_decision_holds() {
    let inventory = six();
    let mut fleet = Fleet::new(inventory, None, start(), UNIX);
    let relays: Vec<_> = fleet.inventory().relays().iter().map(|r| r.id).collect();
    for relay in &relays {
        let up = entry(relay.as_str(), Some(Override::Up), None, 1);
        assert_eq!(fleet.take_override(start(), UNIX, up), Merged::News);
    }
    // Ten minutes of a drain, long after anything else has changed.
    let until = UNIX.0 + 600;
    let drain = entry("fra-1", Some(Override::Drain), Some(until), 2);
    assert_eq!(fleet.take_override(start(), UNIX, drain), Merged::News);
    let later = start() + SECOND * 500;
    let snapshot = fleet.publish(later, UnixTime(UNIX.0 + 500));
    let ttl = |client: &str, left: u64| {
        let name = common::name("turn.example.");
        let query = Query {
            name: &name,
            record_type: RecordType::A,
            class: DNSClass::IN,
            client: client.parse().unwrap(),
            subnet: None,
            dnssec_ok: false,
        };
        let now = UnixTime(until - left);
        answer(&snapshot, &keys(), now, &query).answers[0].ttl
    };
    for (left, expected) in [
        (100, 30),
        (31, 30),
        (29, 29),
        (12, 12),
        (6, 6),
        (3, 5),
        (0, 5),
    ] {
        assert_eq!(ttl(EU, left), expected, "{left} s before its end");
        assert_eq!(ttl(US, left), 30, "of those it does not concern");
    }
    // And of a region that others serve while it lasts.
    for relay in ["ams-1", "par-1"] {
        let down = entry(relay, Some(Override::Down), None, 3);
        assert_eq!(fleet.take_override(start(), UNIX, down), Merged::News);
    }
    let snapshot = fleet.publish(later, UnixTime(UNIX.0 + 500));
    let plans: Vec<_> = snapshot.plans().map(|(_, plan)| plan).collect();
    assert_eq!(plans[0].served_by, 1);
    assert_eq!(
        (plans[0].ends, plans[1].ends),
        (Some(UnixTime(until)), None)
    );
}
