//! A tiny STUN codec of the tests' own: nothing of the server's, and only as good as needed.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

pub(crate) const BINDING: u16 = 1;
pub(crate) const ALLOCATE: u16 = 3;
pub(crate) const REFRESH: u16 = 4;
pub(crate) const CREATE_PERMISSION: u16 = 8;
pub(crate) const CHANNEL_BIND: u16 = 9;

pub(crate) const CONNECT: u16 = 0x0a;
pub(crate) const CONNECTION_BIND: u16 = 0x0b;
/// As an indication.
pub(crate) const CONNECTION_ATTEMPT: u16 = 0x1c;

pub(crate) const USERNAME: u16 = 0x06;
pub(crate) const INTEGRITY: u16 = 0x08;
pub(crate) const ERROR_CODE: u16 = 0x09;
pub(crate) const UNKNOWN: u16 = 0x0a;
pub(crate) const CHANNEL_NUMBER: u16 = 0x0c;
pub(crate) const LIFETIME: u16 = 0x0d;
pub(crate) const PEER: u16 = 0x12;
pub(crate) const DATA: u16 = 0x13;
pub(crate) const REALM: u16 = 0x14;
pub(crate) const NONCE: u16 = 0x15;
pub(crate) const RELAYED: u16 = 0x16;
pub(crate) const FAMILY: u16 = 0x17;
pub(crate) const EVEN_PORT: u16 = 0x18;
pub(crate) const TRANSPORT: u16 = 0x19;
pub(crate) const DONT_FRAGMENT: u16 = 0x1a;
pub(crate) const INTEGRITY_SHA256: u16 = 0x1c;
pub(crate) const ALGORITHM: u16 = 0x1d;
pub(crate) const USERHASH: u16 = 0x1e;
pub(crate) const MAPPED: u16 = 0x20;
pub(crate) const RESERVATION: u16 = 0x22;
pub(crate) const CONNECTION_ID: u16 = 0x2a;
pub(crate) const ALGORITHMS: u16 = 0x8002;
pub(crate) const ADDITIONAL_FAMILY: u16 = 0x8000;
pub(crate) const ADDRESS_ERROR: u16 = 0x8001;
pub(crate) const ICMP: u16 = 0x8004;
pub(crate) const SOFTWARE: u16 = 0x8022;
pub(crate) const ALTERNATE: u16 = 0x8023;
pub(crate) const FINGERPRINT: u16 = 0x8028;
pub(crate) const TICKET: u16 = 0x8030;

const COOKIE: u32 = 0x2112_a442;

/// `MD5(username ":" realm ":" password)`.
pub(crate) fn key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    Md5::digest(format!("{username}:{realm}:{password}")).into()
}

/// `SHA-256(username ":" realm ":" password)`.
pub(crate) fn key_sha256(username: &str, realm: &str, password: &str) -> [u8; 32] {
    Sha256::digest(format!("{username}:{realm}:{password}")).into()
}

/// The value of MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256.
fn hmac(kind: u16, key: &[u8], bytes: &[u8]) -> Vec<u8> {
    if kind == INTEGRITY {
        let mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
        return mac.chain_update(bytes).finalize().into_bytes().to_vec();
    }
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.chain_update(bytes).finalize().into_bytes().to_vec()
}

/// CRC-32, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}

/// A message being built.
#[derive(Clone)]
pub(crate) struct Build {
    pub(crate) bytes: Vec<u8>,
}

impl Build {
    pub(crate) fn request(method: u16, transaction: u64) -> Self {
        Self::message(method, transaction)
    }

    pub(crate) fn indication(method: u16, transaction: u64) -> Self {
        Self::message(method | 0x10, transaction)
    }

