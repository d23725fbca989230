//! The load generator's own STUN and TURN codec: just what a client of RFC 8656 needs.
//!
//! It shares no code with the server under test, so that both cannot be wrong in the same way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::{Digest, Sha1};

/// The fixed second word of every message (RFC 8489 section 5).
pub const MAGIC_COOKIE: u32 = 0x2112_A442;
/// Bytes of a message's header (RFC 8489 section 5).
pub const HEADER_LEN: usize = 20;
/// Bytes of a MESSAGE-INTEGRITY value: HMAC-SHA1 (RFC 8489 section 14.5).
const INTEGRITY_LEN: usize = 20;

/// A transaction id (RFC 8489 section 5).
pub type TransactionId = [u8; 12];

/// Message types: method and class together, as they stand in the first two bytes.
pub mod kind {
    /// Allocate request (RFC 8656 section 7.1).
    pub const ALLOCATE: u16 = 0x0003;
    /// Refresh request (RFC 8656 section 8.1).
    pub const REFRESH: u16 = 0x0004;
    /// `CreatePermission` request (RFC 8656 section 10.1).
    pub const CREATE_PERMISSION: u16 = 0x0008;
    /// `ChannelBind` request (RFC 8656 section 12.1).
    pub const CHANNEL_BIND: u16 = 0x0009;
    /// Send indication (RFC 8656 section 11.1).
    pub const SEND: u16 = 0x0016;
    /// Data indication (RFC 8656 section 11.5).
    pub const DATA: u16 = 0x0017;
    /// Added to a request's type for its success response (RFC 8489 section 5).
    pub const SUCCESS: u16 = 0x0100;
    /// Added to a request's type for its error response (RFC 8489 section 5).
    pub const ERROR: u16 = 0x0110;
}

/// Attribute types (RFC 8489 section 18.3, RFC 8656 section 18).
pub mod attribute {
    /// USERNAME.
    pub const USERNAME: u16 = 0x0006;
    /// MESSAGE-INTEGRITY.
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    /// ERROR-CODE.
    pub const ERROR_CODE: u16 = 0x0009;
    /// CHANNEL-NUMBER.
    pub const CHANNEL_NUMBER: u16 = 0x000C;
    /// LIFETIME.
    pub const LIFETIME: u16 = 0x000D;
    /// XOR-PEER-ADDRESS.
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    /// DATA.
    pub const DATA: u16 = 0x0013;
    /// REALM.
    pub const REALM: u16 = 0x0014;
    /// NONCE.
    pub const NONCE: u16 = 0x0015;
    /// XOR-RELAYED-ADDRESS.
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    /// REQUESTED-ADDRESS-FAMILY.
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    /// REQUESTED-TRANSPORT.
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
}

/// A message under construction; the header's length is right after every step.
#[derive(Debug)]
pub struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// Begins a message of `kind` (one of [`kind`]) with no attributes.
    pub fn new(kind: u16, transaction: TransactionId) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        bytes.extend_from_slice(&transaction);
        Self { bytes }
    }

    /// Appends an attribute, padded with zeros to four bytes (RFC 8489 section 14).
    #[must_use]
    pub fn attribute(mut self, number: u16, value: &[u8]) -> Self {
        self.bytes.extend_from_slice(&number.to_be_bytes());
        self.bytes
            .extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.set_length(0);
        self
    }

    /// Appends an XOR-PEER-ADDRESS (RFC 8656 section 18.3).
    #[must_use]
    pub fn peer(self, address: SocketAddr) -> Self {
        let value = xor_address(address, self.transaction());
        self.attribute(attribute::XOR_PEER_ADDRESS, &value)
    }

    /// Appends MESSAGE-INTEGRITY under `key` (RFC 8489 section 14.5) and ends the message.
    pub fn signed(mut self, key: &[u8]) -> Vec<u8> {
        self.set_length(4 + INTEGRITY_LEN);
        let tag = integrity(key, &self.bytes);
        self.attribute(attribute::MESSAGE_INTEGRITY, &tag).bytes
    }

    /// Ends the message without a signature.
    pub fn unsigned(self) -> Vec<u8> {
        self.bytes
    }

    fn transaction(&self) -> TransactionId {
        let mut id = TransactionId::default();
        id.copy_from_slice(&self.bytes[8..HEADER_LEN]);
        id
    }

    fn set_length(&mut self, more: usize) {
        let length = (self.bytes.len() - HEADER_LEN + more) as u16;
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }
}

