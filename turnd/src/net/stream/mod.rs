//! Clients that come over a byte stream: how messages are found in it, what may wait to be sent, how
//! long and how many connections are kept.

pub mod caps;
pub mod connection;
pub mod counters;
pub mod frame;
pub mod layer;
pub mod listener;
pub mod output;
pub mod proxy;
pub mod table;

use std::sync::Arc;

use caps::Caps;

use super::descriptors::Descriptors;
use crate::tls::Certificates;

/// What the workers share that connections are taken by.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// How many there may be, and who speaks for others.
    pub caps: Caps,
    /// What TLS is served with.
    pub certificates: Arc<Certificates>,
    /// A connection takes one.
    pub descriptors: Descriptors,
    /// How many workers share all this.
    pub workers: usize,
}

/// Bounds of one connection and of a worker's table of them.
pub mod limits {
    use std::time::Duration;

    /// Bytes read from a connection at once.
    pub const READ: usize = 32 << 10;
    /// Reads a connection gets in a turn before the next one is served.
    pub const READS_PER_TURN: usize = 4;
    /// Connections accepted from a listener in a turn.
    pub const ACCEPTS_PER_TURN: usize = 64;

    /// Longest message of a client without an allocation: a request has no reason to be longer.
    pub const STRANGERS_MESSAGE: usize = 4096;

    /// Most bytes of a TLS handshake, all told: an honest one takes a few kilobytes.
    pub const HANDSHAKE_BYTES: usize = 16 << 10;

    /// Bytes gathered for a connection before they are handed to the kernel. What the kernel does
    /// not take of them is all the media that ever waits.
    pub const GATHERED: usize = 64 << 10;
    /// Emptied buffers that a worker keeps for the next connections with something to send.
    pub const SPARES: usize = 64;
    /// Bytes of memory of the largest of them that is kept.
    pub const SPARE: usize = 2 * GATHERED;
    /// Bytes the kernel may hold that it has not sent yet (`TCP_NOTSENT_LOWAT`): more would only
    /// grow old.
    pub const UNSENT: u32 = 128 << 10;
    /// Waiting bytes at which a client is no longer read from.
    pub const PAUSE: usize = 16 << 10;
    /// Waiting bytes at which the connection is closed.
    pub const WAITING: usize = 256 << 10;
    /// The same for a client without an allocation.
    pub const STRANGERS_WAITING: usize = 32 << 10;

    /// From being accepted to the first whole message, with all that TLS needs before it.
    pub const HANDSHAKE: Duration = Duration::from_secs(10);
    /// From a message to the next, while there is no allocation.
    pub const IDLE: Duration = Duration::from_mins(1);
    /// Silence after which the kernel asks whether the client is still there.
    pub const KEEPALIVE: Duration = Duration::from_mins(1);
    /// Between such questions; unanswered ones until the client counts as gone.
    pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
    /// How long the kernel tries to deliver before the client counts as gone.
    pub const DELIVERY: Duration = Duration::from_mins(1);

    /// The part of all connections that may be without an allocation.
    pub const STRANGERS_DIVISOR: usize = 4;
    /// Connections without an allocation that each worker may keep, however few are configured.
    pub const STRANGERS_MIN: usize = 16;
}
