//! TCP allocations (RFC 6062), rule by rule.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use turnd_core::limits::CONNECTIONS_PER_ALLOCATION;
use turnd_core::{
    Action, AllocationId, Config, ConnectionId, Direction, Limits, PortSlice, Revocations,
    Transport,
};

use crate::codec::{
    ADDITIONAL_FAMILY, ALLOCATE, Build, CONNECT, CONNECTION_ATTEMPT, CONNECTION_BIND,
    CONNECTION_ID, DONT_FRAGMENT, EVEN_PORT, PEER, Parsed, RELAYED, RESERVATION, TICKET, TRANSPORT,
    xor,
};
use crate::world::{Client, World, addr, config};

const PEER_ADDRESS: &str = "9.9.9.9:80";

fn tcp_config() -> Config {
    Config {
        tcp_allocations: true,
        ..config()
    }
}

fn world() -> World {
    World::with(tcp_config())
}

fn client(address: &str, user: &str) -> Client {
    let mut client = Client::new(address, user);
    client.tuple.transport = Transport::Tcp;
    client
}

/// A client with a TCP allocation, and its name.
fn allocated(world: &mut World) -> (Client, AllocationId, SocketAddr) {
    let mut ann = client("7.7.7.7:1000", "ann");
    ann.learn_nonce(world);
    let request = ann.request(ALLOCATE).attr(TRANSPORT, &[6, 0, 0, 0]);
    let reply = ann.ask(world, request);
    assert!(reply.is_success(), "{:?}", reply.error());
    let relayed = reply.address(RELAYED).unwrap();
    let id = world.id_of(relayed);
    (ann, id, relayed)
}

fn connect_request(client: &mut Client, peer: &str) -> Build {
    client.request(CONNECT).peer(addr(peer))
}

/// A Connect request that the shell is asked to carry out.
fn begin(world: &mut World, ann: &mut Client, peer: &str) -> (ConnectionId, Vec<u8>) {
    world.replies.clear();
    let request = connect_request(ann, peer);
    let request = ann.sign(request).bytes;
    world.give(ann.tuple, &request);
    assert!(world.replies.is_empty(), "answered too early");
    let Some(Action::Connect {
        connection,
        peer: to,
        ..
    }) = world.announced.pop()
    else {
        panic!("nobody connects");
    };
    assert_eq!(to, addr(peer));
    (connection, request[8..20].to_vec())
}

/// A connection that the peer has accepted: its name, and as the client was told.
fn connected(world: &mut World, ann: &mut Client, peer: &str) -> (ConnectionId, Vec<u8>) {
    let (connection, transaction) = begin(world, ann, peer);
    let now = world.now();
    world.relay.peer_connected(now, connection);
    world.drain();
    let (to, reply) = world.replies.pop_front().expect("a reply");
    assert_eq!((to, &reply.transaction), (ann.tuple, &transaction));
    assert!(reply.is_success() && reply.is_signed(&ann.key));
    (connection, reply.get(CONNECTION_ID).unwrap().to_vec())
}

/// A ConnectionBind over a new connection of `user`.
fn bind(world: &mut World, port: u16, user: &str, id: &[u8]) -> Parsed {
    let mut data = client(&format!("7.7.7.7:{port}"), user);
    data.learn_nonce(world);
    let request = data.request(CONNECTION_BIND).attr(CONNECTION_ID, id);
    data.ask(world, request)
}

fn incoming(world: &mut World, id: AllocationId, peer: &str) -> Option<ConnectionId> {
    world.replies.clear();
    let now = world.now();
    let accepted = world.relay.peer_incoming(now, id, addr(peer));
    world.drain();
    accepted
}

fn closed(world: &mut World) -> Vec<ConnectionId> {
    let closed = world.announced.drain(..).filter_map(|action| match action {
        Action::CloseConnection { connection } => Some(connection),
        _ => None,
    });
    closed.collect()
}

#[test]
fn without_the_option_nothing_of_it_is_there() {
    let mut world = World::new();
    let mut ann = client("7.7.7.7:1000", "ann");
    ann.learn_nonce(&mut world);
    let request = ann.request(ALLOCATE).attr(TRANSPORT, &[6, 0, 0, 0]);
    assert_eq!(ann.ask(&mut world, request).error(), Some(442));
    for method in [CONNECT, CONNECTION_BIND] {
        let request = ann.request(method);
        world.replies.clear();
        world.give(ann.tuple, &ann.sign(request).bytes);
        assert!(world.replies.is_empty());
    }
}

