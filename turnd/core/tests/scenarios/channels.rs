//! Channels: RFC 8656 section 12.

use turnd_core::{Action, Transport};

use crate::codec::{CHANNEL_BIND, CHANNEL_NUMBER, PEER, channel_data};
use crate::world::{Client, World, addr, config};

fn setup() -> (World, Client, turnd_core::AllocationId) {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    let relayed = client.allocate(&mut world);
    let id = world.id_of(relayed);
    (world, client, id)
}

#[test]
fn a_channel_carries_data_both_ways() {
    let (mut world, mut client, id) = setup();
    let peer = addr("9.9.9.9:1000");
    assert!(client.bind(&mut world, 0x4001, "9.9.9.9:1000").is_success());
    let frame = channel_data(0x4001, b"there");
    assert_eq!(
        world.data(client.tuple, &frame),
        Some((peer, b"there".to_vec()))
    );
    let back = world.peer_sends(id, peer, b"and back");
    assert_eq!(
        back,
        Some((client.tuple, channel_data(0x4001, b"and back")))
    );
    // Another port of the peer has the permission and not the channel.
    let (_, bytes) = world.peer_sends(id, addr("9.9.9.9:1001"), b"x").unwrap();
    assert_eq!(bytes[..2], [0x00, 0x17]);
    assert!(matches!(
        world.announced[..],
        [
            Action::PermissionChanged {
                permitted: true,
                ..
            },
            Action::ChannelBound {
                channel: 0x4001,
                ..
            }
        ]
    ));
}

#[test]
fn numbers_run_from_4000_to_7fff() {
    // RFC 8656 ends at 0x4FFF; clients of RFC 5766 do not.
    let (mut world, mut client, _) = setup();
    for (number, good) in [
        (0x3fff, false),
        (0x4000, true),
        (0x4fff, true),
        (0x5000, true),
        (0x7fff, true),
        (0x8000, false),
        (0x0000, false),
        (0xffff, false),
    ] {
        let peer = format!("9.9.9.9:{}", number.max(1));
        let reply = client.bind(&mut world, number, &peer);
        assert_eq!(reply.is_success(), good, "{number:#x}");
        assert_eq!(reply.error(), (!good).then_some(400));
    }
}

#[test]
fn a_number_and_a_peer_are_bound_to_each_other_only() {
    let (mut world, mut client, _) = setup();
    assert!(client.bind(&mut world, 0x4000, "9.9.9.9:1").is_success());
    assert_eq!(
        client.bind(&mut world, 0x4000, "9.9.9.9:2").error(),
        Some(400)
    );
    assert_eq!(
        client.bind(&mut world, 0x4000, "1.1.1.1:1").error(),
        Some(400)
    );
    assert_eq!(
        client.bind(&mut world, 0x4001, "9.9.9.9:1").error(),
        Some(400)
    );
    assert!(client.bind(&mut world, 0x4001, "9.9.9.9:2").is_success());
    assert!(client.bind(&mut world, 0x4000, "9.9.9.9:1").is_success());
    // Crossed over: each is bound, but not to the other.
    assert_eq!(
        client.bind(&mut world, 0x4000, "9.9.9.9:2").error(),
        Some(400)
    );
    // Unbound after ten minutes, both are free.
    client.refresh(&mut world, Some(3600));
    world.advance_secs(600);
    assert!(client.bind(&mut world, 0x4001, "9.9.9.9:1").is_success());
    assert!(client.bind(&mut world, 0x4000, "9.9.9.9:2").is_success());
}

