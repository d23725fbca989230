//! The ways to a relay: by transport and address family, each of which may be broken by itself.

use credentials::label;
use liveness::Transports;
use serde::{Deserialize, Serialize};

/// What clients speak to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TURN over UDP.
    Udp,
    /// TURN over TCP.
    Tcp,
    /// TURN over TLS over TCP.
    Tls,
}

impl Transport {
    /// Every transport, the one that serves clients best first.
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// How reports name it.
    pub fn bit(self) -> Transports {
        match self {
            Self::Udp => Transports::UDP,
            Self::Tcp => Transports::TCP,
            Self::Tls => Transports::TLS,
        }
    }
}

impl From<label::Transport> for Transport {
    fn from(transport: label::Transport) -> Self {
        match transport {
            label::Transport::Udp => Self::Udp,
            label::Transport::Tcp => Self::Tcp,
            label::Transport::Tls => Self::Tls,
        }
    }
}

/// What a relay has said of the transports that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Those that it names.
    pub named: Transports,
    /// Those that it once named and names no longer.
    pub stopped: Transports,
}

impl Word {
    /// Takes what it names now.
    pub fn hear(&mut self, named: Transports) {
        self.stopped = self.stopped.with(self.named).without(named);
        self.named = named;
    }

    /// Those that it serves, where those of `configured` are expected: what it has never named may
    /// be served all the same, what it has stopped to name is not.
    pub fn serves(self, configured: Option<Transports>) -> Transports {
        configured.map_or(self.named, |listed| listed.without(self.stopped))
    }
}

impl Default for Word {
    /// That of a relay that has not been heard.
    fn default() -> Self {
        Self {
            named: Transports::UDP,
            stopped: Transports::default(),
        }
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// One way to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Path {
    /// What is spoken.
    pub transport: Transport,
    /// Over which of its addresses.
    pub family: Family,
}

impl Path {
    /// Every path that a relay may have.
    pub fn all() -> impl Iterator<Item = Self> {
        let of = |transport| Family::ALL.map(|family| Self { transport, family });
        Transport::ALL.into_iter().flat_map(of)
    }

    const fn mask(self) -> u8 {
        1 << (self.transport as u8 * 2 + self.family as u8)
    }
}

/// Some paths of one relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PathSet(u8);

impl PathSet {
    /// No path.
    pub const NONE: Self = Self(0);

    /// Every path.
    pub const ALL: Self = Self(0b11_1111);

    /// Whether the path is in it.
    pub fn has(self, path: Path) -> bool {
        self.0 & path.mask() != 0
    }

    /// The paths in it.
    pub fn iter(self) -> impl Iterator<Item = Path> {
        Path::all().filter(move |path| self.has(*path))
    }
}

impl FromIterator<Path> for PathSet {
    fn from_iter<I: IntoIterator<Item = Path>>(paths: I) -> Self {
        Self(paths.into_iter().fold(0, |set, path| set | path.mask()))
    }
}
