//! Who talks to whom: transports, five-tuples, allocation handles, and the time of an input.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use credentials::UnixTime;

/// The moment an input happened, read by the shell once per batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: deadlines and lifetimes.
    pub instant: Instant,
    /// Wall clock: only credentials and nonces are judged by it.
    pub unix: UnixTime,
}

/// What carries a client's messages (RFC 8656 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A byte stream.
    Tcp,
    /// A byte stream under TLS.
    Tls,
    /// Datagrams under DTLS.
    Dtls,
}

impl Transport {
    /// Whether messages are framed in a byte stream: ChannelData is then padded to four bytes
    /// (RFC 8656 section 12.5).
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }
}

/// Names one client's association with this server (RFC 8656 section 2: "5-tuple"). One client
/// has at most one allocation on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiveTuple {
    /// The client's transport address as the server sees it (server-reflexive).
    pub client: SocketAddr,
    /// The server's transport address the client sends to.
    pub server: SocketAddr,
    /// What carries the messages.
    pub transport: Transport,
}

// By hand, because every relayed packet hashes one: few wide writes instead of a dozen narrow
// ones. Flow labels and scopes take no part; equality still compares them.
impl Hash for FiveTuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ports = u64::from(self.client.port()) << 32
            | u64::from(self.server.port()) << 16
            | self.transport as u64;
        state.write_u128(address_bits(self.client.ip()));
        state.write_u128(address_bits(self.server.ip()));
        state.write_u64(ports);
    }
}

fn address_bits(address: IpAddr) -> u128 {
    match address {
        // As v4-mapped, so that 0.0.0.1 and ::1 differ.
        IpAddr::V4(v4) => 0xffff_0000_0000 | u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The family of an address, as REQUESTED-ADDRESS-FAMILY counts them (RFC 8656 section 18.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// 0x01
    V4,
    /// 0x02
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family that `value` stands for in an attribute.
    pub(crate) const fn from_wire(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::V4),
            2 => Some(Self::V6),
            _ => None,
        }
    }

    /// What stands for it in an attribute.
    pub(crate) const fn wire(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 2,
        }
    }

    /// 0 or 1: its place in an array of both.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The family of `address`.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// Names one allocation of one worker for as long as it lives.
///
/// Slots are small and reused, so the shell can index its relay sockets by [`Self::slot`]; the
/// generation tells a new tenant of a slot from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllocationId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl AllocationId {
    /// Index, below [`Limits::allocations`](crate::Limits::allocations).
    pub const fn slot(self) -> usize {
        self.slot as usize
    }

    /// Rises with every tenant of the slot.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}
