//! ICMP messages about peers: RFC 8656 sections 11.5 and 18.13.

use std::net::SocketAddr;
use std::time::Duration;

use stun_types::attribute::AttributeFromRaw;
use turnd_core::{AllocationId, Icmp};

use crate::codec::{ADDITIONAL_FAMILY, ICMP, PEER, Parsed};
use crate::world::{Client, World, addr};

/// A client with both families and a permitted peer in each.
fn setup() -> (World, Client, AllocationId) {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let request = client
        .allocate_request()
        .attr(ADDITIONAL_FAMILY, &[2, 0, 0, 0]);
    assert!(client.ask(&mut world, request).is_success());
    client.permit(&mut world, &["9.9.9.9:9", "[2606:4700::1]:9"]);
    let id = world.sockets.keys().next().unwrap().0;
    (world, client, id)
}

fn told(world: &mut World, id: AllocationId, peer: SocketAddr, icmp: [u32; 3]) -> Option<Parsed> {
    world.replies.clear();
    let [kind, code, mtu] = icmp;
    let icmp = Icmp {
        kind: kind as u8,
        code: code as u8,
        mtu,
    };
    let now = world.now();
    world.relay.handle_icmp(now, id, peer, icmp);
    world.drain();
    world.replies.pop_front().map(|(_, indication)| indication)
}

#[test]
fn the_client_is_told_of_a_permitted_peer() {
    let (mut world, client, id) = setup();
    let peer = addr("9.9.9.9:1234");
    let indication = told(&mut world, id, peer, [3, 3, 0]).unwrap();
    assert_eq!(indication.kind, 0x0017);
    assert_eq!(indication.kinds(), [PEER, ICMP]);
    assert_eq!(indication.address(PEER), Some(peer));
    assert_eq!(indication.get(ICMP), Some(&[0, 0, 3, 3, 0, 0, 0, 0][..]));
    assert_eq!(client.tuple.client, addr("192.0.2.1:5000"));
    let again = told(&mut world, id, peer, [3, 3, 0]).unwrap();
    assert_ne!(again.transaction, indication.transaction);
    assert_eq!(world.relay.counters().icmp_indications, 2);
}

#[test]
fn another_codec_reads_the_attribute() {
    let (mut world, _, id) = setup();
    let indication = told(&mut world, id, addr("9.9.9.9:9"), [3, 4, 1400]).unwrap();
    let message = stun_types::message::Message::from_bytes(&indication.bytes).unwrap();
    let raw = message
        .raw_attribute(stun_types::attribute::AttributeType::new(0x8004))
        .unwrap();
    let icmp = turn_types::attribute::Icmp::from_raw(raw).unwrap();
    assert_eq!((icmp.icmp_type(), icmp.code(), icmp.data()), (3, 4, 1400));
}

#[test]
fn types_are_those_of_the_rfc_and_the_mtu_is_told_where_it_is_one() {
    let (mut world, _, id) = setup();
    let peers = [addr("9.9.9.9:9"), addr("[2606:4700::1]:9")];
    for (peer, kinds) in peers.into_iter().zip([&[3, 11][..], &[1, 2, 3]]) {
        for kind in 0..=255 {
            world.elapsed += Duration::from_millis(100);
            let is_told = told(&mut world, id, peer, [kind, 0, 1280]).is_some();
            assert_eq!(is_told, kinds.contains(&kind), "{peer} {kind}");
        }
    }
    for (peer, icmp, data) in [
        (0, [3, 4, 1300], 1300_u32),
        (0, [3, 1, 1300], 0),
        (0, [11, 4, 1300], 0),
        (1, [2, 0, 1280], 1280),
        (1, [1, 4, 1280], 0),
        (1, [3, 0, 1280], 0),
    ] {
        world.elapsed += Duration::from_millis(100);
        let indication = told(&mut world, id, peers[peer], icmp).unwrap();
        let value = indication.get(ICMP).unwrap();
        assert_eq!(value[..4], [0, 0, icmp[0] as u8, icmp[1] as u8]);
        assert_eq!(value[4..], data.to_be_bytes());
    }
}

#[test]
fn others_are_dropped_and_counted() {
    let (mut world, mut client, id) = setup();
    // Without a permission, or when it is over; of an allocation that is gone.
    assert_eq!(told(&mut world, id, addr("9.9.9.10:9"), [3, 3, 0]), None);
    world.advance_secs(300);
    assert_eq!(told(&mut world, id, addr("9.9.9.9:9"), [3, 3, 0]), None);
    client.permit(&mut world, &["9.9.9.9:9"]);
    assert!(told(&mut world, id, addr("9.9.9.9:9"), [3, 3, 0]).is_some());
    client.refresh(&mut world, Some(0));
    assert_eq!(told(&mut world, id, addr("9.9.9.9:9"), [3, 3, 0]), None);
    assert_eq!(world.relay.counters().dropped_icmp, 3);
}

#[test]
fn a_flood_of_them_is_cut() {
    let (mut world, _, id) = setup();
    let peer = addr("9.9.9.9:9");
    let count = |world: &mut World| {
        let told = (0..1000).filter(|_| told(world, id, peer, [3, 3, 0]).is_some());
        told.count()
    };
    assert_eq!(count(&mut world), 20);
    world.elapsed += Duration::from_secs(1);
    assert_eq!(count(&mut world), 10);
}
