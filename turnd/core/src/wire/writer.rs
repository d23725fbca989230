//! Writes STUN replies.

use std::net::{IpAddr, SocketAddr};

use super::attribute::{ADDRESS_ERROR_CODE, ERROR_CODE, FINGERPRINT, UNKNOWN_ATTRIBUTES};
use super::integrity::Key;
use super::message::xor_v6;
use super::{COOKIE, CRC, Class, FINGERPRINT_XOR, HEADER, TransactionId, message_type, padded};
use crate::address::Family;

/// A message being written. Its length field is right after every step.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A message without attributes.
    pub(crate) fn new(method: u16, class: Class, transaction: &TransactionId) -> Self {
        // Holds every reply without a second allocation, save with a long SOFTWARE.
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&message_type(method, class).to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&COOKIE);
        bytes.extend_from_slice(transaction);
        Self { bytes }
    }

    /// Appends an attribute, padded with zeros (RFC 8489 section 14).
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes
            .extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(padded(self.bytes.len()), 0);
        self.set_length(self.bytes.len());
    }

    fn set_length(&mut self, end: usize) {
        let length = u16::try_from(end - HEADER).unwrap_or(u16::MAX);
        debug_assert_ne!(length, u16::MAX, "replies are short");
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }

    /// Appends an address as it is (RFC 8489 section 14.1).
    pub(crate) fn address(&mut self, kind: u16, address: SocketAddr) {
        match address.ip() {
            IpAddr::V4(v4) => self.address_value(kind, 1, address.port(), &v4.octets()),
            IpAddr::V6(v6) => self.address_value(kind, 2, address.port(), &v6.octets()),
        }
    }

    /// Appends an address xored with cookie and transaction id (RFC 8489 section 14.2).
    pub(crate) fn xor_address(&mut self, kind: u16, address: SocketAddr) {
        let port = address.port() ^ u16::from_be_bytes([COOKIE[0], COOKIE[1]]);
        match address.ip() {
            IpAddr::V4(v4) => {
                let octets = (v4.to_bits() ^ u32::from_be_bytes(COOKIE)).to_be_bytes();
                self.address_value(kind, 1, port, &octets);
            }
            IpAddr::V6(v6) => {
                let mut transaction = [0; 12];
                transaction.copy_from_slice(&self.bytes[8..HEADER]);
                let octets = xor_v6(v6.octets(), &transaction);
                self.address_value(kind, 2, port, &octets);
            }
        }
    }

    fn address_value(&mut self, kind: u16, family: u8, port: u16, octets: &[u8]) {
        let mut value = [0; 20];
        value[1] = family;
        value[2..4].copy_from_slice(&port.to_be_bytes());
        value[4..4 + octets.len()].copy_from_slice(octets);
        self.attribute(kind, &value[..4 + octets.len()]);
    }

    /// Appends ERROR-CODE (RFC 8489 section 14.8).
    pub(crate) fn error_code(&mut self, code: u16, reason: &str) {
        debug_assert!((300..700).contains(&code) && reason.len() <= 60);
        let mut value = [0; 64];
        value[2] = (code / 100) as u8;
        value[3] = (code % 100) as u8;
        value[4..4 + reason.len()].copy_from_slice(reason.as_bytes());
        self.attribute(ERROR_CODE, &value[..4 + reason.len()]);
    }

    /// Appends ADDRESS-ERROR-CODE without a reason phrase (RFC 8656 section 18.12).
    pub(crate) fn address_error_code(&mut self, family: Family, code: u16) {
        debug_assert!((300..700).contains(&code));
        let mut value = [0; 4];
        value[0] = family.wire();
        value[2] = (code / 100) as u8;
        value[3] = (code % 100) as u8;
        self.attribute(ADDRESS_ERROR_CODE, &value);
    }

    /// Appends UNKNOWN-ATTRIBUTES (RFC 8489 section 14.13).
    pub(crate) fn unknown_attributes(&mut self, kinds: &[u16]) {
        let value: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        self.attribute(UNKNOWN_ATTRIBUTES, &value);
    }

    /// Signs with `key` if there is one, appends FINGERPRINT if wanted, and ends the message.
    pub(crate) fn finish(mut self, key: Option<&Key>, fingerprint: bool) -> Vec<u8> {
        if let Some(key) = key {
            let integrity = key.integrity();
            // The length counts the MAC itself (RFC 8489 sections 14.5 and 14.6).
            self.set_length(self.bytes.len() + 4 + integrity.length());
            let tag = key.sign(&self.bytes);
            self.attribute(integrity.kind(), &tag[..integrity.length()]);
        }
        if fingerprint {
            self.set_length(self.bytes.len() + 8);
            let crc = CRC.checksum(&self.bytes) ^ FINGERPRINT_XOR;
            self.attribute(FINGERPRINT, &crc.to_be_bytes());
        }
        self.bytes
    }
}
