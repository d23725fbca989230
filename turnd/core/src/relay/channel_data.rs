//! ChannelData from the client (RFC 8656 section 12.6), and what peers send (section 11.3, 12.7).
//!
//! The hot path: no allocation, no copy, one hash look-up towards the peer and none back.

use std::net::SocketAddr;
use std::time::Instant;

use rand::Rng;

use crate::action::{ToClient, Verdict};
use crate::address::{AllocationId, FiveTuple, Now};
use crate::allocation::Phase;
use crate::counters::Counters;
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
        let allocation = self.table.get_mut(id)?;
        let peer = match allocation.peers.peer_of(channel, now) {
            Ok(peer) => peer,
            Err(NoPeer::NoChannel) => {
                self.counters.dropped_no_channel += 1;
                return None;
            }
            Err(NoPeer::NoPermission) => {
                self.counters.dropped_no_permission += 1;
                return None;
            }
        };
        let limits = &self.config.limits;
        if let Err(excess) = allocation.meter.take(limits, now, payload.len()) {
            self.counters.exceeded(excess);
            return None;
        }
        self.counters.to_peer_packets += 1;
        self.counters.to_peer_bytes += payload.len() as u64;
        Some(Verdict::ToPeer {
            relay: id,
            peer: self.config.inward(peer),
            payload,
            dont_fragment: false,
        })
    }

    /// The open allocation of `tuple`, its peers judged by the current configuration.
    #[inline]
    pub(super) fn relaying(&mut self, now: Instant, tuple: &FiveTuple) -> Option<AllocationId> {
        let Some(id) = self.table.find(tuple) else {
            self.counters.dropped_no_allocation += 1;
            return None;
        };
        self.is_fit(now, id, |counters, _| counters.dropped_no_allocation += 1)
            .then_some(id)
    }

    /// Whether `id` may relay now, judged by the current configuration. `absent` counts one that
    /// is not open, and is told whether its client is away.
    #[inline]
    pub(super) fn is_fit(
        &mut self,
        now: Instant,
        id: AllocationId,
        absent: impl FnOnce(&mut Counters, bool),
    ) -> bool {
        let epoch = self.epoch;
        let allocation = self.table.get(id);
        allocation.is_some_and(|a| a.is_open(now) && a.epoch == epoch)
            || self.becomes_fit(now, id, absent)
    }

    #[cold]
    fn becomes_fit(
        &mut self,
        now: Instant,
        id: AllocationId,
        absent: impl FnOnce(&mut Counters, bool),
    ) -> bool {
        let is_open = self.table.get(id).is_some_and(|a| a.is_open(now));
        if !is_open && !self.goes_on(now, id) {
            let is_away = self.table.get(id).is_some_and(|a| a.phase == Phase::Away);
            absent(&mut self.counters, is_away);
            return false;
        }
        let is_judged = self.table.get(id).is_some_and(|a| a.epoch == self.epoch);
        is_judged || self.judge(id)
    }

    /// Whether one address of two goes on when the other has expired, which is given back here.
    fn goes_on(&mut self, now: Instant, id: AllocationId) -> bool {
        let outlived = self
            .table
            .get(id)
            .filter(|allocation| allocation.phase == Phase::Open)
            .and_then(|allocation| allocation.outlived(now));
        let Some(family) = outlived.filter(|_| self.has_room()) else {
            return false;
        };
        self.drop_family(id, family);
        true
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
        let absent = |counters: &mut Counters, is_away: bool| {
            counters.dropped_client_away += u64::from(is_away);
            counters.dropped_peer_no_allocation += u64::from(!is_away);
        };
        if !self.is_fit(now, relay, absent) {
            return None;
        }
        let allocation = self.table.get(relay)?;
        let tuple = allocation.tuple;
        let length = packet.payload().len();
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
        let limits = &self.config.limits;
        let allocation = self.table.get_mut(relay)?;
        if let Err(excess) = allocation.meter.take(limits, now, length) {
            self.counters.exceeded(excess);
            return None;
        }
        self.counters.to_client_packets += 1;
        self.counters.to_client_bytes += length as u64;
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
