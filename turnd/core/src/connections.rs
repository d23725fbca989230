//! The TCP connections between relayed transport addresses and peers (RFC 6062), of one worker.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use rand::Rng;

use crate::address::AllocationId;
use crate::limits::PEER_CONNECTIONS;
use crate::ports::PortSlice;
use crate::wire::TransactionId;
use crate::wire::integrity::Key;

/// The value of CONNECTION-ID (RFC 6062 section 6.2.1): random, save that its remainder by the number
/// of workers tells which of them has the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u32);

impl ConnectionId {
    pub(crate) const fn from_wire(value: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(value))
    }

    pub(crate) const fn to_wire(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// The worker that has the connection, if anyone has.
    pub(crate) fn worker(self, ports: &PortSlice) -> u16 {
        (self.0 % u32::from(ports.workers().max(1))) as u16
    }

    fn random(ports: &PortSlice, rng: &mut impl Rng) -> Self {
        let workers = u32::from(ports.workers().max(1));
        let random = rng.next_u32() / workers;
        // The largest multiple could carry over; it is as random with one less.
        let base = random.saturating_sub(1) * workers;
        Self(base + u32::from(ports.worker()))
    }
}

/// What the reply to a Connect request needs, once it is known how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) transaction: TransactionId,
    pub(crate) fingerprint: bool,
    pub(crate) key: Key,
}

/// How far a connection has come.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// The shell is connecting to the peer.
    Connecting { asked: Asked, until: Instant },
    /// It is there, and waits for the client's ConnectionBind.
    Waiting { until: Instant },
    /// Bytes flow.
    Bound,
}

/// One connection with a peer.
#[derive(Clone, Debug)]
pub(crate) struct PeerConnection {
    pub(crate) allocation: AllocationId,
    /// As the client names it.
    pub(crate) peer: SocketAddr,
    pub(crate) stage: Stage,
}

impl PeerConnection {
    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Connecting { until, .. } | Stage::Waiting { until } => Some(until),
            Stage::Bound => None,
        }
    }
}

/// All of a worker's, at most [`PEER_CONNECTIONS`].
#[derive(Debug, Default)]
pub(crate) struct Connections {
    all: BTreeMap<ConnectionId, PeerConnection>,
    due: BTreeSet<(Instant, ConnectionId)>,
}

impl Connections {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.all.len() >= PEER_CONNECTIONS
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&PeerConnection> {
        self.all.get(&id)
    }

    /// Adds one under a name of its own.
    pub(crate) fn add(
        &mut self,
        connection: PeerConnection,
        ports: &PortSlice,
        rng: &mut impl Rng,
    ) -> ConnectionId {
        debug_assert!(!self.is_full());
        let mut id = ConnectionId::random(ports, rng);
        while self.all.contains_key(&id) {
            id = ConnectionId::random(ports, rng);
        }
        self.due.extend(connection.deadline().map(|at| (at, id)));
        self.all.insert(id, connection);
        id
    }

    /// Lets one go on to its next stage; returns the one before.
    pub(crate) fn advance(&mut self, id: ConnectionId, stage: Stage) -> Option<Stage> {
        let connection = self.all.get_mut(&id)?;
        if let Some(at) = connection.deadline() {
            self.due.remove(&(at, id));
        }
        let before = std::mem::replace(&mut connection.stage, stage);
        self.due.extend(connection.deadline().map(|at| (at, id)));
        Some(before)
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<PeerConnection> {
        let connection = self.all.remove(&id)?;
        if let Some(at) = connection.deadline() {
            self.due.remove(&(at, id));
        }
        Some(connection)
    }

    /// The one whose time is over first.
    pub(crate) fn first_due(&self) -> Option<(Instant, ConnectionId)> {
        self.due.first().copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &PeerConnection)> {
        self.all.iter().map(|(id, connection)| (*id, connection))
    }

    /// Panics if deadlines and connections contradict each other.
    pub(crate) fn check_invariants(&self) {
        assert!(self.all.len() <= PEER_CONNECTIONS);
        let due = self.iter().filter_map(|(id, c)| Some((c.deadline()?, id)));
        let due: BTreeSet<_> = due.collect();
        assert_eq!(due, self.due, "a connection is never looked at again");
    }
}
