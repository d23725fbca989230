//! Which peers clients may reach: only globally reachable unicast, unless the operator says more.
//!
//! A relay that reaches what its clients cannot is a way into the operator's network, so an
//! address is judged by every IPv4 address hidden in it, too ([`embedded()`]): it passes only if it
//! passes itself and each of them does. In this order:
//!
//! 1. control endpoints (listeners, REST, administration, the nameservers' for reports): denied;
//! 2. link-local and cloud metadata: denied, and no configuration can change that;
//! 3. configured denials: denied;
//! 4. this relay's own relayed transport addresses, as clients are told them: allowed, so that two
//!    clients of one relay meet;
//! 5. configured exceptions: allowed;
//! 6. other ports of the relay's own addresses, and those a NAT hides altogether: denied;
//! 7. the IANA special-purpose registries and all that is not global unicast ([`special`]): denied;
//! 8. the rest: allowed.

mod embedded;
mod special;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::address::Family;
use crate::config::RelayAddresses;
use embedded::embedded;

/// The operator's part of the rules, and what the relay knows about itself.
#[derive(Clone, Debug)]
pub struct PeerFilter {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    control: Vec<SocketAddr>,
    own: RelayAddresses,
    /// What clients know the own addresses by, where a NAT hides them.
    external: RelayAddresses,
    relay_ports: RangeInclusive<u16>,
}

/// Why a peer is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// An endpoint of this relay itself.
    Control,
    /// Link-local or a metadata service.
    Metadata,
    /// Denied by the configuration.
    Configured,
    /// An address of this relay, at a port that is not relayed.
    Own,
    /// Not globally reachable unicast.
    Special,
}

/// What a permission for an address covers; a permission names no port (RFC 8656 section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every port.
    AllPorts,
    /// Some ports: each datagram's peer is judged on its own.
    SomePorts,
}

impl PeerFilter {
    /// The default rules for a relay that takes relayed transport addresses from `own` and
    /// `relay_ports`.
    pub fn new(own: RelayAddresses, relay_ports: RangeInclusive<u16>) -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            control: Vec::new(),
            own,
            external: RelayAddresses::default(),
            relay_ports,
        }
    }

    /// Behind a 1:1 NAT: the addresses that clients know the relay's own ones by.
    #[must_use]
    pub fn external(mut self, external: RelayAddresses) -> Self {
        self.external = external;
        self
    }

    /// Exceptions to the built-in denials, other than link-local and metadata.
    #[must_use]
    pub fn allow(mut self, nets: impl IntoIterator<Item = IpNet>) -> Self {
        self.allow.extend(nets);
        self
    }

    /// Further denials; stronger than exceptions.
    #[must_use]
    pub fn deny(mut self, nets: impl IntoIterator<Item = IpNet>) -> Self {
        self.deny.extend(nets);
        self
    }

    /// Endpoints no client may ever reach through the relay. An unspecified address stands for the
    /// loopback addresses and this relay's own.
    #[must_use]
    pub fn control(mut self, endpoints: impl IntoIterator<Item = SocketAddr>) -> Self {
        let canonical = |c: SocketAddr| SocketAddr::new(c.ip().to_canonical(), c.port());
        self.control.extend(endpoints.into_iter().map(canonical));
        self
    }

    /// Judges one transport address.
    pub fn check(&self, peer: SocketAddr) -> Result<(), Denial> {
        self.judge(peer.ip(), Some(peer.port()))
    }

    /// Judges an address for a permission: denied if every port is.
    pub(crate) fn check_address(&self, address: IpAddr) -> Result<Scope, Denial> {
        if self.is_relayed(address) {
            self.judge_firmly(address)?;
            return Ok(Scope::SomePorts);
        }
        self.judge(address, None)?;
        let has_control = readings(address).any(|a| self.control.iter().any(|c| self.is_at(*c, a)));
        Ok(if has_control {
            Scope::SomePorts
        } else {
            Scope::AllPorts
        })
    }

    fn judge(&self, address: IpAddr, port: Option<u16>) -> Result<(), Denial> {
        readings(address).try_for_each(|address| self.judge_one(address, port))
    }

    fn judge_one(&self, address: IpAddr, port: Option<u16>) -> Result<(), Denial> {
        if port.is_some_and(|port| self.is_control(address, port)) {
            return Err(Denial::Control);
        }
        self.judge_firmly(address)?;
        if self.is_relayed(address) && port.is_some_and(|port| self.relay_ports.contains(&port)) {
            return Ok(());
        }
        if covers(&self.allow, address) {
            return Ok(());
        }
        if self.is_own(address) {
            return Err(Denial::Own);
        }
        if special::is_special(address) {
            return Err(Denial::Special);
        }
        Ok(())
    }

    /// What no exception lifts, not even for the relay's own addresses.
    fn judge_firmly(&self, address: IpAddr) -> Result<(), Denial> {
        if special::is_metadata(address) {
            return Err(Denial::Metadata);
        }
        if covers(&self.deny, address) {
            return Err(Denial::Configured);
        }
        Ok(())
    }

    fn is_control(&self, address: IpAddr, port: u16) -> bool {
        self.control
            .iter()
            .any(|c| c.port() == port && self.is_at(*c, address))
    }

    fn is_at(&self, endpoint: SocketAddr, address: IpAddr) -> bool {
        let here = address.is_loopback() || self.is_own(address);
        // The router leads from an external address to the own one of its family.
        let led = self.external.has(address) && self.own.has(endpoint.ip());
        endpoint.ip() == address || endpoint.ip().is_unspecified() && here || led
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.own.has(address) || self.external.has(address)
    }

    /// Whether clients are told relayed transport addresses at `address`.
    fn is_relayed(&self, address: IpAddr) -> bool {
        match self.external.of(Family::of(address)) {
            Some(external) => external == address,
            None => self.own.has(address),
        }
    }
}

fn covers(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&address))
}

/// The address itself and every IPv4 address hidden in it.
fn readings(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let hidden = match address {
        IpAddr::V4(_) => [None; 4],
        IpAddr::V6(v6) => embedded(v6),
    };
    let hidden = hidden.into_iter().flatten().map(IpAddr::V4);
    std::iter::once(address).chain(hidden)
}

#[cfg(test)]
mod registries;
#[cfg(test)]
mod tests;
