//! What a run does, and which numbers make sense.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use serde::Serialize;

use super::{LoadError, login::Login, payload, schedule::Schedule};

/// Most allocations of one run: with peers that share sockets they stay below a common hard limit of
/// 20,000 open files, and the port numbers a relay has are used up before.
pub const MOST_ALLOCATIONS: usize = 16_000;
/// Most addresses that clients may come from.
pub const MOST_SOURCES: usize = 60_000;
/// Longest run: a permission lives 300 s (RFC 8656 section 9) and is not renewed here.
pub const LONGEST_RUN: Duration = Duration::from_mins(4);
/// Most allocations that have a peer's socket each.
const OWN_PEERS: usize = 4000;
/// Allocations that share a peer's socket beyond these.
const FLOWS_PER_PEER: usize = 16;

/// How fast packets are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// This many packets of each allocation are always on their way; each that returns is replaced.
    Window(u32),
    /// This many packets of all allocations together are always on their way; for each that returns
    /// the next allocation sends one.
    InFlight(u32),
    /// This many packets per second over all allocations, each of which is sent back.
    Rate(u32),
    /// Each allocation sends a train of packets in regular intervals; each train is sent back whole.
    Burst {
        /// Packets of a train.
        packets: u32,
        /// From one train to the next, in milliseconds.
        every_ms: u32,
    },
}

/// How a client's payloads travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// ChannelData (Chromium).
    Channel,
    /// Send and Data indications (Firefox).
    Indication,
}

/// What clients speak to the server over; their peers always speak UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server's listener of that transport, on loopback.
    pub server: SocketAddr,
    /// What clients speak.
    pub transport: Transport,
    /// Where the peers listen, on loopback.
    pub peer_ip: IpAddr,
    /// How clients log in; `None` where the server is a bare forwarder.
    pub login: Option<Login>,
    /// Number of clients, 1..=[`MOST_ALLOCATIONS`].
    pub allocations: usize,
    /// How many of them ask the server at once for what they need, 1..=[`MOST_ALLOCATIONS`].
    pub opening: usize,
    /// Loopback addresses that clients are spread over, up to [`MOST_SOURCES`]; 0 for the usual one.
    pub sources: usize,
    /// Allocations whose peers share a socket; `None` for as few as the open files allow.
    pub flows_per_peer: Option<usize>,
    /// Payload in bytes, [`payload::SHORTEST`]..=[`payload::LONGEST`].
    pub payload: usize,
    /// How payloads travel.
    pub via: Via,
    /// How fast.
    pub pace: Pace,
    /// Whether what is sent at once leaves in one piece (UDP GSO), on both sides.
    pub coalesce: bool,
    /// Whether sockets take what arrives in one piece so (UDP GRO).
    pub gro: bool,
    /// Whether this program never sleeps, so that nobody who sends to it has to wake it.
    pub spin: bool,
    /// Traffic before the measurement.
    pub warmup: Duration,
    /// The measurement; with the warm-up at most [`LONGEST_RUN`].
    pub time: Duration,
    /// The server's process, for what it costs.
    pub server_pid: Option<u32>,
}

