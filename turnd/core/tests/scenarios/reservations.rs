//! EVEN-PORT with the R bit and RESERVATION-TOKEN: RFC 8656 section 7.2.

use std::net::SocketAddr;
use std::time::Duration;

use turnd_core::quota::Quotas;
use turnd_core::{Action, Config, OpenError, PortSlice};

use crate::codec::{Build, EVEN_PORT, RELAYED, RESERVATION};
use crate::world::{Client, World, config};

fn client(world: &mut World, port: u16) -> Client {
    let mut client = Client::new(&format!("192.0.2.1:{port}"), "alice");
    client.learn_nonce(world);
    client
}

fn pair(client: &mut Client) -> Build {
    client.allocate_request().attr(EVEN_PORT, &[0x80])
}

/// A client with an even port: its address, and the token of the port above.
fn reserve(world: &mut World, port: u16) -> (Client, SocketAddr, Vec<u8>) {
    let mut client = client(world, port);
    let request = pair(&mut client);
    let reply = client.ask(world, request);
    let token = reply.get(RESERVATION).expect("a token").to_vec();
    (client, reply.address(RELAYED).unwrap(), token)
}

fn redeem(world: &mut World, client: &mut Client, token: &[u8]) -> Result<SocketAddr, u16> {
    let request = client.allocate_request().attr(RESERVATION, token);
    let reply = client.ask(world, request);
    reply
        .address(RELAYED)
        .ok_or_else(|| reply.error().unwrap_or(0))
}

#[test]
fn the_next_higher_port_is_kept_for_whoever_has_the_token() {
    let mut world = World::new();
    let (_first, relayed, token) = reserve(&mut world, 5000);
    assert_eq!((relayed.port() % 2, token.len()), (0, 8));
    let mut second = client(&mut world, 5001);
    let above = SocketAddr::new(relayed.ip(), relayed.port() + 1);
    assert_eq!(redeem(&mut world, &mut second, &token), Ok(above));
    // A token is good once.
    let mut third = client(&mut world, 5002);
    assert_eq!(redeem(&mut world, &mut third, &token), Err(508));
    let counters = world.relay.counters();
    let seen = (counters.reservations_made, counters.reservations_redeemed);
    assert_eq!(seen, (1, 1));
    assert_eq!(world.relay.footprint().reservations, 0);
}

#[test]
fn retransmissions_of_both_requests_get_the_same_replies() {
    let mut world = World::new();
    let mut first = client(&mut world, 5000);
    let request = pair(&mut first);
    let request = first.sign(request).bytes;
    let reply = world.ask(first.tuple, &request);
    assert_eq!(world.ask(first.tuple, &request), reply);
    assert_eq!(world.relay.footprint().reservations, 1);
    let mut second = client(&mut world, 5001);
    let token = reply.get(RESERVATION).unwrap();
    let request = second.allocate_request().attr(RESERVATION, token);
    let request = second.sign(request).bytes;
    let reply = world.ask(second.tuple, &request);
    assert!(reply.is_success());
    assert_eq!(world.ask(second.tuple, &request), reply);
}

#[test]
fn a_token_of_another_worker_is_handed_to_it() {
    let worker = |index| {
        World::with(Config {
            ports: PortSlice::new(50_000..=50_999, index, 3).unwrap(),
            ..config()
        })
    };
    let mut workers = [worker(0), worker(1), worker(2)];
    for (here, there) in [(0_usize, 2_usize), (1, 0), (2, 1)] {
        let (_first, relayed, token) = reserve(&mut workers[there], 5000 + here as u16);
        let mut second = client(&mut workers[here], 6000 + here as u16);
        let request = second.allocate_request().attr(RESERVATION, &token);
        let bytes = second.sign(request).bytes;
        workers[here].replies.clear();
        workers[here].give(second.tuple, &bytes);
        assert!(workers[here].replies.is_empty());
        let forward = Action::Forward {
            worker: there as u16,
            tuple: second.tuple,
            bytes: bytes.clone(),
        };
        assert_eq!(workers[here].announced.pop(), Some(forward));
        assert!(!workers[here].relay.serves(&second.tuple));
        // The other one answers.
        let reply = workers[there].ask(second.tuple, &bytes);
        let above = SocketAddr::new(relayed.ip(), relayed.port() + 1);
        assert_eq!(reply.address(RELAYED), Some(above));
        assert!(workers[there].relay.serves(&second.tuple));
        // Whoever proved nothing causes no such work, and a connection cannot be handed over.
        let strange = second.allocate_request().attr(RESERVATION, &token);
        workers[here].give(second.tuple, &strange.bytes);
        let mut stream = second.clone();
        stream.tuple.transport = turnd_core::Transport::Tcp;
        let request = stream.allocate_request().attr(RESERVATION, &token);
        assert_eq!(stream.ask(&mut workers[here], request).error(), Some(508));
        assert_eq!(workers[here].relay.counters().requests_forwarded, 1);
    }
}