/// HMAC-SHA1 of `text` under `key`.
fn integrity(key: &[u8], text: &[u8]) -> [u8; INTEGRITY_LEN] {
    // HMAC takes keys of any length, so this cannot fail.
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes any key");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// The long-term key: MD5 of `username:realm:password` (RFC 8489 section 9.2.2).
pub fn long_term_key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    Md5::digest(format!("{username}:{realm}:{password}")).into()
}

/// HMAC-SHA1 of a time-limited user name under the shared secret: the raw bytes of its password.
pub fn rest_password_bytes(secret: &[u8], username: &str) -> [u8; 20] {
    integrity(secret, username.as_bytes())
}

/// A received message, checked for its shape only.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message; `None` where header, cookie, length or an attribute does not fit.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
        let fits = bytes[0] < 0x40
            && bytes.get(4..8)? == MAGIC_COOKIE.to_be_bytes()
            && length.is_multiple_of(4)
            && bytes.len() == HEADER_LEN + length;
        let message = fits.then_some(Self { bytes })?;
        let read: usize = message
            .attributes()
            .map(|(_, v)| 4 + v.len().next_multiple_of(4))
            .sum();
        (read == length).then_some(message)
    }

    /// The message type: see [`kind`].
    pub fn kind(self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    /// The transaction id.
    pub fn transaction(self) -> TransactionId {
        let mut id = TransactionId::default();
        id.copy_from_slice(&self.bytes[8..HEADER_LEN]);
        id
    }

    /// The first attribute of this type.
    pub fn get(self, number: u16) -> Option<&'a [u8]> {
        self.attributes()
            .find_map(|(found, value)| (found == number).then_some(value))
    }

    /// ERROR-CODE as a number (RFC 8489 section 14.8).
    pub fn error_code(self) -> Option<u16> {
        let value = self.get(attribute::ERROR_CODE)?;
        Some(u16::from(*value.get(2)? & 7) * 100 + u16::from(*value.get(3)?))
    }

    /// An attribute in the XOR-MAPPED-ADDRESS format (RFC 8489 section 14.2).
    pub fn address(self, number: u16) -> Option<SocketAddr> {
        read_xor_address(self.get(number)?, self.transaction())
    }

    fn attributes(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = &self.bytes[HEADER_LEN..];
        std::iter::from_fn(move || {
            let number = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
            let length = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
            let value = rest.get(4..4 + length)?;
            rest = rest.get(4 + length.next_multiple_of(4)..)?;
            Some((number, value))
        })
    }
}

/// Cookie and transaction id: what addresses are combined with (RFC 8489 section 14.2).
fn mask(transaction: TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction);
    mask
}

/// Encodes an address in the XOR-MAPPED-ADDRESS format (RFC 8489 section 14.2).
pub fn xor_address(address: SocketAddr, transaction: TransactionId) -> Vec<u8> {
    let (family, mut octets) = match address.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    for (octet, mask) in octets.iter_mut().zip(mask(transaction)) {
        *octet ^= mask;
    }
    let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
    let mut value = vec![0, family];
    value.extend_from_slice(&port.to_be_bytes());
    value.append(&mut octets);
    value
}

fn read_xor_address(value: &[u8], transaction: TransactionId) -> Option<SocketAddr> {
    let mut octets = value.get(4..)?.to_vec();
    for (octet, mask) in octets.iter_mut().zip(mask(transaction)) {
        *octet ^= mask;
    }
    let ip = match value[1] {
        1 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)),
        2 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?)),
        _ => return None,
    };
    let port = u16::from_be_bytes([value[2], value[3]]) ^ (MAGIC_COOKIE >> 16) as u16;
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
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
}
