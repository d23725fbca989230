//! Quotas and caps: RFC 8656 section 7.2 (486, 508), and that strangers leave nothing behind.

use std::net::SocketAddr;

use turnd_core::quota::Quotas;
use turnd_core::{Config, PortSlice};

use crate::codec::{ALLOCATE, BINDING, Build, TRANSPORT};
use crate::world::{Client, World, config};

const WIDE: Quotas = Quotas {
    total: 1000,
    per_user: 1000,
    per_source: 1000,
};

/// The error of one more Allocate.
fn error(world: &mut World, address: &str, user: &str) -> Option<u16> {
    let mut client = Client::new(address, user);
    client.learn_nonce(world);
    let request = client.allocate_request();
    client.ask(world, request).error()
}

#[test]
fn a_users_quota_is_486_whatever_credential_it_is() {
    let quotas = Quotas {
        per_user: 2,
        ..WIDE
    };
    let mut world = World::with_quotas(config(), quotas);
    let mut first = Client::new("192.0.2.1:5000", "alice");
    first.allocate(&mut world);
    let mut second = Client::with_credential("192.0.2.2:5000", "alice", 7200, crate::world::SECRET);
    second.allocate(&mut world);
    assert_eq!(error(&mut world, "192.0.2.3:5000", "alice"), Some(486));
    assert_eq!(error(&mut world, "192.0.2.3:5001", "bob"), None);
    first.refresh(&mut world, Some(0));
    assert_eq!(error(&mut world, "192.0.2.3:5000", "alice"), None);
    assert_eq!(world.relay.counters().errors_quota, 1);
}

#[test]
fn a_source_has_a_quota_too() {
    let quotas = Quotas {
        per_source: 2,
        ..WIDE
    };
    let mut world = World::with_quotas(config(), quotas);
    for (port, expected) in [(1, None), (2, None), (3, Some(486))] {
        let address = format!("192.0.2.1:{port}");
        assert_eq!(error(&mut world, &address, &format!("u{port}")), expected);
    }
    assert_eq!(error(&mut world, "192.0.2.2:1", "u4"), None);
}

#[test]
fn in_total_it_is_508_and_what_expires_makes_room() {
    let quotas = Quotas { total: 3, ..WIDE };
    let mut world = World::with_quotas(config(), quotas);
    for port in 1..=3 {
        assert_eq!(error(&mut world, &format!("192.0.2.1:{port}"), "a"), None);
    }
    assert_eq!(error(&mut world, "192.0.2.1:4", "a"), Some(508));
    world.advance_secs(600);
    assert_eq!(world.ledger.0.lock().unwrap().total(), 0);
    assert_eq!(error(&mut world, "192.0.2.1:4", "a"), None);
}

#[test]
fn a_workers_allocations_ports_and_pending_sockets_are_capped() {
    let mut small = config();
    small.limits.allocations = 2;
    let mut world = World::with(small);
    for (port, expected) in [(1, None), (2, None), (3, Some(508))] {
        assert_eq!(
            error(&mut world, &format!("192.0.2.1:{port}"), "a"),
            expected
        );
    }

    let mut world = World::with(Config {
        ports: PortSlice::new(50_000..=50_004, 0, 1).unwrap(),
        ..config()
    });
    for (port, expected) in (1..=6).zip([None, None, None, None, None, Some(508)]) {
        assert_eq!(
            error(&mut world, &format!("192.0.2.1:{port}"), "a"),
            expected
        );
    }

    let mut small = config();
    small.limits.pending_opens = 2;
    let mut world = World::with(small);
    world.auto_open = false;
    for port in 1..=2 {
        let mut client = Client::new(&format!("192.0.2.1:{port}"), "a");
        client.learn_nonce(&mut world);
        let request = client.allocate_request();
        world.give(client.tuple, &client.sign(request).bytes);
    }
    assert_eq!(error(&mut world, "192.0.2.1:3", "a"), Some(508));
    world.answer(Ok(()));
    let mut client = Client::new("192.0.2.1:4", "a");
    client.learn_nonce(&mut world);
    let request = client.allocate_request();
    world.give(client.tuple, &client.sign(request).bytes);
    assert_eq!(world.asked.len(), 2);
}

#[test]
fn a_hundred_thousand_strangers_leave_nothing_behind() {
    let mut world = World::new();
    let empty = world.relay.footprint();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let unsigned = Build::request(ALLOCATE, 1).attr(TRANSPORT, &[17, 0, 0, 0]);
    let allocate = client.allocate_request();
    let stolen = client.sign(allocate);
    let packets = [
        Build::request(BINDING, 1).bytes,
        unsigned.bytes,
        stolen.bytes,
        client.send("9.9.9.9:9", b"x"),
        vec![0x40, 0, 0, 1, 7],
        vec![0xff; 40],
    ];
    for n in 0..100_000_u32 {
        let mut tuple = client.tuple;
        let spread = n.wrapping_mul(2_654_435_761);
        tuple.client = SocketAddr::from((spread.to_be_bytes(), 1024 + (n % 60_000) as u16));
        let now = world.now();
        let packet = &packets[n as usize % packets.len()];
        let _ = world.relay.handle_client(now, tuple, packet);
        while world.relay.poll_action().is_some() {}
        world.elapsed += std::time::Duration::from_micros(10);
    }
    assert_eq!(world.relay.footprint(), empty);
    assert_eq!(world.relay.poll_timeout(), None);
    world.relay.check_invariants();
    // And nobody is kept out by it who comes with a nonce.
    let request = client.allocate_request();
    assert!(client.ask(&mut world, request).is_success());
}

#[test]
fn a_shell_that_does_not_drain_fills_the_queue_to_its_cap_and_no_further() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.allocate(&mut world);
    let peers: Vec<String> = (0..60).map(|n| format!("9.9.9.{n}:1")).collect();
    let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
    client.permit(&mut world, &peers);
    for _ in 0..10_000 {
        let request = client.refresh_request(None);
        let now = world.now();
        let bytes = client.sign(request).bytes;
        let _ = world.relay.handle_client(now, client.tuple, &bytes);
        world.relay.handle_timeout(now);
    }
    world.relay.check_invariants();
    // Strangers cannot fill it either.
    for n in 0..10_000_u32 {
        let mut tuple = client.tuple;
        tuple.client = SocketAddr::from((n.wrapping_mul(2_654_435_761).to_be_bytes(), 5000));
        let now = world.now();
        let binding = Build::request(BINDING, 1).bytes;
        let _ = world.relay.handle_client(now, tuple, &binding);
    }
    world.relay.check_invariants();
    let waiting = world.relay.footprint().actions;
    assert!((1000..=turnd_core::limits::ACTION_QUEUE).contains(&waiting));
    assert!(world.relay.counters().dropped_queue_full > 1000);
    world.drain();
    assert!(client.refresh(&mut world, None).is_success());
}