#[test]
fn only_streams_may_allocate_it_and_only_plainly() {
    let mut world = world();
    for transport in [Transport::Udp, Transport::Dtls] {
        let mut ann = client("7.7.7.7:1000", "ann");
        ann.tuple.transport = transport;
        ann.learn_nonce(&mut world);
        let request = ann.request(ALLOCATE).attr(TRANSPORT, &[6, 0, 0, 0]);
        assert_eq!(ann.ask(&mut world, request).error(), Some(400));
    }
    let mut ann = client("7.7.7.7:1000", "ann");
    ann.learn_nonce(&mut world);
    let extras: [(u16, &[u8]); 4] = [
        (EVEN_PORT, &[0]),
        (RESERVATION, &[0; 8]),
        (DONT_FRAGMENT, &[]),
        (ADDITIONAL_FAMILY, &[2, 0, 0, 0]),
    ];
    for (kind, value) in extras {
        let request = ann.request(ALLOCATE).attr(TRANSPORT, &[6, 0, 0, 0]);
        let request = request.attr(kind, value);
        assert_eq!(ann.ask(&mut world, request).error(), Some(400), "{kind:#x}");
    }
    // It ends with its control connection, so it cannot move to another.
    let mut mobile = config();
    (mobile.mobility, mobile.tcp_allocations) = (true, true);
    world.relay.reconfigure(Arc::new(mobile));
    let request = ann.request(ALLOCATE).attr(TRANSPORT, &[6, 0, 0, 0]);
    let request = request.attr(TICKET, &[]);
    assert_eq!(ann.ask(&mut world, request).error(), Some(405));
    ann.tuple.transport = Transport::Tls;
    let request = ann.request(ALLOCATE).attr(TRANSPORT, &[6, 0, 0, 0]);
    assert!(ann.ask(&mut world, request).is_success());
    world.relay.check_invariants();
}

#[test]
fn channels_and_send_indications_are_for_datagrams() {
    let mut world = world();
    let (mut ann, _, _) = allocated(&mut world);
    assert!(ann.permit(&mut world, &[PEER_ADDRESS]).is_success());
    assert_eq!(
        ann.bind(&mut world, 0x4000, PEER_ADDRESS).error(),
        Some(403)
    );
    let send = ann.send(PEER_ADDRESS, b"data");
    assert_eq!(world.data(ann.tuple, &send), None);
    assert_eq!(world.relay.counters().dropped_send_over_tcp, 1);
    let data = crate::codec::channel_data(0x4000, b"data");
    assert_eq!(world.data(ann.tuple, &data), None);
}

#[test]
fn an_allocation_of_datagrams_has_no_connections() {
    let mut world = world();
    let mut ann = client("7.7.7.7:1000", "ann");
    ann.allocate(&mut world);
    let request = connect_request(&mut ann, PEER_ADDRESS);
    assert_eq!(ann.ask(&mut world, request).error(), Some(437));
    let mut bob = client("7.7.7.7:1001", "bob");
    bob.learn_nonce(&mut world);
    let request = connect_request(&mut bob, PEER_ADDRESS);
    assert_eq!(bob.ask(&mut world, request).error(), Some(437));
}

#[test]
fn a_connection_is_made_joined_and_ends() {
    let mut world = world();
    let (mut ann, _, _) = allocated(&mut world);
    let (connection, id) = connected(&mut world, &mut ann, PEER_ADDRESS);
    assert_eq!(id.len(), 4);
    let now = world.now();
    assert_eq!(world.relay.allowance(now, connection), 0, "nobody is there");
    let reply = bind(&mut world, 2000, "ann", &id);
    assert!(reply.is_success());
    assert_eq!(reply.get(CONNECTION_ID), Some(&id[..]));
    let Some(Action::JoinClient {
        connection: joined,
        tuple,
    }) = world.announced.pop()
    else {
        panic!("not joined")
    };
    assert_eq!((joined, tuple.client), (connection, addr("7.7.7.7:2000")));
    // Only once.
    assert_eq!(bind(&mut world, 2001, "ann", &id).error(), Some(400));
    // It outlives the time to come for it, and goes when the shell says so.
    world.advance_secs(100);
    assert!(closed(&mut world).is_empty());
    let now = world.now();
    world.relay.connection_gone(now, connection);
    world.drain();
    assert_eq!(world.relay.footprint().connections, 0);
    assert_eq!(world.relay.counters().peer_connections_ended, 1);
    connected(&mut world, &mut ann, PEER_ADDRESS);
}

