//! MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256: the long-term key, signing and verifying
//! (RFC 8489 sections 9.2.2, 14.5, 14.6 and 18.5.1).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::digest::Output;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::HEADER;
use super::attribute::{MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256};
use super::message::{Message, attribute_at};

/// How a key is made from the password (RFC 8489 section 18.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    /// The value of PASSWORD-ALGORITHMS in every challenge. A client must take the first that it
    /// knows (RFC 8489 section 9.2.5), and all know MD5: behind it nobody would come to SHA-256.
    pub(crate) const OFFER: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

    /// Reads PASSWORD-ALGORITHM: one of those offered, which have no parameters.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        match value {
            [0, 1, 0, 0] => Some(Self::Md5),
            [0, 2, 0, 0] => Some(Self::Sha256),
            _ => None,
        }
    }
}

/// Which attribute holds the MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Integrity {
    /// MESSAGE-INTEGRITY.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256.
    Sha256,
}

impl Integrity {
    /// The attribute's type.
    pub(crate) const fn kind(self) -> u16 {
        match self {
            Self::Sha1 => MESSAGE_INTEGRITY,
            Self::Sha256 => MESSAGE_INTEGRITY_SHA256,
        }
    }

    /// Bytes of the MAC. RFC 8489 section 14.6 lets a usage take shorter ones; TURN does not.
    pub(crate) const fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// A long-term key; wiped when dropped, never printed.
#[derive(Clone)]
pub(crate) struct Key {
    /// Filled up with zeros, as HMAC would do it (RFC 2104 section 2).
    bytes: Zeroizing<[u8; 32]>,
    algorithm: Algorithm,
    /// How messages are signed with it.
    integrity: Integrity,
}

impl Key {
    /// `hash(username ":" realm ":" password)`, to sign with `integrity`. The profile of RFC 8265
    /// changes no password in base64; the username has passed it at the client, and the realm is
    /// used as it is told.
    pub(crate) fn long_term(
        algorithm: Algorithm,
        integrity: Integrity,
        username: &str,
        realm: &str,
        password: &str,
    ) -> Self {
        let parts = [username, ":", realm, ":", password];
        let mut bytes = Zeroizing::new([0; 32]);
        match algorithm {
            Algorithm::Md5 => bytes[..16].copy_from_slice(&digest::<Md5>(parts)),
            Algorithm::Sha256 => bytes.copy_from_slice(&digest::<Sha256>(parts)),
        }
        Self {
            bytes,
            algorithm,
            integrity,
        }
    }

    /// `password` itself (RFC 8489 section 9.1.1). `None` if it is longer than a password of
    /// this fleet, which is 20 bytes in base64.
    pub(crate) fn short_term(password: &[u8]) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.get_mut(..password.len())?.copy_from_slice(password);
        Some(Self {
            bytes,
            algorithm: Algorithm::Md5,
            integrity: Integrity::Sha1,
        })
    }

    /// The same key, signing with `integrity`.
    pub(crate) fn signing_with(mut self, integrity: Integrity) -> Self {
        self.integrity = integrity;
        self
    }

    /// What it was made with.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The attribute that it signs with.
    pub(crate) fn integrity(&self) -> Integrity {
        self.integrity
    }

    /// Both hashes have blocks of 64 bytes: given a whole one, HMAC cannot fail.
    fn block(&self) -> Zeroizing<[u8; 64]> {
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(&*self.bytes);
        block
    }

    fn sha1(&self) -> Hmac<Sha1> {
        Hmac::new((&*self.block()).into())
    }

    fn sha256(&self) -> Hmac<Sha256> {
        Hmac::new((&*self.block()).into())
    }

    /// The MAC of a message whose length field already counts it, zeros behind its
    /// [`Integrity::length`].
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut tag = [0; 32];
        match self.integrity {
            Integrity::Sha1 => {
                let mac = self.sha1().chain_update(message).finalize();
                tag[..20].copy_from_slice(&mac.into_bytes());
            }
            Integrity::Sha256 => {
                let mac = self.sha256().chain_update(message).finalize();
                tag.copy_from_slice(&mac.into_bytes());
            }
        }
        tag
    }

    /// Whether the message was signed with this key, by whichever attribute it has; in constant
    /// time. False without one, and for a MAC that was cut.
    pub(crate) fn verifies(&self, message: &Message<'_>) -> bool {
        let bytes = message.bytes();
        let signed = message.integrity().and_then(|(at, integrity)| {
            let (_, tag) = attribute_at(bytes, at)?;
            Some((at, integrity, tag))
        });
        let Some((at, integrity, tag)) = signed else {
            return false;
        };
        // Computed as if the MAC were the last attribute.
        let length = (at + 4 + tag.len() - HEADER) as u16;
        let covered: [&[u8]; 3] = [&bytes[..2], &length.to_be_bytes(), &bytes[4..at]];
        match integrity {
            Integrity::Sha1 => over(self.sha1(), covered).verify_slice(tag).is_ok(),
            Integrity::Sha256 => over(self.sha256(), covered).verify_slice(tag).is_ok(),
        }
    }
}

fn digest<D: Digest>(parts: [&str; 5]) -> Output<D> {
    let mut digest = D::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize()
}

fn over<M: Mac>(mut mac: M, parts: [&[u8]; 3]) -> M {
    for part in parts {
        mac.update(part);
    }
    mac
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}
