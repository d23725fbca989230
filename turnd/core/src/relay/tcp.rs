//! TCP allocations (RFC 6062): connections between relayed transport addresses and peers, which
//! clients join over connections of their own.

mod connect;
mod connection_bind;
mod ending;
mod flow;
mod incoming;

use std::net::SocketAddr;
use std::time::Instant;

use crate::action::Action;
use crate::address::{AllocationId, Family};
use crate::allocation::Allocation;
use crate::connections::{ConnectionId, PeerConnection};
use crate::limits::CONNECTIONS_PER_ALLOCATION;

use super::Relay;

pub use flow::Direction;

impl Relay {
    /// What asks the shell for the socket of a relayed transport address.
    pub(super) fn open_action(&self, id: AllocationId, address: SocketAddr) -> Action {
        if self.table.get(id).is_some_and(|a| a.is_tcp) {
            Action::ListenRelay { id, address }
        } else {
            Action::OpenRelay { id, address }
        }
    }

    /// Whether an allocation may have one more connection.
    fn may_connect(&self, allocation: &Allocation) -> bool {
        !self.connections.is_full()
            && allocation.terms.connections.len() < CONNECTIONS_PER_ALLOCATION
    }

    /// Whether an allocation has a connection with `peer`, or tries to.
    fn is_connected(&self, allocation: &Allocation, peer: SocketAddr) -> bool {
        let mut held = allocation.terms.connections.iter();
        held.any(|id| self.connections.get(*id).is_some_and(|c| c.peer == peer))
    }

    /// Adds a connection to its allocation.
    fn add_connection(&mut self, connection: PeerConnection) -> ConnectionId {
        let allocation = connection.allocation;
        let id = self
            .connections
            .add(connection, &self.config.ports, &mut self.rng);
        if let Some(allocation) = self.table.get_mut(allocation) {
            debug_assert!(allocation.is_tcp);
            allocation.terms.connections.push(id);
        }
        id
    }

    /// Takes a connection out of every table.
    fn remove_connection(&mut self, id: ConnectionId) -> Option<PeerConnection> {
        let connection = self.connections.remove(id)?;
        if let Some(allocation) = self.table.get_mut(connection.allocation) {
            allocation.terms.connections.retain(|held| *held != id);
        }
        Some(connection)
    }

    /// When a connection has to be looked at.
    pub(super) fn connections_due(&self) -> Option<Instant> {
        self.connections.first_due().map(|(at, _)| at)
    }

    /// Panics if connections and allocations contradict each other.
    pub(super) fn check_connections(&self) {
        self.connections.check_invariants();
        let mut held = 0;
        for allocation in self.table.allocations() {
            assert!(allocation.terms.connections.len() <= CONNECTIONS_PER_ALLOCATION);
            held += allocation.terms.connections.len();
        }
        assert_eq!(held, self.connections.len(), "a connection leaked");
        for (id, connection) in self.connections.iter() {
            let allocation = self.table.get(connection.allocation);
            let allocation = allocation.expect("a connection ends with its allocation");
            assert!(&allocation.terms.connections.contains(&id));
            assert!(allocation.lease(Family::of(connection.peer.ip())).is_some());
            assert_eq!(id.worker(&self.config.ports), self.config.ports.worker());
        }
    }
}