#[test]
fn what_connect_refuses() {
    let mut world = World::with(Config {
        limits: Limits {
            new_peers: 0,
            ..Limits::default()
        },
        ..tcp_config()
    });
    let (mut ann, _, relayed) = allocated(&mut world);
    let request = ann.request(CONNECT);
    assert_eq!(ann.ask(&mut world, request).error(), Some(400));
    let request = ann.request(CONNECT).attr(PEER, &[0, 1, 2]);
    assert_eq!(ann.ask(&mut world, request).error(), Some(400));
    let own = relayed.to_string();
    let cases = [
        ("9.9.9.9:0", 400),
        ("127.0.0.1:80", 403),
        ("10.0.0.1:80", 403),
        ("169.254.169.254:80", 403),
        ("224.0.0.1:80", 403),
        ("8.8.4.4:3478", 403),
        (&own, 403),
        ("[2a00::1]:80", 443),
    ];
    for (peer, code) in cases {
        let request = connect_request(&mut ann, peer);
        assert_eq!(ann.ask(&mut world, request).error(), Some(code), "{peer}");
    }
    assert!(world.announced.is_empty(), "nobody was connected to");
    // The same peer again: while it is tried, while it waits, while it is joined.
    let (connection, _) = begin(&mut world, &mut ann, PEER_ADDRESS);
    let again = |world: &mut World, ann: &mut Client| {
        let request = connect_request(ann, PEER_ADDRESS);
        assert_eq!(ann.ask(world, request).error(), Some(446));
    };
    again(&mut world, &mut ann);
    let now = world.now();
    world.relay.peer_connected(now, connection);
    world.drain();
    let id = world.replies.pop_front().unwrap().1;
    again(&mut world, &mut ann);
    assert!(bind(&mut world, 2000, "ann", id.get(CONNECTION_ID).unwrap()).is_success());
    again(&mut world, &mut ann);
    for port in 1..CONNECTIONS_PER_ALLOCATION {
        begin(&mut world, &mut ann, &format!("9.9.9.9:{}", 80 + port));
    }
    let request = connect_request(&mut ann, "9.9.9.8:80");
    assert_eq!(ann.ask(&mut world, request).error(), Some(508));
}

#[test]
fn connects_are_rationed_like_new_peers() {
    let mut world = world();
    let (mut ann, _, _) = allocated(&mut world);
    for port in 1..=64 {
        let (connection, _) = begin(&mut world, &mut ann, &format!("9.9.9.9:{port}"));
        let now = world.now();
        world.relay.peer_connect_failed(now, connection);
        world.drain();
    }
    let request = connect_request(&mut ann, PEER_ADDRESS);
    assert_eq!(ann.ask(&mut world, request).error(), Some(508));
    assert_eq!(world.relay.counters().new_peers_refused, 1);
}

#[test]
fn who_does_not_accept_or_not_in_time_is_447() {
    let mut world = world();
    let (mut ann, _, _) = allocated(&mut world);
    let (connection, transaction) = begin(&mut world, &mut ann, PEER_ADDRESS);
    let now = world.now();
    world.relay.peer_connect_failed(now, connection);
    world.drain();
    let (_, reply) = world.replies.pop_front().expect("a reply");
    assert_eq!(
        (reply.error(), &reply.transaction),
        (Some(447), &transaction)
    );
    assert!(reply.is_signed(&ann.key));
    let (connection, transaction) = begin(&mut world, &mut ann, PEER_ADDRESS);
    world.advance(Duration::from_millis(29_999));
    assert!(world.replies.is_empty());
    world.advance(Duration::from_millis(1));
    let (_, reply) = world.replies.pop_front().expect("a reply");
    assert_eq!(
        (reply.error(), &reply.transaction),
        (Some(447), &transaction)
    );
    assert_eq!(closed(&mut world), [connection]);
    // Too late.
    let now = world.now();
    world.relay.peer_connected(now, connection);
    world.drain();
    assert!(world.replies.is_empty());
}

