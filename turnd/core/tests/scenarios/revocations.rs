//! Revoked users and tenants: refused from the moment on, and what they hold ends by itself.

use liveness::RevocationTag;
use turnd_core::limits::REVOCATIONS;
use turnd_core::{Config, Revocations, TooManyRevoked};

use crate::codec::{INTEGRITY, NONCE, REALM, channel_data};
use crate::world::{Client, World, addr, config};

fn revoking(users: &[&str], tenants: &[&str]) -> Config {
    Config {
        revoked: Revocations::new(users.iter().copied(), tenants.iter().copied()).unwrap(),
        ..config()
    }
}

/// The reply to a signed request that is not believed.
fn refused(world: &mut World, client: &Client, request: crate::codec::Build) {
    let reply = world.ask(client.tuple, &client.sign(request).bytes);
    assert_eq!(reply.error(), Some(401));
    assert!(reply.has(REALM) && reply.has(NONCE) && !reply.has(INTEGRITY));
}

#[test]
fn nobody_who_is_revoked_gets_an_allocation() {
    for (user, users, tenants, expected) in [
        ("alice", &["alice"][..], &[][..], Some(401)),
        ("acme/alice", &["acme/alice"], &[], Some(401)),
        ("acme/alice", &[], &["acme"], Some(401)),
        ("acme/alice/phone", &[], &["acme"], Some(401)),
        ("/alice", &[], &[""], Some(401)),
        // Another user, another tenant, a user who only looks like the tenant.
        ("alice", &["alic", "alice2", "Alice"], &["alice"], None),
        ("acme/alice", &["alice", "acme"], &["acm", "alice"], None),
        ("acme", &[], &["acme"], None),
        ("bob/acme/alice", &["acme/alice"], &["acme"], None),
    ] {
        let mut world = World::with(revoking(users, tenants));
        let mut client = Client::new("192.0.2.1:5000", user);
        client.learn_nonce(&mut world);
        let request = client.allocate_request();
        let reply = world.ask(client.tuple, &client.sign(request).bytes);
        assert_eq!(reply.error(), expected, "{user}: {users:?} {tenants:?}");
    }
}

#[test]
fn whom_nameservers_revoke_is_refused_and_ended_like_any_other() {
    let told = |tags: &[RevocationTag]| Config {
        revoked: Revocations::default().told(tags),
        ..config()
    };
    for (user, tag, expected) in [
        ("acme/alice", RevocationTag::user("acme/alice"), Some(401)),
        ("acme/alice", RevocationTag::tenant("acme"), Some(401)),
        ("alice", RevocationTag::user("alice"), Some(401)),
        // One kind is not taken for the other, nor a part for the whole.
        ("acme/alice", RevocationTag::user("acme"), None),
        ("acme/alice", RevocationTag::tenant("acme/alice"), None),
        ("acme", RevocationTag::tenant("acme"), None),
    ] {
        let mut world = World::with(told(&[tag]));
        let mut client = Client::new("192.0.2.1:5000", user);
        client.learn_nonce(&mut world);
        let request = client.allocate_request();
        let reply = world.ask(client.tuple, &client.sign(request).bytes);
        assert_eq!(reply.error(), expected, "{user}");
    }
    let mut world = World::new();
    let mut alice = Client::new("192.0.2.1:5000", "acme/alice");
    alice.allocate(&mut world);
    let mut bob = Client::new("192.0.2.1:5001", "other/bob");
    bob.allocate(&mut world);
    world
        .relay
        .reconfigure(told(&[RevocationTag::tenant("acme")]).into());
    world.advance_secs(0);
    assert_eq!(world.relay.counters().allocations_revoked, 1);
}

#[test]
fn a_credential_without_a_user_id_is_revoked_by_its_whole_name() {
    let mut client = Client::new("192.0.2.1:5000", "");
    assert!(!client.username.contains(':'));
    let username = client.username.clone();
    let mut world = World::with(revoking(&[&username], &[]));
    client.learn_nonce(&mut world);
    let request = client.allocate_request();
    refused(&mut world, &client, request);
}

#[test]
fn every_request_on_a_live_allocation_is_refused_but_its_deletion() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "acme/alice");
    client.allocate(&mut world);
    world.relay.reconfigure(revoking(&[], &["acme"]).into());
    // Before the sweep came to it.
    let peer = addr("9.9.9.9:9");
    for method in [3, 4, 8, 9] {
        let request = client.request(method).attr(0x19, &[17, 0, 0, 0]).peer(peer);
        let request = request.attr(0x0c, &[0x40, 0, 0, 0]);
        refused(&mut world, &client, request);
    }
    assert_eq!(world.relay.sessions(), 1);
    assert!(client.refresh(&mut world, Some(0)).is_success());
    assert_eq!(world.relay.sessions(), 0);
    assert_eq!(world.relay.counters().allocations_revoked, 0);
}