#[test]
fn incomplete_requests_are_400_wrong_families_443_denied_peers_403() {
    let (mut world, mut client, _) = setup();
    let request = client.request(CHANNEL_BIND).peer(addr("9.9.9.9:1"));
    assert_eq!(client.ask(&mut world, request).error(), Some(400));
    let request = client
        .request(CHANNEL_BIND)
        .attr(CHANNEL_NUMBER, &[0x40, 0, 0, 0]);
    assert_eq!(client.ask(&mut world, request).error(), Some(400));
    let request = client
        .request(CHANNEL_BIND)
        .attr(CHANNEL_NUMBER, &[0x40, 0]);
    let request = request.peer(addr("9.9.9.9:1"));
    assert_eq!(client.ask(&mut world, request).error(), Some(400));
    let request = client
        .request(CHANNEL_BIND)
        .attr(CHANNEL_NUMBER, &[0x40, 0, 0, 0]);
    let request = request.attr(PEER, &[0, 1, 2]);
    assert_eq!(client.ask(&mut world, request).error(), Some(400));
    for (peer, code) in [
        ("[2606:4700::1]:1", 443),
        ("192.168.1.1:1", 403),
        // The relay's own listener, and a port of its own that is not relayed.
        ("8.8.4.4:3478", 403),
        ("8.8.4.4:22", 403),
    ] {
        assert_eq!(
            client.bind(&mut world, 0x4000, peer).error(),
            Some(code),
            "{peer}"
        );
    }
}

#[test]
fn a_binding_lasts_ten_minutes_and_its_permission_five() {
    let (mut world, mut client, id) = setup();
    client.refresh(&mut world, Some(3600));
    let peer = addr("9.9.9.9:1000");
    client.bind(&mut world, 0x4000, "9.9.9.9:1000");
    let frame = channel_data(0x4000, b"x");
    world.advance_secs(299);
    assert!(world.data(client.tuple, &frame).is_some());
    world.advance_secs(1);
    assert_eq!(world.data(client.tuple, &frame), None, "no permission");
    assert_eq!(world.peer_sends(id, peer, b"x"), None);
    assert_eq!(world.relay.counters().dropped_no_permission, 1);
    // A permission alone brings it back to life.
    client.permit(&mut world, &["9.9.9.9:1"]);
    assert!(world.data(client.tuple, &frame).is_some());
    let back = world.peer_sends(id, peer, b"x").unwrap();
    assert_eq!(back.1, channel_data(0x4000, b"x"));
    world.advance_secs(299);
    assert!(world.data(client.tuple, &frame).is_some());
    client.permit(&mut world, &["9.9.9.9:1"]);
    world.advance_secs(1);
    assert_eq!(world.data(client.tuple, &frame), None, "no channel");
    assert_eq!(world.relay.counters().dropped_no_channel, 1);
    // What the peer sends goes on as an indication.
    assert_eq!(
        world.peer_sends(id, peer, b"x").unwrap().1[..2],
        [0x00, 0x17]
    );
    let unbound = world.announced.iter();
    let unbound = unbound.filter(|a| {
        matches!(
            a,
            Action::ChannelUnbound {
                channel: 0x4000,
                ..
            }
        )
    });
    assert_eq!(unbound.count(), 1);
}

#[test]
fn binding_again_refreshes_both() {
    let (mut world, mut client, _) = setup();
    client.refresh(&mut world, Some(3600));
    for _ in 0..8 {
        assert!(client.bind(&mut world, 0x4000, "9.9.9.9:1000").is_success());
        world.advance_secs(240);
        let frame = channel_data(0x4000, b"x");
        assert!(world.data(client.tuple, &frame).is_some());
    }
    assert_eq!(world.relay.counters().channels_bound, 1);
}

#[test]
fn channel_data_is_framed_by_its_length_field() {
    let (mut world, mut client, _) = setup();
    client.bind(&mut world, 0x4000, "9.9.9.9:1000");
    let mut data = |bytes: &[u8]| world.data(client.tuple, bytes).map(|(_, payload)| payload);
    // Padding over UDP is allowed and cut off; an empty message is relayed.
    assert_eq!(data(&[0x40, 0, 0, 1, 7, 0, 0, 0]), Some(vec![7]));
    assert_eq!(data(&[0x40, 0, 0, 0]), Some(vec![]));
    assert_eq!(
        data(&[0x40, 0, 0, 5, 1, 2, 3, 4]),
        None,
        "longer than it is"
    );
    assert_eq!(data(&[0x40, 0, 0]), None);
    assert_eq!(data(&[0x40]), None);
    assert_eq!(data(&[0x40, 1, 0, 0]), None, "not bound");
    for reserved in [0x80, 0xbf, 0xc0, 0xff] {
        assert_eq!(data(&[reserved, 0, 0, 0]), None);
    }
    let counters = world.relay.counters();
    assert_eq!(counters.dropped_malformed, 3);
    assert_eq!(counters.dropped_no_channel, 1);
    assert_eq!(counters.dropped_not_turn, 4);
}