#[test]
fn a_peer_needs_a_permission_and_the_client_is_told() {
    let mut world = world();
    let (mut ann, id, _) = allocated(&mut world);
    assert_eq!(incoming(&mut world, id, PEER_ADDRESS), None);
    assert!(ann.permit(&mut world, &["9.9.9.9:1"]).is_success());
    assert_eq!(incoming(&mut world, id, "9.9.9.8:80"), None);
    assert!(world.replies.is_empty());
    assert_eq!(world.relay.counters().peers_refused, 2);
    let connection = incoming(&mut world, id, PEER_ADDRESS).expect("accepted");
    let (to, told) = world.replies.pop_front().expect("an indication");
    assert_eq!((to, told.kind), (ann.tuple, CONNECTION_ATTEMPT));
    assert_eq!(told.address(PEER), Some(addr(PEER_ADDRESS)));
    let request = connect_request(&mut ann, PEER_ADDRESS);
    assert_eq!(ann.ask(&mut world, request).error(), Some(446));
    let name = told.get(CONNECTION_ID).unwrap();
    assert!(bind(&mut world, 2000, "ann", name).is_success());
    let now = world.now();
    assert!(world.relay.allowance(now, connection) > 0);
    // A permission that is over lets nobody in, and ends nothing.
    world.advance_secs(301);
    assert_eq!(incoming(&mut world, id, "9.9.9.9:81"), None);
    assert_eq!(world.relay.footprint().connections, 1);
}

#[test]
fn who_is_not_come_for_is_closed_after_thirty_seconds() {
    let mut world = world();
    let (mut ann, id, _) = allocated(&mut world);
    ann.permit(&mut world, &["9.9.9.9:1"]);
    let (made, name) = connected(&mut world, &mut ann, PEER_ADDRESS);
    let came = incoming(&mut world, id, "9.9.9.9:81").expect("accepted");
    world.advance(Duration::from_millis(29_999));
    assert!(closed(&mut world).is_empty());
    world.advance(Duration::from_millis(1));
    let mut both = [made, came];
    both.sort();
    assert_eq!(closed(&mut world), both);
    assert_eq!(world.relay.counters().peer_connections_unbound, 2);
    assert_eq!(bind(&mut world, 2000, "ann", &name).error(), Some(400));
}

#[test]
fn what_connection_bind_refuses() {
    let mut world = world();
    let (mut ann, _, _) = allocated(&mut world);
    let (connection, name) = connected(&mut world, &mut ann, PEER_ADDRESS);
    let mut data = client("7.7.7.7:2000", "ann");
    data.learn_nonce(&mut world);
    let request = data.request(CONNECTION_BIND);
    assert_eq!(data.ask(&mut world, request).error(), Some(400));
    let unsigned = data.request(CONNECTION_BIND).attr(CONNECTION_ID, &name);
    assert_eq!(world.ask(data.tuple, &unsigned.bytes).error(), Some(401));
    let mut wrong = name.clone();
    wrong[3] ^= 1;
    assert_eq!(bind(&mut world, 2001, "ann", &wrong).error(), Some(400));
    assert_eq!(bind(&mut world, 2002, "bob", &name).error(), Some(441));
    // Not over datagrams, and not over a control connection.
    data.tuple.transport = Transport::Udp;
    let request = data.request(CONNECTION_BIND).attr(CONNECTION_ID, &name);
    assert_eq!(data.ask(&mut world, request).error(), Some(400));
    let request = ann.request(CONNECTION_BIND).attr(CONNECTION_ID, &name);
    assert_eq!(ann.ask(&mut world, request).error(), Some(400));
    // None of it took anything away.
    assert!(bind(&mut world, 2003, "ann", &name).is_success());
    let now = world.now();
    assert!(world.relay.allowance(now, connection) > 0);
}

