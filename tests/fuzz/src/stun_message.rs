//! STUN messages from strangers and from clients, against `stun-types`.
//!
//! What the relay takes for a message is one to the oracle, too, and the same; who is obeyed has
//! signed what the oracle can verify; data goes where the oracle reads it should.

use stun_types::attribute::{Attribute as _, AttributeType, RawAttribute};
use stun_types::message::{Message as Oracle, MessageIntegrityCredentials};
use turn_types::attribute::{Data, XorPeerAddress};

use crate::codec::{Build, NONCE, Parsed, REALM, UNKNOWN, USERNAME};
use crate::fixture::{self, BOUND, Fixture, Left, PERMITTED};
use crate::world::{Client, REALM_NAME, addr};

/// Longest input looked at: what fits a datagram on a common path.
const LONGEST: usize = 1400;

/// IPv4 and UDP headers, which count when amplification is measured.
const HEADERS: usize = 28;

/// How the packet is made of the rest of the input: bits of its first byte.
mod mode {
    /// The rest is a message type and attributes; header and length are right.
    pub(super) const FRAMED: u8 = 1;
    /// With the above: the sender adds a good credential and signs.
    pub(super) const SIGNED: u8 = 2;
    /// With the first: FINGERPRINT follows.
    pub(super) const FINGERPRINT: u8 = 4;
    /// The sender has an allocation.
    pub(super) const TENANT: u8 = 8;
}

/// The attribute types below 0x8000 that IANA has assigned, or had.
const ASSIGNED: [u16; 34] = [
    0x0001, 0x0002, 0x0003, 0x0004, 0x0005, 0x0006, 0x0007, 0x0008, 0x0009, 0x000a, 0x000b, 0x000c,
    0x000d, 0x0010, 0x0012, 0x0013, 0x0014, 0x0015, 0x0016, 0x0017, 0x0018, 0x0019, 0x001a, 0x001b,
    0x001c, 0x001d, 0x001e, 0x0020, 0x0021, 0x0022, 0x0024, 0x0025, 0x002a, 0x0030,
];

/// The first byte is a set of [`mode`] bits.
pub fn stun_message(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    let rest = &rest[..rest.len().min(LONGEST)];
    fixture::with(|fixture| {
        let sender = if mode & mode::TENANT == 0 {
            fixture.stranger.clone()
        } else {
            fixture.tenant.clone()
        };
        let mut packet = packet(&sender, *mode, rest);
        if let Some(first) = packet.first_mut() {
            *first &= 0x3f;
        }
        if packet.starts_with(&[0x00, 0x16]) {
            send(fixture, &sender, &packet);
            Left::AsItWas
        } else {
            message(fixture, &sender, &packet)
        }
    });
}

fn packet(sender: &Client, mode: u8, rest: &[u8]) -> Vec<u8> {
    let Some((kind, attributes)) = rest.split_first_chunk() else {
        return rest.to_vec();
    };
    if mode & mode::FRAMED == 0 {
        return rest.to_vec();
    }
    let mut build = Build::message(u16::from_be_bytes(*kind), 7);
    build.bytes.extend(attributes);
    let length = attributes.len() as u16;
    build.bytes[2..4].copy_from_slice(&length.to_be_bytes());
    if mode & mode::SIGNED != 0 {
        build = sender.sign(build);
    }
    if mode & mode::FINGERPRINT != 0 {
        build = build.fingerprint();
    }
    build.bytes
}

/// A Send indication: data reaches whom the oracle reads, or nobody.
fn send(fixture: &mut Fixture, sender: &Client, packet: &[u8]) {
    let relayed = fixture.world.data(sender.tuple, packet);
    assert!(
        fixture.world.replies.is_empty(),
        "an indication was answered"
    );
    let has_allocation = sender.tuple == fixture.tenant.tuple;
    let oracle = Oracle::from_bytes(packet).ok();
    let read = oracle.as_ref().and_then(|oracle| {
        let peer = oracle.attribute::<XorPeerAddress>().ok()?;
        let data = oracle.attribute::<Data<'_>>().ok()?;
        Some((peer.addr(oracle.transaction_id()), data.data().to_vec()))
    });
    let permitted = |peer: std::net::SocketAddr| {
        [BOUND, PERMITTED].iter().any(|p| addr(p).ip() == peer.ip()) && peer.port() != 0
    };
    if let Some((peer, data)) = relayed {
        assert!(has_allocation && permitted(peer));
        assert_eq!(read, Some((peer, data)));
    }
}

