//! The report: how one relay says that it lives and how it fares.

use std::net::{SocketAddrV4, SocketAddrV6};

use crate::key::{Key, KeyId, KeyRing};
use crate::name::RelayId;
use crate::replay::BOOT_MAX;
use crate::wire::{
    KIND_REPORT, REPORT_LEN, Reader, Refused, Writer, open, v4_from, v4_parts, v6_from, v6_parts,
};

/// What a relay says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not yet able to serve.
    Starting,
    /// Serves everybody.
    Serving,
    /// Serves those it has and takes no new ones.
    Full,
    /// On its way out: those it has may finish.
    Draining,
    /// Cannot serve, and knows why.
    Failing(Reason),
}

/// Why a relay calls itself failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A worker thread does not turn its loop.
    WorkerStuck,
    /// Relay sockets cannot be opened.
    RelaySockets,
    /// No file descriptors are left.
    Descriptors,
    /// The configuration does not allow to serve.
    Configuration,
    /// Anything else; the relay's log says what.
    Other,
}

impl State {
    const fn codes(self) -> [u8; 2] {
        match self {
            Self::Starting => [1, 0],
            Self::Serving => [2, 0],
            Self::Full => [3, 0],
            Self::Draining => [4, 0],
            Self::Failing(reason) => [5, reason.code()],
        }
    }

    fn from_codes([state, reason]: [u8; 2]) -> Result<Self, Refused> {
        Ok(match state {
            1 => Self::Starting,
            2 => Self::Serving,
            3 => Self::Full,
            4 => Self::Draining,
            5 => Self::Failing(Reason::from_code(reason).ok_or(Refused::Malformed("reason"))?),
            _ => return Err(Refused::Malformed("state")),
        })
    }
}

impl Reason {
    const fn code(self) -> u8 {
        match self {
            Self::WorkerStuck => 1,
            Self::RelaySockets => 2,
            Self::Descriptors => 3,
            Self::Configuration => 4,
            Self::Other => 5,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::WorkerStuck,
            2 => Self::RelaySockets,
            3 => Self::Descriptors,
            4 => Self::Configuration,
            5 => Self::Other,
            _ => return None,
        })
    }
}

/// How much a relay carries, and how much it could. A maximum of 0 says that none is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Live allocations.
    pub sessions: u32,
    /// Most allocations it takes.
    pub sessions_max: u32,
    /// Relayed traffic, both directions, bits per second.
    pub bits_per_second: u64,
    /// Most traffic it is meant to carry, bits per second.
    pub bits_per_second_max: u64,
    /// Busiest worker's processor time, 0 to 1000.
    pub cpu_permille: u16,
}

/// The client transports a relay serves, as bits. Bits unknown to this version are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Transports(pub u16);

impl Transports {
    /// TURN over UDP.
    pub const UDP: Self = Self(1);
    /// TURN over TCP.
    pub const TCP: Self = Self(2);
    /// TURN over TLS.
    pub const TLS: Self = Self(4);
    /// TURN over DTLS.
    pub const DTLS: Self = Self(8);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is here and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether every transport of `other` is here.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One relay's signed word about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who speaks. The key that signed decides whether it may.
    pub relay: RelayId,
    /// Rises with every start of the relay; not 0, at most [`BOOT_MAX`].
    pub boot: u64,
    /// Rises with every report within a boot, from 1.
    pub sequence: u64,
    /// The relay's clock, milliseconds since 1970. For an alarm about skew, never a decision.
    pub sent_at_ms: u64,
    /// What the relay says of itself.
    pub state: State,
    /// What it carries.
    pub load: Load,
    /// Where clients reach it over IPv4; a claim that the receiver's configuration judges.
    pub ipv4: Option<SocketAddrV4>,
    /// Where clients reach it over IPv6; flow label and scope do not travel.
    pub ipv6: Option<SocketAddrV6>,
    /// What clients may speak to it.
    pub transports: Transports,
    /// Worker threads that turn their loop.
    pub workers: u16,
    /// Hash or generation of the running configuration.
    pub configuration: u64,
    /// The generation of all revocations together that nameservers told the relay.
    pub revocations: u64,
}

impl Report {
    /// The signed datagram.
    pub fn encode(&self, key_id: KeyId, key: &Key) -> [u8; REPORT_LEN] {
        let (ipv4, ipv4_port) = v4_parts(self.ipv4);
        let (ipv6, ipv6_port) = v6_parts(self.ipv6);
        let mut wire = Writer::<REPORT_LEN>::new(KIND_REPORT, self.state.codes(), key_id);
        wire.u16(self.transports.0);
        wire.u16(self.workers);
        wire.u64(self.boot);
        wire.u64(self.sequence);
        wire.u64(self.sent_at_ms);
        wire.u64(self.configuration);
        wire.u64(self.revocations);
        wire.u64(self.load.bits_per_second);
        wire.u64(self.load.bits_per_second_max);
        wire.u32(self.load.sessions);
        wire.u32(self.load.sessions_max);
        wire.u16(self.load.cpu_permille);
        wire.u16(ipv4_port);
        wire.put(&ipv4.octets());
        wire.put(&ipv6.octets());
        wire.u16(ipv6_port);
        wire.u16(0);
        wire.put(&self.relay.to_wire());
        wire.seal(key)
    }

    /// Reads a datagram. Nothing in it is believed before its MAC is verified; the key id tells
    /// the caller whose key it was.
    pub fn decode(bytes: &[u8], keys: &KeyRing) -> Result<(Self, KeyId), Refused> {
        let (header, mut fields) = open(bytes, REPORT_LEN, KIND_REPORT, keys)?;
        let state = State::from_codes(header.codes)?;
        Ok((Self::read(state, &mut fields)?, header.key_id))
    }

    fn read(state: State, fields: &mut Reader<'_>) -> Result<Self, Refused> {
        let transports = Transports(fields.u16());
        let workers = fields.u16();
        let (boot, sequence, sent_at_ms) = (fields.u64(), fields.u64(), fields.u64());
        if boot > BOOT_MAX {
            return Err(Refused::Malformed("boot id"));
        }
        let (configuration, revocations) = (fields.u64(), fields.u64());
        let load = Load {
            bits_per_second: fields.u64(),
            bits_per_second_max: fields.u64(),
            sessions: fields.u32(),
            sessions_max: fields.u32(),
            cpu_permille: fields.u16(),
        };
        let ipv4_port = fields.u16();
        let ipv4 = v4_from(fields.v4(), ipv4_port);
        let ipv6_address = fields.v6();
        let ipv6 = v6_from(ipv6_address, fields.u16());
        let _reserved = fields.u16();
        let relay =
            RelayId::from_wire(fields.take()).map_err(|_| Refused::Malformed("relay id"))?;
        Ok(Self {
            relay,
            boot,
            sequence,
            sent_at_ms,
            state,
            load,
            ipv4,
            ipv6,
            transports,
            workers,
            configuration,
            revocations,
        })
    }
}
