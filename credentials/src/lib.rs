//! Time-limited HMAC credentials for TURN, the labels sealed into owner names, and their REST surface.
//!
//! A user name is `<expiry>[:<user id>]` and its password `base64(HMAC-SHA1(secret, user name))`:
//! the formula of draft-uberti-behave-turn-rest-00 that every TURN server and application server
//! speaks. Issuing and verifying need the shared secret and nothing else, so every relay can do
//! both alone.
//!
//! Nothing here reads a clock, opens a socket or draws randomness: all three are arguments.
#![forbid(unsafe_code)]

#[cfg(feature = "http")]
pub mod http;
mod issue;
pub mod label;
mod secret;
mod time;
mod username;

pub use issue::{Credential, IssueError, TtlPolicy, candidate_passwords, issue, password};
pub use secret::{RingTooLong, Secret, SecretRing, WeakSecret};
pub use time::UnixTime;
pub use username::{PROBE_USER, Refused, Username, check_expiry, parse_username};

/// Hard caps of this crate.
pub mod limits {
    /// Fewest bytes of a [`Secret`](crate::Secret).
    pub const SECRET_BYTES: usize = 16;
    /// Most previous secrets or label keys that are still accepted.
    pub const PREVIOUS: usize = 3;
    /// Most bytes of a user name: the USERNAME attribute holds fewer than 509 (RFC 8489, 14.3).
    pub const USERNAME_BYTES: usize = 508;
}
