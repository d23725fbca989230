//! Clients that move to other five-tuples: RFC 8016.

use std::net::SocketAddr;
use std::sync::Arc;

use turnd_core::quota::Quotas;
use turnd_core::{
    Action, Alternates, Config, Drain, Family, FiveTuple, NonceKey, NonceKeys, PortSlice,
    Revocations, Transport,
};

use crate::codec::{ADDITIONAL_FAMILY, FAMILY, LIFETIME, MAPPED, NONCE, Parsed, RELAYED, TICKET};
use crate::world::{Client, World, addr, config, ring};

const PEER: &str = "9.9.9.9:99";

fn mobile() -> Config {
    Config {
        mobility: true,
        ..config()
    }
}

fn world() -> World {
    World::with(mobile())
}

fn tight(per_user: u32, per_source: u32) -> World {
    let quotas = Quotas {
        total: 10,
        per_user,
        per_source,
    };
    World::with_quotas(mobile(), quotas)
}

fn ticket_of(reply: &Parsed) -> Vec<u8> {
    assert!(reply.is_success(), "{:?}", reply.error());
    reply.get(TICKET).expect("a ticket").to_vec()
}

/// A client with an allocation and a ticket.
fn allocate(world: &mut World, address: &str, user: &str) -> (Client, SocketAddr, Vec<u8>) {
    let mut client = Client::new(address, user);
    client.learn_nonce(world);
    let request = client.allocate_request().attr(TICKET, &[]);
    let reply = client.ask(world, request);
    let ticket = ticket_of(&reply);
    (client, reply.address(RELAYED).unwrap(), ticket)
}

/// The same client at another address, with a nonce for it.
fn elsewhere(world: &mut World, client: &Client, address: &str) -> Client {
    let mut moved = client.clone();
    moved.tuple.client = addr(address);
    moved.transaction += 1 << 20;
    moved.learn_nonce(world);
    moved
}

fn show(world: &mut World, client: &mut Client, ticket: &[u8], lifetime: Option<u32>) -> Parsed {
    let request = client.refresh_request(lifetime).attr(TICKET, ticket);
    client.ask(world, request)
}

fn error(world: &mut World, client: &mut Client, ticket: &[u8]) -> Option<u16> {
    show(world, client, ticket, None).error()
}

fn relays(world: &mut World, client: &mut Client) -> bool {
    let packet = client.send(PEER, b"x");
    world.data(client.tuple, &packet).is_some()
}

#[test]
fn it_is_forbidden_unless_it_is_allowed() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let request = client.allocate_request().attr(TICKET, &[]);
    assert_eq!(client.ask(&mut world, request).error(), Some(405));
    assert_eq!(error(&mut world, &mut client, &[7; 24]), Some(405));
    assert_eq!(world.relay.sessions(), 0);
    assert_eq!(world.relay.counters().errors_mobility_forbidden, 2);
}

#[test]
fn a_ticket_is_for_whoever_asks_and_the_same_to_a_retransmission() {
    let mut world = world();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let request = client.allocate_request().attr(TICKET, &[1]);
    assert_eq!(client.ask(&mut world, request).error(), Some(400));
    let request = client.allocate_request().attr(TICKET, &[]);
    let request = client.sign(request).bytes;
    let reply = world.ask(client.tuple, &request);
    // Some clients take it for text.
    let ticket = ticket_of(&reply);
    assert!(ticket.len() >= 16 && ticket.iter().all(u8::is_ascii_graphic));
    assert_eq!(world.ask(client.tuple, &request), reply);
    let mut other = Client::new("192.0.2.1:5001", "alice");
    other.learn_nonce(&mut world);
    let request = other.allocate_request();
    let reply = other.ask(&mut world, request);
    assert!(reply.is_success() && reply.get(TICKET).is_none());
}

