//! The published vectors, byte for byte: RFC 5769, and appendix B.1 of RFC 8489.

use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message as Oracle, MessageIntegrityCredentials,
    ShortTermCredentials,
};

use super::integrity::{Algorithm, Integrity, Key};
use super::message::{Malformed, Message};
use super::tests::hex;
use super::writer::Writer;
use super::{Class, HEADER, attribute, method};

/// RFC 5769 section 2.1, a Binding request of ICE.
const REQUEST: &str = "00010058 2112a442 b7e7a701bc34d686fa87dfae
    80220010 5354554e207465737420636c69656e74 00240004 6e0001ff 80290008 932ff9b151263b36
    00060009 6576746a3a68367659202020
    00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004 e57a3bcf";
/// RFC 5769 section 2.2, a success over IPv4.
const SUCCESS_V4: &str = "0101003c 2112a442 b7e7a701bc34d686fa87dfae
    8022000b 7465737420766563746f7220 00200008 0001a147 e112a643
    00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96";
/// RFC 5769 section 2.3, the same over IPv6.
const SUCCESS_V6: &str = "01010048 2112a442 b7e7a701bc34d686fa87dfae
    8022000b 7465737420766563746f7220 00200014 0002a147 0113a9faa5d3f179bc25f4b5bed2b9d9
    00080014 a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c";
/// RFC 5769 section 2.4, a request with long-term authentication.
const LONG_TERM: &str = "00010060 2112a442 78ad3433c6ad72c029da412e
    00060012 e3839ee38388e383aae38383e382afe382b90000
    0015001c 662f2f3439396b39353464364f4c33346f4c39465354767936347341
    0014000b 6578616d706c652e6f726700 00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666";
/// RFC 8489 appendix B.1 with erratum 6268: with a USERHASH and SHA-256.
const SHA256: &str = "00010090 2112a442 78ad3433c6ad72c029da412e
    001e0020 4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704
    00150029 6f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c39465354767936347341000000
    0014000b 6578616d706c652e6f726700 001d0004 00020000
    001c0020 b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65";

const SHORT_TERM_PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
const USERNAME: &str = "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}";
const REALM: &str = "example.org";
/// As both RFCs have it after their string preparation.
const PASSWORD: &str = "TheMatrIX";

fn short_term() -> (Key, MessageIntegrityCredentials) {
    let oracle = ShortTermCredentials::new(SHORT_TERM_PASSWORD.to_owned());
    (
        Key::short_term(SHORT_TERM_PASSWORD.as_bytes()).unwrap(),
        oracle.into(),
    )
}

fn long_term(algorithm: Algorithm, integrity: Integrity) -> (Key, MessageIntegrityCredentials) {
    let oracle = LongTermKeyCredentials::new(USERNAME.into(), PASSWORD.into(), REALM.into());
    let key = Key::long_term(algorithm, integrity, USERNAME, REALM, PASSWORD);
    (key, oracle.into())
}

