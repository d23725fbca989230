//! Longest-prefix match over the configured client networks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

/// Client networks and the regions they belong to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Networks {
    regions: BTreeMap<IpNet, usize>,
    /// The prefix lengths that occur, for IPv4 and IPv6.
    lengths: [BTreeSet<u8>; 2],
}

impl FromIterator<(IpNet, usize)> for Networks {
    fn from_iter<T: IntoIterator<Item = (IpNet, usize)>>(pairs: T) -> Self {
        let mut networks = Self::default();
        for (network, region) in pairs {
            networks.lengths[family(network.addr())].insert(network.prefix_len());
            networks.regions.insert(network.trunc(), region);
        }
        networks
    }
}

impl Networks {
    /// The region of the longest network that holds all of `client`.
    pub(crate) fn find(&self, client: IpNet) -> Option<usize> {
        let lengths = self.lengths[family(client.addr())]
            .range(..=client.prefix_len())
            .rev();
        lengths
            .filter_map(|length| IpNet::new(client.addr(), *length).ok())
            .find_map(|network| self.regions.get(&network.trunc()).copied())
    }

    /// The longest prefix length configured for the family of `address`; 0 when there is none.
    pub(crate) fn longest(&self, address: IpAddr) -> u8 {
        self.lengths[family(address)]
            .last()
            .copied()
            .unwrap_or_default()
    }
}

fn family(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_network_that_holds_the_client_wins() {
        let networks: Networks = [
            (net("10.0.0.0/8"), 1),
            (net("10.1.0.0/16"), 2),
            (net("10.1.2.3/32"), 3),
            (net("2001:db8::/32"), 4),
            (net("::/0"), 5),
        ]
        .into_iter()
        .collect();
        for (client, region) in [
            ("10.9.9.9/32", Some(1)),
            ("10.1.9.9/32", Some(2)),
            ("10.1.2.3/32", Some(3)),
            // Less than the network: not held by it.
            ("10.1.2.0/24", Some(2)),
            ("10.0.0.0/9", Some(1)),
            ("10.0.0.0/7", None),
            ("11.0.0.1/32", None),
            ("2001:db8::1/128", Some(4)),
            ("2001:db9::1/128", Some(5)),
        ] {
            assert_eq!(networks.find(net(client)), region, "{client}");
        }
        assert_eq!(networks.longest("192.0.2.1".parse().unwrap()), 32);
        assert_eq!(networks.longest("::1".parse().unwrap()), 32);
    }
}
