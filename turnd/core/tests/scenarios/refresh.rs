//! Refresh: RFC 8656 section 8, and whose requests are honoured (section 5).

use std::time::Duration;

use turnd_core::{Config, Lifetimes};

use crate::codec::{FAMILY, LIFETIME, REFRESH};
use crate::world::{Client, World, config};

#[test]
fn prolongs_by_the_rules_of_allocate() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.allocate(&mut world);
    for (wanted, granted) in [
        (None, 600),
        (Some(1), 600),
        (Some(900), 900),
        (Some(9999), 3600),
    ] {
        assert_eq!(client.refresh(&mut world, wanted).seconds(), Some(granted));
    }
    // A shorter lifetime takes effect, too.
    assert_eq!(client.refresh(&mut world, Some(700)).seconds(), Some(700));
    world.advance_secs(699);
    assert_eq!(world.relay.sessions(), 1);
    world.advance_secs(1);
    assert_eq!(world.relay.sessions(), 0);
}

#[test]
fn lifetime_zero_ends_the_allocation_at_once() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    let relayed = client.allocate(&mut world);
    let id = world.id_of(relayed);
    client.permit(&mut world, &["9.9.9.9:9"]);
    assert_eq!(client.refresh(&mut world, Some(0)).seconds(), Some(0));
    assert_eq!(world.closed, [id]);
    assert_eq!(world.relay.counters().allocations_deleted, 1);
    let footprint = world.relay.footprint();
    assert_eq!((footprint.ports, footprint.deadlines), (0, 0));
    let send = client.send("9.9.9.9:9", b"late");
    assert_eq!(world.data(client.tuple, &send), None);
    assert_eq!(
        world.peer_sends(id, crate::world::addr("9.9.9.9:9"), b"late"),
        None
    );
    // Its retransmission learns that there is nothing any more.
    assert_eq!(client.refresh(&mut world, Some(0)).error(), Some(437));
    client.allocate(&mut world);
}

#[test]
fn every_request_without_an_allocation_gets_a_signed_437() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    // `ask` checks the signature.
    assert_eq!(client.refresh(&mut world, None).error(), Some(437));
    assert_eq!(client.refresh(&mut world, Some(0)).error(), Some(437));
    assert_eq!(client.permit(&mut world, &["9.9.9.9:9"]).error(), Some(437));
    assert_eq!(
        client.bind(&mut world, 0x4000, "9.9.9.9:9").error(),
        Some(437)
    );
    assert_eq!(world.relay.counters().errors_allocation_mismatch, 4);
}

#[test]
fn another_users_credential_gets_441() {
    let mut world = World::new();
    let mut alice = Client::new("192.0.2.1:5000", "alice");
    alice.allocate(&mut world);
    let mut mallory = Client::new("192.0.2.1:5000", "mallory");
    mallory.nonce.clone_from(&alice.nonce);
    mallory.transaction = 1;
    assert_eq!(mallory.refresh(&mut world, Some(0)).error(), Some(441));
    assert_eq!(
        mallory.permit(&mut world, &["9.9.9.9:9"]).error(),
        Some(441)
    );
    assert_eq!(
        mallory.bind(&mut world, 0x4000, "9.9.9.9:9").error(),
        Some(441)
    );
    // A later credential of the same user is another username (RFC 8656 section 5).
    let mut renewed =
        Client::with_credential("192.0.2.1:5000", "alice", 7200, crate::world::SECRET);
    renewed.nonce.clone_from(&alice.nonce);
    assert_eq!(renewed.refresh(&mut world, None).error(), Some(441));
    // Mallory's Allocate is neither a replay nor a second allocation.
    let request = mallory.allocate_request();
    assert_eq!(mallory.ask(&mut world, request).error(), Some(437));
    assert!(alice.refresh(&mut world, None).is_success());
}

#[test]
fn a_wrong_family_gets_443_and_nonsense_400() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.allocate(&mut world);
    let request = client.request(REFRESH).attr(FAMILY, &[2, 0, 0, 0]);
    assert_eq!(client.ask(&mut world, request).error(), Some(443));
    let request = client.request(REFRESH).attr(FAMILY, &[1, 0, 0, 0]);
    assert!(client.ask(&mut world, request).is_success());
    let request = client.request(REFRESH).attr(LIFETIME, &[0; 3]);
    assert_eq!(client.ask(&mut world, request).error(), Some(400));
}

#[test]
fn no_session_outlives_its_maximum() {
    let mut world = World::with(Config {
        lifetimes: Lifetimes {
            max_session: Duration::from_mins(25),
            ..Lifetimes::default()
        },
        ..config()
    });
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.allocate(&mut world);
    world.advance_secs(500);
    assert_eq!(client.refresh(&mut world, Some(800)).seconds(), Some(800));
    assert_eq!(client.refresh(&mut world, Some(3600)).seconds(), Some(1000));
    world.advance_secs(900);
    assert_eq!(client.refresh(&mut world, None).seconds(), Some(100));
    world.advance_secs(100);
    assert_eq!(world.relay.sessions(), 0);
    assert_eq!(client.refresh(&mut world, None).error(), Some(437));
}

#[test]
fn a_short_maximum_holds_from_the_beginning() {
    let mut world = World::with(Config {
        lifetimes: Lifetimes {
            max_session: Duration::from_mins(5),
            ..Lifetimes::default()
        },
        ..config()
    });
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let request = client.allocate_request();
    assert_eq!(client.ask(&mut world, request).seconds(), Some(300));
    world.advance_secs(299);
    assert_eq!(client.refresh(&mut world, None).seconds(), Some(1));
    world.advance_secs(1);
    assert_eq!(world.relay.sessions(), 0);
}

#[test]
fn a_connection_takes_its_allocation_with_it() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.tuple.transport = turnd_core::Transport::Tcp;
    let relayed = client.allocate(&mut world);
    let id = world.id_of(relayed);
    let now = world.now();
    assert!(world.relay.serves(&client.tuple));
    world.relay.client_gone(now, &client.tuple);
    world.drain();
    assert_eq!(world.closed, [id]);
    assert!(world.replies.is_empty(), "there is nobody to be told");
    assert!(!world.relay.serves(&client.tuple));
    assert_eq!(world.relay.counters().allocations_disconnected, 1);
    // Also while its socket is being opened.
    world.auto_open = false;
    let request = client.allocate_request();
    world.give(client.tuple, &client.sign(request).bytes);
    assert_eq!(world.asked.len(), 1);
    world.relay.client_gone(now, &client.tuple);
    world.drain();
    assert!(world.asked.is_empty());
    let footprint = world.relay.footprint();
    assert_eq!((footprint.ports, footprint.allocations), (0, 0));
    // Gone twice is gone.
    world.relay.client_gone(now, &client.tuple);
    assert_eq!(world.relay.counters().allocations_disconnected, 2);
}
