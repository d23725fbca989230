//! Connect (RFC 6062 section 5.2): the client wants a connection with a peer.

use std::net::SocketAddr;

use crate::action::Action;
use crate::address::{AllocationId, Family, Now};
use crate::connections::{Asked, ConnectionId, PeerConnection, Stage};
use crate::error::Reject;
use crate::limits::{BIND_TIMEOUT, CONNECT_TIMEOUT};
use crate::relay::{Exchange, Relay};
use crate::wire::attribute::{CONNECTION_ID, XOR_PEER_ADDRESS};
use crate::wire::writer::Writer;
use crate::wire::{Class, method};

impl Relay {
    pub(in crate::relay) fn connect(
        &mut self,
        exchange: &Exchange<'_>,
        id: AllocationId,
    ) -> Result<(), Reject> {
        let message = &exchange.message;
        let peer = message.attribute(XOR_PEER_ADDRESS);
        let peer = message.xor_address(peer.ok_or(Reject::BadRequest)?)?;
        if peer.port() == 0 {
            return Err(Reject::BadRequest);
        }
        let now = exchange.now.instant;
        // So that all it has was judged by the configuration that this request is judged by.
        self.refresh_peers(now, id);
        let allocation = self.table.get(id).ok_or(Reject::AllocationMismatch)?;
        if !allocation.is_tcp {
            return Err(Reject::AllocationMismatch);
        }
        self.scope_of(allocation, peer.ip())?;
        self.config
            .peers
            .check(peer)
            .map_err(|_| Reject::Forbidden)?;
        let lease = allocation
            .lease(Family::of(peer.ip()))
            .ok_or(Reject::PeerFamily)?;
        let from = lease.bound;
        // A socket can connect to itself; nobody would be at the other end.
        if peer == lease.told || self.config.inward(peer) == from {
            return Err(Reject::Forbidden);
        }
        if self.is_connected(allocation, peer) {
            return Err(Reject::ConnectionExists);
        }
        if !self.may_connect(allocation) {
            return Err(Reject::Capacity);
        }
        // Each attempt counts: nobody scans ports through this relay.
        self.welcome(now, id, 1)?;
        let connection = self.add_connection(PeerConnection {
            allocation: id,
            peer,
            stage: Stage::Connecting {
                asked: Asked {
                    transaction: message.transaction(),
                    fingerprint: message.has_fingerprint(),
                    key: exchange.caller.key.clone(),
                },
                until: now + CONNECT_TIMEOUT,
            },
        });
        self.actions.push_back(Action::Connect {
            connection,
            from,
            peer: self.config.inward(peer),
        });
        Ok(())
    }

    /// Takes the answer to [`Action::Connect`]: the peer has accepted. From now on the client has 30
    /// seconds to come for it.
    pub fn peer_connected(&mut self, now: Now, connection: ConnectionId) {
        self.last = Some(now.instant);
        if !self.has_room() {
            // Its time runs out, and then it is refused.
            self.counters.dropped_queue_full += 1;
            return;
        }
        let Some(Stage::Connecting { .. }) = self.connections.get(connection).map(|c| &c.stage)
        else {
            return;
        };
        let until = now.instant + BIND_TIMEOUT;
        let before = self
            .connections
            .advance(connection, Stage::Waiting { until });
        let tuple = self
            .connections
            .get(connection)
            .and_then(|c| self.table.get(c.allocation))
            .map(|allocation| allocation.tuple);
        if let (Some(Stage::Connecting { asked, .. }), Some(tuple)) = (before, tuple) {
            self.counters.connect_replies += 1;
            let mut reply = Writer::new(method::CONNECT, Class::Success, &asked.transaction);
            reply.attribute(CONNECTION_ID, &connection.to_wire());
            self.add_software(&mut reply);
            let bytes = reply.finish(Some(&asked.key), asked.fingerprint);
            self.send(tuple, bytes);
        }
    }

    /// Takes the answer to [`Action::Connect`]: there is no connection, and nothing left to close.
    pub fn peer_connect_failed(&mut self, now: Now, connection: ConnectionId) {
        self.last = Some(now.instant);
        if self.has_room() {
            self.fail_connect(connection);
        } else {
            self.counters.dropped_queue_full += 1;
        }
    }

    /// 447, and nothing remains.
    pub(super) fn fail_connect(&mut self, id: ConnectionId) {
        let Some(connection) = self.remove_connection(id) else {
            return;
        };
        let Stage::Connecting { asked, .. } = connection.stage else {
            return;
        };
        let Some(allocation) = self.table.get(connection.allocation) else {
            return;
        };
        let tuple = allocation.tuple;
        let mut reply = Writer::new(method::CONNECT, Class::Error, &asked.transaction);
        let (code, reason) = Reject::ConnectionFailed.code();
        reply.error_code(code, reason);
        self.add_software(&mut reply);
        let bytes = reply.finish(Some(&asked.key), asked.fingerprint);
        Reject::ConnectionFailed.count(&mut self.counters);
        self.send(tuple, bytes);
    }
}

/// Whether two addresses are the same to a peer: flow label and scope take no part.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}
