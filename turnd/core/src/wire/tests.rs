//! The codec against an independent implementation.

use std::net::SocketAddr;

use proptest::prelude::*;
use stun_types::attribute::{
    Attribute as _, AttributeStaticType as _, ErrorCode, Nonce, PasswordAlgorithmValue,
    PasswordAlgorithms, RawAttribute, Realm, Username, XorMappedAddress,
};
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message as Oracle, MessageClass, MessageType,
    MessageWrite as _, MessageWriteExt as _, MessageWriteVec, Method,
};
use turn_types::attribute::{Data, DontFragment, XorPeerAddress};
use turn_types::channel::ChannelData;

use super::data::{BadSend, read_channel_data, read_send, write_channel_data, write_data};
use super::integrity::{Algorithm, Integrity, Key};
use super::message::{Malformed, Message};
use super::writer::Writer;
use super::{Class, attribute, message_type, method};
use crate::headroom::{HEADROOM, Headroom, TAILROOM};

pub(super) fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER_PERMISSIVE
        .decode(text.split_whitespace().collect::<String>().as_bytes())
        .unwrap()
}

#[test]
fn attributes_after_integrity_do_not_count() {
    let key = key(Algorithm::Md5, Integrity::Sha1);
    let mut writer = Writer::new(method::REFRESH, Class::Request, &[7; 12]);
    writer.attribute(attribute::USERNAME, b"u");
    let signed = writer.finish(Some(&key), false);
    let mut appended = signed;
    appended.extend_from_slice(&hex("000d0004 00000000 00060001 78000000"));
    let length = (appended.len() - 20) as u16;
    appended[2..4].copy_from_slice(&length.to_be_bytes());
    let message = Message::parse(&appended).unwrap();
    assert!(key.verifies(&message));
    assert_eq!(message.attribute(attribute::LIFETIME), None);
    assert_eq!(message.attributes().count(), 1);
}

/// A message with these attributes of zeros, and a length field that counts them.
fn with_zeros(attributes: &[(u16, usize)]) -> Vec<u8> {
    let mut writer = Writer::new(method::REFRESH, Class::Request, &[7; 12]);
    for (kind, length) in attributes {
        writer.attribute(*kind, &vec![0; *length]);
    }
    writer.finish(None, false)
}

#[test]
fn the_stronger_of_two_macs_counts_and_only_the_first_of_each() {
    use attribute::{
        MESSAGE_INTEGRITY as SHA1, MESSAGE_INTEGRITY_SHA256 as SHA256, NONCE, USERNAME,
    };
    let name = (USERNAME, 4);
    let (sha1, sha256) = (Integrity::Sha1, Integrity::Sha256);
    for (attributes, expected, counted) in [
        (&[name][..], None, 1),
        (&[name, (SHA1, 20)], Some((28, sha1)), 1),
        (&[name, (SHA256, 32), name], Some((28, sha256)), 1),
        (&[name, (SHA1, 20), (SHA256, 32)], Some((52, sha256)), 1),
        // What stands between them is not obeyed, though the second one covers it.
        (
            &[name, (SHA1, 20), (NONCE, 4), (SHA256, 32)],
            Some((60, sha256)),
            1,
        ),
        // Behind the stronger one the weaker one is ignored, like a second one of a kind.
        (&[name, (SHA256, 32), (SHA1, 20)], Some((28, sha256)), 1),
        (&[name, (SHA1, 20), (SHA1, 7)], Some((28, sha1)), 1),
        (
            &[name, (SHA1, 20), (SHA256, 32), (SHA256, 7)],
            Some((52, sha256)),
            1,
        ),
    ] {
        let bytes = with_zeros(attributes);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.integrity(), expected, "{attributes:x?}");
        assert_eq!(message.attributes().count(), counted, "{attributes:x?}");
    }
}

#[test]
fn a_mac_of_a_length_that_cannot_be_is_malformed() {
    for length in 0..=40 {
        let sha1 = Message::parse(&with_zeros(&[(attribute::MESSAGE_INTEGRITY, length)])).is_ok();
        assert_eq!(sha1, length == 20);
        let sha256 = with_zeros(&[(attribute::MESSAGE_INTEGRITY_SHA256, length)]);
        // RFC 8489 section 14.6.
        let possible = [16, 20, 24, 28, 32].contains(&length);
        assert_eq!(Message::parse(&sha256).is_ok(), possible, "{length}");
    }
}

