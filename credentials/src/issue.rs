//! Issuing credentials, and the passwords that a user name may have.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::secret::{Secret, SecretRing};
use crate::time::UnixTime;
use crate::username::parse_username;

/// A user name with its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// `<expiry>[:<user id>]`.
    pub username: String,
    /// `base64(HMAC-SHA1(current secret, user name))`; erased when dropped.
    pub password: Zeroizing<String>,
    /// Seconds from the issue to the expiry.
    pub ttl: u32,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("username", &self.username)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// How long credentials live, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlPolicy {
    /// Shortest life, whatever is asked for.
    pub min: u32,
    /// Life when nothing is asked for.
    pub default: u32,
    /// Longest life, whatever is asked for.
    pub max: u32,
}

impl TtlPolicy {
    /// The life of a credential when `asked` for: within the policy; `max` wins over `min`.
    pub fn clamp(&self, asked: Option<u32>) -> u32 {
        asked.unwrap_or(self.default).max(self.min).min(self.max)
    }
}

/// Why no credential was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// Too long for a user name, or it holds control characters.
    #[error("the user id is too long or holds control characters")]
    UserId,
    /// The expiry is beyond the end of time.
    #[error("the expiry is beyond the end of time")]
    Expiry,
}

/// Issues a credential under the ring's current secret, valid for `ttl` seconds from `now`.
///
/// # Errors
/// [`IssueError`].
pub fn issue(
    ring: &SecretRing,
    user_id: Option<&str>,
    ttl: u32,
    now: UnixTime,
) -> Result<Credential, IssueError> {
    let expiry = now.checked_add(u64::from(ttl)).ok_or(IssueError::Expiry)?;
    let username = match user_id {
        Some(id) if !id.is_empty() => format!("{expiry}:{id}"),
        _ => expiry.to_string(),
    };
    if parse_username(&username).is_err() {
        return Err(IssueError::UserId);
    }
    let password = password(ring.current(), &username);
    Ok(Credential {
        username,
        password,
        ttl,
    })
}

/// The password of a user name under one secret: `base64(HMAC-SHA1(secret, user name))`, padded.
pub fn password(secret: &Secret, username: &str) -> Zeroizing<String> {
    let mac = Hmac::<Sha1>::new_from_slice(secret.expose()).map(|mac| mac.chain_update(username));
    // HMAC takes keys of every length (RFC 2104, 2).
    let code = mac.expect("any key length").finalize().into_bytes();
    Zeroizing::new(STANDARD.encode(code))
}

/// The passwords that are right for a user name: one per accepted secret, newest first.
pub fn candidate_passwords<'a>(
    ring: &'a SecretRing,
    username: &'a str,
) -> impl Iterator<Item = Zeroizing<String>> + 'a {
    ring.iter().map(move |secret| password(secret, username))
}
