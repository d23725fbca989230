//! The long-term mechanism: RFC 8489 section 9.2, with time-limited credentials and stateless
//! nonces.

use turnd_core::{Config, NonceKey, NonceKeys};

use crate::codec::{
    ALGORITHMS, ALLOCATE, Build, INTEGRITY, INTEGRITY_SHA256, LIFETIME, NONCE, REALM, REFRESH,
    RELAYED, SOFTWARE, TRANSPORT, USERNAME,
};
use crate::world::{Client, REALM_NAME, World, addr, config, ring};

const UDP: [u8; 4] = [17, 0, 0, 0];

#[test]
fn a_request_without_integrity_gets_401_with_realm_and_nonce() {
    let mut world = World::with(Config {
        software: Some("Turnfleet".into()),
        ..config()
    });
    let client = Client::new("192.0.2.1:5000", "alice");
    for method in [ALLOCATE, REFRESH, 8, 9] {
        let request = Build::request(method, 1).attr(TRANSPORT, &UDP);
        let reply = world.ask(client.tuple, &request.bytes);
        assert_eq!(reply.error(), Some(401));
        assert_eq!(
            reply.kinds(),
            [0x09, REALM, NONCE, ALGORITHMS],
            "nothing more"
        );
        assert!(reply.bytes.len() + 28 <= 3 * (request.bytes.len() + 28));
    }
}

#[test]
fn a_challenge_much_larger_than_the_request_is_withheld() {
    let realm = "r".repeat(turnd_core::limits::REALM);
    let mut world = World::with(Config {
        realm: turnd_core::Realm::new(&realm).unwrap(),
        ..config()
    });
    let client = Client::new("192.0.2.1:5000", "alice");
    // No honest Allocate is as short as this one.
    world.give(client.tuple, &Build::request(ALLOCATE, 1).bytes);
    assert!(world.replies.is_empty());
    assert_eq!(world.relay.counters().dropped_amplification, 1);
    let smallest = Build::request(ALLOCATE, 1).attr(TRANSPORT, &UDP);
    let fingerprinted = smallest.clone().fingerprint();
    for request in [smallest, fingerprinted] {
        let reply = world.ask(client.tuple, &request.bytes);
        assert_eq!(reply.error(), Some(401));
        assert!(reply.bytes.len() + 28 <= 3 * (request.bytes.len() + 28));
    }
    assert!(turnd_core::Realm::new(&format!("{realm}r")).is_err());
}

#[test]
fn an_incomplete_credential_gets_400_and_no_nonce() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let parts = [
        (USERNAME, client.username.clone().into_bytes()),
        (REALM, REALM_NAME.into()),
        (NONCE, client.nonce.clone()),
    ];
    for missing in 0..3 {
        let mut request = client.allocate_request();
        for (index, (kind, value)) in parts.iter().enumerate() {
            if index != missing {
                request = request.attr(*kind, value);
            }
        }
        let reply = world.ask(client.tuple, &request.sign(&client.key).bytes);
        assert_eq!(reply.error(), Some(400));
        assert_eq!(reply.kinds(), [0x09]);
    }
}

#[test]
fn a_wrong_password_an_unknown_secret_and_a_forged_name_get_401() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let mut others = vec![
        Client::with_credential("192.0.2.1:5000", "alice", 3600, "another secret indeed"),
        client.clone(),
        client.clone(),
        client.clone(),
        // Expired the moment it was issued.
        Client::with_credential("192.0.2.1:5000", "alice", 0, crate::world::SECRET),
    ];
    others[1].key[0] ^= 1;
    others[2].username = client.username.replacen("18", "19", 1);
    others[3].username = "alice".into();
    for mut other in others {
        other.nonce.clone_from(&client.nonce);
        let request = other.allocate_request();
        let reply = world.ask(other.tuple, &other.sign(request).bytes);
        assert_eq!(reply.error(), Some(401));
        assert!(reply.has(NONCE) && !reply.has(INTEGRITY));
    }
    assert_eq!(world.relay.sessions(), 0);
    assert_eq!(world.relay.counters().errors_unauthorized, 6);
}

#[test]
fn a_damaged_message_is_not_authentic() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let request = client.allocate_request();
    let mut bytes = client.sign(request).bytes;
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(world.ask(client.tuple, &bytes).error(), Some(401));
}

#[test]
fn credentials_of_the_current_and_the_previous_secret_work() {
    let mut world = World::with(Config {
        secrets: ring("the new secret, long", &["the old secret, long"]),
        ..config()
    });
    let secrets = ["the new secret, long", "the old secret, long"];
    for (port, under) in (5000..).zip(secrets) {
        let address = format!("192.0.2.1:{port}");
        let mut client = Client::with_credential(&address, "alice", 60, under);
        client.allocate(&mut world);
    }
}

