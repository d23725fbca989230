//! Password algorithms, SHA-256 and the defence against bidding down: RFC 8489 sections 9.2, 14.4,
//! 14.6, 14.11 and 14.12.

use credentials::{UnixTime, password};
use stun_proto::auth::{LongTermClientAuth, LongTermClientValidation};
use stun_types::attribute::RawAttribute;
use stun_types::message::{
    IntegrityAlgorithm, LongTermCredentials, Message, MessageClass, MessageType, MessageWrite as _,
    MessageWriteExt as _, MessageWriteVec, Method, TransactionId,
};
use turnd_core::{Config, OpenError};

use crate::codec::{
    ALGORITHM, ALGORITHMS, Build, CREATE_PERMISSION, INTEGRITY, INTEGRITY_SHA256, LIFETIME, NONCE,
    Parsed, REALM, RELAYED, UNKNOWN, USERHASH, key_sha256,
};
use crate::world::{Client, EPOCH, REALM_NAME, SECRET, World, addr, config, ring, secret};

/// SHA-256, then MD5, both without parameters.
const OFFER: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];
const MD5: [u8; 4] = [0, 1, 0, 0];
const SHA256: [u8; 4] = [0, 2, 0, 0];

/// An attribute that may be missing.
type Value<'a> = Option<&'a [u8]>;

/// How a client goes about it.
#[derive(Clone, Copy, Debug)]
struct Way {
    choice: Option<[u8; 4]>,
    /// The MAC in requests.
    asks: u16,
    /// The MAC in replies.
    told: u16,
}

const LEGACY: Way = Way {
    choice: None,
    asks: INTEGRITY,
    told: INTEGRITY,
};
const MODERN: Way = Way {
    choice: Some(SHA256),
    asks: INTEGRITY_SHA256,
    told: INTEGRITY_SHA256,
};
const WAYS: [Way; 6] = [
    LEGACY,
    MODERN,
    Way {
        choice: Some(MD5),
        ..MODERN
    },
    // No choice means MD5 and the old MAC in the reply, whatever the MAC of the request.
    Way {
        asks: INTEGRITY_SHA256,
        ..LEGACY
    },
    // Libraries exist that send the old MAC with a choice, and understand only that.
    Way {
        choice: Some(MD5),
        ..LEGACY
    },
    Way {
        choice: Some(SHA256),
        ..LEGACY
    },
];

impl Way {
    fn key(self, client: &Client) -> Vec<u8> {
        if self.choice != Some(SHA256) {
            return client.key.to_vec();
        }
        let password = password(&secret(SECRET), &client.username);
        key_sha256(&client.username, REALM_NAME, &password).to_vec()
    }

    fn sign(self, client: &Client, build: Build) -> Build {
        let mut build = client.name(build);
        if let Some(choice) = self.choice {
            build = build.attr(ALGORITHMS, &OFFER).attr(ALGORITHM, &choice);
        }
        let length = if self.asks == INTEGRITY { 20 } else { 32 };
        build.mac(self.asks, &self.key(client), length)
    }

    /// Signs and sends; the reply must be signed in kind.
    fn ask(self, world: &mut World, client: &Client, build: Build) -> Parsed {
        let reply = world.ask(client.tuple, &self.sign(client, build).bytes);
        let signed = reply.is_signed_by(self.told, &self.key(client));
        assert!(signed, "{self:?}: {reply:x?}");
        reply
    }
}

fn challenged() -> (World, Client) {
    let mut world = World::new();
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.learn_nonce(&mut world);
    (world, client)
}

/// A 401 or 438 that tells all a client needs, and nothing about itself.
fn is_challenge(reply: &Parsed, code: u16) {
    assert_eq!(reply.error(), Some(code));
    assert_eq!(reply.kinds(), [0x09, REALM, NONCE, ALGORITHMS]);
    assert_eq!(reply.get(ALGORITHMS), Some(&OFFER[..]));
    // The nonce cookie of RFC 8656 section 20.
    assert!(reply.get(NONCE).unwrap().starts_with(b"obMatJos2gAAA"));
}

