//! One allocation with an address of each family: RFC 8656 sections 7.2, 8.2, 10.2 and 12.2.

use std::net::SocketAddr;

use turnd_core::{Action, AllocationId, Config, Family, OpenError, PortSlice, RelayAddresses};

use crate::codec::{
    ADDITIONAL_FAMILY, ADDRESS_ERROR, Build, EVEN_PORT, FAMILY, RELAYED, RESERVATION, channel_data,
};
use crate::world::{Client, RELAY_V4, RELAY_V6, World, addr, config};

const V6: [u8; 4] = [2, 0, 0, 0];

fn client(world: &mut World) -> Client {
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(world);
    client
}

fn both(client: &mut Client) -> Build {
    client.allocate_request().attr(ADDITIONAL_FAMILY, &V6)
}

/// A client with both addresses: IPv4, IPv6.
fn setup() -> (World, Client, AllocationId, [SocketAddr; 2]) {
    let mut world = World::new();
    let mut client = client(&mut world);
    let request = both(&mut client);
    let reply = client.ask(&mut world, request);
    let relayed = reply.addresses(RELAYED).try_into().unwrap();
    let id = world.sockets.keys().next().unwrap().0;
    (world, client, id, relayed)
}

fn of(client: &mut Client, family: u8, lifetime: Option<u32>) -> Build {
    let request = client.refresh_request(lifetime);
    request.attr(FAMILY, &[family, 0, 0, 0])
}

#[test]
fn one_request_gives_an_address_of_each_family() {
    let mut world = World::new();
    let mut client = client(&mut world);
    let request = both(&mut client);
    let request = client.sign(request).bytes;
    let reply = world.ask(client.tuple, &request);
    let relayed = reply.addresses(RELAYED);
    let ips: Vec<_> = relayed.iter().map(|a| a.ip().to_string()).collect();
    assert_eq!(ips, [RELAY_V4, RELAY_V6]);
    assert!(!reply.has(ADDRESS_ERROR));
    let bound: Vec<_> = world.sockets.values().copied().collect();
    assert_eq!(bound, relayed);
    assert_eq!(world.ask(client.tuple, &request), reply);
    assert_eq!(world.relay.sessions(), 1);
    assert_eq!(world.ledger.0.lock().unwrap().total(), 1);
}

#[test]
fn contradictions_are_400() {
    let mut world = World::new();
    let mut client = client(&mut world);
    let wrong = |client: &mut Client| {
        let plain = || Client::clone(client).allocate_request();
        [
            plain().attr(ADDITIONAL_FAMILY, &[1, 0, 0, 0]),
            plain().attr(ADDITIONAL_FAMILY, &[3, 0, 0, 0]),
            plain().attr(ADDITIONAL_FAMILY, &[2, 0]),
            plain().attr(ADDITIONAL_FAMILY, &V6).attr(FAMILY, &V6),
            plain()
                .attr(ADDITIONAL_FAMILY, &V6)
                .attr(FAMILY, &[1, 0, 0, 0]),
            plain()
                .attr(ADDITIONAL_FAMILY, &V6)
                .attr(RESERVATION, &[1; 8]),
            plain()
                .attr(ADDITIONAL_FAMILY, &V6)
                .attr(EVEN_PORT, &[0x80]),
            plain().attr(RESERVATION, &[1; 8]).attr(EVEN_PORT, &[0]),
            plain()
                .attr(RESERVATION, &[1; 8])
                .attr(FAMILY, &[1, 0, 0, 0]),
            plain().attr(RESERVATION, &[1; 7]),
        ]
    };
    for request in wrong(&mut client) {
        assert_eq!(client.ask(&mut world, request).error(), Some(400));
    }
    assert_eq!(world.relay.footprint().ports, 0);
    // Even ports of both families can be had.
    let request = both(&mut client).attr(EVEN_PORT, &[0]);
    let relayed = client.ask(&mut world, request).addresses(RELAYED);
    assert!(relayed.len() == 2 && relayed.iter().all(|a| a.port() % 2 == 0));
}

