//! Reports and outcomes at the fleet's door: whose word is taken, and what is said in return.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Instant;

use common::world::{EPOCH, World, report};
use common::{MS, SECOND, relay, six, start};
use credentials::UnixTime;
use dnsd_core::fleet::{Action, Fleet, ReportOutcome};
use dnsd_core::health::{Outcome, Override, Probe, ProbeKind, State};
use dnsd_core::inventory::{Inventory, Refusal};
use liveness::{KeyId, NodeId, Order, RelayId, Replayed, Report, Seen};

const SERVING: u8 = 1;
const DRAINING: u8 = 3;

fn fleet() -> (Fleet, Instant) {
    let now = start();
    (Fleet::new(six(), None, now, UnixTime(EPOCH)), now)
}

fn fra(sequence: u64) -> Report {
    report("fra-1".parse().unwrap(), 7, sequence, SERVING)
}

#[test]
fn only_configured_relays_speak_and_only_with_their_own_keys() {
    let inventory = six();
    let mut relays = inventory.relays().to_vec();
    relays[0].keys = vec![KeyId(1), KeyId(2)];
    let inventory = Inventory::new(
        inventory.zone().clone(),
        inventory.regions().to_vec(),
        relays,
        inventory.policy().clone(),
        inventory.thresholds().clone(),
    );
    let now = start();
    let mut fleet = Fleet::new(inventory.unwrap(), None, now, UnixTime(EPOCH));
    let stranger = report("who-1".parse().unwrap(), 1, 1, SERVING);
    assert_eq!(
        fleet.handle_report(now, KeyId(1), &stranger),
        ReportOutcome::UnknownRelay(Refusal::NoRule)
    );
    let wrong = fleet.handle_report(now, KeyId(3), &fra(1));
    assert_eq!(wrong, ReportOutcome::WrongKey(KeyId(3)));
    assert!(matches!(
        fleet.handle_report(now, KeyId(2), &fra(1)),
        ReportOutcome::Accepted(_)
    ));
    let counters = fleet.counters();
    assert_eq!(
        (counters.unknown_relay, counters.wrong_key, counters.reports),
        (1, 1, 1)
    );
}

#[test]
fn replays_move_nothing_and_a_lost_boot_id_is_told_the_floor() {
    let (mut fleet, now) = fleet();
    assert!(matches!(
        fleet.handle_report(now, KeyId(1), &fra(5)),
        ReportOutcome::Accepted(_)
    ));
    let later = now + SECOND;
    let copy = fleet.handle_report(later, KeyId(1), &fra(5));
    assert_eq!(
        copy,
        ReportOutcome::StaleSequence(Replayed::StaleSequence { last: 5 })
    );
    let old = report("fra-1".parse().unwrap(), 6, 99, DRAINING);
    let ReportOutcome::StaleBoot(reply) = fleet.handle_report(later, KeyId(1), &old) else {
        panic!("an older boot was believed");
    };
    assert_eq!(reply.boot_floor, 7);
    let node: NodeId = "ns1".parse().unwrap();
    let ack = reply.ack(&old, node, 5, 3);
    assert_eq!(
        (ack.boot, ack.sequence, ack.boot_floor, ack.revocations),
        (6, 99, 7, 3)
    );
    assert_eq!(fleet.counters().replayed, 2);
    assert_eq!(
        fleet.verdict(old.relay).unwrap().state,
        State::Unknown,
        "not draining"
    );
    let explained = fleet.explain(later, old.relay).unwrap();
    assert_eq!(
        explained.report.unwrap().ago_ms,
        1000,
        "a replay refreshes nothing"
    );
}

#[test]
fn claimed_addresses_are_counted_and_otherwise_ignored() {
    let (mut fleet, now) = fleet();
    let configured = relay("fra-1", "eu", "eu-a", "alpha", 11);
    let mut honest = fra(1);
    (honest.ipv4, honest.ipv6) = (configured.ipv4, configured.ipv6);
    let mut anywhere = fra(2);
    anywhere.ipv4 = Some("0.0.0.0:3478".parse().unwrap());
    let mut liar = fra(3);
    liar.ipv4 = Some("192.0.2.66:3478".parse().unwrap());
    for (claim, mismatches) in [(honest, 0), (anywhere, 0), (liar, 1)] {
        let outcome = fleet.handle_report(now, KeyId(1), &claim);
        assert!(
            matches!(outcome, ReportOutcome::Accepted(_)),
            "the state is believed"
        );
        assert_eq!(fleet.counters().address_mismatch, mismatches);
    }
    let explained = fleet.explain(now, liar.relay).unwrap();
    assert!(explained.report.unwrap().claims_other_addresses);
    assert_eq!(
        explained.addresses,
        ["198.51.100.11:3478", "[2001:db8:1::b]:3478"].map(|a| a.parse().unwrap())
    );
}