#[test]
fn the_nonce_of_the_control_connection_is_good_for_its_data_alone() {
    let mut world = world();
    let (mut ann, _, _) = allocated(&mut world);
    let (_, name) = connected(&mut world, &mut ann, PEER_ADDRESS);
    let mut data = client("7.7.7.7:2000", "ann");
    data.nonce = ann.nonce.clone();
    let request = data.request(CONNECTION_BIND).attr(CONNECTION_ID, &[0; 4]);
    let request = data.sign(request).bytes;
    assert_eq!(world.ask(data.tuple, &request).error(), Some(438));
    let mut bob = client("7.7.7.7:1001", "bob");
    bob.learn_nonce(&mut world);
    data.nonce = bob.nonce;
    let request = data.request(CONNECTION_BIND).attr(CONNECTION_ID, &name);
    let request = data.sign(request).bytes;
    assert_eq!(world.ask(data.tuple, &request).error(), Some(438));
    data.nonce = ann.nonce;
    let request = data.request(CONNECTION_BIND).attr(CONNECTION_ID, &name);
    assert!(data.ask(&mut world, request).is_success());
}

#[test]
fn all_connections_end_with_their_allocation() {
    let connections = |world: &mut World| {
        let (mut ann, id, _) = allocated(world);
        ann.permit(world, &["9.9.9.9:1"]);
        let (made, name) = connected(world, &mut ann, PEER_ADDRESS);
        assert!(bind(world, 2000, "ann", &name).is_success());
        let waits = incoming(world, id, "9.9.9.9:81").expect("accepted");
        let (tried, _) = begin(world, &mut ann, "9.9.9.9:82");
        world.announced.clear();
        (ann, vec![made, waits, tried])
    };
    let check = |world: &mut World, held: Vec<ConnectionId>| {
        assert_eq!(closed(world), held);
        let footprint = world.relay.footprint();
        assert_eq!((footprint.connections, footprint.allocations), (0, 0));
    };
    let mut world = world();
    let (mut ann, held) = connections(&mut world);
    assert!(ann.refresh(&mut world, Some(0)).is_success());
    check(&mut world, held);

    let (ann, held) = connections(&mut world);
    let now = world.now();
    world.relay.client_gone(now, &ann.tuple);
    world.drain();
    check(&mut world, held);

    let (_, held) = connections(&mut world);
    let revoked = Revocations::new(["ann"], Vec::<&str>::new()).unwrap();
    world.relay.reconfigure(Arc::new(Config {
        revoked,
        ..tcp_config()
    }));
    let now = world.now();
    assert_eq!(world.relay.allowance(now, held[0]), 0);
    world.drain();
    check(&mut world, held);

    world.relay.reconfigure(Arc::new(tcp_config()));
    let (_, held) = connections(&mut world);
    world.advance_secs(601);
    let first = closed(&mut world);
    assert!(held.iter().all(|connection| first.contains(connection)));
    assert_eq!(world.relay.footprint().connections, 0);
}

#[test]
fn a_peer_that_is_denied_by_now_is_cut_off() {
    let mut world = world();
    let (mut ann, _, _) = allocated(&mut world);
    let (denied, name) = connected(&mut world, &mut ann, PEER_ADDRESS);
    assert!(bind(&mut world, 2000, "ann", &name).is_success());
    let (kept, name) = connected(&mut world, &mut ann, "9.9.8.8:80");
    assert!(bind(&mut world, 2001, "ann", &name).is_success());
    let mut new = tcp_config();
    new.peers = new.peers.deny(["9.9.9.0/24".parse().unwrap()]);
    world.relay.reconfigure(Arc::new(new));
    let now = world.now();
    assert_eq!(world.relay.allowance(now, denied), 0);
    world.drain();
    assert_eq!(closed(&mut world), [denied]);
    assert!(world.relay.allowance(now, kept) > 0);
}