#[test]
fn all_that_an_allocation_has_moves_and_nothing_stays() {
    let mut world = world();
    let (mut client, relayed, ticket) = allocate(&mut world, "192.0.2.1:5000", "alice");
    client.permit(&mut world, &[PEER]);
    client.bind(&mut world, 0x4001, "9.9.9.8:98");
    let id = world.id_of(relayed);
    let mut moved = elsewhere(&mut world, &client, "192.0.2.2:6000");
    world.announced.clear();
    let reply = show(&mut world, &mut moved, &ticket, Some(900));
    assert_eq!(reply.get(LIFETIME), Some(&900_u32.to_be_bytes()[..]));
    assert_ne!(ticket_of(&reply), ticket);
    let (from, to) = (client.tuple, Some(moved.tuple));
    let told = Action::ClientMoved { id, from, to };
    assert_eq!(world.announced, [told]);
    // Both ways, by permission and by channel.
    assert!(relays(&mut world, &mut moved));
    let data = [0x40, 1, 0, 1, 7];
    let sent = world.data(moved.tuple, &data);
    assert_eq!(sent, Some((addr("9.9.9.8:98"), vec![7])));
    let (to, _) = world.peer_sends(id, addr(PEER), b"x").unwrap();
    assert_eq!(to, moved.tuple);
    let (to, framed) = world.peer_sends(id, addr("9.9.9.8:98"), b"y").unwrap();
    assert_eq!((to, &framed[..]), (moved.tuple, &[0x40, 1, 0, 1, b'y'][..]));
    // The old five-tuple has nothing any more, and is free.
    assert!(!relays(&mut world, &mut client));
    assert_eq!(world.data(client.tuple, &data), None);
    assert_eq!(world.relay.counters().dropped_no_allocation, 2);
    assert_eq!(client.refresh(&mut world, None).error(), Some(437));
    assert_eq!(client.permit(&mut world, &[PEER]).error(), Some(437));
    let another = client.allocate(&mut world);
    assert_ne!(another, relayed);
    assert_eq!(world.relay.sessions(), 2);
    assert!(relays(&mut world, &mut moved));
    world.advance_secs(901);
    assert_eq!(world.relay.sessions(), 0);
}

#[test]
fn the_new_address_has_to_be_proved_first() {
    let mut world = world();
    let (mut client, _, ticket) = allocate(&mut world, "192.0.2.1:5000", "alice");
    client.permit(&mut world, &[PEER]);
    let mut moved = client.clone();
    moved.tuple.client = addr("192.0.2.2:6000");
    let unsigned = moved.refresh_request(None).attr(TICKET, &ticket);
    let reply = world.ask(moved.tuple, &unsigned.bytes);
    assert_eq!(reply.error(), Some(401));
    // The nonce is the old address's.
    let request = moved.refresh_request(None).attr(TICKET, &ticket);
    let reply = world.ask(moved.tuple, &moved.sign(request).bytes);
    assert_eq!(reply.error(), Some(438));
    moved.nonce = reply.get(NONCE).unwrap().to_vec();
    let request = moved.refresh_request(None).attr(TICKET, &ticket);
    let forged = moved.name(request).sign(&[0; 16]);
    let reply = world.ask(moved.tuple, &forged.bytes);
    assert_eq!(reply.error(), Some(401));
    assert!(relays(&mut world, &mut client));
    ticket_of(&show(&mut world, &mut moved, &ticket, None));
    assert!(relays(&mut world, &mut moved));
}

#[test]
fn only_the_newest_ticket_of_a_living_allocation_is_good() {
    let mut world = world();
    let (client, _, first) = allocate(&mut world, "192.0.2.1:5000", "alice");
    let mut moved = elsewhere(&mut world, &client, "192.0.2.2:6000");
    let second = ticket_of(&show(&mut world, &mut moved, &first, None));
    let mut third = elsewhere(&mut world, &client, "192.0.2.3:7000");
    assert_eq!(error(&mut world, &mut third, &first), Some(400));
    for place in 0..second.len() {
        let mut guess = second.clone();
        guess[place] ^= 1;
        assert_eq!(error(&mut world, &mut third, &guess), Some(400), "{place}");
    }
    for length in [0, 1, second.len() - 1] {
        assert_eq!(error(&mut world, &mut third, &second[..length]), Some(400));
    }
    moved.refresh(&mut world, Some(0));
    assert_eq!(error(&mut world, &mut third, &second), Some(400));
    // Nor of the next one in its place, and not of one whose time is over.
    let (_, _, next) = allocate(&mut world, "192.0.2.4:5000", "alice");
    assert_eq!(error(&mut world, &mut third, &second), Some(400));
    world.elapsed += std::time::Duration::from_secs(601);
    assert_eq!(error(&mut world, &mut third, &next), Some(400));
    assert_eq!(world.relay.sessions(), 0);
    assert_eq!(world.relay.counters().allocations_moved, 1);
}

