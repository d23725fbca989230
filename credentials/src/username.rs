//! User names of time-limited credentials: `<expiry>[:<user id>]`.

use crate::limits;
use crate::time::UnixTime;

/// The user id of the nameservers' probes. No tenant can have it issued: REST puts the tenant before
/// every user.
pub const PROBE_USER: &str = "probe";

/// A well-formed user name. That it is authentic only its password can tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Username {
    text: String,
    expiry: UnixTime,
    /// Bytes of the expiry's digits.
    digits: usize,
}

/// Why a user name is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not `<expiry>[:<user id>]`.
    #[error("the user name is not of the form expiry[:user id]")]
    Malformed,
    /// Its time is over.
    #[error("the credential has expired")]
    Expired,
}

impl Username {
    /// From when on the credential is no longer valid.
    pub fn expiry(&self) -> UnixTime {
        self.expiry
    }

    /// What stands after the first colon (it may hold further colons); `None` when that is nothing.
    pub fn user_id(&self) -> Option<&str> {
        self.text.get(self.digits + 1..).filter(|id| !id.is_empty())
    }

    /// The whole user name, as it stands on the wire and under the HMAC.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Reads a user name's shape: decimal seconds without sign or leading zero, then nothing, or a
/// colon and a user id of any characters but control characters; at most
/// [`limits::USERNAME_BYTES`] bytes.
///
/// # Errors
/// [`Refused::Malformed`].
pub fn parse_username(wire: &str) -> Result<Username, Refused> {
    if wire.len() > limits::USERNAME_BYTES || wire.chars().any(char::is_control) {
        return Err(Refused::Malformed);
    }
    let digits = wire.find(':').unwrap_or(wire.len());
    let expiry = &wire[..digits];
    // `u64::from_str` alone would take a plus sign and leading zeros.
    if !expiry.bytes().all(|byte| byte.is_ascii_digit()) || expiry.starts_with('0') {
        return Err(Refused::Malformed);
    }
    let expiry = expiry.parse().map_err(|_| Refused::Malformed)?;
    Ok(Username {
        text: wire.to_owned(),
        expiry: UnixTime(expiry),
        digits,
    })
}

/// Whether the credential is still valid: up to, but not including, the second of its expiry.
///
/// # Errors
/// [`Refused::Expired`].
pub fn check_expiry(username: &Username, now: UnixTime) -> Result<(), Refused> {
    if now < username.expiry() {
        Ok(())
    } else {
        Err(Refused::Expired)
    }
}
