//! A new configuration under running allocations.

use turnd_core::{Action, RelayAddresses};

use crate::codec::channel_data;
use crate::world::{Client, RELAY_V4, World, addr, config};

fn denying(net: &str) -> turnd_core::Config {
    let mut config = config();
    config.peers = config.peers.deny([net.parse().unwrap()]);
    config
}

#[test]
fn peers_denied_now_are_cut_off_before_another_packet() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    let relayed = client.allocate(&mut world);
    let id = world.id_of(relayed);
    client.bind(&mut world, 0x4000, "9.9.9.9:1");
    client.bind(&mut world, 0x4001, "1.1.1.1:1");
    client.permit(&mut world, &["9.9.8.8:1"]);
    world.announced.clear();
    world.relay.reconfigure(denying("9.9.9.0/24").into());

    assert_eq!(world.data(client.tuple, &channel_data(0x4000, b"x")), None);
    assert!(
        world
            .data(client.tuple, &channel_data(0x4001, b"x"))
            .is_some()
    );
    assert_eq!(world.peer_sends(id, addr("9.9.9.9:1"), b"x"), None);
    assert!(world.peer_sends(id, addr("9.9.8.8:1"), b"x").is_some());
    assert!(matches!(
        world.announced[..],
        [
            Action::PermissionChanged {
                permitted: false,
                ..
            },
            Action::ChannelUnbound {
                channel: 0x4000,
                ..
            }
        ]
    ));
    assert_eq!(world.relay.counters().permissions_revoked, 1);
    assert_eq!(client.permit(&mut world, &["9.9.9.9:1"]).error(), Some(403));
    // And allowed again.
    world.relay.reconfigure(config().into());
    assert!(client.bind(&mut world, 0x4000, "9.9.9.9:1").is_success());
}

#[test]
fn a_peers_datagram_finds_the_new_configuration_as_well() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    let relayed = client.allocate(&mut world);
    let id = world.id_of(relayed);
    client.bind(&mut world, 0x4000, "9.9.9.9:1");
    world.relay.reconfigure(denying("9.9.9.9/32").into());
    assert_eq!(world.peer_sends(id, addr("9.9.9.9:1"), b"x"), None);
}

#[test]
fn idle_allocations_are_swept_without_a_packet() {
    let mut world = World::new();
    let mut clients: Vec<Client> = (0..100)
        .map(|n| Client::new(&format!("192.0.2.{n}:5000"), "alice"))
        .collect();
    for client in &mut clients {
        client.allocate(&mut world);
        client.permit(&mut world, &["9.9.9.9:1", "1.1.1.1:1"]);
    }
    world.announced.clear();
    world.relay.reconfigure(denying("9.9.9.9/32").into());
    world.advance_secs(0);
    assert_eq!(world.announced.len(), 100);
    assert_eq!(world.relay.counters().permissions_revoked, 100);
    for client in &mut clients {
        let send = client.send("1.1.1.1:1", b"x");
        assert!(world.data(client.tuple, &send).is_some());
    }
    assert_eq!(world.announced.len(), 100, "each is judged once");
}

#[test]
fn new_addresses_and_limits_are_for_new_allocations() {
    let mut world = World::new();
    let mut old = Client::new("192.0.2.1:5000", "alice");
    let relayed = old.allocate(&mut world);
    let mut next = config();
    next.relay_addresses = RelayAddresses {
        v4: Some("8.8.4.5".parse().unwrap()),
        v6: None,
    };
    next.limits.allocations = 2;
    world.relay.reconfigure(next.into());
    assert!(old.refresh(&mut world, None).is_success());
    assert_eq!(relayed.ip().to_string(), RELAY_V4);
    let mut new = Client::new("192.0.2.1:5001", "alice");
    assert_eq!(new.allocate(&mut world).ip().to_string(), "8.8.4.5");
    let mut third = Client::new("192.0.2.1:5002", "alice");
    third.learn_nonce(&mut world);
    let request = third.allocate_request();
    assert_eq!(third.ask(&mut world, request).error(), Some(508));
    old.refresh(&mut world, Some(0));
    new.refresh(&mut world, Some(0));
    assert_eq!(world.relay.footprint().ports, 0);
}

#[test]
fn the_sessions_of_a_listener_that_closes_end_and_no_others() {
    let mut world = World::new();
    let mut stays = Client::new("192.0.2.1:5000", "alice");
    stays.allocate(&mut world);
    let mut goes = Client::new("192.0.2.1:5001", "alice");
    goes.tuple.server = addr("203.0.113.1:5349");
    let relayed = goes.allocate(&mut world);
    let id = world.id_of(relayed);
    world.announced.clear();

    let server = goes.tuple.server;
    assert!(world.relay.unserve(|tuple| tuple.server == server));
    assert_eq!(world.relay.poll_action(), Some(Action::CloseRelay { id }));
    assert_eq!(world.relay.poll_action(), None);
    world.sockets.remove(&(id, turnd_core::Family::V4));
    assert_eq!(world.relay.sessions(), 1);
    assert_eq!(world.relay.counters().allocations_unserved, 1);
    assert!(stays.refresh(&mut world, None).is_success());
    assert_eq!(goes.refresh(&mut world, None).error(), Some(437));
}
