//! Send and Data indications, hairpin, and framing in place: RFC 8656 sections 11 and 12.

use turnd_core::{HEADROOM, Headroom, TAILROOM, Verdict};

use crate::codec::{Build, DATA, DONT_FRAGMENT, FAMILY, FINGERPRINT, PEER, Parsed, xor};
use crate::world::{Client, World, addr};

fn setup() -> (World, Client, turnd_core::AllocationId) {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    let relayed = client.allocate(&mut world);
    let id = world.id_of(relayed);
    client.permit(&mut world, &["9.9.9.9:1000"]);
    (world, client, id)
}

#[test]
fn a_send_indication_reaches_a_permitted_peer() {
    let (mut world, mut client, _) = setup();
    for payload in [&b"hello"[..], b"", &[7; 1400]] {
        let send = client.send("9.9.9.9:1000", payload);
        let expected = Some((addr("9.9.9.9:1000"), payload.to_vec()));
        assert_eq!(world.data(client.tuple, &send), expected);
    }
    let send = client.send("9.9.9.10:1000", b"hello");
    assert_eq!(world.data(client.tuple, &send), None);
    let counters = world.relay.counters();
    assert_eq!(
        (counters.to_peer_packets, counters.to_peer_bytes),
        (3, 1405)
    );
    assert_eq!(counters.dropped_no_permission, 1);
}

#[test]
fn send_indications_are_discarded_when_incomplete_or_not_understood() {
    let (mut world, client, _) = setup();
    let peer = addr("9.9.9.9:1000");
    let send = || Build::indication(6, 1);
    let good = send().peer(peer).attr(DATA, b"x");
    let bad = [
        send().attr(DATA, b"x"),
        send().peer(peer),
        send().attr(PEER, &[0, 1, 2]).attr(DATA, b"x"),
        good.clone().attr(0x7fff, &[]),
    ];
    for build in bad {
        assert_eq!(world.data(client.tuple, &build.bytes), None);
    }
    for cut in 1..good.bytes.len() {
        assert_eq!(world.data(client.tuple, &good.bytes[..cut]), None);
    }
    assert!(world.replies.is_empty());
    for fine in [
        good.clone(),
        good.clone().attr(0x8022, b"software"),
        good.clone().fingerprint(),
        // The first of each counts (RFC 8489 section 14).
        good.clone().peer(addr("1.1.1.1:1")).attr(DATA, b"y"),
        // What follows integrity does not.
        good.clone().sign(&client.key).attr(0x7fff, &[]),
    ] {
        let relayed = world.data(client.tuple, &fine.bytes);
        assert_eq!(relayed, Some((peer, b"x".to_vec())));
    }
    let mut damaged = good.attr(FINGERPRINT, &[0; 4]).bytes;
    assert_eq!(world.data(client.tuple, &damaged), None);
    assert_eq!(world.relay.counters().dropped_fingerprint, 1);
    damaged[20] ^= 0xff;
    assert_eq!(world.data(client.tuple, &damaged), None);
}

#[test]
fn a_send_indication_says_whether_its_datagram_may_be_fragmented() {
    let (mut world, mut client, _) = setup();
    let peer = addr("9.9.9.9:1000");
    client.bind(&mut world, 0x4000, "9.9.9.9:1000");
    let plain = client.send("9.9.9.9:1000", b"x");
    let whole = |at: usize| {
        let send = Build::indication(6, 1);
        match at {
            0 => send.attr(DONT_FRAGMENT, &[]).peer(peer).attr(DATA, b"x"),
            1 => send.peer(peer).attr(DONT_FRAGMENT, &[]).attr(DATA, b"x"),
            _ => send.peer(peer).attr(DATA, b"x").attr(DONT_FRAGMENT, &[]),
        }
    };
    for at in 0..3 {
        let relayed = world.data(client.tuple, &whole(at).bytes);
        assert_eq!(relayed, Some((peer, b"x".to_vec())));
        assert!(world.dont_fragment);
        assert!(world.data(client.tuple, &plain).is_some());
        assert!(!world.dont_fragment, "only that one");
    }
    let _ = world.data(client.tuple, &whole(0).bytes);
    let frame = crate::codec::channel_data(0x4000, b"x");
    assert!(world.data(client.tuple, &frame).is_some());
    assert!(!world.dont_fragment);
    // After the integrity attribute it does not count.
    let late = Build::indication(6, 1).peer(peer).attr(DATA, b"x");
    let late = late.sign(&client.key).attr(DONT_FRAGMENT, &[]);
    assert!(world.data(client.tuple, &late.bytes).is_some());
    assert!(!world.dont_fragment);
}

