//! Challenges of honest clients cost their address nothing in the end, and liars gain nothing by that.

use turnd_core::quota::Quotas;
use turnd_core::{Config, PortSlice, Realm};

use crate::codec::{self, ALLOCATE, BINDING, Build, NONCE, REALM, TRANSPORT, USERNAME};
use crate::world::{Client, REALM_NAME, SECRET, World, config, secret};

const WIDE: Quotas = Quotas {
    total: 10_000,
    per_user: 10_000,
    per_source: 10_000,
};

/// Bytes of an IPv4 packet with this payload.
fn packet(bytes: &[u8]) -> usize {
    28 + bytes.len()
}

fn world() -> World {
    world_of(REALM_NAME)
}

fn world_of(realm: &str) -> World {
    World::with_quotas(
        Config {
            realm: Realm::new(realm).unwrap(),
            ports: PortSlice::new(50_000..=59_999, 0, 1).unwrap(),
            ..config()
        },
        WIDE,
    )
}

/// A client of the one address at the port.
fn client(port: u16) -> Client {
    Client::new(&format!("192.0.2.1:{port}"), &format!("user-{port}"))
}

/// Bytes of what strangers at the one address get for `times` requests.
fn got_by_strangers(world: &mut World, times: usize) -> usize {
    let mut tuple = client(1).tuple;
    let mut got = 0;
    for n in 0..times {
        tuple.client.set_port(1000 + n as u16 % 1000);
        world.replies.clear();
        world.give(tuple, &Build::request(BINDING, 1).bytes);
        got += world
            .replies
            .iter()
            .map(|(_, r)| packet(&r.bytes))
            .sum::<usize>();
    }
    got
}

/// Uses up all that strangers at the one address may be sent.
fn exhaust(world: &mut World) {
    got_by_strangers(world, 6000);
    let mut late = client(2);
    let request = late.allocate_request();
    world.replies.clear();
    world.give(late.tuple, &request.bytes);
    assert!(world.replies.is_empty(), "strangers are still answered");
}

#[test]
fn thousands_log_in_from_one_address_one_after_the_other() {
    let mut world = world();
    for window in 0..50_u16 {
        let mut clients: Vec<_> = (0..100).map(|n| client(2000 + window * 100 + n)).collect();
        for client in &mut clients {
            client.learn_nonce(&mut world);
        }
        for client in &mut clients {
            let request = client.allocate_request();
            let reply = client.ask(&mut world, request);
            assert!(reply.is_success(), "{:?}", reply.error());
        }
        // So that the test takes no time of its own: their logins are what it is about.
        for client in &mut clients {
            client.refresh(&mut world, Some(0));
        }
    }
    assert_eq!(world.relay.counters().allocations_created, 5000);
    assert_eq!(world.relay.counters().dropped_unverified_limit, 0);
}

/// What strangers get for a thousand requests after something has happened, when they had nothing
/// left before it.
fn after(happens: impl FnOnce(&mut World, &mut Client)) -> usize {
    let mut world = world();
    let mut client = client(2000);
    client.learn_nonce(&mut world);
    exhaust(&mut world);
    happens(&mut world, &mut client);
    got_by_strangers(&mut world, 1000)
}

#[test]
fn an_allocation_gives_back_one_challenge_and_its_retransmissions_none() {
    let nothing = after(|_, _| {});
    let once = after(|world, client| {
        let request = client.allocate_request();
        assert!(client.ask(world, request).is_success());
    });
    let challenge = 28 + 20 + 8 + (4 + 12) + (4 + 36) + (4 + 8);
    let gained = once - nothing;
    assert!(gained.abs_diff(challenge) < 60, "{gained}");
    let often = after(|world, client| {
        let request = client.allocate_request();
        let request = client.sign(request).bytes;
        for _ in 0..100 {
            assert!(world.ask(client.tuple, &request).is_success());
        }
        client.refresh(world, None);
        client.permit(world, &["9.9.9.9:9"]);
    });
    assert_eq!(often, once);
}

#[test]
fn what_is_refused_gives_nothing_back() {
    let nothing = after(|_, _| {});
    let transport = after(|world, client| {
        for _ in 0..100 {
            let request = client.request(ALLOCATE).attr(TRANSPORT, &[6, 0, 0, 0]);
            assert_eq!(client.ask(world, request).error(), Some(442));
        }
    });
    let mismatch = after(|world, client| {
        for _ in 0..100 {
            assert_eq!(client.refresh(world, None).error(), Some(437));
        }
    });
    assert_eq!((transport, mismatch), (nothing, nothing));
}

#[test]
fn whoever_has_no_credential_or_not_the_address_is_a_stranger() {
    let nothing = after(|_, _| {});
    for (wrong_key, wrong_port) in [(true, false), (false, true)] {
        let (mut given, mut got) = (0, 0);
        let later = after(|world, client| {
            if wrong_key {
                client.key = [0; 16];
            }
            if wrong_port {
                // Whoever has it reads what is sent to another port.
                client.tuple.client.set_port(3000);
            }
            for _ in 0..100 {
                let request = client.allocate_request();
                let request = client.sign(request).bytes;
                given += packet(&request);
                world.replies.clear();
                world.give(client.tuple, &request);
                for (_, reply) in &world.replies {
                    assert!(matches!(reply.error(), Some(401 | 438)));
                    got += packet(&reply.bytes);
                }
            }
        });
        let gained = later - nothing;
        assert!(
            got + gained <= given * 7 / 8 + 60,
            "{got} and {gained} for {given}"
        );
    }
}

#[test]
fn one_nonce_used_again_and_again_brings_no_more_than_was_sent() {
    // A long one, which the client leaves out: its request is shorter than the challenge.
    let realm = "r".repeat(turnd_core::limits::REALM);
    for named in [&realm, ""] {
        let mut world = world_of(&realm);
        let mut client = client(2000);
        let password = credentials::password(&secret(SECRET), &client.username);
        client.key = codec::key(&client.username, &realm, &password);
        let request = client.allocate_request();
        let reply = world.ask(client.tuple, &request.bytes);
        client.nonce = reply.get(NONCE).unwrap().to_vec();
        exhaust(&mut world);
        let (mut given, mut got) = (0, 0);
        for _ in 0..500 {
            let request = client.allocate_request();
            let request = request
                .attr(USERNAME, client.username.as_bytes())
                .attr(REALM, named.as_bytes())
                .attr(NONCE, &client.nonce)
                .sign(&client.key);
            given += packet(&request.bytes);
            assert!(world.ask(client.tuple, &request.bytes).is_success());
            client.refresh(&mut world, Some(0));
            given += 10 * packet(&Build::request(BINDING, 1).bytes) * 7 / 8;
            got += got_by_strangers(&mut world, 10);
        }
        // A reply's worth may have been left.
        assert!(got <= given + 60, "{got} for {given}");
    }
}
