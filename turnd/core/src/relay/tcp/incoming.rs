//! A peer connects to a relayed transport address (RFC 6062 section 5.3).

use std::net::SocketAddr;

use rand::Rng;

use crate::address::{AllocationId, Now};
use crate::connections::{ConnectionId, PeerConnection, Stage};
use crate::limits::BIND_TIMEOUT;
use crate::relay::Relay;
use crate::wire::attribute::{CONNECTION_ID, XOR_PEER_ADDRESS};
use crate::wire::writer::Writer;
use crate::wire::{Class, method};

use super::connect::plain;

impl Relay {
    /// Takes a connection that was accepted from `peer` on the relayed address of `id`. `None`: it is
    /// to be reset at once. Else the client is told, and has 30 seconds to come for it; nothing may be
    /// read from it before.
    pub fn peer_incoming(
        &mut self,
        now: Now,
        id: AllocationId,
        peer: SocketAddr,
    ) -> Option<ConnectionId> {
        self.last = Some(now.instant);
        let accepted = self.admit_peer(now, id, self.config.outward(plain(peer)));
        self.counters.peers_refused += u64::from(accepted.is_none());
        accepted
    }

    fn admit_peer(&mut self, now: Now, id: AllocationId, peer: SocketAddr) -> Option<ConnectionId> {
        if !self.config.tcp_allocations || !self.has_room() {
            return None;
        }
        if !self.is_fit(now.instant, id, |_, _| {}) {
            return None;
        }
        let allocation = self.table.get(id).filter(|a| a.is_tcp)?;
        let scope = allocation.peers.permission(peer.ip(), now.instant);
        let wanted = self.covers(scope, peer)
            && !self.is_connected(allocation, peer)
            && self.may_connect(allocation);
        let tuple = allocation.tuple;
        if !wanted || self.welcome(now.instant, id, 1).is_err() {
            return None;
        }
        let connection = self.add_connection(PeerConnection {
            allocation: id,
            peer,
            stage: Stage::Waiting {
                until: now.instant + BIND_TIMEOUT,
            },
        });
        let mut transaction = [0; 12];
        self.rng.fill_bytes(&mut transaction);
        let mut told = Writer::new(method::CONNECTION_ATTEMPT, Class::Indication, &transaction);
        told.attribute(CONNECTION_ID, &connection.to_wire());
        told.xor_address(XOR_PEER_ADDRESS, peer);
        self.counters.connection_attempts += 1;
        let bytes = told.finish(None, false);
        self.send(tuple, bytes);
        Some(connection)
    }
}