/// That `sample` is signed with `key`, by the oracle's word, too, and that none of the bytes up to
/// its MAC can be changed.
fn check(sample: &str, (key, oracle): &(Key, MessageIntegrityCredentials)) {
    let bytes = hex(sample);
    let message = Message::parse(&bytes).unwrap();
    assert!(key.verifies(&message), "{sample}");
    let theirs = Oracle::from_bytes(&bytes).unwrap();
    assert!(theirs.validate_integrity(oracle).is_ok());
    // Signed again over the same bytes it is the same.
    let (at, integrity) = message.integrity().unwrap();
    let mut covered = bytes[..at].to_vec();
    let length = at + 4 + integrity.length() - HEADER;
    covered[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    let end = at + 4 + integrity.length();
    assert_eq!(key.sign(&covered)[..integrity.length()], bytes[at + 4..end]);
    for at in (0..end).filter(|at| !(4..8).contains(at)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let verified = Message::parse(&damaged).is_ok_and(|m| key.verifies(&m));
        assert!(!verified, "byte {at} is not covered");
    }
}

#[test]
fn rfc5769_request() {
    check(REQUEST, &short_term());
    let bytes = hex(REQUEST);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(
        (message.class(), message.method()),
        (Class::Request, method::BINDING)
    );
    let kinds: Vec<u16> = message.attributes().map(|(kind, _)| kind).collect();
    assert_eq!(
        kinds,
        [attribute::SOFTWARE, 0x0024, 0x8029, attribute::USERNAME]
    );
    // PRIORITY belongs to ICE: a server has to say that it does not know it.
    assert_eq!(message.unknown().as_slice(), [0x0024]);
    assert_eq!(
        message.attribute(attribute::USERNAME),
        Some(&b"evtj:h6vY"[..])
    );
}

#[test]
fn rfc5769_responses() {
    for (sample, address) in [
        (SUCCESS_V4, "192.0.2.1:32853"),
        (SUCCESS_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        check(sample, &short_term());
        let bytes = hex(sample);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(
            (message.class(), message.method()),
            (Class::Success, method::BINDING)
        );
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
        let refused = Message::parse(&damaged).unwrap_err();
        assert_eq!(refused, Malformed::Fingerprint);
    }
}

#[test]
fn rfc5769_long_term_request() {
    let credential = long_term(Algorithm::Md5, Integrity::Sha1);
    check(LONG_TERM, &credential);
    let bytes = hex(LONG_TERM);
    let message = Message::parse(&bytes).unwrap();
    let wrong = Key::long_term(
        Algorithm::Md5,
        Integrity::Sha1,
        USERNAME,
        REALM,
        "thematrix",
    );
    assert!(!wrong.verifies(&message));

    let mut again = Writer::new(method::BINDING, Class::Request, &message.transaction());
    again.attribute(attribute::USERNAME, USERNAME.as_bytes());
    again.attribute(attribute::NONCE, b"f//499k954d6OL34oL9FSTvy64sA");
    again.attribute(attribute::REALM, REALM.as_bytes());
    assert_eq!(again.finish(Some(&credential.0), false), bytes);
}

#[test]
fn rfc8489_appendix_b1() {
    let credential = long_term(Algorithm::Sha256, Integrity::Sha256);
    check(SHA256, &credential);
    let bytes = hex(SHA256);
    let message = Message::parse(&bytes).unwrap();
    let theirs = Oracle::from_bytes(&bytes).unwrap();
    assert_eq!(
        theirs.validate_integrity(&credential.1).unwrap(),
        IntegrityAlgorithm::Sha256
    );
    let choice = message.attribute(attribute::PASSWORD_ALGORITHM).unwrap();
    assert_eq!(Algorithm::read(choice), Some(Algorithm::Sha256));
    // RFC 8489 section 14.4.
    let hash = Sha256::digest(format!("{USERNAME}:{REALM}"));
    assert_eq!(message.attribute(attribute::USERHASH), Some(&hash[..]));

    let mut again = Writer::new(method::BINDING, Class::Request, &message.transaction());
    again.attribute(attribute::USERHASH, &hash);
    again.attribute(
        attribute::NONCE,
        b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA",
    );
    again.attribute(attribute::REALM, REALM.as_bytes());
    again.attribute(attribute::PASSWORD_ALGORITHM, &[0, 2, 0, 0]);
    assert_eq!(again.finish(Some(&credential.0), false), bytes);
    // The key of one algorithm is not that of the other, whatever the MAC.
    let md5 = long_term(Algorithm::Md5, Integrity::Sha256).0;
    assert!(!md5.verifies(&message));
}

#[test]
fn rfc8489_key_example() {
    // Section 9.2.2: of 'user', 'realm' and 'pass'.
    let key = Key::long_term(Algorithm::Md5, Integrity::Sha1, "user", "realm", "pass");
    let same = Key::short_term(&hex("8493fbc53ba582fb4c044c456bdc40eb")).unwrap();
    assert_eq!(key.sign(b"message"), same.sign(b"message"));
}
