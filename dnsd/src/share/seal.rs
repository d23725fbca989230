//! The seal on every datagram between nameservers: who does not hold a cluster key can neither read
//! nor make one.
//!
//! ```text
//!  0        4         8           32                      length - 16
//!  | "TFS1" | key id  | nonce     | sealed frame ...      | tag |
//! ```
//!
//! XChaCha20-Poly1305: all nodes share the keys, and 24 random bytes never repeat without anybody
//! keeping count. The magic and the key id are authenticated along.

use std::fmt;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use credentials::{Secret, SecretRing};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::limits::SHARE_DATAGRAM;

/// What every datagram begins with; the last character is the version.
const MAGIC: [u8; 4] = *b"TFS1";
const KEY_ID: usize = 4;
const NONCE: usize = 24;
const TAG: usize = 16;
/// What is readable by everybody.
const HEAD: usize = MAGIC.len() + KEY_ID;
/// Bytes of a datagram that are not the frame's.
pub const OVERHEAD: usize = HEAD + NONCE + TAG;

/// Why a datagram is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsealed {
    /// Not of this protocol: its length or its first bytes.
    Format,
    /// Sealed with a key that is not configured here.
    UnknownKey,
    /// Not sealed by anybody who has the key it names.
    Forged,
}

/// One key: the cipher, and what tells its datagrams from others'.
#[derive(Clone)]
struct ClusterKey {
    id: [u8; KEY_ID],
    cipher: XChaCha20Poly1305,
}

impl ClusterKey {
    fn derive(secret: &Secret) -> Self {
        let derived = |purpose: &[u8]| {
            let hmac = Hmac::<Sha256>::new_from_slice(secret.expose());
            // HMAC takes keys of every length (RFC 2104, 2).
            let hmac = hmac.expect("any key length").chain_update(purpose);
            Zeroizing::new(<[u8; 32]>::from(hmac.finalize().into_bytes()))
        };
        let id = derived(b"turnfleet sharing key id 1");
        let key = derived(b"turnfleet sharing key 1");
        Self {
            id: [id[0], id[1], id[2], id[3]],
            cipher: XChaCha20Poly1305::new((&*key).into()),
        }
    }
}

/// The keys of the cluster: the current one seals, every one opens.
///
/// Rotation without a gap: append the new key as a previous one everywhere, then make it the
/// current one everywhere, then drop the old one.
#[derive(Clone)]
pub struct ClusterKeys(Vec<ClusterKey>);

impl fmt::Debug for ClusterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKeys({})", self.0.len())
    }
}

impl ClusterKeys {
    /// The keys made of a ring of secrets.
    pub fn derive(ring: &SecretRing) -> Self {
        Self(ring.iter().map(ClusterKey::derive).collect())
    }

    /// Seals a frame; with `None` the system has no randomness to give.
    ///
    /// The frame must be short enough for the datagram to have at most [`SHARE_DATAGRAM`] bytes.
    pub fn seal(&self, frame: &[u8]) -> Option<Vec<u8>> {
        debug_assert!(frame.len() + OVERHEAD <= SHARE_DATAGRAM);
        let key = self.0.first()?;
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).ok()?;
        let mut datagram = Vec::with_capacity(OVERHEAD + frame.len());
        datagram.extend(MAGIC);
        datagram.extend(key.id);
        let sealed = Payload {
            msg: frame,
            aad: &datagram,
        };
        let sealed = key.cipher.encrypt(&XNonce::from(nonce), sealed).ok()?;
        datagram.extend(nonce);
        datagram.extend(sealed);
        Some(datagram)
    }

    /// Opens a datagram.
    pub fn open(&self, datagram: &[u8]) -> Result<Vec<u8>, Unsealed> {
        let (Some((head, rest)), true) = (
            datagram.split_at_checked(HEAD),
            datagram.len() <= SHARE_DATAGRAM,
        ) else {
            return Err(Unsealed::Format);
        };
        let Some((nonce, sealed)) = rest.split_first_chunk::<NONCE>() else {
            return Err(Unsealed::Format);
        };
        let Some(id) = head.strip_prefix(&MAGIC).filter(|_| sealed.len() >= TAG) else {
            return Err(Unsealed::Format);
        };
        let mut refused = Unsealed::UnknownKey;
        for key in self.0.iter().filter(|key| key.id == id) {
            let sealed = Payload {
                msg: sealed,
                aad: head,
            };
            match key.cipher.decrypt(&XNonce::from(*nonce), sealed) {
                Ok(frame) => return Ok(frame),
                Err(_) => refused = Unsealed::Forged,
            }
        }
        Err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::frame::FRAME_MAX;

    fn ring(current: &str, previous: &[&str]) -> ClusterKeys {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec()).expect("secret");
        let previous = previous.iter().map(|text| secret(text)).collect();
        ClusterKeys::derive(&SecretRing::new(secret(current), previous).expect("ring"))
    }

    const OLD: &str = "the old key of the cluster, long";
    const NEW: &str = "the new key of the cluster, long";

    #[test]
    fn the_longest_frame_fits_a_datagram_and_comes_back() {
        let keys = ring(OLD, &[]);
        let frame = vec![7; FRAME_MAX];
        let datagram = keys.seal(&frame).expect("sealed");
        assert_eq!(datagram.len(), SHARE_DATAGRAM);
        assert_eq!(keys.open(&datagram), Ok(frame.clone()));
        assert_ne!(
            keys.seal(&frame).expect("sealed"),
            datagram,
            "nonces differ"
        );
        assert!(!format!("{keys:?}").contains("old key"));
    }

    #[test]
    fn no_changed_bit_is_overlooked() {
        let keys = ring(OLD, &[]);
        let datagram = keys.seal(b"a frame").expect("sealed");
        for byte in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[byte] ^= 1;
            let refused = match byte {
                0..4 => Unsealed::Format,
                4..8 => Unsealed::UnknownKey,
                _ => Unsealed::Forged,
            };
            assert_eq!(keys.open(&changed), Err(refused), "byte {byte}");
        }
        for length in 0..datagram.len() {
            assert!(keys.open(&datagram[..length]).is_err(), "{length} bytes");
        }
        let long = [datagram, vec![0; SHARE_DATAGRAM]].concat();
        assert_eq!(keys.open(&long), Err(Unsealed::Format));
    }

    #[test]
    fn in_each_step_of_a_rotation_both_sides_understand_each_other() {
        let steps = [
            ring(OLD, &[]),
            ring(OLD, &[NEW]),
            ring(NEW, &[OLD]),
            ring(NEW, &[]),
        ];
        for pair in steps.windows(2) {
            for (from, to) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
                let datagram = from.seal(b"a frame").expect("sealed");
                assert_eq!(to.open(&datagram), Ok(b"a frame".to_vec()));
            }
        }
        let strange = steps[3].seal(b"a frame").expect("sealed");
        assert_eq!(steps[0].open(&strange), Err(Unsealed::UnknownKey));
    }
}
