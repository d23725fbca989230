//! Reads a STUN message where it lies: checks its shape once, then finds attributes by walking.

use std::net::{IpAddr, SocketAddr};

use super::attribute::{FINGERPRINT, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256, is_tolerable};
use super::integrity::Integrity;
use super::{COOKIE, CRC, Class, FINGERPRINT_XOR, HEADER, TransactionId, padded};
use crate::limits::{MESSAGE_ATTRIBUTES, UNKNOWN_ATTRIBUTES};

/// A well-formed message (RFC 8489 sections 5 and 6.3), fingerprint verified if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    bytes: &'a [u8],
    /// Where attributes end that count: those after the first MAC do not (RFC 8489 section 9).
    end: usize,
    integrity: Option<(usize, Integrity)>,
    fingerprint: bool,
}

/// Why bytes are not a STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// No header of RFC 8489.
    NotStun,
    /// A length that is wrong, an attribute that does not fit, or too many.
    Shape,
    /// FINGERPRINT says it is not STUN, or was damaged.
    Fingerprint,
}

/// An attribute that is present but makes no sense; a reason for 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadAttribute;

impl<'a> Message<'a> {
    /// Checks all of `bytes`, which must be exactly one message.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(Malformed::NotStun)?;
        if header[0] & 0xc0 != 0 || header[4..8] != COOKIE {
            return Err(Malformed::NotStun);
        }
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        // That it is a multiple of four follows from walking the attributes.
        if HEADER + length != bytes.len() {
            return Err(Malformed::Shape);
        }
        let mut message = Self {
            bytes,
            end: bytes.len(),
            integrity: None,
            fingerprint: false,
        };
        message.check_attributes()?;
        Ok(message)
    }

    fn check_attributes(&mut self) -> Result<(), Malformed> {
        let mut at = HEADER;
        for _ in 0..=MESSAGE_ATTRIBUTES {
            if at == self.bytes.len() {
                return Ok(());
            }
            let (kind, value) = attribute_at(self.bytes, at).ok_or(Malformed::Shape)?;
            let open = self.end == self.bytes.len();
            match kind {
                MESSAGE_INTEGRITY if open => {
                    if value.len() != Integrity::Sha1.length() {
                        return Err(Malformed::Shape);
                    }
                    self.integrity = Some((at, Integrity::Sha1));
                    self.end = at;
                }
                // The stronger one counts, also behind the other (RFC 8489 section 9.2.4).
                MESSAGE_INTEGRITY_SHA256 if !self.has_sha256() => {
                    if !(16..=32).contains(&value.len()) || !value.len().is_multiple_of(4) {
                        return Err(Malformed::Shape);
                    }
                    self.integrity = Some((at, Integrity::Sha256));
                    self.end = self.end.min(at);
                }
                FINGERPRINT => {
                    self.check_fingerprint(at, value)?;
                    self.end = self.end.min(at);
                    self.fingerprint = true;
                    return Ok(());
                }
                _ => {}
            }
            at += 4 + padded(value.len());
        }
        Err(Malformed::Shape)
    }

    fn has_sha256(&self) -> bool {
        matches!(self.integrity, Some((_, Integrity::Sha256)))
    }

    /// FINGERPRINT is the last attribute and covers all before it (RFC 8489 section 14.7).
    fn check_fingerprint(&self, at: usize, value: &[u8]) -> Result<(), Malformed> {
        let value: [u8; 4] = value.try_into().map_err(|_| Malformed::Shape)?;
        if at + 8 != self.bytes.len() {
            return Err(Malformed::Shape);
        }
        let crc = CRC.checksum(&self.bytes[..at]) ^ FINGERPRINT_XOR;
        if u32::from_be_bytes(value) == crc {
            Ok(())
        } else {
            Err(Malformed::Fingerprint)
        }
    }

    /// The whole message.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn class(&self) -> Class {
        match (self.bytes[0] & 1, self.bytes[1] & 0x10) {
            (0, 0) => Class::Request,
            (0, _) => Class::Indication,
            (_, 0) => Class::Success,
            _ => Class::Error,
        }
    }

    pub(crate) fn method(&self) -> u16 {
        let kind = u16::from_be_bytes([self.bytes[0], self.bytes[1]]);
        kind & 0x000f | kind >> 1 & 0x0070 | kind >> 2 & 0x0f80
    }

    pub(crate) fn transaction(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER]);
        id
    }

    /// Where the MAC that counts begins, and which it is.
    pub(crate) fn integrity(&self) -> Option<(usize, Integrity)> {
        self.integrity
    }

    /// Whether the sender wants FINGERPRINT in the reply.
    pub(crate) fn has_fingerprint(&self) -> bool {
        self.fingerprint
    }

    /// The attributes that count, in order.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut at = HEADER;
        let (bytes, end) = (self.bytes, self.end);
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (kind, value) = attribute_at(bytes, at)?;
            at += 4 + padded(value.len());
            Some((kind, value))
        })
    }

    /// The first attribute of type `kind`; later ones are ignored (RFC 8489 section 14).
    pub(crate) fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes()
            .find_map(|(k, value)| (k == kind).then_some(value))
    }

    /// An attribute whose value has exactly `N` bytes.
    pub(crate) fn fixed<const N: usize>(&self, kind: u16) -> Result<Option<[u8; N]>, BadAttribute> {
        self.attribute(kind)
            .map(|value| value.try_into().map_err(|_| BadAttribute))
            .transpose()
    }

    /// Reads the value of an XOR-…-ADDRESS attribute.
    pub(crate) fn xor_address(&self, value: &[u8]) -> Result<SocketAddr, BadAttribute> {
        read_xor_address(value, &self.transaction()).ok_or(BadAttribute)
    }

    /// The attributes that must be understood and are not, at most [`UNKNOWN_ATTRIBUTES`].
    pub(crate) fn unknown(&self) -> Unknown {
        let mut unknown = Unknown::default();
        for (kind, _) in self.attributes().filter(|(kind, _)| !is_tolerable(*kind)) {
            if let Some(place) = unknown.kinds.get_mut(unknown.count) {
                *place = kind;
                unknown.count += 1;
            }
        }
        unknown
    }
}

