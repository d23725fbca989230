//! ChannelData from the client (RFC 8656 section 12.6), and what peers send (section 11.3, 12.7).
//!
//! The hot path: no allocation, no copy, one hash look-up towards the peer and none back.

use std::net::SocketAddr;
use std::time::Instant;

use rand::Rng;

use crate::action::{ToClient, Verdict};
use crate::address::{AllocationId, FiveTuple, Now};
use crate::headroom::Headroom;
use crate::peer_filter::Scope;
use crate::peers::NoPeer;
use crate::wire::data;

use super::Relay;

impl Relay {
    #[inline]
    pub(super) fn channel_data(
        &mut self,
        now: Instant,
        tuple: &FiveTuple,
        packet: &[u8],
    ) -> Option<Verdict> {
        let Some((channel, payload)) = data::read_channel_data(packet) else {
            self.counters.dropped_malformed += 1;
            return None;
        };
        let id = self.relaying(now, tuple)?;
        match self.table.get(id)?.peers.peer_of(channel, now) {
            Ok(peer) => {
                self.counters.to_peer_packets += 1;
                self.counters.to_peer_bytes += payload.len() as u64;
                Some(Verdict::ToPeer {
                    relay: id,
                    peer: self.config.inward(peer),
                    payload,
                })
            }
            Err(NoPeer::NoChannel) => {
                self.counters.dropped_no_channel += 1;
                None
            }
            Err(NoPeer::NoPermission) => {
                self.counters.dropped_no_permission += 1;
                None
            }
        }
    }

    /// The open allocation of `tuple`, judged by the current configuration.
    #[inline]
    pub(super) fn relaying(&mut self, now: Instant, tuple: &FiveTuple) -> Option<AllocationId> {
        let Some(id) = self.table.find(tuple) else {
            self.counters.dropped_no_allocation += 1;
            return None;
        };
        let allocation = self.table.get(id)?;
        if !allocation.is_open(now) {
            self.counters.dropped_no_allocation += 1;
            return None;
        }
        if allocation.epoch != self.epoch {
            return self.judge(id).then_some(id);
        }
        Some(id)
    }

    /// Takes a datagram that arrived from `peer` on the socket of `relay`, and frames it in place:
    /// as ChannelData if a channel is bound, else as a Data indication.
    #[inline]
    pub fn handle_peer(
        &mut self,
        now: Now,
        relay: AllocationId,
        peer: SocketAddr,
        packet: &mut Headroom<'_>,
    ) -> Option<ToClient> {
        let now = now.instant;
        self.last = Some(now);
        // Without flow label and scope, which no XOR-PEER-ADDRESS has.
        let peer = SocketAddr::new(peer.ip(), peer.port());
        let peer = self.config.outward(peer);
        let allocation = self.table.get(relay).filter(|a| a.is_open(now));
        let Some(allocation) = allocation else {
            self.counters.dropped_peer_no_allocation += 1;
            return None;
        };
        if allocation.epoch != self.epoch && !self.judge(relay) {
            return None;
        }
        let allocation = self.table.get(relay)?;
        let tuple = allocation.tuple;
        let length = packet.payload().len() as u64;
        let bytes = if let Some(channel) = allocation.peers.channel_to(peer, now) {
            data::write_channel_data(packet, channel, tuple.transport.is_stream())
        } else {
            let scope = allocation.peers.permission(peer.ip(), now);
            if !self.covers(scope, peer) {
                self.counters.dropped_peer_no_permission += 1;
                return None;
            }
            let mut transaction = [0; 12];
            self.rng.fill_bytes(&mut transaction);
            data::write_data(packet, peer, &transaction)
        };
        let Some(bytes) = bytes else {
            self.counters.dropped_peer_too_large += 1;
            return None;
        };
        self.counters.to_client_packets += 1;
        self.counters.to_client_bytes += length;
        Some(ToClient { tuple, bytes })
    }

    /// Whether a permission, if there is one, covers `peer` with its port.
    pub(super) fn covers(&self, scope: Option<Scope>, peer: SocketAddr) -> bool {
        match scope {
            None => false,
            Some(Scope::AllPorts) => true,
            Some(Scope::SomePorts) => self.config.peers.check(peer).is_ok(),
        }
    }
}
