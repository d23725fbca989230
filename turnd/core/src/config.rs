//! What one worker's relay is told: identity, secrets, addresses, lifetimes, caps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use credentials::SecretRing;

use crate::address::Family;
use crate::limits::{ALTERNATES, Limits, REALM};
use crate::nonce::NonceKeys;
use crate::peer_filter::PeerFilter;
use crate::ports::PortSlice;
use crate::revocations::Revocations;

/// Everything a [`Relay`](crate::Relay) needs to know. Replaced as a whole by
/// [`Relay::reconfigure`](crate::Relay::reconfigure) under running allocations.
#[derive(Clone, Debug)]
pub struct Config {
    /// Sent in challenges, part of every key.
    pub realm: Realm,
    /// SOFTWARE in replies to authenticated requests (RFC 8489 section 14.14). Challenges and
    /// Binding replies never carry it.
    pub software: Option<String>,
    /// Secrets that time-limited credentials are made of.
    pub secrets: SecretRing,
    /// Whose credentials count no longer. They are refused everything but a deletion, and what
    /// they hold ends.
    pub revoked: Revocations,
    /// Keys of the nonces; the same on every relay of the fleet.
    pub nonce_keys: NonceKeys,
    /// Where relayed transport addresses are taken from.
    pub relay_addresses: RelayAddresses,
    /// What clients are told in place of these, behind a 1:1 NAT; usually empty.
    pub external_addresses: RelayAddresses,
    /// This worker's relayed ports.
    pub ports: PortSlice,
    /// Whom clients may reach.
    pub peers: PeerFilter,
    /// Caps.
    pub limits: Limits,
    /// How long things last.
    pub lifetimes: Lifetimes,
    /// Whether clients of TCP and TLS may have allocations that relay TCP (RFC 6062). Taken back, those
    /// that are there go on with the connections they have.
    pub tcp_allocations: bool,
    /// Grants nothing beyond the credential's expiry, and refuses every request but a deletion
    /// from then on. Otherwise a live allocation goes on with
    /// the credential it was made with, up to [`Lifetimes::max_session`].
    pub strict_expiry: bool,
    /// Whether clients that ask for it may move to other five-tuples (RFC 8016).
    pub mobility: bool,
}

/// A protection realm (RFC 8489 section 14.9), 1 to [`REALM`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm(Box<str>);

/// Why a text is no realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RealmError {
    /// Empty or longer than [`REALM`] bytes.
    #[error("must have 1 to {REALM} bytes")]
    Length,
    /// A quote, a backslash or a control character, which a quoted string cannot hold.
    #[error("must not contain quotes, backslashes or control characters")]
    Character,
}

impl Realm {
    /// Checks `text`.
    pub fn new(text: &str) -> Result<Self, RealmError> {
        if text.is_empty() || text.len() > REALM {
            return Err(RealmError::Length);
        }
        if text
            .chars()
            .any(|c| c == '"' || c == '\\' || c.is_control())
        {
            return Err(RealmError::Character);
        }
        Ok(Self(text.into()))
    }

    /// The realm as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The addresses that relayed transport addresses are taken from, at most one per family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayAddresses {
    /// For IPv4 allocations; 440 without it.
    pub v4: Option<Ipv4Addr>,
    /// For IPv6 allocations; 440 without it.
    pub v6: Option<Ipv6Addr>,
}

impl RelayAddresses {
    /// The address of one family.
    pub fn of(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4.map(IpAddr::V4),
            Family::V6 => self.v6.map(IpAddr::V6),
        }
    }

    /// Whether `address` is one of them.
    pub fn has(&self, address: IpAddr) -> bool {
        self.of(Family::of(address)) == Some(address)
    }
}

/// How long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Lifetime of an allocation that asks for none, and the shortest one granted
    /// (RFC 8656 section 7.2: 10 minutes).
    pub default: Duration,
    /// Longest lifetime granted at once (RFC 8656 section 7.2: 1 hour).
    pub max: Duration,
    /// Longest an allocation may live, however often it is refreshed.
    pub max_session: Duration,
    /// A permission (RFC 8656 section 9: 5 minutes).
    pub permission: Duration,
    /// A channel (RFC 8656 section 12: 10 minutes).
    pub channel: Duration,
    /// A nonce (RFC 8656 section 5: at most an hour).
    pub nonce: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            default: Duration::from_mins(10),
            max: Duration::from_hours(1),
            max_session: Duration::from_hours(48),
            permission: Duration::from_mins(5),
            channel: Duration::from_mins(10),
            nonce: Duration::from_hours(1),
        }
    }
}

impl Lifetimes {
    /// What RFC 8656 section 7.2 grants for a requested LIFETIME in seconds.
    pub(crate) fn grant(&self, requested: Option<u32>) -> Duration {
        let wanted = requested.map_or(self.default, |s| Duration::from_secs(s.into()));
        wanted.min(self.max).max(self.default)
    }
}

/// Whether new work is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Drain {
    /// Everything is.
    #[default]
    Serving,
    /// No new allocations; running ones go on, prolonged by no more than [`Lifetimes::default`].
    Draining {
        /// Where new clients are sent, see [`Alternates`].
        alternates: Alternates,
    },
    /// Running allocations are not refreshed any more either, so that clients move.
    RefuseRefresh {
        /// Where new clients are sent.
        alternates: Alternates,
    },
}

impl Drain {
    /// Where new clients are sent while draining; `None` while serving.
    pub(crate) fn alternates(&self) -> Option<&Alternates> {
        match self {
            Self::Serving => None,
            Self::Draining { alternates } | Self::RefuseRefresh { alternates } => Some(alternates),
        }
    }

    /// Whether refreshes are refused.
    pub(crate) fn refuses_refresh(&self) -> bool {
        matches!(self, Self::RefuseRefresh { .. })
    }
}

/// Healthy relays for ALTERNATE-SERVER (RFC 8489 section 10), at most [`ALTERNATES`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alternates(Vec<SocketAddr>);

impl Alternates {
    /// Keeps the first [`ALTERNATES`] of `servers`.
    pub fn new(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self(servers.into_iter().take(ALTERNATES).collect())
    }

    /// One of those of `family`, chosen by `draw`: a client cannot be sent to another family.
    pub(crate) fn pick(&self, family: Family, draw: usize) -> Option<SocketAddr> {
        let fitting = || self.0.iter().filter(|s| Family::of(s.ip()) == family);
        let count = fitting().count();
        fitting().nth(draw.checked_rem(count)?).copied()
    }
}