#[test]
fn live_allocations_of_a_revoked_tenant_end_at_once_and_no_others_do() {
    let mut world = World::new();
    let mut clients: Vec<Client> = (0..200)
        .map(|n| {
            let tenant = if n % 2 == 0 { "acme" } else { "other" };
            Client::new(&format!("192.0.2.{n}:5000"), &format!("{tenant}/{n}"))
        })
        .collect();
    for client in &mut clients {
        client.allocate(&mut world);
        client.bind(&mut world, 0x4000, "9.9.9.9:1");
    }
    world.relay.reconfigure(revoking(&[], &["acme"]).into());
    world.advance_secs(0);
    assert_eq!(world.relay.counters().allocations_revoked, 100);
    assert_eq!(world.closed.len(), 100, "each told to the shell");
    assert_eq!(world.relay.sessions(), 100);
    assert_eq!(world.relay.footprint().ports, 100);
    for (n, client) in clients.iter_mut().enumerate() {
        let relays = world.data(client.tuple, &channel_data(0x4000, b"x"));
        assert_eq!(relays.is_some(), n % 2 == 1, "client {n}");
    }
    let request = clients[0].refresh_request(None);
    refused(&mut world, &clients[0], request);
    let request = clients[0].allocate_request();
    refused(&mut world, &clients[0], request);
    // Lifted: a new allocation can be made, and the old one is gone.
    world.relay.reconfigure(config().into());
    assert_eq!(clients[0].refresh(&mut world, None).error(), Some(437));
    clients[0].allocate(&mut world);
}

#[test]
fn nothing_more_is_relayed_for_a_revoked_owner_though_no_timeout_was_handled() {
    for towards_peer in [true, false] {
        let mut world = World::new();
        let mut client = Client::new("192.0.2.1:5000", "acme/alice");
        let relayed = client.allocate(&mut world);
        let id = world.id_of(relayed);
        client.bind(&mut world, 0x4000, "9.9.9.9:1");
        world
            .relay
            .reconfigure(revoking(&["acme/alice"], &[]).into());
        if towards_peer {
            assert_eq!(world.data(client.tuple, &channel_data(0x4000, b"x")), None);
        } else {
            assert_eq!(world.peer_sends(id, addr("9.9.9.9:1"), b"x"), None);
        }
        assert_eq!((world.relay.sessions(), &world.closed[..]), (0, &[id][..]));
    }
}

#[test]
fn an_allocation_whose_socket_is_being_opened_ends_too() {
    let mut world = World::new();
    world.auto_open = false;
    let mut client = Client::new("192.0.2.1:5000", "acme/alice");
    client.learn_nonce(&mut world);
    let request = client.allocate_request();
    world.give(client.tuple, &client.sign(request).bytes);
    let (id, address) = world.asked.pop_front().unwrap();
    world.relay.reconfigure(revoking(&[], &["acme"]).into());
    world.advance_secs(0);
    assert_eq!(world.relay.sessions(), 0);
    world.replies.clear();
    world.opened(id, address, Ok(()));
    world.drain();
    assert!(world.replies.is_empty());
    assert_eq!(world.closed.last(), Some(&id), "the late socket is closed");
}

#[test]
fn expiry_does_not_hide_a_revocation() {
    // A credential past its time may go on refreshing; not so a revoked one.
    let mut world = World::new();
    let mut client = Client::with_credential("192.0.2.1:5000", "a/b", 100, crate::world::SECRET);
    client.allocate(&mut world);
    world.advance_secs(200);
    assert!(client.refresh(&mut world, None).is_success());
    world.relay.reconfigure(revoking(&["a/b"], &[]).into());
    let request = client.refresh_request(None);
    refused(&mut world, &client, request);
}

#[test]
fn the_lists_have_a_cap_and_are_not_shown() {
    let names = |count: usize| (0..count).map(|n| n.to_string());
    assert!(Revocations::new(names(REVOCATIONS), names(0)).is_ok());
    let over = Revocations::new(names(REVOCATIONS), names(1)).unwrap_err();
    assert_eq!(over, TooManyRevoked);
    assert!(Revocations::new(names(0), names(REVOCATIONS + 1)).is_err());
    // The same name again is no other one.
    let twice = names(REVOCATIONS).chain(names(REVOCATIONS));
    let shown = format!("{:?}", Revocations::new(twice, names(0)).unwrap());
    assert_eq!(shown, "Revocations { users: 65536, tenants: 0, told: 0 }");
}
