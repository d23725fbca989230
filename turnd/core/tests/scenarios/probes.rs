//! Nameservers' probes: signed under the fleet's secret, so that a flood in their name leaves them
//! their replies (RFC 8489 section 9.1).

use credentials::{PROBE_USER, UnixTime, issue};
use turnd_core::FiveTuple;

use crate::codec::{ALLOCATE, BINDING, Build, INTEGRITY, TRANSPORT, USERNAME};
use crate::world::{Client, EPOCH, SECRET, World, addr, ring};

fn from(client: &str) -> FiveTuple {
    FiveTuple {
        client: addr(client),
        ..Client::new(client, "nobody").tuple
    }
}

/// A Binding request signed with the password itself, of a credential that is valid for `ttl` seconds.
fn probe(user: &str, ttl: u32, under: &str, transaction: u64) -> Vec<u8> {
    let credential = issue(&ring(under, &[]), Some(user), ttl, UnixTime(EPOCH)).unwrap();
    let password = credential.password.as_bytes();
    Build::request(BINDING, transaction)
        .attr(USERNAME, credential.username.as_bytes())
        .mac(INTEGRITY, password, 20)
        .bytes
}

/// Whether the packet is answered.
fn is_answered(world: &mut World, tuple: FiveTuple, bytes: &[u8]) -> bool {
    world.replies.clear();
    world.give(tuple, bytes);
    !world.replies.is_empty()
}

fn allocate(transaction: u64) -> Vec<u8> {
    let request = Build::request(ALLOCATE, transaction);
    request.attr(TRANSPORT, &[17, 0, 0, 0]).bytes
}

/// Strangers in the name of the probing address use up what it has. A challenge is beyond what is
/// left then with what its own request earns.
fn flood(world: &mut World) {
    for n in 0..10_000 {
        let plain = Build::request(BINDING, n).bytes;
        if !is_answered(world, from("192.0.2.53:1000"), &plain) {
            return;
        }
    }
    panic!("there is no end to it");
}

#[test]
fn a_flood_in_a_nameservers_name_leaves_it_its_replies() {
    let mut world = World::new();
    let tuple = from("192.0.2.53:900");
    flood(&mut world);
    assert!(!is_answered(&mut world, tuple, &allocate(1)));
    for n in 0..20 {
        assert!(is_answered(
            &mut world,
            tuple,
            &probe(PROBE_USER, 600, SECRET, n)
        ));
    }
    assert_eq!(world.relay.counters().probes_proved, 20);
    flood(&mut world);
    // The challenge of the echo probe that follows.
    assert!(is_answered(&mut world, tuple, &allocate(100)));
    // From there only, and for a moment only.
    assert!(!is_answered(
        &mut world,
        from("192.0.2.53:901"),
        &allocate(101)
    ));
    world.elapsed += std::time::Duration::from_secs(2);
    flood(&mut world);
    assert!(!is_answered(&mut world, tuple, &allocate(102)));
}

#[test]
fn only_the_fleets_own_probes_count_as_proof() {
    let mut world = World::new();
    let tuple = from("192.0.2.53:900");
    let mut forged = probe(PROBE_USER, 600, SECRET, 1);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let cases = [
        (
            "another secret",
            probe(PROBE_USER, 600, "another secret of some length", 1),
        ),
        ("an expired credential", probe(PROBE_USER, 0, SECRET, 1)),
        ("a client's credential", probe("webapp/ann", 600, SECRET, 1)),
        (
            "a tenant's user of that name",
            probe("webapp/probe", 600, SECRET, 1),
        ),
        ("a damaged MAC", forged),
    ];
    for (name, bytes) in cases {
        world.give(tuple, &bytes);
        flood(&mut world);
        assert!(!is_answered(&mut world, tuple, &allocate(2)), "{name}");
    }
    assert_eq!(world.relay.counters().probes_proved, 0);
}
