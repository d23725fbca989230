//! Whom a question is answered for: the network that a resolver tells, if that is of use, else the
//! resolver itself (RFC 7871).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::explain::RegionBy;
use crate::inventory::Places;

/// More bits of a client's network are never looked at: those who share them share everything.
const MOST: [u8; 2] = [24, 56];
/// Fewer bits say nothing of where a client is.
const LEAST: [u8; 2] = [8, 16];

/// Whom a question is answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// The network whose clients share a variant.
    pub(super) network: IpNet,
    /// Its region, if that is known, and by what.
    pub(super) region: Option<usize>,
    pub(super) by: RegionBy,
    /// How many bits of the network that was told, or of the resolver's address, decide about the
    /// region.
    pub(super) bits: u8,
    /// How many decide about `network`.
    pub(super) network_bits: u8,
}

impl Client {
    /// The client behind a query of `resolver`, which may have told its client's network.
    #[inline]
    pub(super) fn new(places: &Places, resolver: IpAddr, subnet: Option<IpNet>) -> Self {
        let own = Self::resolver(places, resolver);
        // A prefix of 0 says that the client is not to be told of (section 7.1.2).
        let Some(told) = subnet.filter(|subnet| subnet.prefix_len() > 0) else {
            return own;
        };
        let network = cut(told);
        let most = network.prefix_len();
        if most < LEAST[family(network)] {
            return Self {
                bits: most,
                network_bits: most,
                ..own
            };
        }
        let place = places.find(network.addr());
        let bits = place.bits.min(most);
        if place.placeless {
            // The answer depends on the resolver alone, wherever this is so.
            return Self {
                bits,
                network_bits: bits,
                ..own
            };
        }
        let known = place.region.map(|region| (Some(region), RegionBy::Subnet));
        let (region, by) = known.unwrap_or((own.region, own.by));
        Self {
            network,
            region,
            by,
            bits,
            network_bits: most,
        }
    }

    fn resolver(places: &Places, resolver: IpAddr) -> Self {
        let address = resolver.to_canonical();
        let ((region, bits), network) = (places.region(address), cut(address.into()));
        let by = match region {
            Some(_) => RegionBy::Resolver,
            None => RegionBy::Default,
        };
        Self {
            network,
            region,
            by,
            bits: bits.min(network.prefix_len()),
            network_bits: network.prefix_len(),
        }
    }
}

/// A network as far as it is looked at.
fn cut(network: IpNet) -> IpNet {
    let length = network.prefix_len().min(MOST[family(network)]);
    IpNet::new(network.addr(), length).map_or(network, |wider| wider.trunc())
}

fn family(network: IpNet) -> usize {
    usize::from(network.addr().is_ipv6())
}
