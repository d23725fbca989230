//! Allocate: RFC 8656 sections 7.1 to 7.3.

use turnd_core::{Config, OpenError, PortSlice, RelayAddresses};

use crate::codec::{
    ALLOCATE, DONT_FRAGMENT, EVEN_PORT, FAMILY, LIFETIME, MAPPED, RELAYED, RESERVATION, TRANSPORT,
    UNKNOWN,
};
use crate::world::{Client, RELAY_V4, RELAY_V6, World, addr, config};

fn client(world: &mut World) -> Client {
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(world);
    client
}

#[test]
fn gives_a_relayed_address_a_lifetime_and_the_mapped_address() {
    let mut world = World::new();
    let mut client = client(&mut world);
    let request = client.allocate_request();
    let reply = client.ask(&mut world, request);
    assert_eq!(reply.kind, 0x0103);
    let relayed = reply.address(RELAYED).unwrap();
    assert_eq!(relayed.ip().to_string(), RELAY_V4);
    assert!((50_000..=50_999).contains(&relayed.port()));
    assert_eq!(reply.address(MAPPED), Some(client.tuple.client));
    assert_eq!(reply.seconds(), Some(600));
    assert_eq!(world.sockets.values().next(), Some(&relayed));
    assert_eq!(world.relay.counters().allocations_created, 1);
}

#[test]
fn lifetimes_are_kept_between_ten_minutes_and_an_hour() {
    let cases = [
        (0, 600),
        (1, 600),
        (599, 600),
        (601, 601),
        (3600, 3600),
        (3601, 3600),
        (u32::MAX, 3600),
    ];
    for (wanted, granted) in cases {
        let mut world = World::new();
        let mut client = client(&mut world);
        let request = client
            .allocate_request()
            .attr(LIFETIME, &wanted.to_be_bytes());
        let reply = client.ask(&mut world, request);
        assert_eq!(reply.seconds(), Some(granted), "for {wanted}");
        world.advance_secs(u64::from(granted) - 1);
        assert_eq!(world.relay.sessions(), 1);
        world.advance_secs(1);
        assert_eq!(world.relay.sessions(), 0);
        assert!(world.sockets.is_empty());
        assert_eq!(world.relay.counters().allocations_expired, 1);
    }
}

#[test]
fn a_retransmission_gets_the_same_reply() {
    let mut world = World::new();
    let mut client = client(&mut world);
    let request = client
        .allocate_request()
        .attr(LIFETIME, &900_u32.to_be_bytes());
    let request = client.sign(request).fingerprint().bytes;
    let first = world.ask(client.tuple, &request);
    world.advance_secs(7);
    assert_eq!(world.ask(client.tuple, &request), first);
    assert_eq!(world.relay.sessions(), 1);
    let counters = world.relay.counters();
    assert_eq!(
        (counters.allocate_replays, counters.allocations_created),
        (1, 1)
    );
    // Another transaction on the same five-tuple is a second allocation.
    let request = client.allocate_request();
    assert_eq!(client.ask(&mut world, request).error(), Some(437));
}

#[test]
fn while_the_socket_opens_copies_wait_and_others_get_437() {
    let mut world = World::new();
    world.auto_open = false;
    let mut client = client(&mut world);
    let request = client.allocate_request();
    let request = client.sign(request).bytes;
    world.replies.clear();
    for _ in 0..3 {
        world.give(client.tuple, &request);
    }
    assert!(world.replies.is_empty());
    assert_eq!(world.asked.len(), 1, "asked once");
    let other = client.allocate_request();
    assert_eq!(client.ask(&mut world, other).error(), Some(437));
    // Nothing can be done with it yet.
    assert_eq!(client.refresh(&mut world, None).error(), Some(437));
    assert_eq!(client.permit(&mut world, &["9.9.9.9:9"]).error(), Some(437));
    world.replies.clear();
    world.answer(Ok(()));
    let (_, reply) = world.replies.pop_front().unwrap();
    assert!(reply.is_success() && reply.is_signed(&client.key));
    assert!(world.replies.is_empty(), "one reply for all copies");
}

