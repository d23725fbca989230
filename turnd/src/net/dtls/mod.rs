//! DTLS clients on the UDP listeners (RFC 6347, RFC 8656 section 3.1): DTLS 1.2 by `dimpl`.
//!
//! ```text
//!   hello     the one datagram of a stranger that is read, and the answer to it
//!   cookie    proves that a stranger receives at its address, before anything is kept for it
//!   identity  certificate and library configuration, with the door the cookie opens
//!   session   one client's connection
//!   table     all sessions of a worker, by five-tuple and by deadline
//! ```
//!
//! DTLS 1.3 is not offered: there the cookie is part of the handshake's transcript (RFC 9147,
//! section 5.1), and the library can answer a first hello only from state it keeps for it.

pub mod cookie;
pub mod counters;
pub mod hello;
pub mod identity;
pub mod session;
pub mod table;

/// Whether a datagram of a client is DTLS, by its first byte (RFC 7983, section 7).
pub fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

/// Bounds of one session and of a worker's table of them.
pub mod limits {
    use std::time::Duration;

    /// From a returned cookie to the end of the handshake.
    pub const HANDSHAKE: Duration = Duration::from_secs(10);
    /// From a record to the next, while there is no allocation.
    pub const IDLE: Duration = Duration::from_mins(1);
    /// Handshakes under way in a worker; one more, and the oldest gives way.
    pub const HANDSHAKES: usize = 1024;
    /// Longest message of a record, in bytes (RFC 5246, section 6.2.1).
    pub const MESSAGE: usize = 1 << 14;
    /// Largest datagram of a handshake, in bytes: fits any path with the smallest IPv6 MTU.
    pub const HANDSHAKE_DATAGRAM: usize = 1232;
    /// Datagrams of one session that may wait to be put in order during its handshake.
    pub const REORDERED: usize = 16;
    /// Datagrams of one flight: a certificate of 16 kB fits.
    pub const FLIGHT: usize = 16;
}
