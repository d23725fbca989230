//! Binding: RFC 8489 sections 6.3 and 12; malformed and unexpected messages.

use proptest::prelude::*;
use turnd_core::{Allowance, Transport};

use crate::codec::{BINDING, Build, FINGERPRINT, MAPPED, UNKNOWN};
use crate::world::{Client, World, addr, config};

#[test]
fn tells_the_client_its_address_and_nothing_else() {
    let mut world = World::with(turnd_core::Config {
        software: Some("Turnfleet".into()),
        ..config()
    });
    for client in ["192.0.2.1:5000", "[2001:db8::7]:5000"] {
        let client = Client::new(client, "alice");
        let request = Build::request(BINDING, 1);
        let reply = world.ask(client.tuple, &request.bytes);
        assert_eq!(reply.kind, 0x0101);
        assert_eq!(reply.kinds(), [MAPPED]);
        assert_eq!(reply.address(MAPPED), Some(client.tuple.client));
        // FINGERPRINT is echoed (RFC 8489 section 7); the codec checks it.
        let reply = world.ask(client.tuple, &request.fingerprint().bytes);
        assert_eq!(reply.kinds(), [MAPPED, FINGERPRINT]);
    }
    assert_eq!(world.relay.counters().binding_replies, 4);
}

#[test]
fn an_attribute_that_must_be_understood_and_is_not_gives_420() {
    let mut world = World::new();
    let tuple = Client::new("192.0.2.1:5000", "alice").tuple;
    let request = Build::request(BINDING, 1)
        .attr(0x8001, &[1])
        .attr(0x0003, &[0; 4])
        .attr(0x7fff, &[]);
    let reply = world.ask(tuple, &request.bytes);
    assert_eq!(reply.error(), Some(420));
    assert_eq!(reply.get(UNKNOWN), Some(&[0x00, 0x03, 0x7f, 0xff][..]));
    // One that need not be understood is ignored.
    let request = Build::request(BINDING, 1).attr(0x8001, &[1]);
    assert!(world.ask(tuple, &request.bytes).is_success());
}

#[test]
fn what_is_malformed_is_dropped_and_counted() {
    let mut world = World::new();
    let tuple = Client::new("192.0.2.1:5000", "alice").tuple;
    let good = Build::request(BINDING, 1).attr(0x8001, &[1; 8]);
    let damaged = |at: usize, value: u8| {
        let mut bytes = good.bytes.clone();
        bytes[at] = value;
        bytes
    };
    let cases = [
        ("empty", Vec::new()),
        ("short", good.bytes[..19].to_vec()),
        ("cookie", damaged(4, 0)),
        ("first bits", damaged(0, 0x80)),
        ("length too long", damaged(3, 16)),
        ("length too short", damaged(3, 8)),
        ("length not a multiple of four", damaged(3, 11)),
        ("attribute longer than the message", damaged(23, 9)),
        ("trailing bytes", [&good.bytes[..], &[0; 4]].concat()),
    ];
    for (name, bytes) in cases {
        world.give(tuple, &bytes);
        assert!(world.replies.is_empty(), "{name}");
    }
    let mut bytes = good.clone().fingerprint().bytes;
    bytes[24] ^= 1;
    world.give(tuple, &bytes);
    // Nothing may follow FINGERPRINT.
    world.give(tuple, &good.fingerprint().attr(0x8001, &[1]).bytes);
    assert!(world.replies.is_empty());
    let counters = world.relay.counters();
    assert_eq!(counters.dropped_not_turn, 4);
    assert_eq!(counters.dropped_malformed, 6);
    assert_eq!(counters.dropped_fingerprint, 1);
}

#[test]
fn responses_and_indications_are_never_answered() {
    let mut world = World::new();
    let tuple = Client::new("192.0.2.1:5000", "alice").tuple;
    // Success and error of Binding and Allocate, a Data indication, a ChannelBind indication,
    // requests of Send, Data, Connect and of a method nobody knows.
    for kind in [
        0x0101, 0x0111, 0x0103, 0x0113, 0x0017, 0x0019, 0x0006, 0x0007, 0x000a, 0x000f,
    ] {
        world.give(tuple, &Build::message(kind, 1).bytes);
    }
    assert_eq!(world.relay.counters().dropped_unexpected, 10);
    // A Binding indication is a keep-alive.
    world.give(tuple, &Build::indication(BINDING, 1).bytes);
    assert!(world.replies.is_empty());
    assert_eq!(world.relay.counters().dropped_unexpected, 10);
}

/// What a flood gives and gets: bytes of IPv4 packets, each reply at most three times its request.
fn flood(world: &mut World, client: &str, request: &[u8], times: usize) -> (usize, usize) {
    let mut tuple = Client::new("192.0.2.1:5000", "alice").tuple;
    tuple.client = addr(client);
    let mut sent = 0;
    for _ in 0..times {
        world.give(tuple, request);
        if let Some((_, reply)) = world.replies.pop_front() {
            assert!(reply.bytes.len() + 28 <= 3 * (request.len() + 28));
            sent += reply.bytes.len() + 28;
        }
    }
    (times * (request.len() + 28), sent)
}

