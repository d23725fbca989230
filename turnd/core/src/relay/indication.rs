//! Send indications (RFC 8656 section 11.2). Hot: some browsers send all their media so.

use std::time::Instant;

use crate::action::Verdict;
use crate::address::FiveTuple;
use crate::wire::data::{self, BadSend};

use super::Relay;

impl Relay {
    #[inline]
    pub(super) fn send_indication(
        &mut self,
        now: Instant,
        tuple: &FiveTuple,
        packet: &[u8],
    ) -> Option<Verdict> {
        let send = match data::read_send(packet) {
            Ok(send) => send,
            Err(BadSend::Malformed) => {
                self.counters.dropped_malformed += 1;
                return None;
            }
            Err(BadSend::Fingerprint) => {
                self.counters.dropped_fingerprint += 1;
                return None;
            }
        };
        let peer = send.peer;
        if peer.port() == 0 {
            self.counters.dropped_port_zero += 1;
            return None;
        }
        let id = self.relaying(now, tuple)?;
        // A permission implies the right family and an allowed address; some ports may not be.
        let scope = self.table.get(id)?.peers.permission(peer.ip(), now);
        if !self.covers(scope, peer) {
            let counter = match scope {
                None => &mut self.counters.dropped_no_permission,
                Some(_) => &mut self.counters.dropped_peer_denied,
            };
            *counter += 1;
            return None;
        }
        let limits = &self.config.limits;
        let allocation = self.table.get_mut(id)?;
        if allocation.is_tcp {
            self.counters.dropped_send_over_tcp += 1;
            return None;
        }
        if let Err(excess) = allocation.meter.take(limits, now, send.payload.len()) {
            self.counters.exceeded(excess);
            return None;
        }
        self.counters.to_peer_packets += 1;
        self.counters.to_peer_bytes += send.payload.len() as u64;
        Some(Verdict::ToPeer {
            relay: id,
            peer: self.config.inward(peer),
            payload: send.payload,
            dont_fragment: send.dont_fragment,
        })
    }
}