#[test]
fn a_family_that_is_not_served_is_440_beside_the_other() {
    let [v4, v6] = [Some(RELAY_V4.parse().unwrap()), None];
    let only = [
        (RelayAddresses { v4, v6: None }, RELAY_V4, [2, 0, 4, 40]),
        (
            RelayAddresses {
                v4: v6,
                v6: Some(RELAY_V6.parse().unwrap()),
            },
            RELAY_V6,
            [1, 0, 4, 40],
        ),
    ];
    for (relay_addresses, ip, error) in only {
        let mut world = World::with(Config {
            relay_addresses,
            ..config()
        });
        let mut client = client(&mut world);
        let request = both(&mut client);
        let reply = client.ask(&mut world, request);
        assert_eq!(reply.addresses(RELAYED).len(), 1);
        assert_eq!(reply.address(RELAYED).unwrap().ip().to_string(), ip);
        assert_eq!(reply.get(ADDRESS_ERROR), Some(&error[..]));
    }
    let mut world = World::with(Config {
        relay_addresses: RelayAddresses::default(),
        ..config()
    });
    let mut client = client(&mut world);
    let request = both(&mut client);
    assert_eq!(client.ask(&mut world, request).error(), Some(440));
}

#[test]
fn a_socket_that_cannot_be_had_is_508_beside_the_other() {
    for lost in [Family::V4, Family::V6] {
        let mut world = World::new();
        world.auto_open = false;
        let mut client = client(&mut world);
        let request = both(&mut client);
        let request = client.sign(request).bytes;
        world.give(client.tuple, &request);
        world.replies.clear();
        for _ in 0..2 {
            assert!(world.replies.is_empty(), "both are waited for");
            let is_lost = Family::of(world.asked[0].1.ip()) == lost;
            world.answer(if is_lost {
                Err(OpenError::Failed)
            } else {
                Ok(())
            });
        }
        let (_, reply) = world.replies.pop_front().unwrap();
        assert!(reply.is_success());
        assert_eq!(reply.addresses(RELAYED).len(), 1);
        let error = [lost as u8 + 1, 0, 5, 8];
        assert_eq!(reply.get(ADDRESS_ERROR), Some(&error[..]));
        assert_eq!(world.ask(client.tuple, &request), reply);
        assert_eq!(world.relay.footprint().ports, 1);
    }
    let mut world = World::new();
    world.auto_open = false;
    let mut client = client(&mut world);
    let request = both(&mut client);
    world.give(client.tuple, &client.sign(request).bytes);
    world.replies.clear();
    world.answer(Err(OpenError::Failed));
    world.answer(Err(OpenError::Exhausted));
    assert_eq!(world.replies[0].1.error(), Some(508));
    assert_eq!(world.replies.len(), 1);
    assert_eq!(world.relay.footprint().ports, 0);
}

#[test]
fn a_shell_that_is_late_with_one_socket_costs_that_one() {
    let mut world = World::new();
    world.auto_open = false;
    let mut client = client(&mut world);
    let request = both(&mut client);
    world.give(client.tuple, &client.sign(request).bytes);
    world.replies.clear();
    let (id, late) = world.asked[1];
    world.answer(Ok(()));
    world.advance_secs(5);
    let (_, reply) = world.replies.pop_front().unwrap();
    assert!(reply.is_success());
    assert_eq!(reply.get(ADDRESS_ERROR), Some(&[2, 0, 5, 8][..]));
    // It is closed when it opens after all.
    world.opened(id, late, Ok(()));
    world.drain();
    assert_eq!(world.sockets.len(), 1);
}

#[test]
fn no_port_for_one_family_is_508_beside_the_other() {
    let mut world = World::with(Config {
        ports: PortSlice::new(50_000..=50_000, 0, 1).unwrap(),
        ..config()
    });
    let mut first = client(&mut world);
    first.allocate(&mut world);
    let mut second = Client::new("192.0.2.2:5000", "bob");
    second.learn_nonce(&mut world);
    let request = both(&mut second);
    let reply = second.ask(&mut world, request);
    assert_eq!(reply.address(RELAYED), Some(addr("[2a00::44]:50000")));
    assert_eq!(reply.get(ADDRESS_ERROR), Some(&[1, 0, 5, 8][..]));
    let mut third = Client::new("192.0.2.3:5000", "bob");
    third.learn_nonce(&mut world);
    let request = both(&mut third);
    assert_eq!(third.ask(&mut world, request).error(), Some(508));
    assert_eq!(world.ledger.0.lock().unwrap().total(), 2);
}

#[test]
fn peers_of_both_families_are_reached_from_the_address_of_theirs() {
    let (mut world, mut client, id, _) = setup();
    let (four, six) = (addr("9.9.9.9:9"), addr("[2606:4700::1]:9"));
    assert!(
        client
            .permit(&mut world, &["9.9.9.9:9", "[2606:4700::1]:9"])
            .is_success()
    );
    assert!(
        client
            .bind(&mut world, 0x4000, "[2606:4700::1]:9")
            .is_success()
    );
    // `data` looks for the socket of the peer's family.
    let send = client.send("9.9.9.9:9", b"four");
    assert_eq!(
        world.data(client.tuple, &send),
        Some((four, b"four".to_vec()))
    );
    let frame = channel_data(0x4000, b"six");
    assert_eq!(
        world.data(client.tuple, &frame),
        Some((six, b"six".to_vec()))
    );
    assert!(world.peer_sends(id, four, b"x").is_some());
    assert_eq!(
        world.peer_sends(id, six, b"x").unwrap().1,
        channel_data(0x4000, b"x")
    );
}