#[test]
fn data_without_an_allocation_is_dropped_silently() {
    let (mut world, mut client, _) = setup();
    let send = client.send("9.9.9.9:1000", b"x");
    let mut stranger = client.tuple;
    stranger.client.set_port(1);
    assert_eq!(world.data(stranger, &send), None);
    assert_eq!(world.data(stranger, &[0x40, 0, 0, 1, 7]), None);
    assert_eq!(world.relay.counters().dropped_no_allocation, 2);
    assert!(world.replies.is_empty());
}

#[test]
fn a_peers_datagram_becomes_a_data_indication() {
    let (mut world, client, id) = setup();
    let mut seen = std::collections::BTreeSet::new();
    for payload in [&b"hello"[..], b"", b"1234", &[7; 1400]] {
        let (to, bytes) = world.peer_sends(id, addr("9.9.9.9:77"), payload).unwrap();
        assert_eq!(to, client.tuple);
        let parsed = Parsed::new(&bytes);
        assert_eq!(parsed.kind, 0x0017);
        assert_eq!(parsed.kinds(), [PEER, DATA]);
        assert_eq!(parsed.address(PEER), Some(addr("9.9.9.9:77")));
        assert_eq!(parsed.get(DATA), Some(payload));
        assert!(seen.insert(parsed.transaction), "transaction ids differ");
    }
    let counters = world.relay.counters();
    assert_eq!(
        (counters.to_client_packets, counters.to_client_bytes),
        (4, 1409)
    );
}

#[test]
fn data_indications_of_v6_peers() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let request = client.allocate_request().attr(FAMILY, &[2, 0, 0, 0]);
    let relayed = client
        .ask(&mut world, request)
        .address(crate::codec::RELAYED);
    let id = world.id_of(relayed.unwrap());
    let peer = addr("[2606:4700::1]:1000");
    client.permit(&mut world, &["[2606:4700::1]:1"]);
    let (_, bytes) = world.peer_sends(id, peer, b"hello").unwrap();
    let parsed = Parsed::new(&bytes);
    assert_eq!(parsed.get(PEER), Some(&xor(peer, &parsed.transaction)[..]));
    assert_eq!(parsed.get(DATA), Some(&b"hello"[..]));
    let send = client.send("[2606:4700::1]:1000", b"there");
    assert_eq!(
        world.data(client.tuple, &send),
        Some((peer, b"there".to_vec()))
    );
    // The permitted peer of another family is none.
    let send = client.send("9.9.9.9:1000", b"there");
    assert_eq!(world.data(client.tuple, &send), None);
}

#[test]
fn headers_are_written_before_the_payload_and_the_payload_stays_where_it_is() {
    let (mut world, mut client, id) = setup();
    let peer = addr("9.9.9.9:1000");
    let mut buffer = vec![0xaa_u8; HEADROOM + 200];
    buffer[HEADROOM + 10..HEADROOM + 15].copy_from_slice(b"hello");
    let place = HEADROOM + 10..HEADROOM + 15;
    for (bound, before) in [(false, 36), (true, 4)] {
        if bound {
            client.bind(&mut world, 0x4000, "9.9.9.9:1000");
        }
        let mut packet = Headroom::new(&mut buffer, place.clone()).unwrap();
        let now = world.now();
        let to = world.relay.handle_peer(now, id, peer, &mut packet).unwrap();
        assert_eq!(to.bytes.start, place.start - before);
        assert_eq!(&buffer[place.clone()], b"hello");
        assert!(buffer[..to.bytes.start].iter().all(|b| *b == 0xaa));
        assert!(buffer[to.bytes.end..].iter().all(|b| *b == 0xaa));
        buffer[..place.start].fill(0xaa);
        buffer[place.end..].fill(0xaa);
    }
}

#[test]
fn headroom_is_checked_when_it_is_made() {
    let mut buffer = [0_u8; HEADROOM + 10 + TAILROOM];
    let mut fits = |from: usize, to: usize| Headroom::new(&mut buffer, from..to).is_some();
    assert!(fits(HEADROOM, HEADROOM + 10));
    assert!(fits(HEADROOM, HEADROOM));
    assert!(!fits(HEADROOM - 1, HEADROOM + 10));
    assert!(!fits(HEADROOM, HEADROOM + 11));
    assert!(!fits(HEADROOM + 2, HEADROOM + 1));
    assert!(Headroom::new(&mut [0; 3], 0..0).is_none());
}

