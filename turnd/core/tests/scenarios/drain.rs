//! Drain: no new allocations, then no refreshes (RFC 8489 section 10 for 300).

use turnd_core::{Alternates, Drain, Transport};

use crate::codec::{ALGORITHMS, ALTERNATE, NONCE, REALM};
use crate::world::{Client, World, addr};

fn alternates() -> Alternates {
    Alternates::new([
        addr("198.51.100.1:3478"),
        addr("198.51.100.2:3478"),
        addr("[2001:db8::1]:3478"),
    ])
}

/// The numbers in the value of ALTERNATE-SERVER.
fn plain(value: &[u8]) -> std::net::SocketAddr {
    let port = u16::from_be_bytes([value[2], value[3]]);
    match value[1] {
        1 => (<[u8; 4]>::try_from(&value[4..]).unwrap(), port).into(),
        2 => (<[u8; 16]>::try_from(&value[4..]).unwrap(), port).into(),
        family => panic!("family {family}"),
    }
}

#[test]
fn new_clients_are_sent_to_a_relay_of_their_family() {
    let mut world = World::new();
    let mut running = Client::new("192.0.2.9:5000", "alice");
    let relayed = running.allocate(&mut world);
    world.relay.drain_mode(Drain::Draining {
        alternates: alternates(),
    });
    let mut seen = std::collections::BTreeSet::new();
    for (client, is_v4) in [("192.0.2.1:5000", true), ("[2001:db8::7]:5000", false)] {
        let mut client = Client::new(client, "alice");
        client.learn_nonce(&mut world);
        for _ in 0..8 {
            let request = client.allocate_request();
            let reply = client.ask(&mut world, request);
            assert_eq!(reply.error(), Some(300));
            let server = plain(reply.get(ALTERNATE).unwrap());
            assert_eq!(server.is_ipv4(), is_v4);
            assert!(reply.has(REALM) && reply.has(NONCE) && reply.has(ALGORITHMS));
            // Behind it one of the other family (RFC 8489 section 10).
            let servers = reply
                .attributes
                .iter()
                .filter(|(kind, _)| *kind == ALTERNATE);
            let families: Vec<bool> = servers.map(|(_, v)| plain(v).is_ipv4()).collect();
            assert_eq!(families, [is_v4, !is_v4]);
            seen.insert(server);
        }
    }
    assert_eq!(seen.len(), 3, "all of them are used");
    // What runs goes on, replays included, and comes back in time to be refused.
    let prolonged = running.refresh(&mut world, Some(3600));
    assert_eq!(prolonged.seconds(), Some(600));
    assert!(running.permit(&mut world, &["9.9.9.9:1"]).is_success());
    assert!(running.bind(&mut world, 0x4000, "9.9.9.9:1").is_success());
    assert!(world.sockets.values().any(|bound| *bound == relayed));
    // And back again.
    world.relay.drain_mode(Drain::Serving);
    let prolonged = running.refresh(&mut world, Some(3600));
    assert_eq!(prolonged.seconds(), Some(3600));
    Client::new("192.0.2.1:5001", "alice").allocate(&mut world);
}

#[test]
fn clients_over_tcp_are_sent_elsewhere_too() {
    let mut world = World::new();
    world.relay.drain_mode(Drain::Draining {
        alternates: alternates(),
    });
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.tuple.transport = Transport::Tcp;
    client.learn_nonce(&mut world);
    let request = client.allocate_request();
    assert_eq!(client.ask(&mut world, request).error(), Some(300));
}

#[test]
fn without_a_fitting_alternate_it_is_508() {
    let mut world = World::new();
    for (alternates, transport) in [
        (Alternates::default(), Transport::Udp),
        (
            Alternates::new([addr("[2001:db8::1]:3478")]),
            Transport::Udp,
        ),
        (alternates(), Transport::Tls),
        (alternates(), Transport::Dtls),
    ] {
        world.relay.drain_mode(Drain::Draining { alternates });
        let mut client = Client::new("192.0.2.1:5000", "alice");
        client.tuple.transport = transport;
        client.learn_nonce(&mut world);
        let request = client.allocate_request();
        assert_eq!(client.ask(&mut world, request).error(), Some(508));
    }
}

#[test]
fn at_the_end_refreshes_are_refused_and_data_flows_until_the_lifetime_is_over() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.allocate(&mut world);
    client.bind(&mut world, 0x4000, "9.9.9.9:1");
    world.relay.drain_mode(Drain::RefuseRefresh {
        alternates: Alternates::default(),
    });
    assert_eq!(client.refresh(&mut world, None).error(), Some(437));
    assert_eq!(world.relay.counters().refreshes_refused, 1);
    assert!(world.data(client.tuple, &[0x40, 0, 0, 1, 7]).is_some());
    // Deletion is always welcome.
    assert!(client.refresh(&mut world, Some(0)).is_success());
    assert_eq!(world.relay.sessions(), 0);
}