impl Plan {
    /// A plan for `server` with usual numbers.
    pub fn new(server: SocketAddr, login: Option<Login>) -> Self {
        let peer_ip = match server {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        Self {
            server,
            transport: Transport::Udp,
            peer_ip,
            login,
            allocations: 32,
            opening: 64,
            sources: 0,
            flows_per_peer: None,
            payload: 160,
            via: Via::Channel,
            pace: Pace::Window(4),
            coalesce: false,
            gro: true,
            spin: false,
            warmup: Duration::from_secs(1),
            time: Duration::from_secs(5),
            server_pid: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), LoadError> {
        for address in [self.server, SocketAddr::new(self.peer_ip, 0)] {
            if !address.ip().is_loopback() {
                return Err(LoadError::NotLoopback(address));
            }
        }
        let range = |text: String| Err(LoadError::Range(text));
        let most = MOST_ALLOCATIONS;
        if !(1..=most).contains(&self.allocations) {
            return range(format!("allocations must be 1 to {most}"));
        }
        if !(1..=most).contains(&self.opening) {
            return range(format!("1 to {most} clients may ask at once"));
        }
        if self.sources > MOST_SOURCES {
            return range(format!("sources must be 0 to {MOST_SOURCES}"));
        }
        if self.sources > 0 && self.server.is_ipv6() {
            return range("there is one loopback address of IPv6: no sources".to_owned());
        }
        if self
            .flows_per_peer
            .is_some_and(|n| !(1..=1000).contains(&n))
        {
            return range("1 to 1000 allocations may share a peer's socket".to_owned());
        }
        let (shortest, longest) = (payload::SHORTEST, payload::LONGEST);
        if !(shortest..=longest).contains(&self.payload) {
            return range(format!("payload must be {shortest} to {longest} bytes"));
        }
        if self.time.is_zero() || self.warmup + self.time > LONGEST_RUN {
            let longest = LONGEST_RUN.as_secs();
            return range(format!("warm-up and run must end within {longest} s"));
        }
        let udp = self.transport == Transport::Udp;
        let plain = udp && self.via == Via::Channel && self.server.is_ipv4();
        if self.login.is_none() && !plain {
            return range(
                "a bare forwarder knows UDP, IPv4 and ChannelData's shape only".to_owned(),
            );
        }
        match self.pace {
            Pace::Window(0 | 1025..) => range("the window must be 1 to 1024".to_owned()),
            Pace::InFlight(0 | 100_001..) => range("1 to 100000 may be in flight".to_owned()),
            Pace::Rate(0 | 10_000_001..) => {
                range("the rate must be 1 to 10000000 per second".to_owned())
            }
            Pace::Burst {
                packets: 0 | 1025..,
                ..
            } => range("a burst must have 1 to 1024 packets".to_owned()),
            Pace::Burst {
                every_ms: 0 | 10_001..,
                ..
            } => range("bursts must be 1 to 10000 ms apart".to_owned()),
            _ => Ok(()),
        }
    }

    /// Allocations whose peers share a socket.
    pub(super) fn flows_per_peer(&self) -> usize {
        let usual = if self.allocations > OWN_PEERS {
            FLOWS_PER_PEER
        } else {
            1
        };
        self.flows_per_peer.unwrap_or(usual)
    }

    /// The packets of a train, where packets travel in trains: a peer waits for the last one, and so
    /// does a client that keeps a window, as both would else break them into ever smaller ones.
    pub(super) fn train(&self) -> Option<u32> {
        match self.pace {
            Pace::Burst { packets, .. } => Some(packets),
            Pace::Window(window) if self.coalesce => Some(window),
            Pace::Window(_) | Pace::InFlight(_) | Pace::Rate(_) => None,
        }
    }

    /// When what is sent, where that does not depend on what comes back.
    pub(super) fn schedule(&self) -> Option<Schedule> {
        match self.pace {
            Pace::Window(_) | Pace::InFlight(_) => None,
            Pace::Rate(rate) => Some(Schedule::rate(rate, self.allocations)),
            Pace::Burst { packets, every_ms } => {
                Some(Schedule::bursts(packets, every_ms, self.allocations))
            }
        }
    }

    /// Where the client at `index` sends from.
    pub(super) fn source(&self, index: usize) -> IpAddr {
        match (self.server, self.sources) {
            (SocketAddr::V6(server), _) => (*server.ip()).into(),
            (SocketAddr::V4(_), 0) => Ipv4Addr::LOCALHOST.into(),
            (SocketAddr::V4(_), sources) => {
                let number = index % sources;
                // 127.224.0.0/11, away from where servers and peers listen, each in another network.
                let (high, rest) = (224 + number % 31, number / 31);
                let (middle, low) = (rest % 256, 1 + rest / 256);
                [127, high as u8, middle as u8, low as u8].into()
            }
        }
    }
}

#[cfg(test)]
mod tests;