/// Any other message: dropped, or read as the oracle reads it.
fn message(fixture: &mut Fixture, sender: &Client, packet: &[u8]) -> Left {
    let world = &mut fixture.world;
    let dropped = |world: &crate::world::World| {
        let counters = world.relay.counters();
        counters.dropped_not_turn + counters.dropped_malformed + counters.dropped_fingerprint
    };
    let before = dropped(world);
    world.give(sender.tuple, packet);
    let replies: Vec<_> = world.replies.drain(..).collect();
    if dropped(world) > before {
        assert!(replies.is_empty());
        return Left::AsItWas;
    }
    let oracle = Oracle::from_bytes(packet).unwrap();
    assert!(replies.len() <= 1);
    let Some((to, reply)) = replies.into_iter().next() else {
        return Left::AsItWas;
    };
    assert_eq!(to, sender.tuple);
    assert_eq!(reply.transaction, packet[8..20]);
    assert_eq!(
        reply.kind & !0x0110,
        u16::from_be_bytes([packet[0], packet[1]])
    );
    check_unknown(&oracle, &reply);
    if reply.is_signed(&sender.key) {
        assert!(
            oracle.validate_integrity(&fixture.credential).is_ok(),
            "obeyed a forger"
        );
    } else {
        let binding = reply.kind & !0x0110 == 1;
        let error = reply.error();
        assert!(
            binding || matches!(error, Some(400 | 401 | 438)),
            "{error:?}"
        );
        assert!(reply.bytes.len() + HEADERS <= 3 * (packet.len() + HEADERS));
        assert!(
            !is_plainly_signed(&oracle, sender, &fixture.credential),
            "an honest client was refused: {error:?}"
        );
    }
    if reply.is_success() && reply.kind != 0x0101 {
        Left::Changed
    } else {
        Left::AsItWas
    }
}

fn attributes<'a>(oracle: &'a Oracle<'a>) -> impl Iterator<Item = RawAttribute<'a>> {
    oracle.iter_attributes().map(|(_, attribute)| attribute)
}

/// A request with one credential, that of `sender`, and signed with it.
fn is_plainly_signed(
    oracle: &Oracle<'_>,
    sender: &Client,
    credential: &MessageIntegrityCredentials,
) -> bool {
    let is = |kind: u16, value: &[u8]| {
        let mut found = attributes(oracle).filter(|a| a.get_type().value() == kind);
        found.next().is_some_and(|a| *a.value == *value) && found.next().is_none()
    };
    let foreign = [0x001c, 0x001d, 0x001e, 0x8002].map(AttributeType::new);
    oracle.method().value() != 1
        && !foreign.iter().any(|kind| oracle.has_attribute(*kind))
        && is(USERNAME, sender.username.as_bytes())
        && is(REALM, REALM_NAME.as_bytes())
        && is(NONCE, &sender.nonce)
        && oracle.validate_integrity(credential).is_ok()
}

/// 420 names what is there and must be understood; a success means that nothing was left out.
fn check_unknown(oracle: &Oracle<'_>, reply: &Parsed) {
    let strange = |kind: u16| kind < 0x8000 && !ASSIGNED.contains(&kind);
    if reply.error() == Some(420) {
        for kind in reply.get(UNKNOWN).unwrap().as_chunks::<2>().0 {
            let kind = u16::from_be_bytes(*kind);
            assert!(kind < 0x8000);
            assert!(
                oracle.has_attribute(AttributeType::new(kind)),
                "{kind:#06x}"
            );
        }
    } else if reply.is_success() {
        assert!(!attributes(oracle).any(|a| strange(a.get_type().value())));
    }
}