#[test]
fn bandwidth_pauses_and_drops_nothing() {
    let mut world = World::with(Config {
        limits: Limits {
            bandwidth: 100_000,
            ..Limits::default()
        },
        ..tcp_config()
    });
    let (mut ann, _, _) = allocated(&mut world);
    let (connection, name) = connected(&mut world, &mut ann, PEER_ADDRESS);
    assert!(bind(&mut world, 2000, "ann", &name).is_success());
    let now = world.now();
    assert_eq!(world.relay.allowance(now, connection), 100_000);
    world.relay.flowed(connection, Direction::ToPeer, 60_000);
    world.relay.flowed(connection, Direction::ToClient, 40_000);
    assert_eq!(world.relay.allowance(now, connection), 0);
    world.advance(Duration::from_millis(100));
    let now = world.now();
    assert_eq!(world.relay.allowance(now, connection), 10_000);
    let counters = world.relay.counters();
    assert_eq!(
        (counters.to_peer_bytes, counters.to_client_bytes),
        (60_000, 40_000)
    );
}

#[test]
fn the_worker_is_in_the_name_and_nothing_else_is() {
    let mut worlds: Vec<World> = (0..3)
        .map(|worker| {
            let mut config = tcp_config();
            config.ports = PortSlice::new(50_000..=50_999, worker, 3).unwrap();
            World::with(config)
        })
        .collect();
    let mut names = std::collections::BTreeSet::new();
    for world in &mut worlds {
        let (mut ann, _, _) = allocated(world);
        for port in 0..20 {
            let peer = format!("9.9.9.9:{}", 80 + port);
            let (_, name) = connected(world, &mut ann, &peer);
            names.insert(u32::from_be_bytes(name.try_into().unwrap()));
        }
    }
    // The seeds are the same, so the names differ in the worker alone.
    assert_eq!(names.len(), 60);
    let spread = names.last().unwrap() - names.first().unwrap();
    assert!(spread > u32::MAX / 2, "{spread}");
    for name in names {
        let name = name.to_be_bytes();
        let moved: Vec<_> = (0..3)
            .filter(|at| {
                let world = &mut worlds[*at];
                let mut data = client("7.7.7.7:2000", "bob");
                data.learn_nonce(world);
                let request = data.request(CONNECTION_BIND).attr(CONNECTION_ID, &name);
                let request = data.sign(request).bytes;
                world.replies.clear();
                world.announced.clear();
                world.give(data.tuple, &request);
                if let Some(Action::MoveClient { bytes, .. }) = world.announced.pop() {
                    assert_eq!(bytes, request);
                    assert!(world.replies.is_empty());
                    return true;
                }
                // Here it is known, and bob's it is not.
                assert_eq!(world.replies[0].1.error(), Some(441));
                false
            })
            .collect();
        assert_eq!(moved.len(), 2);
    }
}

#[test]
fn a_peer_behind_our_own_nat_is_connected_to_inside() {
    let mut config = tcp_config();
    config.external_addresses.v4 = Some("9.1.1.1".parse().unwrap());
    config.peers = config.peers.external(config.external_addresses);
    let mut world = World::with(config);
    let mut ann = client("7.7.7.7:1000", "ann");
    ann.learn_nonce(&mut world);
    let request = ann.request(ALLOCATE).attr(TRANSPORT, &[6, 0, 0, 0]);
    let relayed = ann.ask(&mut world, request).address(RELAYED).unwrap();
    assert_eq!(relayed.ip(), addr("9.1.1.1:1").ip());
    let taken = world.sockets.values().next().unwrap().port();
    let port = if taken == 50_000 { 50_001 } else { 50_000 };
    let request = connect_request(&mut ann, &format!("9.1.1.1:{port}"));
    world.give(ann.tuple, &ann.sign(request).bytes);
    let Some(Action::Connect { peer, from, .. }) = world.announced.pop() else {
        panic!("nobody connects")
    };
    assert_eq!(peer, addr(&format!("8.8.4.4:{port}")));
    assert_eq!(from, addr(&format!("8.8.4.4:{taken}")));
    let id = *world.sockets.keys().next().unwrap();
    ann.permit(&mut world, &["9.1.1.1:1"]);
    let other = 50_500;
    assert!(incoming(&mut world, id.0, &format!("8.8.4.4:{other}")).is_some());
    let told = world.replies.pop_front().unwrap().1;
    assert_eq!(told.address(PEER), Some(addr(&format!("9.1.1.1:{other}"))));
    assert_eq!(
        told.get(PEER),
        Some(&xor(addr(&format!("9.1.1.1:{other}")), &told.transaction)[..])
    );
}
