//! A retransmitted request gets the same reply again: RFC 8489 section 6.3.1, method by method.

use crate::codec::{CHANNEL_BIND, CHANNEL_NUMBER, CREATE_PERMISSION, Parsed};
use crate::world::{Client, World, addr};

fn setup() -> (World, Client) {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.allocate(&mut world);
    (world, client)
}

/// Gives the same bytes three times; the replies are the same.
fn thrice(world: &mut World, client: &Client, bytes: &[u8]) -> Parsed {
    let first = world.ask(client.tuple, bytes);
    for _ in 0..2 {
        world.advance(std::time::Duration::from_millis(500));
        assert_eq!(world.ask(client.tuple, bytes), first);
    }
    first
}

#[test]
fn allocate() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let request = client.allocate_request();
    let request = client.sign(request).bytes;
    assert!(thrice(&mut world, &client, &request).is_success());
    assert_eq!(world.relay.counters().allocations_created, 1);
}

#[test]
fn refresh() {
    let (mut world, mut client) = setup();
    let request = client.refresh_request(Some(900));
    let request = client.sign(request).bytes;
    let reply = thrice(&mut world, &client, &request);
    assert_eq!(reply.seconds(), Some(900));
}

#[test]
fn create_permission() {
    let (mut world, mut client) = setup();
    let request = client.request(CREATE_PERMISSION).peer(addr("9.9.9.9:9"));
    let request = client.sign(request).bytes;
    assert!(thrice(&mut world, &client, &request).is_success());
    assert_eq!(world.relay.counters().permissions_installed, 1);
}

#[test]
fn channel_bind() {
    let (mut world, mut client) = setup();
    let request = client
        .request(CHANNEL_BIND)
        .attr(CHANNEL_NUMBER, &[0x40, 0, 0, 0])
        .peer(addr("9.9.9.9:9"));
    let request = client.sign(request).bytes;
    assert!(thrice(&mut world, &client, &request).is_success());
    assert_eq!(world.relay.counters().channels_bound, 1);
}

#[test]
fn deletion_of_an_allocation() {
    let (mut world, mut client) = setup();
    let request = client.refresh_request(Some(0));
    let request = client.sign(request).bytes;
    let reply = thrice(&mut world, &client, &request);
    assert_eq!(reply.seconds(), Some(0));
    let counters = world.relay.counters();
    assert_eq!(
        (counters.allocations_deleted, counters.deletion_replays),
        (1, 2)
    );
    // Another deletion is no retransmission.
    assert_eq!(client.refresh(&mut world, Some(0)).error(), Some(437));
    // Nor is the same one after the client has given up.
    world.advance_secs(40);
    let reply = world.ask(client.tuple, &request);
    assert_eq!(reply.error(), Some(437));
}

#[test]
fn a_late_copy_of_a_deletion_does_not_touch_the_next_allocation() {
    let (mut world, mut client) = setup();
    let request = client.refresh_request(Some(0));
    let request = client.sign(request).bytes;
    let reply = world.ask(client.tuple, &request);
    client.allocate(&mut world);
    assert_eq!(world.ask(client.tuple, &request), reply);
    assert_eq!(world.relay.sessions(), 1);
    assert!(client.refresh(&mut world, None).is_success());
}

#[test]
fn deletion_of_one_family() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let request = client
        .allocate_request()
        .attr(crate::codec::ADDITIONAL_FAMILY, &[2, 0, 0, 0]);
    assert!(client.ask(&mut world, request).is_success());
    let request = client
        .refresh_request(Some(0))
        .attr(crate::codec::FAMILY, &[2, 0, 0, 0]);
    let request = client.sign(request).bytes;
    assert_eq!(thrice(&mut world, &client, &request).seconds(), Some(0));
    assert_eq!(world.sockets.len(), 1);
}

#[test]
fn a_transaction_of_another_user_or_five_tuple_is_another() {
    let (mut world, mut alice) = setup();
    let mut bob = Client::new("192.0.2.1:5000", "bob");
    bob.nonce.clone_from(&alice.nonce);
    let request = alice.refresh_request(Some(0));
    let stolen = bob.sign(request.clone()).bytes;
    let request = alice.sign(request).bytes;
    assert!(world.ask(alice.tuple, &request).is_success());
    assert_eq!(world.ask(alice.tuple, &stolen).error(), Some(437));
    let mut elsewhere = Client::new("192.0.2.1:5001", "alice");
    elsewhere.learn_nonce(&mut world);
    elsewhere.transaction = alice.transaction - 1;
    assert_eq!(elsewhere.refresh(&mut world, Some(0)).error(), Some(437));
}

#[test]
fn the_memory_of_deletions_is_capped() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let mut first = None;
    for _ in 0..=turnd_core::limits::DELETIONS {
        let request = client.allocate_request();
        assert!(client.ask(&mut world, request).is_success());
        let request = client.refresh_request(Some(0));
        let bytes = client.sign(request).bytes;
        assert!(world.ask(client.tuple, &bytes).is_success());
        first.get_or_insert(bytes);
    }
    assert_eq!(world.ask(client.tuple, &first.unwrap()).error(), Some(437));
}
