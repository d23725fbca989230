//! One allocation (RFC 8656 section 3.2): whose it is, what it relays, how long it lives.

use std::net::SocketAddr;
use std::time::Instant;

use crate::address::{Family, FiveTuple};
use crate::admission::Charge;
use crate::peers::Peers;
use crate::ports::Parity;
use crate::wire::TransactionId;
use crate::wire::integrity::{Algorithm, Key};

/// How far an allocation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The shell is opening the relay socket.
    Opening {
        /// Ports that may still be tried.
        attempts: u8,
        parity: Parity,
    },
    /// It relays.
    Open,
}

/// Who made an allocation, and how it is proved.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) username: Box<str>,
    /// Found once, so that a refresh costs one MAC whatever number of secrets there is. Signs the
    /// reply to the Allocate request.
    pub(crate) key: Key,
    /// The same made with the other password algorithm, once it was used.
    other: Option<Key>,
}

impl Owner {
    /// Whoever sent the Allocate request under `key`.
    pub(crate) fn new(username: &str, key: Key) -> Self {
        Self {
            username: username.into(),
            key,
            other: None,
        }
    }

    /// The key that `algorithm` makes, if it was used before.
    pub(crate) fn key(&self, algorithm: Algorithm) -> Option<&Key> {
        std::iter::once(&self.key)
            .chain(&self.other)
            .find(|key| key.algorithm() == algorithm)
    }

    /// Keeps a key of the other algorithm.
    pub(crate) fn remember(&mut self, key: &Key) {
        if self.key(key.algorithm()).is_none() {
            self.other = Some(key.clone());
        }
    }
}

/// The Allocate request an allocation was made by: what a reply to it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) transaction: TransactionId,
    pub(crate) fingerprint: bool,
    /// Seconds granted, which a replayed reply repeats.
    pub(crate) granted: u32,
}

/// One allocation. What relaying a packet reads comes first.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) tuple: FiveTuple,
    /// While opening: when the shell has taken too long.
    pub(crate) expires: Instant,
    pub(crate) phase: Phase,
    /// Generation of the configuration its peers were last judged by.
    pub(crate) epoch: u32,
    pub(crate) peers: Peers,
    pub(crate) relayed: SocketAddr,
    pub(crate) owner: Owner,
    pub(crate) origin: Origin,
    /// However often it is refreshed, it ends here.
    pub(crate) session_end: Instant,
    pub(crate) charge: Charge,
    /// The deadline registered for it.
    pub(crate) armed: Option<Instant>,
}

impl Allocation {
    /// Whether it relays at `now`.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        now < self.expires && self.phase == Phase::Open
    }

    pub(crate) fn family(&self) -> Family {
        Family::of(self.relayed.ip())
    }

    /// When something about it is due.
    pub(crate) fn deadline(&self) -> Instant {
        match self.peers.deadline() {
            Some(peers) => peers.min(self.expires),
            None => self.expires,
        }
    }
}