#[test]
fn another_users_ticket_is_441() {
    let mut world = world();
    let (mut client, _, ticket) = allocate(&mut world, "192.0.2.1:5000", "alice");
    client.permit(&mut world, &[PEER]);
    let mut mallory = Client::new("192.0.2.66:6000", "mallory");
    mallory.learn_nonce(&mut world);
    assert_eq!(error(&mut world, &mut mallory, &ticket), Some(441));
    let reply = show(&mut world, &mut mallory, &ticket, Some(0));
    assert_eq!(reply.error(), Some(441));
    assert!(relays(&mut world, &mut client));
    // Nor can an allocation be joined to another one.
    mallory.allocate(&mut world);
    assert_eq!(error(&mut world, &mut mallory, &ticket), Some(400));
    assert!(relays(&mut world, &mut client));
}

#[test]
fn who_has_not_moved_shows_no_ticket() {
    let mut world = world();
    let (mut client, _, ticket) = allocate(&mut world, "192.0.2.1:5000", "alice");
    for shown in [&[][..], &ticket] {
        assert_eq!(error(&mut world, &mut client, shown), Some(400));
    }
    let reply = client.refresh(&mut world, None);
    assert!(reply.is_success() && reply.get(TICKET).is_none());
    let mut moved = elsewhere(&mut world, &client, "192.0.2.2:6000");
    ticket_of(&show(&mut world, &mut moved, &ticket, None));
}

#[test]
fn a_retransmitted_move_gets_the_same_reply() {
    let mut world = world();
    let (client, _, ticket) = allocate(&mut world, "192.0.2.1:5000", "alice");
    let mut moved = elsewhere(&mut world, &client, "192.0.2.2:6000");
    let request = moved.refresh_request(Some(1000)).attr(TICKET, &ticket);
    let request = moved.sign(request).bytes;
    let reply = world.ask(moved.tuple, &request);
    world.advance_secs(40);
    assert_eq!(world.ask(moved.tuple, &request), reply);
    let counters = world.relay.counters();
    let seen = (counters.allocations_moved, counters.move_replays);
    assert_eq!(seen, (1, 1));
    // Another request with the used ticket is no retransmission.
    assert_eq!(error(&mut world, &mut moved, &ticket), Some(400));
    // Nor is the same one from a third place.
    let mut third = elsewhere(&mut world, &client, "192.0.2.3:7000");
    third.transaction = moved.transaction - 2;
    assert_eq!(error(&mut world, &mut third, &ticket), Some(400));
}

#[test]
fn a_client_can_end_its_allocation_from_elsewhere() {
    let mut world = tight(1, 1);
    let (client, _, ticket) = allocate(&mut world, "192.0.2.1:5000", "alice");
    let mut moved = elsewhere(&mut world, &client, "192.0.2.2:6000");
    let request = moved.refresh_request(Some(0)).attr(TICKET, &ticket);
    let request = moved.sign(request).bytes;
    let reply = world.ask(moved.tuple, &request);
    assert_eq!(reply.get(LIFETIME), Some(&[0; 4][..]));
    assert!(reply.get(TICKET).is_none());
    assert_eq!(world.relay.sessions(), 0);
    assert_eq!(world.ask(moved.tuple, &request), reply);
    assert_eq!(error(&mut world, &mut moved, &ticket), Some(400));
    moved.allocate(&mut world);
}

#[test]
fn moving_gives_no_user_a_second_place() {
    let mut world = tight(1, 10);
    let (mut client, _, mut ticket) = allocate(&mut world, "192.0.2.1:5000", "alice");
    for n in 2..12 {
        let mut moved = elsewhere(&mut world, &client, &format!("192.0.2.{n}:5000"));
        ticket = ticket_of(&show(&mut world, &mut moved, &ticket, None));
        // Not where it was, not where it is going to be.
        for place in [
            &mut client,
            &mut elsewhere(&mut world, &moved, "192.0.2.99:1"),
        ] {
            let request = place.allocate_request();
            assert_eq!(place.ask(&mut world, request).error(), Some(486));
        }
        client = moved;
    }
    client.refresh(&mut world, Some(0));
    assert_eq!(world.ledger.0.lock().unwrap().total(), 0);
    client.allocate(&mut world);
}