#[test]
fn challenges_offer_sha_256_before_md5() {
    let (mut world, mut client) = challenged();
    let request = client.allocate_request();
    let reply = world.ask(client.tuple, &request.bytes);
    is_challenge(&reply, 401);
    client.nonce[20] ^= 1;
    let request = client.allocate_request();
    let reply = world.ask(client.tuple, &client.sign(request).bytes);
    is_challenge(&reply, 438);
    client.nonce = reply.get(NONCE).unwrap().to_vec();
    client.key[0] ^= 1;
    let request = client.allocate_request();
    let reply = world.ask(client.tuple, &client.sign(request).bytes);
    is_challenge(&reply, 401);
}

#[test]
fn every_request_and_reply_in_every_way() {
    for way in WAYS {
        let (mut world, mut client) = challenged();
        let request = client.allocate_request();
        let first = way.sign(&client, request).bytes;
        let reply = world.ask(client.tuple, &first);
        assert!(reply.is_signed_by(way.told, &way.key(&client)), "{way:?}");
        assert!(reply.address(RELAYED).is_some());
        assert_eq!(world.ask(client.tuple, &first), reply, "replayed");
        let permit = client.request(CREATE_PERMISSION).peer(addr("9.9.9.9:9"));
        assert!(way.ask(&mut world, &client, permit).is_success());
        let bind = client.request(9).attr(0x0c, &[0x40, 0, 0, 0]);
        let bind = bind.peer(addr("9.9.9.9:9"));
        assert!(way.ask(&mut world, &client, bind).is_success());
        let refresh = client.refresh_request(Some(900));
        let reply = way.ask(&mut world, &client, refresh);
        assert_eq!(reply.seconds(), Some(900));
        // Errors are signed alike.
        let denied = client.request(CREATE_PERMISSION).peer(addr("127.0.0.1:9"));
        assert_eq!(way.ask(&mut world, &client, denied).error(), Some(403));
        let strange = client.refresh_request(None).attr(0x7fff, &[]);
        let reply = way.ask(&mut world, &client, strange);
        assert_eq!(reply.error(), Some(420));
        assert_eq!(reply.get(UNKNOWN), Some(&[0x7f, 0xff][..]));
        let end = client.refresh_request(Some(0));
        assert!(way.ask(&mut world, &client, end).is_success());
        let late = client.refresh_request(None);
        assert_eq!(way.ask(&mut world, &client, late).error(), Some(437));
        assert_eq!(world.relay.sessions(), 0);
    }
}

#[test]
fn a_late_508_is_signed_as_the_request_was() {
    for way in WAYS {
        let (mut world, mut client) = challenged();
        world.auto_open = false;
        let request = client.allocate_request();
        world.replies.clear();
        world.give(client.tuple, &way.sign(&client, request).bytes);
        world.answer(Err(OpenError::Failed));
        let (_, reply) = world.replies.pop_front().unwrap();
        assert_eq!(reply.error(), Some(508));
        assert!(reply.is_signed_by(way.told, &way.key(&client)), "{way:?}");
    }
}

#[test]
fn a_key_of_one_algorithm_is_not_taken_for_the_other() {
    let (mut world, mut client) = challenged();
    for (said, used) in [
        (Some(SHA256), Some(MD5)),
        (Some(MD5), Some(SHA256)),
        (None, Some(SHA256)),
    ] {
        for mac in [INTEGRITY, INTEGRITY_SHA256] {
            let way = Way {
                choice: used,
                ..MODERN
            };
            let request = client.allocate_request();
            let mut request = client.name(request);
            if let Some(said) = said {
                request = request.attr(ALGORITHMS, &OFFER).attr(ALGORITHM, &said);
            }
            let length = if mac == INTEGRITY { 20 } else { 32 };
            let request = request.mac(mac, &way.key(&client), length);
            is_challenge(&world.ask(client.tuple, &request.bytes), 401);
        }
    }
    assert_eq!(world.relay.sessions(), 0);
}

