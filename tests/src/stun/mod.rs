//! The tests' own STUN and TURN codec: what a client of RFC 8656 needs, and what a rude one sends.
//!
//! It shares no code with the server under test, so that both cannot be wrong in the same way.

mod numbers;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::{Digest, Sha1};
use sha2::Sha256;

pub use numbers::{attribute, kind};

/// The fixed second word of every message (RFC 8489 section 5).
pub const MAGIC_COOKIE: u32 = 0x2112_A442;
/// Bytes of a message's header (RFC 8489 section 5).
pub const HEADER_LEN: usize = 20;
/// Bytes of a MESSAGE-INTEGRITY value: HMAC-SHA1 (RFC 8489 section 14.5).
const INTEGRITY_LEN: usize = 20;
/// Bytes of a whole MESSAGE-INTEGRITY-SHA256 value (RFC 8489 section 14.6).
const INTEGRITY_SHA256_LEN: usize = 32;

/// A transaction id (RFC 8489 section 5).
pub type TransactionId = [u8; 12];

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

    /// Appends MESSAGE-INTEGRITY under `key` (RFC 8489 section 14.5).
    #[must_use]
    pub fn integrity(mut self, key: &[u8]) -> Self {
        self.set_length(4 + INTEGRITY_LEN);
        let tag = integrity(key, &self.bytes);
        self.attribute(attribute::MESSAGE_INTEGRITY, &tag)
    }

    /// Appends MESSAGE-INTEGRITY-SHA256 under `key`, all 32 bytes (RFC 8489 section 14.6).
    #[must_use]
    pub fn integrity_sha256(mut self, key: &[u8]) -> Self {
        self.set_length(4 + INTEGRITY_SHA256_LEN);
        let tag = integrity_sha256(key, &self.bytes);
        self.attribute(attribute::MESSAGE_INTEGRITY_SHA256, &tag)
    }

    /// Appends FINGERPRINT (RFC 8489 section 14.7).
    #[must_use]
    pub fn fingerprint(mut self) -> Self {
        self.set_length(8);
        let value = fingerprint(&self.bytes);
        self.attribute(attribute::FINGERPRINT, &value)
    }

    /// Appends MESSAGE-INTEGRITY under `key` and ends the message.
    pub fn signed(self, key: &[u8]) -> Vec<u8> {
        self.integrity(key).bytes
    }

    /// Ends the message as it is.
    pub fn unsigned(self) -> Vec<u8> {
        self.bytes
    }

    /// The transaction id.
    pub fn transaction(&self) -> TransactionId {
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

/// HMAC-SHA256 of `text` under `key`.
fn integrity_sha256(key: &[u8], text: &[u8]) -> [u8; INTEGRITY_SHA256_LEN] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// The value of FINGERPRINT after `text`: its CRC-32, xored with "STUN" (RFC 8489 section 14.7).
pub fn fingerprint(text: &[u8]) -> [u8; 4] {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(text);
    (crc ^ 0x5354_554e).to_be_bytes()
}

/// The long-term key with SHA-256 (RFC 8489 section 18.5.1.2).
pub fn long_term_key_sha256(username: &str, realm: &str, password: &str) -> [u8; 32] {
    Sha256::digest(format!("{username}:{realm}:{password}")).into()
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

    /// All attributes of this type in the XOR-MAPPED-ADDRESS format.
    pub fn addresses(self, number: u16) -> impl Iterator<Item = SocketAddr> {
        self.all(number)
            .filter_map(move |value| read_xor_address(value, self.transaction()))
    }

    /// All attributes of this type, in order.
    pub fn all(self, number: u16) -> impl Iterator<Item = &'a [u8]> {
        self.attributes()
            .filter(move |(found, _)| *found == number)
            .map(|(_, value)| value)
    }

    /// All attributes, in order.
    pub fn attributes(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        self.placed().map(|(_, number, value)| (number, value))
    }

    /// Whether MESSAGE-INTEGRITY is there and was made with `key` (RFC 8489 section 14.5).
    pub fn signed_by(self, key: &[u8]) -> bool {
        self.covered(attribute::MESSAGE_INTEGRITY)
            .is_some_and(|(text, value)| integrity(key, &text) == *value)
    }

    /// Whether MESSAGE-INTEGRITY-SHA256 is there, whole, and was made with `key`
    /// (RFC 8489 section 14.6).
    pub fn signed_sha256_by(self, key: &[u8]) -> bool {
        self.covered(attribute::MESSAGE_INTEGRITY_SHA256)
            .is_some_and(|(text, value)| integrity_sha256(key, &text) == *value)
    }

    /// Whether FINGERPRINT is there, last, and right (RFC 8489 section 14.7).
    pub fn has_fingerprint(self) -> bool {
        let last = self.attributes().last().map(|(number, _)| number);
        last == Some(attribute::FINGERPRINT)
            && self
                .covered(attribute::FINGERPRINT)
                .is_some_and(|(text, value)| fingerprint(&text) == *value)
    }

    /// What the first attribute of this type covers, with the length as if it were the last one,
    /// and its value.
    fn covered(self, number: u16) -> Option<(Vec<u8>, &'a [u8])> {
        let (at, _, value) = self.placed().find(|(_, found, _)| *found == number)?;
        let mut text = self.bytes[..at].to_vec();
        let length = (at - HEADER_LEN + 4 + value.len()) as u16;
        text[2..4].copy_from_slice(&length.to_be_bytes());
        Some((text, value))
    }

    fn placed(self) -> impl Iterator<Item = (usize, u16, &'a [u8])> {
        let mut at = HEADER_LEN;
        std::iter::from_fn(move || {
            let rest = self.bytes.get(at..)?;
            let number = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
            let length = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
            let value = rest.get(4..4 + length)?;
            rest.get(4 + length.next_multiple_of(4)..)?;
            let here = at;
            at += 4 + length.next_multiple_of(4);
            Some((here, number, value))
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
mod tests;
