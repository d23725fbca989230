//! One allocation (RFC 8656 section 3.2): whose it is, what it relays, how long it lives.

use std::net::SocketAddr;
use std::time::Instant;

use crate::address::{Family, FiveTuple};
use crate::admission::Charge;
use crate::connections::ConnectionId;
use crate::meter::{Bucket, Meter};
use crate::mobility::Mobility;
use crate::peers::Peers;
use crate::ports::Parity;
use crate::reservations::Token;
use crate::wire::TransactionId;
use crate::wire::integrity::{Algorithm, Key};

/// How far an allocation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The shell is opening a relay socket.
    Opening,
    /// It relays.
    Open,
    /// The connection of its client has ended. It relays nothing, until the client comes back with
    /// its ticket.
    Away,
}

/// A relay socket that is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// Ports that may still be tried.
    pub(crate) attempts: u8,
    pub(crate) parity: Parity,
}

/// One relayed transport address of an allocation. An allocation has one per family at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    /// What its socket is bound to.
    pub(crate) bound: SocketAddr,
    /// What the client is told, which behind a 1:1 NAT is not the same.
    pub(crate) told: SocketAddr,
    /// The families of a dual allocation may be refreshed apart (RFC 8656 section 8).
    pub(crate) expires: Instant,
    pub(crate) opening: Option<Opening>,
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
    /// The family that was asked for in addition and is not there, and why.
    pub(crate) missing: Option<(Family, u16)>,
    /// What the next higher port is reserved under.
    pub(crate) token: Option<Token>,
}

/// One allocation. What relaying a packet reads comes first and lies together, so that it costs few
/// cache lines however many allocations there are; the rest is elsewhere.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Allocation {
    pub(crate) tuple: FiveTuple,
    /// Generation of the configuration its peers were last judged by.
    pub(crate) epoch: u32,
    /// When the first of its relayed transport addresses expires. While opening: when the shell
    /// has taken too long.
    pub(crate) expires: Instant,
    pub(crate) phase: Phase,
    /// Whether it relays TCP (RFC 6062) instead of datagrams.
    pub(crate) is_tcp: bool,
    pub(crate) meter: Meter,
    pub(crate) peers: Peers,
    pub(crate) terms: Box<Terms>,
    /// The deadline registered for it.
    pub(crate) armed: Option<Instant>,
}

/// What an allocation is besides relaying: whose, where, on which terms.
#[derive(Debug)]
pub(crate) struct Terms {
    /// By family. Never both absent.
    pub(crate) leases: [Option<Lease>; 2],
    /// Peers it may newly permit.
    pub(crate) new_peers: Bucket,
    /// ICMP messages its client may be told.
    pub(crate) icmp: Bucket,
    /// Of one that relays TCP: its connections with peers (RFC 6062).
    pub(crate) connections: Vec<ConnectionId>,
    pub(crate) owner: Owner,
    pub(crate) origin: Origin,
    /// There is some if the client asked for it.
    pub(crate) mobility: Option<Box<Mobility>>,
    /// However often it is refreshed, it ends here.
    pub(crate) session_end: Instant,
    pub(crate) charge: Charge,
}

impl Allocation {
    /// Whether it relays at `now`.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        now < self.expires && self.phase == Phase::Open
    }

    /// The relayed transport address of `family`.
    pub(crate) fn lease(&self, family: Family) -> Option<&Lease> {
        self.terms.leases[family.index()].as_ref()
    }

    /// Its relayed transport addresses, IPv4 first.
    pub(crate) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.terms.leases.iter().flatten()
    }

    /// Those whose socket is being opened.
    pub(crate) fn opening(&self) -> impl Iterator<Item = Family> {
        self.leases()
            .filter(|lease| lease.opening.is_some())
            .map(|lease| Family::of(lease.bound.ip()))
    }

    /// Lets the addresses of `family`, or all, expire at `at`.
    pub(crate) fn prolong(&mut self, family: Option<Family>, at: Instant) {
        for lease in self.terms.leases.iter_mut().flatten() {
            if family.is_none_or(|family| family == Family::of(lease.bound.ip())) {
                lease.expires = at;
            }
        }
        self.settle();
    }

    /// Notes when the first address expires, after any of them has changed.
    pub(crate) fn settle(&mut self) {
        if let Some(first) = self.leases().map(|lease| lease.expires).min() {
            self.expires = first;
        }
    }

    /// The family whose address has expired while the other one goes on.
    pub(crate) fn outlived(&self, now: Instant) -> Option<Family> {
        let expired = self.leases().find(|lease| lease.expires <= now)?;
        self.leases()
            .any(|lease| now < lease.expires)
            .then(|| Family::of(expired.bound.ip()))
    }

    /// When something about it is due.
    pub(crate) fn deadline(&self) -> Instant {
        match self.peers.deadline() {
            Some(peers) => peers.min(self.expires),
            None => self.expires,
        }
    }
}