#[test]
fn whoever_was_shown_another_offer_gets_400() {
    let (mut world, mut client) = challenged();
    let only_md5 = MD5;
    let swapped = [0, 1, 0, 0, 0, 2, 0, 0];
    let cases: [(Value<'_>, Value<'_>); 14] = [
        // One without the other.
        (Some(&OFFER), None),
        (None, Some(&SHA256)),
        (None, Some(&MD5)),
        // Another offer than ours: cut, swapped, extended, empty.
        (Some(&only_md5), Some(&MD5)),
        (Some(&SHA256), Some(&SHA256)),
        (Some(&swapped), Some(&MD5)),
        (Some(&[0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0]), Some(&SHA256)),
        (Some(&[]), Some(&SHA256)),
        (Some(&OFFER[..7]), Some(&SHA256)),
        // A choice that was not offered, or makes no sense.
        (Some(&OFFER), Some(&[0, 0, 0, 0])),
        (Some(&OFFER), Some(&[0, 3, 0, 0])),
        (Some(&OFFER), Some(&[0, 2, 0, 4, 1, 2, 3, 4])),
        (Some(&OFFER), Some(&[0, 2])),
        (Some(&OFFER), Some(&[])),
    ];
    for (offer, choice) in cases {
        for key in [MODERN.key(&client), LEGACY.key(&client)] {
            let request = client.allocate_request();
            let mut request = client.name(request);
            if let Some(offer) = offer {
                request = request.attr(ALGORITHMS, offer);
            }
            if let Some(choice) = choice {
                request = request.attr(ALGORITHM, choice);
            }
            let request = request.mac(INTEGRITY_SHA256, &key, 32);
            let reply = world.ask(client.tuple, &request.bytes);
            assert_eq!(reply.error(), Some(400), "{offer:?} {choice:?}");
            assert_eq!(reply.kinds(), [0x09], "it cannot be signed");
        }
    }
    assert_eq!(world.relay.sessions(), 0);
    // What follows the MAC is not part of the bargain.
    let request = client.allocate_request();
    let request = MODERN.sign(&client, request).attr(ALGORITHMS, &only_md5);
    assert!(world.ask(client.tuple, &request.bytes).is_success());
}

#[test]
fn a_nonce_with_other_features_is_not_ours() {
    let (mut world, mut client) = challenged();
    let good = client.nonce.clone();
    // No features, anonymity instead, both, counted from the other end, and no cookie at all.
    for cookie in [
        "obMatJos2AAAA",
        "obMatJos2QAAA",
        "obMatJos2wAAA",
        "obMatJos2AAAB",
        "",
    ] {
        client.nonce = [cookie.as_bytes(), &good[13..]].concat();
        for way in WAYS {
            let request = client.allocate_request();
            let reply = world.ask(client.tuple, &way.sign(&client, request).bytes);
            is_challenge(&reply, 438);
        }
    }
    client.nonce = good;
    let request = client.allocate_request();
    assert!(MODERN.ask(&mut world, &client, request).is_success());
}

#[test]
fn of_two_macs_the_stronger_one_counts() {
    let (mut world, mut client) = challenged();
    let request = client.allocate_request();
    let request = client.name(request).attr(ALGORITHMS, &OFFER);
    let request = request.attr(ALGORITHM, &SHA256);
    let key = MODERN.key(&client);
    let both = request.clone().mac(INTEGRITY, &[7; 32], 20);
    // A good one behind a bad one, but not a bad one behind a good one.
    let bad = request.clone().mac(INTEGRITY, &key, 20);
    let bad = bad.attr(INTEGRITY_SHA256, &[0; 32]);
    is_challenge(&world.ask(client.tuple, &bad.bytes), 401);
    let cut = request.mac(INTEGRITY, &key, 20);
    let cut = cut.mac(INTEGRITY_SHA256, &key, 16);
    is_challenge(&world.ask(client.tuple, &cut.bytes), 401);
    let both = both.mac(INTEGRITY_SHA256, &key, 32).fingerprint();
    let reply = world.ask(client.tuple, &both.bytes);
    assert!(reply.is_success() && reply.is_signed_by(INTEGRITY_SHA256, &key));
}

#[test]
fn a_mac_that_was_cut_gets_401() {
    // RFC 8489 section 14.6: only where the usage allows it, and RFC 8656 does not.
    let (mut world, mut client) = challenged();
    let key = MODERN.key(&client);
    for length in [16, 20, 24, 28] {
        let request = client.allocate_request();
        let request = client.name(request).attr(ALGORITHMS, &OFFER);
        let request = request.attr(ALGORITHM, &SHA256);
        let request = request.mac(INTEGRITY_SHA256, &key, length);
        is_challenge(&world.ask(client.tuple, &request.bytes), 401);
    }
}