#[test]
fn nobody_else_can_use_the_token_or_get_the_port() {
    let mut world = World::with(Config {
        ports: PortSlice::new(50_000..=50_001, 0, 1).unwrap(),
        ..config()
    });
    let (_first, relayed, token) = reserve(&mut world, 5000);
    let mut mallory = Client::new("192.0.2.9:5000", "mallory");
    mallory.learn_nonce(&mut world);
    assert_eq!(redeem(&mut world, &mut mallory, &token), Err(508));
    let request = mallory.allocate_request();
    assert_eq!(mallory.ask(&mut world, request).error(), Some(508));
    let mut second = client(&mut world, 5001);
    let mut guess = token.clone();
    guess[3] ^= 1;
    assert_eq!(redeem(&mut world, &mut second, &guess), Err(508));
    let above = SocketAddr::new(relayed.ip(), relayed.port() + 1);
    assert_eq!(redeem(&mut world, &mut second, &token), Ok(above));
}

#[test]
fn it_lasts_thirty_seconds_at_least_and_then_the_port_is_free() {
    let mut world = World::with(Config {
        ports: PortSlice::new(50_000..=50_003, 0, 1).unwrap(),
        ..config()
    });
    let (_first, _, token) = reserve(&mut world, 5000);
    world.advance_secs(30);
    let mut second = client(&mut world, 5001);
    assert!(redeem(&mut world, &mut second, &token).is_ok());
    let (_third, _, token) = reserve(&mut world, 5002);
    world.advance_secs(35);
    assert_eq!(world.relay.footprint().ports, 3);
    assert_eq!(world.relay.counters().reservations_expired, 1);
    let mut fourth = client(&mut world, 5003);
    assert_eq!(redeem(&mut world, &mut fourth, &token), Err(508));
    assert!(fourth.allocate(&mut world).port() % 2 == 1);
}

#[test]
fn it_outlives_the_allocation_that_made_it() {
    let mut world = World::new();
    let (mut first, _, token) = reserve(&mut world, 5000);
    first.refresh(&mut world, Some(0));
    assert_eq!(world.relay.footprint().ports, 1);
    let mut second = client(&mut world, 5001);
    assert!(redeem(&mut world, &mut second, &token).is_ok());
}

#[test]
fn no_pair_is_508_and_takes_nothing() {
    let mut world = World::with(Config {
        ports: PortSlice::new(50_000..=50_001, 0, 1).unwrap(),
        ..config()
    });
    let mut odd = client(&mut world, 5000);
    while odd.allocate(&mut world).port().is_multiple_of(2) {
        odd.refresh(&mut world, Some(0));
    }
    let mut second = client(&mut world, 5001);
    let request = pair(&mut second);
    assert_eq!(second.ask(&mut world, request).error(), Some(508));
    assert_eq!(world.relay.footprint().ports, 1);
}

#[test]
fn a_reservation_has_its_place_in_the_quota() {
    let quotas = Quotas {
        total: 10,
        per_user: 2,
        per_source: 10,
    };
    let mut world = World::with_quotas(config(), quotas);
    let (mut first, _, token) = reserve(&mut world, 5000);
    let mut second = client(&mut world, 5001);
    let request = second.allocate_request();
    assert_eq!(second.ask(&mut world, request).error(), Some(486));
    assert!(redeem(&mut world, &mut second, &token).is_ok());
    // No room for the pair: neither of its ports stays taken.
    second.refresh(&mut world, Some(0));
    let request = pair(&mut second);
    assert_eq!(second.ask(&mut world, request).error(), Some(486));
    assert_eq!(world.relay.footprint().ports, 1);
    first.refresh(&mut world, Some(0));
    assert_eq!(world.ledger.0.lock().unwrap().total(), 0);
}

#[test]
fn what_is_reserved_moves_with_a_pair_that_has_to_be_tried_again() {
    let mut world = World::new();
    world.auto_open = false;
    let mut first = client(&mut world, 5000);
    let request = pair(&mut first);
    world.give(first.tuple, &first.sign(request).bytes);
    let first_try = world.asked[0].1.port();
    world.answer(Err(OpenError::InUse));
    assert_eq!(world.relay.footprint().ports, 2);
    world.replies.clear();
    world.answer(Ok(()));
    let (_, reply) = world.replies.pop_front().unwrap();
    let relayed = reply.address(RELAYED).unwrap();
    assert_ne!(relayed.port(), first_try);
    let mut second = client(&mut world, 5001);
    let token = reply.get(RESERVATION).unwrap();
    let request = second.allocate_request().attr(RESERVATION, token);
    world.give(second.tuple, &second.sign(request).bytes);
    assert_eq!(world.asked[0].1.port(), relayed.port() + 1);
    // The one port it stands for cannot be replaced by another.
    world.replies.clear();
    world.answer(Err(OpenError::InUse));
    assert_eq!(world.replies[0].1.error(), Some(508));
    assert_eq!(world.relay.footprint().ports, 1);
}