#[test]
fn what_cannot_be_framed_is_dropped() {
    let (mut world, mut client, id) = setup();
    let peer = addr("9.9.9.9:1000");
    let largest = vec![7; 65_535 - 16];
    assert!(
        world
            .peer_sends(id, peer, &largest[..largest.len() - 3])
            .is_some()
    );
    assert_eq!(world.peer_sends(id, peer, &largest), None);
    client.bind(&mut world, 0x4000, "9.9.9.9:1000");
    assert!(world.peer_sends(id, peer, &vec![7; 65_535]).is_some());
    assert_eq!(world.peer_sends(id, peer, &vec![7; 65_536]), None);
    assert_eq!(world.relay.counters().dropped_peer_too_large, 2);
}

#[test]
fn nothing_is_relayed_after_the_lifetime_even_before_the_timeout_is_handled() {
    let (mut world, mut client, id) = setup();
    world.advance_secs(400);
    client.bind(&mut world, 0x4000, "9.9.9.9:1000");
    world.elapsed = std::time::Duration::from_secs(599);
    assert!(world.data(client.tuple, &[0x40, 0, 0, 1, 7]).is_some());
    assert!(world.peer_sends(id, addr("9.9.9.9:1000"), b"x").is_some());
    world.elapsed = std::time::Duration::from_mins(10);
    assert_eq!(world.data(client.tuple, &[0x40, 0, 0, 1, 7]), None);
    let send = client.send("9.9.9.9:1000", b"x");
    assert_eq!(world.data(client.tuple, &send), None);
    assert_eq!(world.peer_sends(id, addr("9.9.9.9:1000"), b"x"), None);
}

#[test]
fn relaying_allocates_nothing() {
    let (mut world, mut client, id) = setup();
    client.bind(&mut world, 0x4000, "9.9.9.9:2000");
    let send = client.send("9.9.9.9:1000", &[7; 1000]);
    let frame = crate::codec::channel_data(0x4000, &[7; 1000]);
    let mut buffer = vec![7; HEADROOM + 1000 + TAILROOM];
    let now = world.now();
    let relay = &mut world.relay;
    let peers = [addr("9.9.9.9:1000"), addr("9.9.9.9:2000")];
    let allocated = allocation_counter::measure(|| {
        for _ in 0..1000 {
            for packet in [&send, &frame] {
                let verdict = relay.handle_client(now, client.tuple, packet);
                assert!(matches!(verdict, Verdict::ToPeer { .. }));
            }
            for peer in peers {
                let mut packet = Headroom::new(&mut buffer, HEADROOM..HEADROOM + 1000).unwrap();
                assert!(relay.handle_peer(now, id, peer, &mut packet).is_some());
            }
        }
    });
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn two_clients_of_one_relay_meet_over_their_relayed_addresses() {
    let mut world = World::new();
    let mut alice = Client::new("192.0.2.1:5000", "alice");
    let mut bob = Client::new("192.0.2.2:5000", "bob");
    let (of_alice, of_bob) = (alice.allocate(&mut world), bob.allocate(&mut world));
    assert!(
        alice
            .permit(&mut world, &[&of_bob.to_string()])
            .is_success()
    );
    assert!(
        bob.bind(&mut world, 0x4000, &of_alice.to_string())
            .is_success()
    );
    let send = alice.send(&of_bob.to_string(), b"hello bob");
    let (peer, payload) = world.data(alice.tuple, &send).unwrap();
    assert_eq!(peer, of_bob);
    let bobs = world.id_of(of_bob);
    let (to, bytes) = world.peer_sends(bobs, of_alice, &payload).unwrap();
    assert_eq!((to, &bytes[4..]), (bob.tuple, &b"hello bob"[..]));
    // The permission covers relayed ports only, not what else listens there.
    for port in [22, 80, 3478, 49_999, 51_000] {
        let send = alice.send(&format!("8.8.4.4:{port}"), b"x");
        assert_eq!(world.data(alice.tuple, &send), None, "port {port}");
    }
    assert_eq!(world.relay.counters().dropped_peer_denied, 5);
    let alices = world.id_of(of_alice);
    assert_eq!(world.peer_sends(alices, addr("8.8.4.4:3478"), b"x"), None);
}
