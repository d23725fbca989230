//! The codec against the vectors of RFC 5769 and RFC 8489.

use super::*;

/// RFC 5769 section 2.4: a request with long-term authentication.
const RFC5769_LONG_TERM: &str = "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388\
    e383aae38383e382afe382b900000015001c662f2f3439396b39353464364f4c33346f4c394653547679363473\
    410014000b6578616d706c652e6f72670000080014f67024656dd64a3e02b8e0712e85c9a28ca89666";

/// RFC 5769 section 2.3: a response whose XOR-MAPPED-ADDRESS is an IPv6 address.
const RFC5769_V6: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f\
    7220002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c2\
    75bfe3ed4180280004c8fb0b4c";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn builds_the_request_of_rfc_5769_section_2_4() {
    let wanted = bytes(RFC5769_LONG_TERM);
    let user = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}";
    let mut transaction = TransactionId::default();
    transaction.copy_from_slice(&wanted[8..20]);
    let built = Builder::new(0x0001, transaction)
        .attribute(attribute::USERNAME, user.as_bytes())
        .attribute(attribute::NONCE, b"f//499k954d6OL34oL9FSTvy64sA")
        .attribute(attribute::REALM, b"example.org")
        .signed(&long_term_key(user, "example.org", "TheMatrIX"));
    assert_eq!(built, wanted);
}

#[test]
fn reads_and_writes_the_address_of_rfc_5769_section_2_3() {
    let packet = bytes(RFC5769_V6);
    let message = Message::parse(&packet).unwrap();
    let address = "[2001:db8:1234:5678:11:2233:4455:6677]:32853"
        .parse()
        .unwrap();
    assert_eq!(message.kind(), 0x0101);
    assert_eq!(message.address(0x0020), Some(address));
    assert_eq!(
        xor_address(address, message.transaction()),
        message.get(0x0020).unwrap()
    );
}

#[test]
fn refuses_messages_that_do_not_fit() {
    let packet = bytes(RFC5769_V6);
    for cut in 0..packet.len() {
        assert!(
            Message::parse(&packet[..cut]).is_none(),
            "{cut} bytes were accepted"
        );
    }
    // An attribute that says it is longer than the message.
    let mut long = packet;
    long[23] = 0xff;
    assert!(Message::parse(&long).is_none());
}

#[test]
fn reads_the_error_code() {
    let packet = Builder::new(kind::ALLOCATE + kind::ERROR, [7; 12])
        .attribute(attribute::ERROR_CODE, &[0, 0, 4, 38])
        .unsigned();
    assert_eq!(Message::parse(&packet).unwrap().error_code(), Some(438));
}

#[test]
fn verifies_what_the_rfc_signed() {
    let packet = bytes(RFC5769_LONG_TERM);
    let user = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}";
    let key = long_term_key(user, "example.org", "TheMatrIX");
    assert!(Message::parse(&packet).unwrap().signed_by(&key));
    let mut changed = packet;
    changed[30] ^= 1;
    assert!(!Message::parse(&changed).unwrap().signed_by(&key));
    // RFC 5769 section 2.3 signs with a short-term password and has a FINGERPRINT.
    let packet = bytes(RFC5769_V6);
    let message = Message::parse(&packet).unwrap();
    assert!(message.signed_by(b"VOkJxbRl1RmTxUk/WvJxBt"));
    assert!(message.has_fingerprint());
    let mut changed = packet.clone();
    changed[25] ^= 1;
    assert!(!Message::parse(&changed).unwrap().has_fingerprint());
}

#[test]
fn what_it_signs_with_sha256_it_verifies() {
    let built = Builder::new(kind::BINDING, [9; 12])
        .attribute(attribute::USERNAME, b"ann")
        .integrity_sha256(b"key")
        .fingerprint()
        .unsigned();
    let message = Message::parse(&built).unwrap();
    assert!(message.signed_sha256_by(b"key") && message.has_fingerprint());
    assert!(!message.signed_sha256_by(b"kez"));
}