/// A shell that stood still answers late: the reservation has expired, and its port is given back
/// once, not twice.
#[test]
fn a_pair_that_is_tried_again_after_its_reservation_expired_gives_each_port_back_once() {
    let mut world = World::new();
    let mut second = client(&mut world, 5001);
    world.auto_open = false;
    let mut first = client(&mut world, 5000);
    let request = pair(&mut first);
    world.give(first.tuple, &first.sign(request).bytes);
    world.elapsed += Duration::from_secs(36);
    let request = second.allocate_request().attr(RESERVATION, &[0; 8]);
    world.give(second.tuple, &second.sign(request).bytes);
    assert_eq!(world.relay.counters().reservations_expired, 1);
    assert_eq!(world.relay.footprint().ports, 1);
    world.answer(Err(OpenError::InUse));
    assert_eq!(world.relay.footprint().ports, 1);
    world.answer(Ok(()));
    assert_eq!(world.relay.footprint().ports, 1);
}

#[test]
fn an_allocation_that_never_was_reserves_nothing() {
    let mut world = World::new();
    world.auto_open = false;
    let mut first = client(&mut world, 5000);
    let request = pair(&mut first);
    world.give(first.tuple, &first.sign(request).bytes);
    world.answer(Err(OpenError::Failed));
    let footprint = world.relay.footprint();
    assert_eq!((footprint.ports, footprint.reservations), (0, 0));
    assert_eq!(world.ledger.0.lock().unwrap().total(), 0);
}

#[test]
fn the_number_of_reservations_is_capped() {
    let quotas = Quotas {
        total: 10_000,
        per_user: 10_000,
        per_source: 10_000,
    };
    let mut wide = config();
    wide.ports = PortSlice::new(10_000..=19_999, 0, 1).unwrap();
    let mut world = World::with_quotas(wide, quotas);
    let mut first = client(&mut world, 5000);
    for _ in 0..turnd_core::limits::RESERVATIONS {
        let request = pair(&mut first);
        assert!(first.ask(&mut world, request).is_success());
        first.refresh(&mut world, Some(0));
    }
    let request = pair(&mut first);
    assert_eq!(first.ask(&mut world, request).error(), Some(508));
    assert_eq!(
        world.relay.footprint().ports,
        turnd_core::limits::RESERVATIONS
    );
    world.advance_secs(35);
    assert_eq!(world.relay.footprint().ports, 0);
}

#[test]
fn a_hundred_thousand_cycles_leave_the_ports_as_they_were() {
    let mut world = World::new();
    let ttl = 1_000_000;
    let mut client = Client::with_credential("192.0.2.1:5000", "alice", ttl, crate::world::SECRET);
    client.learn_nonce(&mut world);
    let before = world.relay.footprint();
    let answer = |world: &mut World, build: Build, client: &Client| {
        let now = world.now();
        let bytes = client.sign(build).bytes;
        let _ = world.relay.handle_client(now, client.tuple, &bytes);
        let mut token = None;
        while let Some(action) = world.relay.poll_action() {
            match action {
                Action::OpenRelay { id, address } => {
                    let family = turnd_core::Family::of(address.ip());
                    world.relay.socket_opened(now, id, family, Ok(address));
                }
                Action::Send { bytes, .. } => {
                    let reply = crate::codec::Parsed::new(&bytes);
                    assert!(reply.is_success(), "{:?}", reply.error());
                    token = reply.get(RESERVATION).map(<[u8]>::to_vec);
                }
                _ => {}
            }
        }
        token
    };
    for cycle in 0..100_000_u32 {
        // Even ports alone, pairs, pairs that are used, both families.
        let request = client.allocate_request();
        let request = match cycle % 4 {
            0 => request.attr(EVEN_PORT, &[0]),
            1 | 2 => request.attr(EVEN_PORT, &[0x80]),
            _ => request.attr(crate::codec::ADDITIONAL_FAMILY, &[2, 0, 0, 0]),
        };
        let token = answer(&mut world, request, &client);
        let end = client.refresh_request(Some(0));
        answer(&mut world, end, &client);
        if let Some(token) = token.filter(|_| cycle % 4 == 2) {
            let request = client.allocate_request().attr(RESERVATION, &token);
            answer(&mut world, request, &client);
            let end = client.refresh_request(Some(0));
            answer(&mut world, end, &client);
        }
        if cycle % 100 == 0 {
            world.elapsed += Duration::from_secs(36);
            let now = world.now();
            world.relay.handle_timeout(now);
            client.learn_nonce(&mut world);
        }
    }
    world.advance_secs(36);
    assert_eq!(
        world.relay.footprint(),
        turnd_core::Footprint {
            slots: 1,
            sources: before.sources,
            ..before
        }
    );
    world.relay.check_invariants();
}
