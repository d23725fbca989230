//! Shared secrets and the ring of those that are valid at one time.

use std::fmt;

use zeroize::Zeroizing;

use crate::limits;

/// A shared secret: at least [`limits::SECRET_BYTES`] bytes, erased when dropped, never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// A secret shorter than [`limits::SECRET_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the secret has {bytes} bytes, at least {} are needed",
    limits::SECRET_BYTES
)]
pub struct WeakSecret {
    /// How long it is.
    pub bytes: usize,
}

impl Secret {
    /// Takes the bytes over.
    ///
    /// # Errors
    /// [`WeakSecret`] when there are too few; they are erased all the same.
    pub fn new(bytes: Vec<u8>) -> Result<Self, WeakSecret> {
        let bytes = Zeroizing::new(bytes);
        if bytes.len() < limits::SECRET_BYTES {
            return Err(WeakSecret { bytes: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// The secret itself, for deriving other keys from it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The secret that is issued under, and up to [`limits::PREVIOUS`] older ones still accepted.
///
/// Rotation without a gap: append the new secret as a previous one everywhere, then make it the
/// current one everywhere, then, when the last old credential has expired, drop the old one.
#[derive(Debug, Clone)]
pub struct SecretRing {
    current: Secret,
    previous: Vec<Secret>,
}

/// More than [`limits::PREVIOUS`] previous keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{previous} previous keys, at most {} are kept", limits::PREVIOUS)]
pub struct RingTooLong {
    /// How many there were.
    pub previous: usize,
}

impl SecretRing {
    /// A ring; `previous` newest first.
    ///
    /// # Errors
    /// [`RingTooLong`]: each accepted secret costs every request one more HMAC.
    pub fn new(current: Secret, previous: Vec<Secret>) -> Result<Self, RingTooLong> {
        if previous.len() > limits::PREVIOUS {
            return Err(RingTooLong {
                previous: previous.len(),
            });
        }
        Ok(Self { current, previous })
    }

    /// The secret that new credentials are issued under.
    pub fn current(&self) -> &Secret {
        &self.current
    }

    /// All accepted secrets, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> + Clone {
        std::iter::once(&self.current).chain(&self.previous)
    }
}