#[test]
fn what_follows_the_mac_is_not_obeyed() {
    let (mut world, mut client) = challenged();
    let request = client.allocate_request();
    assert!(MODERN.ask(&mut world, &client, request).is_success());
    let request = client.refresh_request(Some(900));
    let request = MODERN.sign(&client, request);
    let request = request.attr(LIFETIME, &[0; 4]).attr(0x7fff, &[1]);
    let request = request.fingerprint();
    let reply = world.ask(client.tuple, &request.bytes);
    assert_eq!(reply.seconds(), Some(900));
    // Nor is what stands between the two, which the second covers.
    let request = client.refresh_request(None);
    let request = client.name(request).attr(ALGORITHMS, &OFFER);
    let request = request
        .attr(ALGORITHM, &SHA256)
        .mac(INTEGRITY, &[7; 16], 20);
    let request = request.attr(LIFETIME, &[0; 4]);
    let request = request.mac(INTEGRITY_SHA256, &MODERN.key(&client), 32);
    let reply = world.ask(client.tuple, &request.bytes);
    assert_eq!(reply.seconds(), Some(600));
}

#[test]
fn a_userhash_names_nobody() {
    let (mut world, mut client) = challenged();
    let hash = <sha2::Sha256 as sha2::Digest>::digest(format!("{}:{REALM_NAME}", client.username));
    let key = MODERN.key(&client);
    let request = client.allocate_request().attr(USERHASH, &hash);
    let request = request.attr(REALM, REALM_NAME.as_bytes());
    let without_nonce = request.clone().mac(INTEGRITY_SHA256, &key, 32);
    let request = request.attr(NONCE, &client.nonce).attr(ALGORITHMS, &OFFER);
    let request = request.attr(ALGORITHM, &SHA256);
    let request = request.mac(INTEGRITY_SHA256, &key, 32);
    is_challenge(&world.ask(client.tuple, &request.bytes), 401);
    let reply = world.ask(client.tuple, &without_nonce.bytes);
    assert_eq!(reply.error(), Some(400));
    // A name beside it is what counts.
    let request = client.allocate_request().attr(USERHASH, &[0; 32]);
    assert!(MODERN.ask(&mut world, &client, request).is_success());
}

#[test]
fn both_keys_of_an_owner_outlive_the_secret() {
    let (mut world, mut client) = challenged();
    let request = client.allocate_request();
    assert!(LEGACY.ask(&mut world, &client, request).is_success());
    let request = client.refresh_request(None);
    assert!(MODERN.ask(&mut world, &client, request).is_success());
    world.relay.reconfigure(
        Config {
            secrets: ring("quite another secret", &[]),
            ..config()
        }
        .into(),
    );
    for way in WAYS {
        let request = client.refresh_request(None);
        assert!(way.ask(&mut world, &client, request).is_success());
    }
    // One that was never used cannot be known any more.
    let mut other = Client::new("192.0.2.1:5001", "alice");
    let mut world = World::new();
    other.learn_nonce(&mut world);
    let request = other.allocate_request();
    assert!(MODERN.ask(&mut world, &other, request).is_success());
    let mut next = config();
    next.secrets = ring("quite another secret", &[]);
    world.relay.reconfigure(next.into());
    let request = other.refresh_request(None);
    assert!(MODERN.ask(&mut world, &other, request).is_success());
    let request = other.refresh_request(None);
    let reply = world.ask(other.tuple, &LEGACY.sign(&other, request).bytes);
    is_challenge(&reply, 401);
}

#[test]
fn a_foreigner_does_not_leave_a_key_with_the_owner() {
    let (mut world, mut client) = challenged();
    let request = client.allocate_request();
    assert!(LEGACY.ask(&mut world, &client, request).is_success());
    // Another user's request on the same five-tuple is authentic, and refused.
    let mut thief = Client::new("192.0.2.1:5000", "mallory");
    thief.nonce.clone_from(&client.nonce);
    let request = thief.refresh_request(None);
    assert_eq!(MODERN.ask(&mut world, &thief, request).error(), Some(441));
    let request = client.refresh_request(None);
    assert!(MODERN.ask(&mut world, &client, request).is_success());
    let mut next = config();
    next.secrets = ring("quite another secret", &[]);
    world.relay.reconfigure(next.into());
    for way in [LEGACY, MODERN] {
        let request = client.refresh_request(None);
        assert!(way.ask(&mut world, &client, request).is_success());
    }
    let request = thief.refresh_request(None);
    let reply = world.ask(thief.tuple, &MODERN.sign(&thief, request).bytes);
    is_challenge(&reply, 401);
}