#[test]
fn a_source_that_is_full_takes_nobody_in_and_one_that_was_left_has_room() {
    let mut world = tight(10, 1);
    let (mut alice, relayed, ticket) = allocate(&mut world, "192.0.2.1:5000", "alice");
    alice.permit(&mut world, &[PEER]);
    let (mut bob, _, _) = allocate(&mut world, "192.0.2.2:5000", "bob");
    let mut moved = elsewhere(&mut world, &alice, "192.0.2.2:6000");
    let reply = show(&mut world, &mut moved, &ticket, Some(3600));
    assert_eq!(reply.error(), Some(486));
    // Nothing moved, and nothing was prolonged.
    assert!(relays(&mut world, &mut alice) && !relays(&mut world, &mut moved));
    bob.refresh(&mut world, Some(0));
    let ticket = ticket_of(&show(&mut world, &mut moved, &ticket, None));
    assert!(world.id_of(relayed).slot() == 0 && relays(&mut world, &mut moved));
    // Within one source there is always room; what was left has some now.
    let mut again = elsewhere(&mut world, &moved, "192.0.2.2:7000");
    ticket_of(&show(&mut world, &mut again, &ticket, None));
    let mut carol = Client::new("192.0.2.1:9000", "carol");
    carol.allocate(&mut world);
    let mut dan = Client::new("192.0.2.2:9000", "dan");
    dan.learn_nonce(&mut world);
    let request = dan.allocate_request();
    assert_eq!(dan.ask(&mut world, request).error(), Some(486));
}

#[test]
fn a_refused_move_prolongs_nothing() {
    let mut world = tight(10, 1);
    let (alice, _, ticket) = allocate(&mut world, "192.0.2.1:5000", "alice");
    let mut bob = Client::new("192.0.2.2:5000", "bob");
    bob.allocate(&mut world);
    let mut moved = elsewhere(&mut world, &alice, "192.0.2.2:6000");
    let reply = show(&mut world, &mut moved, &ticket, Some(3600));
    assert_eq!(reply.error(), Some(486));
    world.advance_secs(601);
    assert_eq!(world.relay.sessions(), 0);
}

#[test]
fn a_drain_treats_a_move_as_the_refresh_it_is() {
    let mut world = world();
    let (client, _, ticket) = allocate(&mut world, "192.0.2.1:5000", "alice");
    let mut moved = elsewhere(&mut world, &client, "192.0.2.2:6000");
    let alternates = Alternates::default();
    world.ledger.0.lock().unwrap().set_draining(true);
    world.relay.drain_mode(Drain::Draining {
        alternates: alternates.clone(),
    });
    let reply = show(&mut world, &mut moved, &ticket, Some(3600));
    assert_eq!(reply.get(LIFETIME), Some(&600_u32.to_be_bytes()[..]));
    let ticket = ticket_of(&reply);
    world.relay.drain_mode(Drain::RefuseRefresh { alternates });
    let mut third = elsewhere(&mut world, &client, "192.0.2.3:7000");
    assert_eq!(error(&mut world, &mut third, &ticket), Some(437));
    assert!(world.relay.serves(&moved.tuple) && !world.relay.serves(&third.tuple));
    let reply = show(&mut world, &mut third, &ticket, Some(0));
    assert!(reply.is_success());
    assert_eq!(world.relay.sessions(), 0);
}

#[test]
fn both_addresses_of_a_dual_allocation_move() {
    let mut world = world();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let request = client.allocate_request().attr(TICKET, &[]);
    let request = request.attr(ADDITIONAL_FAMILY, &[2, 0, 0, 0]);
    let reply = client.ask(&mut world, request);
    let ticket = ticket_of(&reply);
    let peers = [PEER, "[2a00::9]:99"];
    client.permit(&mut world, &peers);
    // To another family, and another of the server's addresses.
    let mut moved = client.clone();
    moved.tuple.client = addr("[2a00::1]:6000");
    moved.tuple.server = addr("[2a00::44]:3478");
    moved.learn_nonce(&mut world);
    ticket_of(&show(&mut world, &mut moved, &ticket, None));
    let id = *world.sockets.keys().map(|(id, _)| id).next().unwrap();
    assert_eq!(world.sockets.len(), 2);
    for peer in peers {
        let packet = moved.send(peer, b"x");
        assert!(world.data(moved.tuple, &packet).is_some());
        let (to, _) = world.peer_sends(id, addr(peer), b"x").unwrap();
        assert_eq!(to, moved.tuple);
    }
}