#[test]
fn one_family_can_be_given_back() {
    for (gone, stays) in [(Family::V4, Family::V6), (Family::V6, Family::V4)] {
        let (mut world, mut client, id, relayed) = setup();
        client.permit(&mut world, &["9.9.9.9:9", "[2606:4700::1]:9"]);
        client.bind(&mut world, 0x4000, "9.9.9.9:9");
        client.bind(&mut world, 0x4001, "[2606:4700::1]:9");
        world.announced.clear();
        let wire = |family: Family| family as u8 + 1;
        let request = of(&mut client, wire(gone), Some(0));
        assert_eq!(client.ask(&mut world, request).seconds(), Some(0));
        let open: Vec<_> = world.sockets.keys().copied().collect();
        assert_eq!(open, [(id, stays)]);
        assert!(matches!(
            world.announced[..],
            [
                Action::PermissionChanged {
                    permitted: false,
                    ..
                },
                Action::ChannelUnbound { .. }
            ]
        ));
        let peers = ["9.9.9.9:9", "[2606:4700::1]:9"];
        for (family, peer) in [Family::V4, Family::V6].into_iter().zip(peers) {
            let send = client.send(peer, b"x");
            let relayed = world.data(client.tuple, &send).is_some();
            assert_eq!(relayed, family == stays);
            let from_peer = world.peer_sends(id, addr(peer), b"x");
            assert_eq!(from_peer.is_some(), family == stays);
            let code = client.permit(&mut world, &[peer]).error();
            assert_eq!(code, (family == gone).then_some(443));
            let bound = client.bind(&mut world, 0x4002, &peer.replace(":9", ":10"));
            assert_eq!(bound.error(), (family == gone).then_some(443));
        }
        // What is gone cannot be refreshed; the port is free.
        let request = of(&mut client, wire(gone), None);
        assert_eq!(client.ask(&mut world, request).error(), Some(443));
        assert_eq!(world.relay.footprint().ports, 1);
        assert_eq!(world.relay.sessions(), 1);
        assert_eq!(relayed.len(), 2);
        // The last one takes the allocation with it.
        let request = of(&mut client, wire(stays), Some(0));
        assert_eq!(client.ask(&mut world, request).seconds(), Some(0));
        assert_eq!(world.relay.sessions(), 0);
        assert_eq!(world.relay.counters().allocations_deleted, 1);
    }
}

#[test]
fn families_that_are_refreshed_apart_expire_apart() {
    for handled in [true, false] {
        let (mut world, mut client, id, _) = setup();
        world.advance_secs(400);
        client.permit(&mut world, &["9.9.9.9:9", "[2606:4700::1]:9"]);
        let request = of(&mut client, 2, Some(900));
        assert_eq!(client.ask(&mut world, request).seconds(), Some(900));
        let four = client.send("9.9.9.9:9", b"x");
        let six = client.send("[2606:4700::1]:9", b"x");
        assert!(world.data(client.tuple, &four).is_some());
        if handled {
            world.advance_secs(200);
        } else {
            world.elapsed += std::time::Duration::from_secs(200);
        }
        assert!(world.data(client.tuple, &six).is_some());
        assert_eq!(world.data(client.tuple, &four), None);
        assert_eq!(world.peer_sends(id, addr("9.9.9.9:9"), b"x"), None);
        assert!(
            world
                .peer_sends(id, addr("[2606:4700::1]:9"), b"x")
                .is_some()
        );
        let request = of(&mut client, 1, None);
        assert_eq!(client.ask(&mut world, request).error(), Some(443));
        assert_eq!(world.sockets.len(), 1);
        world.advance_secs(700);
        assert_eq!(world.relay.sessions(), 0);
        assert_eq!(world.relay.counters().allocations_expired, 1);
    }
}

#[test]
fn a_refresh_without_a_family_is_for_both() {
    let (mut world, mut client, ..) = setup();
    assert_eq!(client.refresh(&mut world, Some(900)).seconds(), Some(900));
    world.advance_secs(899);
    assert_eq!(world.sockets.len(), 2);
    assert_eq!(client.refresh(&mut world, Some(0)).seconds(), Some(0));
    assert!(world.sockets.is_empty());
    assert_eq!(world.relay.footprint().ports, 0);
}