#[test]
fn the_lifetime_begins_when_the_socket_is_open() {
    let mut world = World::new();
    world.auto_open = false;
    let mut client = client(&mut world);
    let request = client.allocate_request();
    world.give(client.tuple, &client.sign(request).bytes);
    world.advance_secs(4);
    world.answer(Ok(()));
    world.advance_secs(599);
    assert_eq!(world.relay.sessions(), 1);
    world.advance_secs(1);
    assert_eq!(world.relay.sessions(), 0);
}

#[test]
fn a_port_in_use_is_replaced_and_at_last_it_is_508() {
    let mut world = World::new();
    world.auto_open = false;
    let mut client = client(&mut world);
    let request = client.allocate_request();
    world.give(client.tuple, &client.sign(request).bytes);
    let mut ports = Vec::new();
    for _ in 0..3 {
        ports.push(world.asked[0].1.port());
        world.answer(Err(OpenError::InUse));
    }
    world.replies.clear();
    let port = world.asked[0].1.port();
    world.answer(Ok(()));
    let (_, reply) = world.replies.pop_front().unwrap();
    assert_eq!(reply.address(RELAYED).unwrap().port(), port);
    ports.push(port);
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4, "another port each time");
    assert_eq!(world.relay.counters().ports_retried, 3);

    let mut second = Client::new("192.0.2.1:5001", "alice");
    second.learn_nonce(&mut world);
    let request = second.allocate_request();
    world.give(second.tuple, &second.sign(request).bytes);
    world.replies.clear();
    let mut tried = 0;
    while !world.asked.is_empty() {
        world.answer(Err(OpenError::InUse));
        tried += 1;
    }
    assert_eq!(tried, 8);
    let (_, reply) = world.replies.pop_front().unwrap();
    assert_eq!(reply.error(), Some(508));
    assert!(reply.is_signed(&second.key));
    assert_eq!(world.relay.sessions(), 1);
}

#[test]
fn a_socket_that_cannot_be_opened_is_508_at_once() {
    for error in [OpenError::Exhausted, OpenError::Failed] {
        let mut world = World::new();
        world.auto_open = false;
        let mut client = client(&mut world);
        let request = client.allocate_request();
        world.give(client.tuple, &client.sign(request).bytes);
        world.replies.clear();
        world.answer(Err(error));
        assert_eq!(world.replies[0].1.error(), Some(508));
        let footprint = world.relay.footprint();
        assert_eq!((footprint.ports, footprint.deadlines), (0, 0));
        // The five-tuple is free again.
        world.auto_open = true;
        client.allocate(&mut world);
    }
}

#[test]
fn a_shell_that_never_answers_costs_508_and_a_late_socket_is_closed() {
    let mut world = World::new();
    world.auto_open = false;
    let mut client = client(&mut world);
    let request = client.allocate_request();
    world.give(client.tuple, &client.sign(request).bytes);
    let (id, address) = world.asked[0];
    world.replies.clear();
    world.advance_secs(5);
    assert_eq!(world.replies[0].1.error(), Some(508));
    assert_eq!(world.closed, [id]);
    // It opens after all, when somebody else may be in the slot.
    world.auto_open = true;
    let mut next = Client::new("192.0.2.1:5001", "bob");
    let relayed = next.allocate(&mut world);
    let now = world.now();
    world
        .relay
        .socket_opened(now, id, turnd_core::Family::V4, Ok(address));
    world.drain();
    assert_eq!(world.closed, [id, id]);
    assert_ne!(world.id_of(relayed), id);
    assert_eq!(world.id_of(relayed).slot(), id.slot());
    assert_eq!(world.relay.sessions(), 1);
}

#[test]
fn the_transport_must_be_named_and_must_be_udp() {
    let mut world = World::new();
    let mut client = client(&mut world);
    let request = client.request(ALLOCATE);
    assert_eq!(client.ask(&mut world, request).error(), Some(400));
    for (value, code) in [(&[17, 0, 0][..], 400), (&[6, 0, 0, 0], 442), (&[0; 4], 442)] {
        let request = client.request(ALLOCATE).attr(TRANSPORT, value);
        assert_eq!(client.ask(&mut world, request).error(), Some(code));
    }
    assert_eq!(world.relay.sessions(), 0);
}