#[test]
fn the_reply_names_healthy_neighbours_near_ones_first_and_never_the_relay_itself() {
    let mut world = World::new(six(), 1);
    world.run(SECOND * 5);
    world.claim(1, liveness::State::Draining);
    world.run(SECOND);
    let asker = report("fra-1".parse().unwrap(), EPOCH + 9, 1, SERVING);
    let ReportOutcome::Accepted(reply) = world.fleet.handle_report(world.now, KeyId(1), &asker)
    else {
        panic!("refused");
    };
    assert_eq!(
        (reply.seen, reply.order, reply.boot_floor),
        (Seen::Up, Order::None, 0)
    );
    let hosts = reply
        .neighbours
        .map(|n| n.ipv4.map_or(0, |a| a.ip().octets()[3]));
    assert_eq!(hosts[0], 13, "the only healthy one of its region");
    let mut far = hosts[1..].to_vec();
    far.sort_unstable();
    assert_eq!(far, [21, 22, 23]);
}

#[test]
fn an_order_to_drain_is_repeated_until_it_is_lifted_and_then_until_that_is_heard() {
    let (mut fleet, now) = fleet();
    let id: RelayId = "fra-1".parse().unwrap();
    let mut sequence = 0;
    let mut hear = |fleet: &mut Fleet, claim: u8| {
        sequence += 1;
        match fleet.handle_report(now, KeyId(1), &report(id, 7, sequence, claim)) {
            ReportOutcome::Accepted(reply) => (reply.order, reply.seen),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(hear(&mut fleet, SERVING), (Order::None, Seen::Down));
    common::force(&mut fleet, now, id, Some(Override::Drain));
    assert_eq!(hear(&mut fleet, SERVING), (Order::Drain, Seen::Forced));
    assert_eq!(hear(&mut fleet, DRAINING), (Order::Drain, Seen::Forced));
    common::force(&mut fleet, now, id, None);
    assert_eq!(hear(&mut fleet, DRAINING), (Order::Undrain, Seen::Draining));
    assert_eq!(hear(&mut fleet, SERVING).0, Order::None);
    assert_eq!(
        hear(&mut fleet, DRAINING).0,
        Order::None,
        "its own wish is not undone"
    );
}

#[test]
fn outcomes_nobody_waits_for_are_counted_and_ignored() {
    let (mut fleet, now) = fleet();
    let id: RelayId = "fra-1".parse().unwrap();
    let probe = Probe {
        kind: ProbeKind::Stun,
        sent: now + MS,
        timeout: SECOND,
    };
    fleet.handle_probe(now, id, probe, &Outcome::Refused);
    fleet.handle_probe(now, "who-1".parse().unwrap(), probe, &Outcome::Refused);
    assert_eq!(fleet.counters().stray_outcomes, 2);
    assert_eq!(fleet.explain(now, id).unwrap().stun.points, 0);
}

#[test]
fn a_node_that_cannot_send_blames_nobody() {
    let now = start();
    let mut fleet = Fleet::new(six(), None, now, UnixTime(EPOCH));
    let id: RelayId = "fra-1".parse().unwrap();
    let mut clock = now;
    for sequence in 1..40 {
        clock += MS * 500;
        fleet.handle_timeout(clock);
        fleet.handle_report(clock, KeyId(1), &fra(sequence));
        while let Some(action) = fleet.poll_action() {
            match action {
                Action::ProbeNow { relay, probe } => {
                    let outcome = if sequence < 10 && probe.kind == ProbeKind::Stun {
                        Outcome::Ok { rtt: MS }
                    } else {
                        Outcome::Unsent("no buffer space".to_owned())
                    };
                    fleet.handle_probe(clock, relay, probe, &outcome);
                }
                Action::Vote | Action::Roster => {}
                Action::Publish => drop(fleet.publish(clock, UnixTime(EPOCH))),
            }
        }
    }
    assert_eq!(fleet.verdict(id).unwrap().state, State::Up);
    let explained = fleet.explain(clock, id).unwrap();
    assert_eq!(
        explained.stun.last_failure.as_deref(),
        Some("no buffer space")
    );
    assert!(
        serde_json::to_string(&explained)
            .unwrap()
            .contains("\"state\":\"up\"")
    );
}