#[test]
fn a_mac_that_was_cut_is_not_taken_for_the_whole() {
    let key = key(Algorithm::Sha256, Integrity::Sha256);
    for length in [16, 20, 24, 28, 32] {
        let mut writer = Writer::new(method::REFRESH, Class::Request, &[7; 12]);
        writer.attribute(attribute::USERNAME, b"user");
        let mut covered = writer.finish(None, false);
        covered[3] += 4 + length as u8;
        let tag = key.sign(&covered);
        covered.extend([0, 0x1c, 0, length as u8]);
        covered.extend(&tag[..length]);
        let verified = key.verifies(&Message::parse(&covered).unwrap());
        assert_eq!(verified, length == 32, "{length}");
    }
}

#[test]
fn too_many_attributes_are_malformed() {
    let message = |count: usize| {
        let mut writer = Writer::new(method::ALLOCATE, Class::Request, &[7; 12]);
        for _ in 0..count {
            writer.attribute(0x8000, &[]);
        }
        writer.finish(None, false)
    };
    let most = crate::limits::MESSAGE_ATTRIBUTES;
    assert!(Message::parse(&message(most)).is_ok());
    assert_eq!(
        Message::parse(&message(most + 1)).unwrap_err(),
        Malformed::Shape
    );
}

/// RFC 8656 section 17 prints Send and Data indications as 0x0016 and 0x0017.
#[test]
fn message_types_are_those_of_the_registry() {
    for (method, class, expected) in [
        (method::BINDING, Class::Request, 0x0001),
        (method::BINDING, Class::Success, 0x0101),
        (method::SEND, Class::Indication, 0x0016),
        (method::DATA, Class::Indication, 0x0017),
        (method::CHANNEL_BIND, Class::Error, 0x0119),
        (0xfff, Class::Error, 0x3fff),
    ] {
        assert_eq!(message_type(method, class), expected);
    }
}

#[test]
fn a_send_indication_with_too_many_attributes_is_malformed() {
    let send = |more: usize| {
        let mut writer = Writer::new(method::SEND, Class::Indication, &[7; 12]);
        writer.xor_address(attribute::XOR_PEER_ADDRESS, ([9, 9, 9, 9], 1).into());
        writer.attribute(attribute::DATA, b"data");
        for _ in 0..more {
            writer.attribute(0x8000, &[]);
        }
        writer.finish(None, false)
    };
    let most = crate::limits::MESSAGE_ATTRIBUTES - 2;
    assert!(read_send(&send(most)).is_ok());
    assert_eq!(read_send(&send(most + 1)), Err(BadSend::Malformed));
}

#[test]
fn no_key_is_printed() {
    let shown = format!("{:?}", key(Algorithm::Sha256, Integrity::Sha256));
    assert_eq!(shown, "Key(..)");
}

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16)>().prop_map(SocketAddr::from),
    ]
}

fn transaction(bytes: [u8; 12]) -> stun_types::message::TransactionId {
    let mut wide = [0; 16];
    wide[4..].copy_from_slice(&bytes);
    u128::from_be_bytes(wide).into()
}

fn credentials() -> LongTermKeyCredentials {
    LongTermKeyCredentials::new("user".into(), "secret".into(), "realm".into())
}

/// Ours of the same credentials.
fn key(algorithm: Algorithm, integrity: Integrity) -> Key {
    Key::long_term(algorithm, integrity, "user", "realm", "secret")
}

/// The two ways the oracle knows: it ties the algorithm of the key to that of the MAC.
fn either() -> impl Strategy<Value = (IntegrityAlgorithm, Algorithm, Integrity)> {
    prop_oneof![
        Just((IntegrityAlgorithm::Sha1, Algorithm::Md5, Integrity::Sha1)),
        Just((
            IntegrityAlgorithm::Sha256,
            Algorithm::Sha256,
            Integrity::Sha256
        )),
    ]
}