#[test]
fn firefox_may_still_delete_with_a_stale_nonce_under_sha_256() {
    let mut world = World::new();
    let mut client = Client::with_credential("192.0.2.1:5000", "alice", 86_400, SECRET);
    client.learn_nonce(&mut world);
    let request = client
        .allocate_request()
        .attr(LIFETIME, &3600_u32.to_be_bytes());
    assert!(MODERN.ask(&mut world, &client, request).is_success());
    world.advance_secs(1800);
    let request = client.refresh_request(Some(3600));
    assert!(MODERN.ask(&mut world, &client, request).is_success());
    world.advance_secs(1801);
    assert_eq!(world.now().unix, UnixTime(EPOCH + 3601));
    let request = client.refresh_request(None);
    is_challenge(
        &world.ask(client.tuple, &MODERN.sign(&client, request).bytes),
        438,
    );
    let request = client.refresh_request(Some(0));
    assert!(MODERN.ask(&mut world, &client, request).is_success());
}

/// A library's client: asks until it is satisfied, and says by which MAC it believed the reply.
fn ask_library(
    auth: &mut LongTermClientAuth,
    world: &mut World,
    client: &Client,
    method: u16,
    attribute: (u16, &[u8]),
) -> (Parsed, IntegrityAlgorithm) {
    for transaction in 0..3_u128 {
        let kind = MessageType::from_class_method(MessageClass::Request, Method::new(method));
        let id = TransactionId::from(transaction << 16 | u128::from(method));
        let mut request = Message::builder(kind, id, MessageWriteVec::new());
        let (number, value) = attribute;
        let attribute = RawAttribute::new(number.into(), value);
        request.add_attribute(&attribute).unwrap();
        let request = auth.sign_outgoing_message(request).unwrap().finish();
        let reply = world.ask(client.tuple, &request);
        let message = Message::from_bytes(&reply.bytes).unwrap();
        match auth.validate_incoming_message(&message).unwrap() {
            LongTermClientValidation::ResendRequest(_) => {}
            LongTermClientValidation::Validated(algorithm) => return (reply, algorithm),
        }
    }
    panic!("the library is not satisfied");
}

#[test]
fn a_library_takes_the_best_it_supports() {
    use IntegrityAlgorithm::{Sha1, Sha256};
    for (supported, expected) in [
        (&[Sha1][..], Sha1),
        (&[Sha256], Sha256),
        (&[Sha1, Sha256], Sha256),
        (&[Sha256, Sha1], Sha256),
    ] {
        let mut world = World::new();
        let client = Client::with_credential("192.0.2.1:5000", "alice", 86_400, SECRET);
        let password = password(&secret(SECRET), &client.username);
        let mut auth = LongTermClientAuth::new();
        let credentials = LongTermCredentials::new(client.username.clone(), password.to_string());
        auth.set_credentials(credentials);
        auth.set_supported_integrity(supported[0]);
        for algorithm in supported {
            auth.add_supported_integrity(*algorithm);
        }
        let transport = (0x19, &[17, 0, 0, 0][..]);
        let (reply, by) = ask_library(&mut auth, &mut world, &client, 3, transport);
        assert!(reply.is_success() && reply.has(RELAYED));
        assert_eq!(by, expected, "{supported:?}");
        // It takes a fresh nonce, too, when its own has become stale.
        let hour = (LIFETIME, &3600_u32.to_be_bytes()[..]);
        ask_library(&mut auth, &mut world, &client, 4, hour);
        world.advance_secs(3000);
        ask_library(&mut auth, &mut world, &client, 4, hour);
        world.advance_secs(601);
        let before = world.relay.counters().errors_stale_nonce;
        let (reply, by) = ask_library(&mut auth, &mut world, &client, 4, hour);
        assert_eq!((reply.seconds(), by), (Some(3600), expected));
        assert_eq!(world.relay.counters().errors_stale_nonce, before + 1);
    }
}
