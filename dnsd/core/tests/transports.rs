//! The transports that relays say they serve: what they no longer name leaves the answers at once.

#![allow(clippy::unwrap_used)]

mod common;

use std::net::IpAddr;

use common::asking::{addresses, ask};
use common::world::World;
use common::{SECOND, inventory, six};
use dnsd_core::inventory::Inventory;
use hickory_proto::rr::RecordType;
use liveness::Transports;

const EVERY: Transports = Transports::UDP.with(Transports::TCP).with(Transports::TLS);
const NO_TLS: Transports = Transports::UDP.with(Transports::TCP);

/// Six relays, of which these transports are expected.
fn configured(transports: Option<Transports>) -> Inventory {
    let six = six();
    let mut relays = six.relays().to_vec();
    for relay in &mut relays {
        relay.transports = transports;
    }
    inventory(six.regions().to_vec(), relays)
}

/// Whether some client is sent to the first relay by the published answers.
fn named(world: &World, owner: &str) -> bool {
    let snapshot = world.snapshot.as_ref().unwrap();
    let first = six().relays()[0].ipv4.unwrap();
    let clients = (0..=255).map(|net| format!("10.{net}.0.1"));
    clients
        .flat_map(|client| addresses(&ask(snapshot, owner, RecordType::A, &client).answers))
        .any(|address| address == IpAddr::V4(*first.ip()))
}

#[test]
fn a_relay_that_no_longer_names_a_transport_leaves_its_names_with_that_report() {
    for expected in [None, Some(EVERY)] {
        let mut world = World::new(configured(expected), 11);
        world.transports = EVERY;
        world.run(SECOND * 30);
        assert!(named(&world, "tls.turn.example."));
        for (word, served) in [(NO_TLS, false), (EVERY, true), (NO_TLS, false)] {
            world.words.insert(0, word);
            // The next report is half a second away, the publication is its consequence.
            world.run(SECOND);
            let tls = ["tls", "tls.a", "tls.b"].map(|name| format!("{name}.turn.example."));
            assert!(
                tls.iter().any(|owner| named(&world, owner)) == served,
                "{expected:?}: {word:?}"
            );
            for other in ["turn.example.", "udp.turn.example.", "tcp.turn.example."] {
                assert!(named(&world, other), "{expected:?}: {other}");
            }
        }
        // Nor after a restart of the nameserver, whatever its configuration expects.
        let mut after = world.restarted(5);
        (after.transports, after.words) = (world.transports, world.words);
        after.settle();
        assert!(!named(&after, "tls.turn.example."), "{expected:?}");
    }
}

#[test]
fn what_a_relay_never_named_is_as_configured() {
    for (expected, served) in [(Some(EVERY), true), (None, false)] {
        let mut world = World::new(configured(expected), 11);
        world.transports = EVERY;
        world.words.insert(0, Transports::UDP);
        world.run(SECOND * 30);
        assert_eq!(named(&world, "tls.turn.example."), served);
        assert!(named(&world, "udp.turn.example."));
    }
}

#[test]
fn what_nobody_names_any_more_is_answered_all_the_same() {
    let mut world = World::new(configured(None), 11);
    world.transports = EVERY;
    world.run(SECOND * 30);
    world.transports = NO_TLS;
    world.run(SECOND);
    assert!(named(&world, "tls.turn.example."));
}

#[test]
fn a_transport_that_is_main_stays_whatever_is_said() {
    let mut world = World::new(configured(Some(Transports::TLS)), 11);
    world.transports = Transports::TLS;
    world.run(SECOND * 30);
    world.words.insert(0, Transports::UDP);
    world.run(SECOND);
    assert!(named(&world, "turn.example.") && named(&world, "tls.turn.example."));
}
