//! The codec against RFC 5769's vectors and against an independent implementation.

use std::net::SocketAddr;

use proptest::prelude::*;
use stun_types::attribute::{
    Attribute as _, AttributeStaticType as _, ErrorCode, Nonce, RawAttribute, Realm, Username,
    XorMappedAddress,
};
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message as Oracle, MessageClass, MessageType,
    MessageWrite as _, MessageWriteExt as _, MessageWriteVec, Method,
};
use turn_types::attribute::{Data, XorPeerAddress};
use turn_types::channel::ChannelData;

use super::data::{read_channel_data, read_send, write_channel_data, write_data};
use super::integrity::Key;
use super::message::{Malformed, Message};
use super::writer::Writer;
use super::{Class, attribute, method};
use crate::headroom::{HEADROOM, Headroom, TAILROOM};

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER_PERMISSIVE
        .decode(text.split_whitespace().collect::<String>().as_bytes())
        .unwrap()
}

/// RFC 5769 section 2.2, a Binding success over IPv4.
const SAMPLE_V4: &str = "0101003c 2112a442 b7e7a701bc34d686fa87dfae
    8022000b 7465737420766563746f7220 00200008 0001a147 e112a643
    00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96";
/// RFC 5769 section 2.3, the same over IPv6.
const SAMPLE_V6: &str = "01010048 2112a442 b7e7a701bc34d686fa87dfae
    8022000b 7465737420766563746f7220 00200014 0002a147 0113a9faa5d3f179bc25f4b5bed2b9d9
    00080014 a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c";
/// RFC 5769 section 2.4, a request with long-term authentication.
const SAMPLE_LONG_TERM: &str = "00010060 2112a442 78ad3433c6ad72c029da412e
    00060012 e3839ee38388e383aae38383e382afe382b90000
    0015001c 662f2f3439396b39353464364f4c33346f4c39465354767936347341
    0014000b 6578616d706c652e6f726700 00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666";

#[test]
fn rfc5769_addresses_and_fingerprints() {
    for (sample, address) in [
        (SAMPLE_V4, "192.0.2.1:32853"),
        (SAMPLE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let bytes = hex(sample);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.class(), Class::Success);
        assert_eq!(message.method(), method::BINDING);
        assert!(message.has_fingerprint());
        let value = message.attribute(attribute::XOR_MAPPED_ADDRESS).unwrap();
        let address: SocketAddr = address.parse().unwrap();
        assert_eq!(message.xor_address(value), Ok(address));

        let mut again = Writer::new(method::BINDING, Class::Success, &message.transaction());
        again.xor_address(attribute::XOR_MAPPED_ADDRESS, address);
        let again = again.finish(None, false);
        assert_eq!(&again[24..], value, "written as the RFC writes it");

        let mut damaged = bytes;
        damaged[30] ^= 1;
        assert_eq!(
            Message::parse(&damaged).unwrap_err(),
            Malformed::Fingerprint
        );
    }
}

#[test]
fn rfc5769_long_term_integrity() {
    let bytes = hex(SAMPLE_LONG_TERM);
    let username = "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}";
    // The RFC's password after SASLprep.
    let key = Key::long_term(username, "example.org", "TheMatrIX");
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(
        message.attribute(attribute::USERNAME),
        Some(username.as_bytes())
    );
    assert!(key.verifies(&message));
    assert!(!Key::long_term(username, "example.org", "thematrix").verifies(&message));
    for at in (0..bytes.len()).filter(|at| !(4..8).contains(at)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let verified = Message::parse(&damaged).is_ok_and(|m| key.verifies(&m));
        assert!(!verified, "byte {at} is not covered");
    }
    let signed = &bytes[..bytes.len() - 24];
    assert_eq!(key.sign(signed), bytes[bytes.len() - 20..]);
}

#[test]
fn attributes_after_integrity_do_not_count() {
    let key = Key::long_term("u", "r", "p");
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

proptest! {
    /// What the oracle writes is read the same here.
    #[test]
    fn reads_what_the_oracle_writes(
        id: [u8; 12],
        attributes in prop::collection::vec((0x7000_u16..0x9000, prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        mapped in address(),
        sign: bool,
        fingerprint: bool,
    ) {
        let kind = MessageType::from_class_method(MessageClass::Request, Method::new(method::ALLOCATE));
        let mut oracle = Oracle::builder(kind, transaction(id), MessageWriteVec::new());
        oracle.add_attribute(&XorMappedAddress::new(mapped, transaction(id))).unwrap();
        let attributes: Vec<_> = attributes.into_iter().filter(|(k, _)| *k != attribute::FINGERPRINT).collect();
        for (kind, value) in &attributes {
            oracle.add_attribute(&RawAttribute::new((*kind).into(), value)).unwrap();
        }
        if sign {
            oracle.add_message_integrity(&credentials().into(), IntegrityAlgorithm::Sha1).unwrap();
        }
        if fingerprint {
            oracle.add_fingerprint().unwrap();
        }
        let bytes = oracle.finish();
        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!((message.class(), message.method()), (Class::Request, method::ALLOCATE));
        prop_assert_eq!(message.transaction(), id);
        prop_assert_eq!(message.has_fingerprint(), fingerprint);
        prop_assert_eq!(Key::long_term("user", "realm", "secret").verifies(&message), sign);
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
        fingerprint: bool,
    ) {
        let mut writer = Writer::new(method::CHANNEL_BIND, Class::Error, &id);
        writer.error_code(code, "Because");
        writer.attribute(attribute::REALM, realm.as_bytes());
        writer.xor_address(attribute::XOR_MAPPED_ADDRESS, mapped);
        writer.attribute(attribute::NONCE, b"abc");
        writer.attribute(attribute::USERNAME, b"user");
        let bytes = writer.finish(Some(&Key::long_term("user", "realm", "secret")), fingerprint);
        let oracle = Oracle::from_bytes(&bytes).unwrap();
        prop_assert!(oracle.has_class(MessageClass::Error) && oracle.has_method(Method::new(0x009)));
        prop_assert_eq!(oracle.transaction_id(), transaction(id));
        prop_assert!(oracle.validate_integrity(&credentials().into()).is_ok());
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
        let bytes = oracle.finish();
        let (to, at) = read_send(&bytes).unwrap();
        prop_assert_eq!((to, &bytes[at]), (peer, payload.as_slice()));
        prop_assert_eq!(u16::from_be_bytes([bytes[20], bytes[21]]), XorPeerAddress::TYPE.value());
    }
}