/// Types for UNKNOWN-ATTRIBUTES (RFC 8489 section 14.13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unknown {
    kinds: [u16; UNKNOWN_ATTRIBUTES],
    count: usize,
}

impl Unknown {
    pub(crate) fn as_slice(&self) -> &[u16] {
        &self.kinds[..self.count]
    }
}

/// The attribute whose header begins at `at`; `None` if it or its padding does not fit.
pub(crate) fn attribute_at(bytes: &[u8], at: usize) -> Option<(u16, &[u8])> {
    let (header, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let value = rest.get(..padded(length))?.get(..length)?;
    Some((u16::from_be_bytes([header[0], header[1]]), value))
}

/// Reads an address xored with cookie and transaction id (RFC 8489 section 14.2). `None` for
/// another family or length.
pub(crate) fn read_xor_address(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let (&[_, family, high, low], address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([high ^ COOKIE[0], low ^ COOKIE[1]]);
    let address = match family {
        1 => {
            let octets: [u8; 4] = address.try_into().ok()?;
            IpAddr::from((u32::from_be_bytes(octets) ^ u32::from_be_bytes(COOKIE)).to_be_bytes())
        }
        2 => {
            let octets: [u8; 16] = address.try_into().ok()?;
            IpAddr::from(xor_v6(octets, transaction))
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// The sixteen octets of an IPv6 address, xored; its own inverse.
pub(crate) fn xor_v6(octets: [u8; 16], transaction: &TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE);
    mask[4..].copy_from_slice(transaction);
    (u128::from_ne_bytes(octets) ^ u128::from_ne_bytes(mask)).to_ne_bytes()
}