fn over(transport: Transport, tuple: FiveTuple) -> FiveTuple {
    FiveTuple { transport, ..tuple }
}

/// A TCP client with an allocation and a ticket, whose connection has ended.
fn gone(world: &mut World) -> (Client, SocketAddr, Vec<u8>) {
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.tuple = over(Transport::Tcp, client.tuple);
    client.learn_nonce(world);
    let request = client.allocate_request().attr(TICKET, &[]);
    let reply = client.ask(world, request);
    client.permit(world, &[PEER]);
    let now = world.now();
    world.relay.client_gone(now, &client.tuple);
    world.drain();
    let ticket = ticket_of(&reply);
    (client, reply.address(RELAYED).unwrap(), ticket)
}

#[test]
fn an_allocation_waits_for_its_client_to_connect_again() {
    let mut world = world();
    let (client, relayed, ticket) = gone(&mut world);
    let id = world.id_of(relayed);
    let (from, to) = (client.tuple, None);
    let told = Action::ClientMoved { id, from, to };
    assert_eq!(world.announced.last(), Some(&told));
    assert_eq!(world.peer_sends(id, addr(PEER), b"x"), None);
    assert_eq!(world.relay.counters().dropped_client_away, 1);
    // Whoever is on its five-tuple next has nothing of it.
    assert!(!world.relay.serves(&client.tuple));
    let mut bob = Client::new("192.0.2.1:5000", "bob");
    bob.tuple = client.tuple;
    bob.allocate(&mut world);
    let now = world.now();
    world.relay.client_gone(now, &bob.tuple);
    world.drain();
    assert_eq!(world.relay.counters().allocations_disconnected, 1);
    // Over UDP, too.
    let mut moved = elsewhere(&mut world, &client, "192.0.2.2:6000");
    moved.tuple = over(Transport::Udp, moved.tuple);
    moved.learn_nonce(&mut world);
    ticket_of(&show(&mut world, &mut moved, &ticket, None));
    let (to, _) = world.peer_sends(id, addr(PEER), b"x").unwrap();
    assert_eq!(to, moved.tuple);
}

#[test]
fn a_client_comes_back_for_the_one_address_that_is_left() {
    let mut world = world();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.tuple = over(Transport::Tcp, client.tuple);
    client.learn_nonce(&mut world);
    let request = client.allocate_request().attr(TICKET, &[]);
    let request = request.attr(ADDITIONAL_FAMILY, &[2, 0, 0, 0]);
    let ticket = ticket_of(&client.ask(&mut world, request));
    let longer = client
        .refresh_request(Some(1200))
        .attr(FAMILY, &[2, 0, 0, 0]);
    assert!(client.ask(&mut world, longer).is_success());
    let now = world.now();
    world.relay.client_gone(now, &client.tuple);
    world.drain();
    // No timeout has said so yet.
    let mut moved = elsewhere(&mut world, &client, "192.0.2.2:6000");
    world.elapsed += std::time::Duration::from_secs(700);
    ticket_of(&show(&mut world, &mut moved, &ticket, None));
    let left: Vec<_> = world.sockets.keys().map(|(_, family)| *family).collect();
    assert_eq!(left, [Family::V6]);
}

#[test]
fn an_allocation_whose_client_is_away_ends_like_any_other() {
    let mut world = world();
    gone(&mut world);
    assert!(world.relay.unserve(|_| true));
    assert_eq!(world.relay.sessions(), 1);
    world.advance_secs(601);
    assert_eq!(world.relay.sessions(), 0);
    gone(&mut world);
    let config = Config {
        revoked: Revocations::new(["alice"], [""; 0]).unwrap(),
        ..mobile()
    };
    world.relay.reconfigure(Arc::new(config));
    world.advance_secs(1);
    assert_eq!(world.relay.sessions(), 0);
    assert_eq!(world.relay.counters().allocations_revoked, 1);
}

