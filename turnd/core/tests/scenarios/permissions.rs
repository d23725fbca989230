//! Permissions: RFC 8656 sections 9 and 10.

use turnd_core::Action;

use crate::codec::{CREATE_PERMISSION, FAMILY, PEER};
use crate::world::{Client, World, addr, config};

fn setup() -> (World, Client, turnd_core::AllocationId) {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    let relayed = client.allocate(&mut world);
    let id = world.id_of(relayed);
    (world, client, id)
}

fn changes(world: &mut World) -> Vec<(String, bool)> {
    let told = world.announced.drain(..);
    told.filter_map(|action| match action {
        Action::PermissionChanged {
            peer, permitted, ..
        } => Some((peer.to_string(), permitted)),
        _ => None,
    })
    .collect()
}

#[test]
fn a_permission_opens_one_address_with_all_its_ports_for_five_minutes() {
    let (mut world, mut client, id) = setup();
    let (one, other) = (addr("9.9.9.9:1000"), addr("9.9.9.9:2000"));
    assert_eq!(world.peer_sends(id, one, b"x"), None);
    assert!(client.permit(&mut world, &["9.9.9.9:1000"]).is_success());
    assert_eq!(changes(&mut world), [("9.9.9.9".into(), true)]);
    for peer in [one, other] {
        assert!(world.peer_sends(id, peer, b"x").is_some());
        let send = client.send(&peer.to_string(), b"y");
        assert_eq!(world.data(client.tuple, &send), Some((peer, b"y".to_vec())));
    }
    assert_eq!(world.peer_sends(id, addr("9.9.9.10:1000"), b"x"), None);
    world.advance_secs(299);
    assert!(world.peer_sends(id, one, b"x").is_some());
    world.advance_secs(1);
    assert_eq!(world.peer_sends(id, one, b"x"), None);
    let send = client.send("9.9.9.9:1000", b"y");
    assert_eq!(world.data(client.tuple, &send), None);
    assert_eq!(changes(&mut world), [("9.9.9.9".into(), false)]);
    let counters = world.relay.counters();
    assert_eq!(counters.dropped_peer_no_permission, 3);
    assert_eq!(counters.dropped_no_permission, 1);
}

#[test]
fn it_is_gone_when_its_time_is_over_even_before_the_timeout_is_handled() {
    let (mut world, mut client, id) = setup();
    client.permit(&mut world, &["9.9.9.9:1000"]);
    world.elapsed += std::time::Duration::from_mins(5);
    assert_eq!(world.peer_sends(id, addr("9.9.9.9:1000"), b"x"), None);
}

#[test]
fn a_refresh_prolongs_it_and_data_does_not() {
    let (mut world, mut client, id) = setup();
    client.permit(&mut world, &["9.9.9.9:1000"]);
    world.advance_secs(200);
    client.permit(&mut world, &["9.9.9.9:1"]);
    world.advance_secs(299);
    assert!(world.peer_sends(id, addr("9.9.9.9:1000"), b"x").is_some());
    let send = client.send("9.9.9.9:1000", b"y");
    assert!(world.data(client.tuple, &send).is_some());
    world.advance_secs(1);
    assert_eq!(world.peer_sends(id, addr("9.9.9.9:1000"), b"x"), None);
}

#[test]
fn several_peers_are_all_permitted_or_none() {
    let (mut world, mut client, id) = setup();
    let good = ["9.9.9.9:1", "1.1.1.1:1", "9.9.9.9:2"];
    assert!(client.permit(&mut world, &good).is_success());
    assert_eq!(changes(&mut world).len(), 2, "one per address");
    for (bad, code) in [
        ("127.0.0.1:1", 403),
        ("10.1.2.3:1", 403),
        ("169.254.169.254:80", 403),
        ("[2606:4700::1]:1", 443),
    ] {
        let reply = client.permit(&mut world, &["4.4.4.4:1", bad, "5.5.5.5:1"]);
        assert_eq!(reply.error(), Some(code), "{bad}");
    }
    assert!(changes(&mut world).is_empty());
    assert_eq!(world.peer_sends(id, addr("4.4.4.4:1"), b"x"), None);
}

#[test]
fn a_request_without_a_peer_or_with_a_strange_one_is_400() {
    let (mut world, mut client, _) = setup();
    assert_eq!(client.permit(&mut world, &[]).error(), Some(400));
    for value in [
        &[0, 3, 0, 0, 1, 2, 3, 4][..],
        &[0, 1, 0, 0, 1],
        &[],
        &[0, 2, 0, 0, 1, 1, 1, 1],
    ] {
        let request = client.request(CREATE_PERMISSION).attr(PEER, value);
        assert_eq!(client.ask(&mut world, request).error(), Some(400));
    }
}

#[test]
fn the_same_request_again_is_answered_again() {
    let (mut world, mut client, _) = setup();
    let request = client.request(CREATE_PERMISSION).peer(addr("9.9.9.9:1"));
    let request = client.sign(request).bytes;
    let first = world.ask(client.tuple, &request);
    assert_eq!(world.ask(client.tuple, &request), first);
    assert_eq!(changes(&mut world).len(), 1);
}

#[test]
fn at_the_cap_new_ones_are_508_and_old_ones_can_be_refreshed() {
    let mut config = config();
    config.limits.permissions = 3;
    let mut world = World::with(config);
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.allocate(&mut world);
    let four = ["9.9.9.1:1", "9.9.9.2:1", "9.9.9.3:1", "9.9.9.4:1"];
    assert_eq!(client.permit(&mut world, &four).error(), Some(508));
    // Twice the same address is one permission.
    let three = ["9.9.9.1:1", "9.9.9.2:1", "9.9.9.1:2", "9.9.9.3:1"];
    assert!(client.permit(&mut world, &three).is_success());
    assert_eq!(client.permit(&mut world, &four[3..]).error(), Some(508));
    assert!(client.permit(&mut world, &four[..3]).is_success());
    assert_eq!(
        client.bind(&mut world, 0x4000, "9.9.9.4:1").error(),
        Some(508)
    );
    assert!(client.bind(&mut world, 0x4000, "9.9.9.3:1").is_success());
    // Expired ones make room.
    world.advance_secs(300);
    assert!(client.permit(&mut world, &four[1..]).is_success());
}

#[test]
fn a_v6_allocation_has_v6_peers_and_no_disguised_ones() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let request = client.allocate_request().attr(FAMILY, &[2, 0, 0, 0]);
    assert!(client.ask(&mut world, request).is_success());
    assert!(
        client
            .permit(&mut world, &["[2606:4700::1]:1"])
            .is_success()
    );
    assert_eq!(client.permit(&mut world, &["9.9.9.9:1"]).error(), Some(443));
    for disguised in [
        "[::ffff:127.0.0.1]:1",
        "[::ffff:9.9.9.9]:1",
        "[::127.0.0.1]:1",
        "[::1]:1",
        "[::]:1",
        "[64:ff9b::a00:1]:1",
        "[64:ff9b:1::a00:1]:1",
        "[2002:7f00:1::1]:1",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]:1",
        "[2606:4700::5efe:a00:1]:1",
        "[2606:4700::200:5efe:7f00:1]:1",
        "[fe80::1]:1",
        "[fd00:ec2::254]:80",
        "[ff02::1]:1",
    ] {
        let reply = client.permit(&mut world, &[disguised]);
        assert_eq!(reply.error(), Some(403), "{disguised}");
    }
}
