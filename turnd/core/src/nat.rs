//! 1:1 NAT: a relay whose public addresses are on a router in front of it.
//!
//! Sockets are bound to internal addresses; clients are told, and speak of, the external ones with
//! the same ports. Between two clients of one relay a datagram never reaches the router: it is sent
//! to the internal address, and shows as coming from the external one.

use std::net::{IpAddr, SocketAddr};

use crate::address::Family;
use crate::config::Config;

impl Config {
    /// The relayed transport address that clients are told for a socket bound to `bound`.
    pub(crate) fn told(&self, bound: SocketAddr) -> SocketAddr {
        let family = Family::of(bound.ip());
        match self.external_addresses.of(family) {
            Some(external) if self.relay_addresses.has(bound.ip()) => with_ip(bound, external),
            _ => bound,
        }
    }

    /// Where a datagram for `peer`, as the client names it, is sent.
    #[inline]
    pub(crate) fn inward(&self, peer: SocketAddr) -> SocketAddr {
        if !self.external_addresses.has(peer.ip()) {
            return peer;
        }
        match self.relay_addresses.of(Family::of(peer.ip())) {
            Some(internal) if self.ports.range_has(peer.port()) => with_ip(peer, internal),
            _ => peer,
        }
    }

    /// The peer as the client names it, of a datagram that came from `peer`.
    #[inline]
    pub(crate) fn outward(&self, peer: SocketAddr) -> SocketAddr {
        match self.external_addresses.of(Family::of(peer.ip())) {
            Some(external)
                if self.relay_addresses.has(peer.ip()) && self.ports.range_has(peer.port()) =>
            {
                with_ip(peer, external)
            }
            _ => peer,
        }
    }
}

fn with_ip(address: SocketAddr, ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, address.port())
}