#[test]
fn a_nonce_is_bound_to_the_client_address() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    for other in ["192.0.2.1:5001", "192.0.2.2:5000"] {
        let mut thief = client.clone();
        thief.tuple.client = addr(other);
        let request = thief.allocate_request();
        let reply = world.ask(thief.tuple, &thief.sign(request).bytes);
        assert_eq!(reply.error(), Some(438));
        assert!(reply.has(REALM) && reply.has(NONCE) && !reply.has(INTEGRITY));
        // With the nonce of that reply it goes on.
        thief.nonce = reply.get(NONCE).unwrap().to_vec();
        let request = thief.allocate_request();
        assert!(thief.ask(&mut world, request).is_success());
    }
}

#[test]
fn forged_nonces_get_438() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let good = client.nonce.clone();
    let mut forged = vec![Vec::new(), b"x".to_vec(), vec![0xff; 22], vec![b'a'; 700]];
    for at in 0..good.len() {
        let mut nonce = good.clone();
        nonce[at] = if nonce[at] == b'0' { b'1' } else { b'0' };
        forged.push(nonce);
    }
    for nonce in forged {
        client.nonce = nonce;
        let request = client.allocate_request();
        let reply = world.ask(client.tuple, &client.sign(request).bytes);
        assert_eq!(reply.error(), Some(438));
    }
    assert_eq!(world.relay.sessions(), 0);
}

#[test]
fn an_old_nonce_gets_438_and_a_fresh_one_goes_on() {
    let mut world = World::new();
    let mut client =
        Client::with_credential("192.0.2.1:5000", "alice", 86_400, crate::world::SECRET);
    client.allocate(&mut world);
    for _ in 0..6 {
        world.advance_secs(590);
        assert_eq!(client.refresh(&mut world, None).seconds(), Some(600));
    }
    world.advance_secs(100);
    let request = client.refresh_request(None);
    let reply = world.ask(client.tuple, &client.sign(request).bytes);
    assert_eq!(reply.error(), Some(438));
    client.nonce = reply.get(NONCE).unwrap().to_vec();
    assert!(client.refresh(&mut world, None).is_success());
}

#[test]
fn a_deletion_is_honoured_under_a_stale_nonce_but_not_under_a_forged_one() {
    let mut world = World::new();
    let mut client =
        Client::with_credential("192.0.2.1:5000", "alice", 86_400, crate::world::SECRET);
    client.allocate(&mut world);
    client.refresh(&mut world, Some(3600));
    world.advance_secs(3599);
    client.refresh(&mut world, Some(3600));
    world.advance_secs(60);
    let mut forger = client.clone();
    forger.nonce[0] ^= 1;
    let request = forger.refresh_request(Some(0));
    let reply = world.ask(forger.tuple, &forger.sign(request).bytes);
    assert_eq!(reply.error(), Some(438));
    // Not authentic either: another key.
    let mut stranger = client.clone();
    stranger.key[3] ^= 1;
    let request = stranger.refresh_request(Some(0));
    let reply = world.ask(stranger.tuple, &stranger.sign(request).bytes);
    assert_eq!(reply.error(), Some(401));
    assert_eq!(world.relay.sessions(), 1);
    let reply = client.refresh(&mut world, Some(0));
    assert_eq!((reply.is_success(), reply.seconds()), (true, Some(0)));
    assert_eq!(world.relay.sessions(), 0);
}

#[test]
fn nonces_of_the_previous_key_and_of_another_relay_are_good() {
    let keys = |current: u8, previous: Option<u8>| NonceKeys {
        current: NonceKey::new(&[current; 32]),
        previous: previous.map(|key| NonceKey::new(&[key; 32])),
    };
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut World::with(Config {
        nonce_keys: keys(1, None),
        ..config()
    }));
    for (current, previous, expected) in
        [(1, None, None), (2, Some(1), None), (3, Some(2), Some(438))]
    {
        let mut world = World::with(Config {
            nonce_keys: keys(current, previous),
            ..config()
        });
        let request = client.allocate_request();
        let reply = world.ask(client.tuple, &client.sign(request).bytes);
        assert_eq!(reply.error(), expected);
    }
}