    pub(crate) fn message(kind: u16, transaction: u64) -> Self {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(COOKIE.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(transaction.to_be_bytes());
        Self { bytes }
    }

    pub(crate) fn attr(mut self, kind: u16, value: &[u8]) -> Self {
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend((value.len() as u16).to_be_bytes());
        self.bytes.extend(value);
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
        self.fix(0)
    }

    fn fix(mut self, more: usize) -> Self {
        let length = (self.bytes.len() - 20 + more) as u16;
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
        self
    }

    pub(crate) fn peer(self, peer: SocketAddr) -> Self {
        let transaction = self.bytes[8..20].to_vec();
        self.attr(PEER, &xor(peer, &transaction))
    }

    pub(crate) fn sign(self, key: &[u8; 16]) -> Self {
        self.mac(INTEGRITY, key, 20)
    }

    /// Appends the first `length` bytes of a MAC, as [`INTEGRITY`] or [`INTEGRITY_SHA256`].
    pub(crate) fn mac(self, kind: u16, key: &[u8], length: usize) -> Self {
        let counted = self.fix(4 + length);
        let tag = hmac(kind, key, &counted.bytes);
        counted.attr(kind, &tag[..length])
    }

    pub(crate) fn fingerprint(self) -> Self {
        let counted = self.fix(8);
        let value = crc(&counted.bytes) ^ 0x5354_554e;
        counted.attr(FINGERPRINT, &value.to_be_bytes())
    }
}

/// An address as XOR-…-ADDRESS has it.
pub(crate) fn xor(address: SocketAddr, transaction: &[u8]) -> Vec<u8> {
    let mut mask = COOKIE.to_be_bytes().to_vec();
    mask.extend(transaction);
    let (family, octets) = match address.ip() {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    let mut value = vec![0, family];
    value.extend((address.port() ^ 0x2112).to_be_bytes());
    value.extend(octets.iter().zip(&mask).map(|(o, m)| o ^ m));
    value
}

fn unxor(value: &[u8], transaction: &[u8]) -> SocketAddr {
    let mut mask = COOKIE.to_be_bytes().to_vec();
    mask.extend(transaction);
    let octets: Vec<u8> = value[4..].iter().zip(&mask).map(|(o, m)| o ^ m).collect();
    let port = u16::from_be_bytes([value[2], value[3]]) ^ 0x2112;
    let ip = match value[1] {
        1 => IpAddr::from(<[u8; 4]>::try_from(octets).unwrap()),
        2 => IpAddr::from(<[u8; 16]>::try_from(octets).unwrap()),
        family => panic!("family {family}"),
    };
    SocketAddr::new(ip, port)
}

/// A message taken apart. Panics on anything malformed: servers must not send such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: u16,
    pub(crate) transaction: Vec<u8>,
    pub(crate) attributes: Vec<(u16, Vec<u8>)>,
}

impl Parsed {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        assert_eq!(length + 20, bytes.len());
        assert_eq!(bytes[4..8], COOKIE.to_be_bytes());
        let mut attributes = Vec::new();
        let mut at = 20;
        while at < bytes.len() {
            let kind = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            let padded = length.next_multiple_of(4);
            attributes.push((kind, bytes[at + 4..at + 4 + length].to_vec()));
            let padding = &bytes[at + 4 + length..at + 4 + padded];
            assert!(padding.iter().all(|b| *b == 0), "padding leaks");
            if kind == FINGERPRINT {
                let expected = crc(&bytes[..at]) ^ 0x5354_554e;
                assert_eq!(bytes[at + 4..at + 8], expected.to_be_bytes());
                assert_eq!(at + 8, bytes.len(), "FINGERPRINT is last");
            }
            at += 4 + padded;
        }
        Self {
            bytes: bytes.to_vec(),
            kind: u16::from_be_bytes([bytes[0], bytes[1]]),
            transaction: bytes[8..20].to_vec(),
            attributes,
        }
    }

    pub(crate) fn get(&self, kind: u16) -> Option<&[u8]> {
        let found = self.attributes.iter().find(|(k, _)| *k == kind);
        found.map(|(_, value)| value.as_slice())
    }

    pub(crate) fn has(&self, kind: u16) -> bool {
        self.get(kind).is_some()
    }

    pub(crate) fn kinds(&self) -> Vec<u16> {
        self.attributes.iter().map(|(kind, _)| *kind).collect()
    }

    pub(crate) fn is_success(&self) -> bool {
        self.kind & 0x110 == 0x100
    }

    /// The code of an error reply.
    pub(crate) fn error(&self) -> Option<u16> {
        if self.kind & 0x110 != 0x110 {
            return None;
        }
        let value = self.get(ERROR_CODE).expect("errors have a code");
        Some(u16::from(value[2]) * 100 + u16::from(value[3]))
    }

    pub(crate) fn address(&self, kind: u16) -> Option<SocketAddr> {
        Some(unxor(self.get(kind)?, &self.transaction))
    }

    /// All addresses of one kind.
    pub(crate) fn addresses(&self, kind: u16) -> Vec<SocketAddr> {
        let of_kind = self.attributes.iter().filter(|(k, _)| *k == kind);
        of_kind
            .map(|(_, value)| unxor(value, &self.transaction))
            .collect()
    }

    pub(crate) fn seconds(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(LIFETIME)?.try_into().unwrap()))
    }

    /// Whether MESSAGE-INTEGRITY is there and right.
    pub(crate) fn is_signed(&self, key: &[u8; 16]) -> bool {
        self.is_signed_by(INTEGRITY, key)
    }

    /// Whether the MAC of type `kind` is there, whole and right, and the other one is not there.
    pub(crate) fn is_signed_by(&self, kind: u16, key: &[u8]) -> bool {
        let macs = |found: &&u16| matches!(**found, INTEGRITY | INTEGRITY_SHA256);
        let kinds = self.kinds();
        if kinds.iter().filter(macs).ne([&kind]) {
            return false;
        }
        let Some(at) = kinds.iter().position(|found| *found == kind) else {
            return false;
        };
        let before: usize = self.attributes[..at]
            .iter()
            .map(|(_, value)| 4 + value.len().next_multiple_of(4))
            .sum();
        let mut covered = self.bytes[..20 + before].to_vec();
        let length = if kind == INTEGRITY { 24 } else { 36 };
        covered[2..4].copy_from_slice(&((before + length) as u16).to_be_bytes());
        self.get(kind) == Some(&hmac(kind, key, &covered))
    }
}

/// ChannelData.
pub(crate) fn channel_data(channel: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = channel.to_be_bytes().to_vec();
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}
