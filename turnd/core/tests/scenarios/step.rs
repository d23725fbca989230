//! One operation on a relay, told by four bytes, so that whoever makes bytes makes sequences.

use turnd_core::{Family, OpenError};

use crate::model::{CLIENTS, PEERS};

/// What happens next. Clients, peers and sockets are indices.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Allocate {
        client: usize,
        wish: Wish,
    },
    Refresh {
        client: usize,
        family: Option<Family>,
        lifetime: Option<u32>,
    },
    Permit {
        client: usize,
        peers: Vec<usize>,
    },
    Bind {
        client: usize,
        channel: u16,
        peer: usize,
    },
    Send {
        client: usize,
        peer: usize,
    },
    ChannelData {
        client: usize,
        channel: u16,
    },
    FromPeer {
        slot: usize,
        peer: usize,
    },
    /// The shell answers the oldest question for a socket.
    Answer {
        result: Result<(), OpenError>,
    },
    /// Time passes; the relay is told of its deadlines, or only of the next packet.
    Advance {
        seconds: u64,
        handled: bool,
    },
    /// The client's connection has ended.
    Gone {
        client: usize,
    },
    /// The listener that all clients came to is closed.
    Unserve,
    Reconfigure {
        deny: bool,
    },
    Drain {
        mode: u8,
    },
    /// A signed deletion, one byte of it changed.
    Damage {
        client: usize,
        at: usize,
        with: u8,
    },
    Noise {
        client: usize,
        bytes: Vec<u8>,
    },
}

/// What an Allocate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    One(Family),
    Both,
    /// An even port, and the next higher one reserved.
    Pair,
    /// The port that was reserved last.
    Reserved,
}

impl Step {
    /// Length of a step's bytes.
    pub(crate) const BYTES: usize = 4;

    /// Every four bytes are a step: the first chooses which, weighted by what leads on.
    pub(crate) fn from_bytes([kind, who, x, y]: [u8; Self::BYTES]) -> Self {
        let client = usize::from(who) % CLIENTS;
        let peer = usize::from(x) % PEERS.len();
        let wide = u16::from_be_bytes([x, y]);
        match kind % 42 {
            0..6 => Self::Allocate {
                client,
                wish: match x % 8 {
                    0 | 2 => Wish::One(Family::V4),
                    1 | 3 => Wish::One(Family::V6),
                    4 | 5 => Wish::Both,
                    6 => Wish::Pair,
                    _ => Wish::Reserved,
                },
            },
            6..8 => Self::Refresh {
                client,
                family: match usize::from(who) / CLIENTS % 4 {
                    2 => Some(Family::V4),
                    3 => Some(Family::V6),
                    _ => None,
                },
                lifetime: match wide % 8000 {
                    seconds @ 1..4000 => Some(seconds.into()),
                    4000..6000 => Some(0),
                    _ => None,
                },
            },
            8..12 => {
                let peers = [x, x >> 4, y].map(|peer| usize::from(peer) % PEERS.len());
                let count = usize::from(who) / CLIENTS % 4;
                Self::Permit {
                    client,
                    peers: peers[..count].into(),
                }
            }
            12..16 => Self::Bind {
                client,
                channel: channel(y),
                peer,
            },
            16..20 => Self::Send { client, peer },
            20..24 => Self::ChannelData {
                client,
                channel: channel(y),
            },
            24..28 => Self::FromPeer {
                slot: usize::from(who) % 6,
                peer,
            },
            28..33 => Self::Answer {
                result: match x % 9 {
                    0..6 => Ok(()),
                    6..8 => Err(OpenError::InUse),
                    _ => Err(OpenError::Failed),
                },
            },
            33..36 => Self::Advance {
                seconds: u64::from(wide) % 400,
                handled: who & 1 == 0,
            },
            36 => Self::Reconfigure { deny: x & 1 == 1 },
            37 => Self::Drain { mode: x % 4 },
            38 => Self::Damage {
                client,
                at: usize::from(who) / CLIENTS * 4 + usize::from(x) % 4,
                with: y.max(1),
            },
            40 => Self::Gone { client },
            41 => Self::Unserve,
            _ => Self::Noise {
                client,
                bytes: (0..x % 100).map(|n| y.wrapping_mul(n | 1) ^ n).collect(),
            },
        }
    }
}

/// Few channels, so that they meet; now and then one that is none.
fn channel(from: u8) -> u16 {
    match from {
        0..0xe0 => 0x4000 + u16::from(from % 4),
        _ => u16::from(from) << 10,
    }
}