#[test]
fn over_a_stream_channel_data_is_padded() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.tuple.transport = Transport::Tcp;
    let relayed = client.allocate(&mut world);
    let id = world.id_of(relayed);
    client.bind(&mut world, 0x4000, "9.9.9.9:1000");
    let (_, bytes) = world
        .peer_sends(id, addr("9.9.9.9:1000"), b"12345")
        .unwrap();
    assert_eq!(
        bytes,
        [0x40, 0, 0, 5, b'1', b'2', b'3', b'4', b'5', 0, 0, 0]
    );
}

#[test]
fn at_the_cap_new_channels_are_508() {
    let mut config = config();
    config.limits.channels = 2;
    let mut world = World::with(config);
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.allocate(&mut world);
    assert!(client.bind(&mut world, 0x4000, "9.9.9.9:1").is_success());
    assert!(client.bind(&mut world, 0x4001, "9.9.9.9:2").is_success());
    assert_eq!(
        client.bind(&mut world, 0x4002, "9.9.9.9:3").error(),
        Some(508)
    );
    assert!(client.bind(&mut world, 0x4001, "9.9.9.9:2").is_success());
}

#[test]
fn many_channels_are_each_their_own() {
    let (mut world, mut client, id) = setup();
    for n in (0..100_u16).rev() {
        let peer = format!("9.9.{}.9:{}", n % 7, 1000 + n);
        assert!(
            client
                .bind(&mut world, 0x4000 + (n * 37) % 100, &peer)
                .is_success()
        );
    }
    for n in 0..100_u16 {
        let number = 0x4000 + (n * 37) % 100;
        let peer = addr(&format!("9.9.{}.9:{}", n % 7, 1000 + n));
        let frame = channel_data(number, b"x");
        assert_eq!(world.data(client.tuple, &frame).unwrap().0, peer);
        assert_eq!(world.peer_sends(id, peer, b"x").unwrap().1, frame);
    }
}

#[test]
fn each_of_many_channels_goes_its_own_way_and_those_that_are_left_still_do() {
    let (mut world, mut client, id) = setup();
    assert!(client.refresh(&mut world, Some(3600)).is_success());
    // Neither numbers nor ports ascend.
    let channel = |n: u16| 0x4000 + n * 7 % 20;
    let peer = |n: u16| format!("9.9.9.9:{}", 1000 + n * 3 % 20);
    for n in 0..20 {
        // The first half ends earlier.
        if n == 10 {
            world.advance_secs(60);
        }
        assert!(client.bind(&mut world, channel(n), &peer(n)).is_success());
        for bound in 0..=n {
            let data = channel_data(channel(bound), b"there");
            let (to, _) = world.data(client.tuple, &data).unwrap();
            assert_eq!(to, addr(&peer(bound)));
            let (_, back) = world.peer_sends(id, to, b"back").unwrap();
            assert_eq!(back[..2], channel(bound).to_be_bytes());
        }
    }
    world.advance_secs(550);
    client.permit(&mut world, &["9.9.9.9:1"]);
    for n in 0..20 {
        let data = channel_data(channel(n), b"there");
        let to = world.data(client.tuple, &data).map(|(to, _)| to);
        assert_eq!(to, (n >= 10).then(|| addr(&peer(n))));
        let (_, back) = world.peer_sends(id, addr(&peer(n)), b"back").unwrap();
        let is_channel = back[..2] == channel(n).to_be_bytes();
        assert_eq!(is_channel, n >= 10);
    }
}