#[test]
fn the_family_is_the_one_asked_for() {
    let mut world = World::new();
    let mut client = client(&mut world);
    let request = client.allocate_request().attr(FAMILY, &[2, 0, 0, 0]);
    let reply = client.ask(&mut world, request);
    assert_eq!(reply.address(RELAYED).unwrap().ip().to_string(), RELAY_V6);
    // A client may be of another family than its relayed address.
    assert_eq!(reply.address(MAPPED), Some(client.tuple.client));

    let mut second = Client::new("[2001:db8::9]:5000", "alice");
    second.learn_nonce(&mut world);
    let request = second.allocate_request();
    let reply = second.ask(&mut world, request);
    assert_eq!(reply.address(RELAYED).unwrap().ip().to_string(), RELAY_V4);

    let mut third = Client::new("192.0.2.1:5003", "alice");
    third.learn_nonce(&mut world);
    let request = third.allocate_request().attr(FAMILY, &[3, 0, 0, 0]);
    assert_eq!(third.ask(&mut world, request).error(), Some(440));
}

#[test]
fn a_family_without_an_address_is_440() {
    for (family, has) in [(1_u8, "v6"), (2, "v4")] {
        let own = RelayAddresses {
            v4: (has == "v4").then(|| RELAY_V4.parse().unwrap()),
            v6: (has == "v6").then(|| RELAY_V6.parse().unwrap()),
        };
        let mut world = World::with(Config {
            relay_addresses: own,
            ..config()
        });
        let mut client = client(&mut world);
        let request = client.allocate_request().attr(FAMILY, &[family, 0, 0, 0]);
        assert_eq!(client.ask(&mut world, request).error(), Some(440));
    }
}

#[test]
fn even_ports_are_even_and_the_odd_ones_stay_free() {
    let mut world = World::with(Config {
        ports: PortSlice::new(50_000..=50_019, 0, 1).unwrap(),
        ..config()
    });
    for port in 5000..5010 {
        let mut client = Client::new(&format!("192.0.2.1:{port}"), "alice");
        client.learn_nonce(&mut world);
        let request = client.allocate_request().attr(EVEN_PORT, &[0]);
        let reply = client.ask(&mut world, request);
        assert_eq!(reply.address(RELAYED).unwrap().port() % 2, 0);
        assert!(!reply.has(RESERVATION));
    }
    assert_eq!(world.relay.footprint().ports, 10);
    let mut client = Client::new("192.0.2.1:6000", "alice");
    client.learn_nonce(&mut world);
    let request = client.allocate_request().attr(EVEN_PORT, &[0]);
    assert_eq!(client.ask(&mut world, request).error(), Some(508));
    let request = client.allocate_request().attr(EVEN_PORT, &[0, 0]);
    assert_eq!(client.ask(&mut world, request).error(), Some(400));
    // Whoever does not care gets an odd one.
    assert_eq!(client.allocate(&mut world).port() % 2, 1);
}

#[test]
fn dont_fragment_is_understood() {
    let mut world = World::new();
    let mut client = client(&mut world);
    let request = client.allocate_request().attr(DONT_FRAGMENT, &[]);
    assert!(client.ask(&mut world, request).is_success());
}

#[test]
fn what_must_be_understood_and_is_not_is_named_in_a_420() {
    let mut world = World::new();
    let mut client = client(&mut world);
    let request = client.allocate_request().attr(0x001b, &[]);
    let reply = client.ask(&mut world, request);
    assert_eq!(reply.error(), Some(420));
    assert_eq!(reply.get(UNKNOWN), Some(&[0x00, 0x1b][..]));
    assert_eq!(world.relay.sessions(), 0);
}

#[test]
fn an_expired_five_tuple_is_free_before_the_timeout_is_handled() {
    let mut world = World::new();
    let mut client = client(&mut world);
    let request = client.allocate_request();
    assert!(client.ask(&mut world, request).is_success());
    world.elapsed += std::time::Duration::from_mins(10);
    let request = client.allocate_request();
    let reply = client.ask(&mut world, request);
    assert!(reply.is_success());
    assert_eq!(world.relay.counters().allocations_expired, 1);
}

#[test]
fn two_servers_addresses_are_two_five_tuples() {
    let mut world = World::new();
    let mut client = client(&mut world);
    client.allocate(&mut world);
    client.tuple.server = addr("8.8.4.4:80");
    client.allocate(&mut world);
    assert_eq!(world.relay.sessions(), 2);
}
