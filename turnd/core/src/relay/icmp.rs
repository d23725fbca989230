//! ICMP messages about what was sent to a peer (RFC 8656 section 11.5).

use std::net::SocketAddr;

use rand::Rng;

use crate::address::{AllocationId, Family, Now};
use crate::limits::{ICMP_BURST, ICMP_PER_SECOND};
use crate::wire::attribute::{ICMP, XOR_PEER_ADDRESS};
use crate::wire::writer::Writer;
use crate::wire::{Class, method};

use super::Relay;

/// An ICMP message as far as clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// The type; what it means depends on the peer's family.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// The MTU of the next hop, where the message is about one.
    pub mtu: u32,
}

impl Icmp {
    /// Whether it is a kind that clients are told of: destination unreachable, packet too big,
    /// time exceeded.
    const fn is_told(self, family: Family) -> bool {
        match family {
            Family::V4 => matches!(self.kind, 3 | 11),
            Family::V6 => matches!(self.kind, 1..=3),
        }
    }

    /// The value of the ICMP attribute (RFC 8656 section 18.13).
    fn value(self, family: Family) -> [u8; 8] {
        let is_about_mtu = match family {
            Family::V4 => (self.kind, self.code) == (3, 4),
            Family::V6 => self.kind == 2,
        };
        let [a, b, c, d] = if is_about_mtu { self.mtu } else { 0 }.to_be_bytes();
        [0, 0, self.kind, self.code, a, b, c, d]
    }
}

impl Relay {
    /// Takes the ICMP message that came for a datagram sent to `peer` from a socket of `relay`.
    /// Told to the client if it permitted that peer, and not too often: any host may forge it.
    pub fn handle_icmp(&mut self, now: Now, relay: AllocationId, peer: SocketAddr, icmp: Icmp) {
        self.last = Some(now.instant);
        if self.tell_icmp(now, relay, peer, icmp).is_none() {
            self.counters.dropped_icmp += 1;
        }
    }

    fn tell_icmp(
        &mut self,
        now: Now,
        relay: AllocationId,
        peer: SocketAddr,
        icmp: Icmp,
    ) -> Option<()> {
        let now = now.instant;
        let family = Family::of(peer.ip());
        let peer = self.config.outward(SocketAddr::new(peer.ip(), peer.port()));
        let is_fit = icmp.is_told(family) && self.is_fit(now, relay, |_, _| {}) && self.has_room();
        let allocation = self.table.get(relay).filter(|_| is_fit)?;
        let scope = allocation.peers.permission(peer.ip(), now);
        if !self.covers(scope, peer) {
            return None;
        }
        let allocation = self.table.get_mut(relay)?;
        if !allocation
            .terms
            .icmp
            .take(now, ICMP_PER_SECOND, ICMP_BURST, 1)
        {
            return None;
        }
        let tuple = allocation.tuple;
        let mut transaction = [0; 12];
        self.rng.fill_bytes(&mut transaction);
        let mut indication = Writer::new(method::DATA, Class::Indication, &transaction);
        indication.xor_address(XOR_PEER_ADDRESS, peer);
        indication.attribute(ICMP, &icmp.value(family));
        let bytes = indication.finish(None, false);
        self.counters.icmp_indications += 1;
        self.send(tuple, bytes);
        Some(())
    }
}