proptest! {
    /// What the oracle writes is read the same here.
    #[test]
    fn reads_what_the_oracle_writes(
        id: [u8; 12],
        attributes in prop::collection::vec((0x7000_u16..0x9000, prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        mapped in address(),
        sign in prop::option::of(either()),
        fingerprint: bool,
    ) {
        let kind = MessageType::from_class_method(MessageClass::Request, Method::new(method::ALLOCATE));
        let mut oracle = Oracle::builder(kind, transaction(id), MessageWriteVec::new());
        oracle.add_attribute(&XorMappedAddress::new(mapped, transaction(id))).unwrap();
        let attributes: Vec<_> = attributes.into_iter().filter(|(k, _)| *k != attribute::FINGERPRINT).collect();
        for (kind, value) in &attributes {
            oracle.add_attribute(&RawAttribute::new((*kind).into(), value)).unwrap();
        }
        if let Some((algorithm, _, _)) = sign {
            oracle.add_message_integrity(&credentials().into(), algorithm).unwrap();
        }
        if fingerprint {
            oracle.add_fingerprint().unwrap();
        }
        let bytes = oracle.finish();
        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!((message.class(), message.method()), (Class::Request, method::ALLOCATE));
        prop_assert_eq!(message.transaction(), id);
        prop_assert_eq!(message.has_fingerprint(), fingerprint);
        prop_assert_eq!(message.integrity().map(|(_, kind)| kind), sign.map(|(_, _, kind)| kind));
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let verified = key(algorithm, Integrity::Sha1).verifies(&message);
            prop_assert_eq!(verified, sign.is_some_and(|(_, made, _)| made == algorithm));
        }
        let mut read = message.attributes();
        let (kind, value) = read.next().unwrap();
        prop_assert_eq!(kind, attribute::XOR_MAPPED_ADDRESS);
        prop_assert_eq!(message.xor_address(value), Ok(mapped));
        let rest: Vec<_> = read.map(|(kind, value)| (kind, value.to_vec())).collect();
        prop_assert_eq!(rest, attributes);
    }

    /// What is written here the oracle reads, with integrity and fingerprint.
    #[test]
    fn the_oracle_reads_what_is_written(
        id: [u8; 12],
        mapped in address(),
        realm in "[a-z.]{1,40}",
        code in 300_u16..700,
        (algorithm, made, integrity) in either(),
        fingerprint: bool,
    ) {
        let mut writer = Writer::new(method::CHANNEL_BIND, Class::Error, &id);
        writer.error_code(code, "Because");
        writer.attribute(attribute::REALM, realm.as_bytes());
        writer.xor_address(attribute::XOR_MAPPED_ADDRESS, mapped);
        writer.attribute(attribute::NONCE, b"abc");
        writer.attribute(attribute::USERNAME, b"user");
        writer.attribute(attribute::PASSWORD_ALGORITHMS, &Algorithm::OFFER);
        let bytes = writer.finish(Some(&Key::long_term(made, integrity, "user", &realm, "secret")), fingerprint);
        let oracle = Oracle::from_bytes(&bytes).unwrap();
        prop_assert!(oracle.has_class(MessageClass::Error) && oracle.has_method(Method::new(0x009)));
        prop_assert_eq!(oracle.transaction_id(), transaction(id));
        let credentials = LongTermKeyCredentials::new("user".into(), "secret".into(), realm.clone());
        prop_assert_eq!(oracle.validate_integrity(&credentials.into()).unwrap(), algorithm);
        let offer = oracle.attribute::<PasswordAlgorithms>().unwrap();
        let preference = [PasswordAlgorithmValue::SHA256, PasswordAlgorithmValue::MD5];
        prop_assert_eq!(offer.algorithms(), preference);
        let error = oracle.attribute::<ErrorCode>().unwrap();
        prop_assert_eq!((error.code(), error.reason()), (code, "Because"));
        let read = oracle.attribute::<Realm>().unwrap();
        prop_assert_eq!(read.realm(), &realm);
        prop_assert!(oracle.attribute::<Nonce>().is_ok() && oracle.attribute::<Username>().is_ok());
        let read = oracle.attribute::<XorMappedAddress>().unwrap();
        prop_assert_eq!(read.addr(oracle.transaction_id()), mapped);
        prop_assert_eq!(oracle.has_attribute(attribute::FINGERPRINT.into()), fingerprint);
    }

    /// Whatever is taken for a message here, the oracle takes for the same one; and neither this
    /// nor the readers of data panic on anything.
    #[test]
    fn is_no_laxer_than_the_oracle(
        attributes in prop::collection::vec(
            (
                prop_oneof![Just(0x0008_u16), Just(0x8028), Just(0x001c), Just(0x0012), any::<u16>()],
                prop_oneof![9 => Just(None), 1 => (0_u16..40).prop_map(Some)],
                prop_oneof![Just(vec![3; 20]), prop::collection::vec(any::<u8>(), 0..24)],
            ),
            0..6,
        ),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut bytes = hex("00030000 2112a442 000000000000000000000001");
        for (kind, lie, value) in attributes {
            bytes.extend_from_slice(&kind.to_be_bytes());
            bytes.extend_from_slice(&lie.unwrap_or(value.len() as u16).to_be_bytes());
            bytes.extend_from_slice(&value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let length = (bytes.len() - 20) as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        for (at, flip) in flips {
            *at.get_mut(bytes.as_mut_slice()) ^= flip;
        }
        let _ = read_send(&bytes);
        let _ = read_channel_data(&bytes);
        if let Ok(message) = Message::parse(&bytes) {
            let oracle = Oracle::from_bytes(&bytes).unwrap();
            prop_assert_eq!(oracle.method().value(), message.method());
            let theirs: Vec<_> = oracle
                .iter_attributes()
                .map(|(_, a)| (a.get_type().value(), a.value.to_vec()))
                .filter(|(kind, _)| !matches!(*kind, 0x0008 | 0x001c | 0x8028))
                .collect();
            let ours: Vec<_> = message.attributes().map(|(k, v)| (k, v.to_vec())).collect();
            prop_assert_eq!(ours, theirs);
        }
    }

    /// Data written in place is what the oracle reads; Send read in place is what it wrote.
    #[test]
    fn data_messages_agree_with_the_oracle(
        payload in prop::collection::vec(any::<u8>(), 0..200),
        peer in address(),
        id: [u8; 12],
        channel in 0x4000_u16..0x5000,
        stream: bool,
    ) {
        let mut buffer = vec![0xaa; HEADROOM];
        buffer.extend_from_slice(&payload);
        buffer.extend_from_slice(&[0xaa; TAILROOM]);
        let at = HEADROOM..HEADROOM + payload.len();

        let mut packet = Headroom::new(&mut buffer, at.clone()).unwrap();
        let range = write_data(&mut packet, peer, &id).unwrap();
        let oracle = Oracle::from_bytes(&packet.buffer()[range]).unwrap();
        prop_assert!(oracle.has_class(MessageClass::Indication) && oracle.has_method(Method::new(7)));
        let read = oracle.attribute::<XorPeerAddress>().unwrap();
        prop_assert_eq!(read.addr(transaction(id)), peer);
        let read = oracle.attribute::<Data<'_>>().unwrap();
        prop_assert_eq!(read.data(), &payload);
        prop_assert_eq!(oracle.iter_attributes().count(), 2);
        prop_assert_eq!(packet.payload(), &payload);

        let mut packet = Headroom::new(&mut buffer, at).unwrap();
        let range = write_channel_data(&mut packet, channel, stream).unwrap();
        let framed = &packet.buffer()[range];
        let read = ChannelData::parse(framed).unwrap();
        prop_assert_eq!((read.id(), read.data()), (channel, payload.as_slice()));
        let whole = if stream { payload.len().next_multiple_of(4) } else { payload.len() };
        prop_assert_eq!(framed.len(), 4 + whole);
        prop_assert!(framed[4 + payload.len()..].iter().all(|b| *b == 0));
        let (number, at) = read_channel_data(framed).unwrap();
        prop_assert_eq!((number, &framed[at]), (channel, payload.as_slice()));

        let kind = MessageType::from_class_method(MessageClass::Indication, Method::new(method::SEND));
        let mut oracle = Oracle::builder(kind, transaction(id), MessageWriteVec::new());
        oracle.add_attribute(&XorPeerAddress::new(peer, transaction(id))).unwrap();
        oracle.add_attribute(&Data::new(&payload)).unwrap();
        if stream {
            oracle.add_attribute(&DontFragment::new()).unwrap();
        }
        let bytes = oracle.finish();
        let send = read_send(&bytes).unwrap();
        prop_assert_eq!((send.peer, &bytes[send.payload]), (peer, payload.as_slice()));
        prop_assert_eq!(send.dont_fragment, stream);
        prop_assert_eq!(u16::from_be_bytes([bytes[20], bytes[21]]), XorPeerAddress::TYPE.value());
    }
}
