//! MESSAGE-INTEGRITY: the long-term key, signing and verifying (RFC 8489 sections 9.2.2, 14.5).
//!
//! MESSAGE-INTEGRITY-SHA256 would be a second kind of [`Key`], chosen by the features in the
//! nonce; nothing outside this file knows which hash is in use.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use zeroize::Zeroizing;

use super::HEADER;
use super::message::Message;

/// A long-term key; wiped when dropped, never printed.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<[u8; 16]>);

impl Key {
    /// `MD5(username ":" realm ":" password)`.
    pub(crate) fn long_term(username: &str, realm: &str, password: &str) -> Self {
        let digest = Md5::new()
            .chain_update(username)
            .chain_update(":")
            .chain_update(realm)
            .chain_update(":")
            .chain_update(password)
            .finalize();
        let mut key = Zeroizing::new([0; 16]);
        key.copy_from_slice(&digest);
        Self(key)
    }

    fn mac(&self) -> Hmac<Sha1> {
        // HMAC pads its key to a block with zeros (RFC 2104 section 2); done here, nothing can fail.
        let mut block = Zeroizing::new([0; 64]);
        block[..self.0.len()].copy_from_slice(&*self.0);
        Hmac::new((&*block).into())
    }

    /// The value of MESSAGE-INTEGRITY for a message whose length field already counts it.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 20] {
        let mut tag = [0; 20];
        tag.copy_from_slice(&self.mac().chain_update(message).finalize().into_bytes());
        tag
    }

    /// Whether the message was signed with this key; in constant time. False without
    /// MESSAGE-INTEGRITY.
    pub(crate) fn verifies(&self, message: &Message<'_>) -> bool {
        let Some(at) = message.integrity() else {
            return false;
        };
        let bytes = message.bytes();
        let Some(tag) = bytes.get(at + 4..at + 24) else {
            return false;
        };
        // Computed as if MESSAGE-INTEGRITY were the last attribute.
        let length = (at + 24 - HEADER) as u16;
        self.mac()
            .chain_update(&bytes[..2])
            .chain_update(length.to_be_bytes())
            .chain_update(&bytes[4..at])
            .verify_slice(tag)
            .is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}