#[test]
fn strangers_get_a_burst_and_then_less_than_they_send() {
    let binding = Build::request(BINDING, 1).bytes;
    let allocate = Build::request(3, 1).attr(0x19, &[17, 0, 0, 0]).bytes;
    for request in [binding, allocate] {
        let mut world = World::new();
        let (given, got) = flood(&mut world, "192.0.2.1:5000", &request, 6000);
        let most = burst() + given * 7 / 8;
        assert!(got <= most && most - got < 28 + 160, "{got} of {most}");
        assert!(got < given, "{got} for {given}");
        let (given, got) = flood(&mut world, "192.0.2.1:6000", &request, 5000);
        assert!(got <= given * 7 / 8 + 188, "a port is no source: {got}");
        // A neighbour in the same network, and one elsewhere, still have their bursts.
        for other in ["192.0.2.2:5000", "198.51.100.1:5000"] {
            let (_, got) = flood(&mut world, other, &request, 100);
            assert!(got / 100 >= 60, "{got}");
        }
        assert!(world.relay.counters().dropped_unverified_limit >= 1000);
        world.advance_secs(1);
        let (_, got) = flood(&mut world, "192.0.2.1:5000", &request, 1);
        assert!(got > 0, "one who asks once a second is answered");
    }
}

fn burst() -> usize {
    config().limits.unverified_per_address.burst as usize
}

#[test]
fn over_ipv6_the_longer_header_counts() {
    let mut world = World::new();
    let tuple = Client::new("[2001:db8::7]:5000", "alice").tuple;
    let request = Build::request(BINDING, 1).bytes;
    let (mut received, mut sent) = (0, 0);
    for _ in 0..5000 {
        world.give(tuple, &request);
        received += request.len() + 48;
        if let Some((_, reply)) = world.replies.pop_front() {
            sent += reply.bytes.len() + 48;
        }
    }
    let most = burst() + received * 7 / 8;
    assert!(sent <= most && most - sent < 200, "{sent} of {most}");
}

#[test]
fn whoever_shook_hands_is_not_rationed() {
    for transport in [Transport::Tcp, Transport::Tls, Transport::Dtls] {
        let mut world = World::with(turnd_core::Config {
            realm: turnd_core::Realm::new(&"r".repeat(56)).unwrap(),
            ..config()
        });
        let mut tuple = Client::new("192.0.2.1:5000", "alice").tuple;
        tuple.transport = transport;
        for _ in 0..5000 {
            // A challenge of more than three times the request.
            let reply = world.ask(tuple, &Build::request(3, 1).bytes);
            assert_eq!(reply.error(), Some(401));
        }
        let counters = world.relay.counters();
        assert_eq!(
            (
                counters.dropped_amplification,
                counters.dropped_unverified_limit
            ),
            (0, 0)
        );
    }
}

proptest! {
    /// Whatever one address sends over UDP and whenever: each reply is at most three times its
    /// request, and all together no more than a burst, seven eighths of it, and what time brings.
    #[test]
    fn the_replies_to_a_stranger_are_bounded(
        packets in prop::collection::vec(
            (0..100_u64, 0..6_usize, prop::collection::vec(any::<u8>(), 0..80), 0..3_u16),
            1..200,
        ),
    ) {
        let allowance = Allowance { burst: 2000, per_second: 100 };
        let mut config = config();
        config.limits.unverified_per_address = allowance;
        let mut world = World::with(config);
        let mut client = Client::new("192.0.2.1:5000", "alice");
        let (mut received, mut sent) = (0, 0);
        for (gap, kind, bytes, port) in packets {
            world.advance(std::time::Duration::from_millis(gap));
            let padding = bytes.len() & !3;
            let request = match kind {
                0 => Build::request(BINDING, 1),
                1 => Build::request(BINDING, 1).fingerprint(),
                2 => Build::request(BINDING, 1).attr(0x7fff, &bytes[..padding]),
                3 => client.allocate_request(),
                4 => Build::request(4, 1).attr(0x8001, &bytes),
                _ => {
                    client.nonce.clone_from(&bytes);
                    let request = client.refresh_request(None);
                    client.sign(request)
                }
            };
            let mut tuple = client.tuple;
            tuple.client.set_port(5000 + port);
            world.give(tuple, &request.bytes);
            received += request.bytes.len() + 28;
            if let Some((_, reply)) = world.replies.pop_front() {
                prop_assert!(reply.bytes.len() + 28 <= 3 * (request.bytes.len() + 28));
                sent += reply.bytes.len() + 28;
            }
        }
        let time = world.elapsed.as_millis() as usize * allowance.per_second as usize;
        prop_assert!(1000 * sent <= 1000 * allowance.burst as usize + 875 * received + time);
    }
}
