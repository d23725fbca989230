//! The keys that sign reports and acknowledgements, and the ring a receiver looks them up in.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

/// Shortest key, in bytes: the output length of SHA-256 (RFC 2104 section 3).
pub const KEY_MIN: usize = 32;
/// Most keys in one [`KeyRing`].
pub const RING_MAX: usize = 1024;

/// Says which key signed a datagram; sent in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An HMAC-SHA256 key of at least [`KEY_MIN`] bytes; wiped when dropped, never printed.
#[derive(Clone)]
pub struct Key(Zeroizing<Vec<u8>>);

/// The key is shorter than [`KEY_MIN`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a liveness key must have at least 32 bytes, this one has {length}")]
pub struct WeakKey {
    /// Bytes given.
    pub length: usize,
}

impl Key {
    /// Takes the key's bytes over.
    pub fn new(bytes: Vec<u8>) -> Result<Self, WeakKey> {
        let bytes = Zeroizing::new(bytes);
        if bytes.len() < KEY_MIN {
            return Err(WeakKey {
                length: bytes.len(),
            });
        }
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The keys a receiver accepts, by id; at most [`RING_MAX`].
#[derive(Clone, Debug, Default)]
pub struct KeyRing(BTreeMap<KeyId, Key>);

/// Why a key does not go into a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// Another key already has this id.
    #[error("key id {0} is given twice")]
    Duplicate(KeyId),
    /// The ring already holds [`RING_MAX`] keys.
    #[error("more than 1024 keys")]
    Full,
}

impl KeyRing {
    /// An empty ring: refuses everything.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a key.
    pub fn insert(&mut self, id: KeyId, key: Key) -> Result<(), KeyRingError> {
        if self.0.contains_key(&id) {
            return Err(KeyRingError::Duplicate(id));
        }
        if self.0.len() >= RING_MAX {
            return Err(KeyRingError::Full);
        }
        self.0.insert(id, key);
        Ok(())
    }

    /// The key with this id.
    pub fn get(&self, id: KeyId) -> Option<&Key> {
        self.0.get(&id)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_keys_are_refused_and_no_key_is_printed() {
        assert_eq!(Key::new(vec![7; 31]).unwrap_err(), WeakKey { length: 31 });
        let key = Key::new(b"0123456789abcdef0123456789abcdef".to_vec()).unwrap();
        let mut ring = KeyRing::new();
        ring.insert(KeyId(1), key.clone()).unwrap();
        assert!(!format!("{key:?} {ring:?}").contains("0123"));
    }

    #[test]
    fn a_ring_holds_each_id_once_and_no_more_than_its_cap() {
        let key = Key::new(vec![7; 32]).unwrap();
        let mut ring = KeyRing::new();
        for id in 0..RING_MAX as u32 {
            ring.insert(KeyId(id), key.clone()).unwrap();
        }
        assert_eq!(
            ring.insert(KeyId(3), key.clone()),
            Err(KeyRingError::Duplicate(KeyId(3)))
        );
        assert_eq!(ring.insert(KeyId(9999), key), Err(KeyRingError::Full));
        assert_eq!(ring.len(), RING_MAX);
    }
}