#[test]
fn attributes_after_integrity_are_not_obeyed() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.allocate(&mut world);
    let request = client.refresh_request(Some(900));
    let request = client
        .sign(request)
        .attr(LIFETIME, &[0; 4])
        .attr(0x7fff, &[1]);
    let reply = world.ask(client.tuple, &request.bytes);
    assert_eq!(reply.seconds(), Some(900));
    // A MAC of zeros signs nothing, alone or behind one that would be good.
    let request = client.refresh_request(Some(0));
    let request = client.sign(request).attr(INTEGRITY_SHA256, &[0; 32]);
    assert_eq!(world.ask(client.tuple, &request.bytes).error(), Some(401));
    let request = client.refresh_request(Some(0));
    let request = client.name(request).attr(INTEGRITY_SHA256, &[0; 32]);
    assert_eq!(world.ask(client.tuple, &request.bytes).error(), Some(401));
    assert_eq!(world.relay.sessions(), 1);
}

#[test]
fn the_expiry_is_judged_when_an_allocation_is_made() {
    let mut world = World::new();
    let mut client = Client::with_credential("192.0.2.1:5000", "alice", 100, crate::world::SECRET);
    client.learn_nonce(&mut world);
    let request = client.allocate_request();
    let request = client.sign(request).bytes;
    let first = world.ask(client.tuple, &request);
    assert!(first.is_success());
    world.advance_secs(200);
    // A retransmission and refreshes go on past the expiry.
    assert_eq!(world.ask(client.tuple, &request), first);
    assert!(client.refresh(&mut world, None).is_success());
    assert!(client.permit(&mut world, &["9.9.9.9:9"]).is_success());
    client.refresh(&mut world, Some(0));
    // A new allocation does not.
    let request = client.allocate_request();
    let reply = world.ask(client.tuple, &client.sign(request).bytes);
    assert_eq!(reply.error(), Some(401));
    // What is authentic and has no allocation learns so, expired or not.
    assert_eq!(client.refresh(&mut world, None).error(), Some(437));
}

#[test]
fn strict_expiry_refuses_refreshes_too() {
    let mut world = World::with(Config {
        strict_expiry: true,
        ..config()
    });
    let mut client = Client::with_credential("192.0.2.1:5000", "alice", 100, crate::world::SECRET);
    client.learn_nonce(&mut world);
    let request = client.allocate_request();
    // Nothing is granted beyond the credential's time.
    assert_eq!(client.ask(&mut world, request).seconds(), Some(100));
    world.advance_secs(40);
    assert_eq!(client.refresh(&mut world, None).seconds(), Some(60));
    world.advance_secs(60);
    assert_eq!(world.relay.sessions(), 0);
    let request = client.refresh_request(None);
    let reply = world.ask(client.tuple, &client.sign(request).bytes);
    assert_eq!(reply.error(), Some(401));
}

#[test]
fn strict_expiry_lets_an_expired_credential_delete() {
    let mut world = World::new();
    let mut client = Client::with_credential("192.0.2.1:5000", "alice", 100, crate::world::SECRET);
    client.allocate(&mut world);
    world.relay.reconfigure(
        Config {
            strict_expiry: true,
            ..config()
        }
        .into(),
    );
    world.advance_secs(200);
    let request = client.refresh_request(None);
    let reply = world.ask(client.tuple, &client.sign(request).bytes);
    assert_eq!(reply.error(), Some(401));
    assert_eq!(client.refresh(&mut world, Some(0)).seconds(), Some(0));
    assert_eq!(world.relay.sessions(), 0);
}

#[test]
fn a_running_allocation_survives_the_removal_of_its_secret() {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.allocate(&mut world);
    let mut next = config();
    next.secrets = ring("quite another secret", &[]);
    world.relay.reconfigure(next.into());
    assert!(client.refresh(&mut world, None).is_success());
    let mut late = Client::new("192.0.2.1:5001", "alice");
    late.learn_nonce(&mut world);
    let request = late.allocate_request();
    let reply = world.ask(late.tuple, &late.sign(request).bytes);
    assert_eq!(reply.error(), Some(401));
}

#[test]
fn software_is_told_to_those_who_proved_a_credential() {
    let mut world = World::with(Config {
        software: Some("Turnfleet".into()),
        ..config()
    });
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    let request = client.allocate_request().fingerprint();
    // FINGERPRINT before integrity is no FINGERPRINT at all; the message is malformed.
    world.give(client.tuple, &client.sign(request).bytes);
    assert!(world.replies.is_empty());
    let request = client.allocate_request();
    let request = client.sign(request).fingerprint();
    let reply = world.ask(client.tuple, &request.bytes);
    assert!(reply.is_signed(&client.key) && reply.has(RELAYED));
    assert_eq!(reply.get(SOFTWARE), Some(&b"Turnfleet"[..]));
    assert_eq!(reply.kinds().last(), Some(&crate::codec::FINGERPRINT));
}
