//! What one allocation may do: bandwidth, packet rate, and peers it may reach out to.

use std::time::Duration;

use turnd_core::{AllocationId, Config};

use crate::codec::channel_data;
use crate::world::{Client, World, addr, config};

fn limited(bandwidth: u64, packets: u32, new_peers: u32) -> Config {
    let mut config = config();
    config.limits.bandwidth = bandwidth;
    config.limits.packets = packets;
    config.limits.new_peers = new_peers;
    config
}

fn setup(config: Config) -> (World, Client, AllocationId) {
    let mut world = World::with(config);
    let mut client = Client::new("192.0.2.1:5000", "alice");
    let relayed = client.allocate(&mut world);
    let id = world.id_of(relayed);
    client.bind(&mut world, 0x4000, "9.9.9.9:1000");
    (world, client, id)
}

#[test]
fn bandwidth_is_of_both_directions_and_of_every_way_to_send() {
    // A burst of 65,536 bytes is always possible.
    let (mut world, mut client, id) = setup(limited(65_536, 0, 0));
    let (peer, payload) = (addr("9.9.9.9:1000"), vec![7; 16_384]);
    let send = client.send("9.9.9.9:1000", &payload);
    let frame = channel_data(0x4000, &payload);
    assert!(world.data(client.tuple, &send).is_some());
    assert!(world.data(client.tuple, &frame).is_some());
    assert!(world.peer_sends(id, peer, &payload).is_some());
    // Without a channel it is another path.
    let other = addr("9.9.9.9:1001");
    assert!(world.peer_sends(id, other, &payload).is_some());
    for _ in 0..2 {
        assert_eq!(world.data(client.tuple, &send), None);
        assert_eq!(world.data(client.tuple, &frame), None);
        assert_eq!(world.peer_sends(id, peer, &payload), None);
        assert_eq!(world.peer_sends(id, other, &payload), None);
    }
    let counters = world.relay.counters();
    assert_eq!(counters.dropped_bandwidth, 8);
    assert_eq!(
        (counters.to_peer_packets, counters.to_client_packets),
        (2, 2)
    );
    // Half a second later half of it has come back; what has no payload always passes.
    world.elapsed += Duration::from_millis(500);
    assert!(world.data(client.tuple, &frame).is_some());
    assert!(world.data(client.tuple, &frame).is_some());
    assert_eq!(world.data(client.tuple, &frame), None);
    assert!(
        world
            .data(client.tuple, &channel_data(0x4000, b""))
            .is_some()
    );
    // Another allocation has its own.
    let mut bob = Client::new("192.0.2.2:5000", "bob");
    bob.allocate(&mut world);
    bob.bind(&mut world, 0x4000, "9.9.9.9:1000");
    assert!(world.data(bob.tuple, &frame).is_some());
}

#[test]
fn packets_are_counted_whatever_their_length() {
    let (mut world, client, id) = setup(limited(0, 10, 0));
    let frame = channel_data(0x4000, b"");
    let peer = addr("9.9.9.9:1000");
    for _ in 0..5 {
        assert!(world.data(client.tuple, &frame).is_some());
        assert!(world.peer_sends(id, peer, b"x").is_some());
    }
    assert_eq!(world.data(client.tuple, &frame), None);
    assert_eq!(world.peer_sends(id, peer, b"x"), None);
    assert_eq!(world.relay.counters().dropped_packet_rate, 2);
    world.elapsed += Duration::from_millis(100);
    assert!(world.data(client.tuple, &frame).is_some());
    assert_eq!(world.data(client.tuple, &frame), None);
}

#[test]
fn a_new_configuration_holds_for_running_allocations() {
    let (mut world, client, _) = setup(limited(0, 0, 0));
    let frame = channel_data(0x4000, b"x");
    for _ in 0..1000 {
        assert!(world.data(client.tuple, &frame).is_some());
    }
    world.relay.reconfigure(limited(0, 3, 0).into());
    let passed = (0..10).filter(|_| world.data(client.tuple, &frame).is_some());
    assert_eq!(passed.count(), 3);
}

#[test]
fn new_peers_come_in_a_burst_and_then_at_their_rate() {
    let mut config = limited(0, 0, 5);
    config.limits.permissions = 256;
    config.limits.channels = 256;
    let (mut world, mut client, _) = setup(config);
    // One is bound already. A browser's candidates, all at once.
    let peers: Vec<String> = (1..=100).map(|n| format!("9.9.8.{n}:1000")).collect();
    let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
    assert!(client.permit(&mut world, &peers[..60]).is_success());
    // All or none: four would be too many by one.
    assert_eq!(client.permit(&mut world, &peers[60..64]).error(), Some(508));
    assert!(client.permit(&mut world, &peers[60..63]).is_success());
    assert_eq!(client.permit(&mut world, &peers[63..64]).error(), Some(508));
    assert_eq!(
        client.bind(&mut world, 0x4001, peers[63]).error(),
        Some(508)
    );
    assert_eq!(world.relay.counters().new_peers_refused, 3);
    // What is permitted already is not new, nor is another port of it.
    assert!(client.permit(&mut world, &peers[..60]).is_success());
    assert!(client.bind(&mut world, 0x4001, "9.9.8.1:2000").is_success());
    world.advance_secs(1);
    for peer in &peers[63..68] {
        assert!(client.permit(&mut world, &[peer]).is_success());
    }
    assert_eq!(client.permit(&mut world, &peers[68..69]).error(), Some(508));
    // Zero is no limit.
    world.relay.reconfigure(limited(0, 0, 0).into());
    assert!(client.permit(&mut world, &peers[68..100]).is_success());
}
