//! How much may flow over joined connections: the allocation's bandwidth holds for them, too.
//!
//! Bytes of a stream cannot be dropped, so the shell asks how many may flow and reads no more: who
//! sends faster is slowed down by TCP itself.

use crate::address::Now;
use crate::connections::{ConnectionId, Stage};
use crate::relay::Relay;

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the peer.
    ToPeer,
    /// From the peer to the client.
    ToClient,
}

impl Relay {
    /// How many bytes may be read now from either side of a joined connection. 0 is a pause: the
    /// allocation's bandwidth is used up.
    pub fn allowance(&mut self, now: Now, connection: ConnectionId) -> usize {
        let Some(held) = self.connections.get(connection) else {
            return 0;
        };
        let id = held.allocation;
        if !matches!(held.stage, Stage::Bound) || !self.is_fit(now.instant, id, |_, _| {}) {
            return 0;
        }
        // Judging the allocation may have ended this connection.
        if self.connections.get(connection).is_none() {
            return 0;
        }
        let limits = &self.config.limits;
        let allocation = self.table.get_mut(id);
        allocation.map_or(0, |a| a.meter.left(limits, now.instant))
    }

    /// Counts bytes that were read, at most as many as [`Self::allowance`] said; and those that came
    /// behind the request to join.
    pub fn flowed(&mut self, connection: ConnectionId, direction: Direction, bytes: usize) {
        let counter = match direction {
            Direction::ToPeer => &mut self.counters.to_peer_bytes,
            Direction::ToClient => &mut self.counters.to_client_bytes,
        };
        *counter += bytes as u64;
        let Some(held) = self.connections.get(connection) else {
            return;
        };
        if let Some(allocation) = self.table.get_mut(held.allocation) {
            allocation.meter.spend(bytes);
        }
    }
}
