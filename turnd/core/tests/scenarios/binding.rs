//! Binding: RFC 8489 sections 6.3 and 12; malformed and unexpected messages.

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

#[test]
fn replies_to_strangers_are_rationed_by_address_and_network() {
    let mut config = config();
    config.limits.unverified_per_address = 10;
    config.limits.unverified_per_network = 25;
    let mut world = World::with(config);
    let request = Build::request(BINDING, 1).bytes;
    let mut answered = |client: &str, times: u32| {
        let mut tuple = Client::new("192.0.2.1:5000", "alice").tuple;
        tuple.client = addr(client);
        (0..times)
            .filter(|_| {
                world.give(tuple, &request);
                world.replies.pop_front().is_some()
            })
            .count()
    };
    assert_eq!(answered("192.0.2.1:5000", 100), 20);
    assert_eq!(answered("192.0.2.1:6000", 100), 0, "a port is no source");
    assert!(
        answered("192.0.2.2:5000", 100) < 20,
        "its network is used up"
    );
    assert_eq!(answered("198.51.100.1:5000", 100), 20);
    assert!(world.relay.counters().dropped_unverified_limit >= 300);
    world.advance_secs(10);
    let tuple = Client::new("192.0.2.1:5000", "alice").tuple;
    assert!(world.ask(tuple, &request).is_success());
}