#[test]
fn a_ticket_of_another_worker_is_handed_to_it() {
    let worker = |index| {
        World::with(Config {
            ports: PortSlice::new(50_000..=50_999, index, 3).unwrap(),
            ..mobile()
        })
    };
    let mut workers = [worker(0), worker(1), worker(2)];
    for (here, there) in [(0_usize, 2_usize), (1, 0), (2, 1)] {
        let (client, _, ticket) = allocate(&mut workers[there], "192.0.2.1:5000", "alice");
        let mut moved = elsewhere(&mut workers[here], &client, "192.0.2.2:6000");
        let request = moved.refresh_request(None).attr(TICKET, &ticket);
        let bytes = moved.sign(request).bytes;
        workers[here].replies.clear();
        workers[here].give(moved.tuple, &bytes);
        assert!(workers[here].replies.is_empty());
        let forward = Action::Forward {
            worker: there as u16,
            tuple: moved.tuple,
            bytes: bytes.clone(),
        };
        assert_eq!(workers[here].announced.pop(), Some(forward));
        ticket_of(&workers[there].ask(moved.tuple, &bytes));
        assert!(workers[there].relay.serves(&moved.tuple));
        assert!(!workers[there].relay.serves(&client.tuple));
        // Only for who proved something, and no connection.
        let strange = moved.refresh_request(None).attr(TICKET, &ticket);
        workers[here].give(moved.tuple, &strange.bytes);
        let mut stream = moved.clone();
        stream.tuple = over(Transport::Tcp, stream.tuple);
        assert_eq!(error(&mut workers[here], &mut stream, &ticket), Some(508));
        assert_eq!(workers[here].relay.counters().requests_forwarded, 1);
        moved.refresh(&mut workers[there], Some(0));
    }
}

#[test]
fn a_ticket_outlives_the_key_it_was_hidden_under() {
    let mut world = world();
    let (client, _, ticket) = allocate(&mut world, "192.0.2.1:5000", "alice");
    let config = Config {
        nonce_keys: NonceKeys {
            current: NonceKey::new(&[2; 32]),
            previous: Some(NonceKey::new(&[1; 32])),
        },
        ..mobile()
    };
    world.relay.reconfigure(Arc::new(config));
    let mut moved = elsewhere(&mut world, &client, "192.0.2.2:6000");
    let newer = ticket_of(&show(&mut world, &mut moved, &ticket, None));
    let mut third = elsewhere(&mut world, &client, "192.0.2.3:7000");
    ticket_of(&show(&mut world, &mut third, &newer, None));
}

#[test]
fn ten_thousand_moves_leave_one_allocation() {
    let mut world = tight(1, 1);
    let (mut client, _, mut ticket) = allocate(&mut world, "192.0.2.1:5000", "alice");
    let before = world.relay.footprint();
    for n in 0..10_000_u32 {
        let port = 1024 + n % 50_000;
        client.tuple.client = addr(&format!("192.0.2.{}:{port}", 1 + n % 2));
        if n % 100 < 2 {
            client.learn_nonce(&mut world);
        }
        let request = client.refresh_request(Some(3600)).attr(TICKET, &ticket);
        let reply = world.ask(client.tuple, &client.sign(request).bytes);
        if reply.error() == Some(438) {
            client.nonce = reply.get(NONCE).unwrap().to_vec();
            ticket = ticket_of(&show(&mut world, &mut client, &ticket, Some(3600)));
        } else {
            ticket = ticket_of(&reply);
        }
        assert!(reply.get(MAPPED).is_none());
    }
    let sources = world.relay.footprint().sources;
    assert_eq!(
        world.relay.footprint(),
        turnd_core::Footprint { sources, ..before }
    );
    client.refresh(&mut world, Some(0));
    assert_eq!(world.ledger.0.lock().unwrap().total(), 0);
}

#[test]
fn a_client_moves_with_the_credential_it_has_when_the_secret_is_gone() {
    let mut world = world();
    let (client, _, ticket) = allocate(&mut world, "192.0.2.1:5000", "alice");
    let config = Config {
        secrets: ring("another secret of some length", &[]),
        ..mobile()
    };
    world.relay.reconfigure(Arc::new(config));
    let mut moved = elsewhere(&mut world, &client, "192.0.2.2:6000");
    ticket_of(&show(&mut world, &mut moved, &ticket, None));
    assert!(moved.refresh(&mut world, None).is_success());
}
