//! Where an address lies: networks that are configured, then what a database of places says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Region;
use super::ranges::{Ranges, Steps, Value, bounds, overlay, paint};
use crate::limits::GEOGRAPHY_RANGES_MAX;

/// No region: regions have lower numbers.
const NONE: Value = Value::MAX;

/// Networks whose addresses say nothing of where a client is, because they are not routed (RFC 6890
/// and the registries that it made), or because they hide it (6to4, Teredo).
const PLACELESS_V4: [([u8; 4], u8); 14] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 3),
];
/// The same for IPv6; all unicast that is routed lies in `2000::/3`.
const PLACELESS_V6: [([u16; 2], u8); 7] = [
    ([0, 0], 3),
    ([0x2001, 0], 23),
    ([0x2001, 0xdb8], 32),
    ([0x2002, 0], 16),
    ([0x3fff, 0], 20),
    ([0x4000, 0], 2),
    ([0x8000, 0], 1),
];

/// Which region each network belongs to by a database of places; made of networks in rising order.
#[derive(Clone, Debug)]
pub struct Geography {
    steps: [Steps; 2],
    /// Where the next network may begin; `None` where the last one reached the last address.
    free: [Option<u128>; 2],
}

impl Default for Geography {
    fn default() -> Self {
        Self {
            steps: Default::default(),
            free: [Some(0); 2],
        }
    }
}

/// A network that cannot be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGeography {
    /// It begins before the one before it ended.
    #[error("its networks are not in order")]
    Disorder,
    /// There are too many.
    #[error("it has more than {GEOGRAPHY_RANGES_MAX} ranges of different regions")]
    Ranges,
}

impl Geography {
    /// Adds a network behind all others of its family. `region` is a place in the list of regions.
    ///
    /// # Errors
    /// It does not come behind the others, or there is no room.
    pub fn add(&mut self, network: IpNet, region: Option<usize>) -> Result<(), BadGeography> {
        let value = region.and_then(|region| Value::try_from(region).ok());
        let value = value.unwrap_or(NONE);
        let family = usize::from(network.addr().is_ipv6());
        let (first, last) = bounds(network);
        let free = self.free[family].filter(|free| *free <= first);
        self.step(family, free.ok_or(BadGeography::Disorder)?, NONE);
        self.step(family, first, value);
        self.free[family] = last.checked_add(1);
        if self.steps.iter().map(Vec::len).sum::<usize>() > GEOGRAPHY_RANGES_MAX {
            return Err(BadGeography::Ranges);
        }
        Ok(())
    }

    fn step(&mut self, family: usize, start: u128, value: Value) {
        let steps = &mut self.steps[family];
        steps.pop_if(|(last, _)| *last == start);
        if steps.last().map_or(NONE, |(_, before)| *before) != value {
            steps.push((start, value));
        }
    }

    /// The steps of both families, each ended.
    fn ended(mut self) -> [Steps; 2] {
        for family in [0, 1] {
            if let Some(free) = self.free[family] {
                self.step(family, free, NONE);
            }
        }
        self.steps[0].pop_if(|(start, _)| *start > u32::MAX.into());
        self.steps
    }
}

/// Where addresses lie.
#[derive(Clone, Debug)]
pub struct Places {
    regions: Ranges,
    /// 1 where a client's network says nothing.
    placeless: Ranges,
    configured: Box<[IpNet]>,
}

/// What is known of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its region, as a place in the list of regions.
    pub region: Option<usize>,
    /// Whether it says nothing of where a client is, and no configured network says otherwise.
    pub placeless: bool,
    /// The length of the shortest prefix of the address of which all this is true as a whole.
    pub bits: u8,
}

impl Places {
    pub(super) fn new(regions: &[Region], geography: Geography) -> Self {
        let regions = regions.iter().zip(0..NONE);
        let mut networks: Vec<(IpNet, Value)> = regions
            .flat_map(|(region, value)| region.clients.iter().map(move |net| (net.trunc(), value)))
            .collect();
        // The longest prefix wins: it is laid over those that hold it.
        networks.sort_unstable_by_key(|(network, _)| network.prefix_len());
        let painted = paint(networks.iter().copied());
        let base = geography.ended();
        let laid = [0, 1].map(|family| overlay(&base[family], &painted[family], NONE));
        let mut said: Vec<(IpNet, Value)> = networks.iter().map(|(net, _)| (*net, 0)).collect();
        said.extend(placeless().map(|network| (network, 1)));
        // Of two alike the configured one wins.
        said.sort_unstable_by_key(|(network, placeless)| (network.prefix_len(), 1 - placeless));
        let nothing = Steps::new();
        let said = paint(said.into_iter()).map(|painted| overlay(&nothing, &painted, 0));
        Self {
            regions: Ranges::new(laid, NONE),
            placeless: Ranges::new(said, 0),
            configured: networks.into_iter().map(|(network, _)| network).collect(),
        }
    }

    /// What is known of an address.
    pub fn find(&self, address: IpAddr) -> Place {
        let ((region, bits), said) = (self.region(address), self.placeless.find(address));
        Place {
            region,
            placeless: said.value == 1,
            bits: bits.max(said.bits),
        }
    }

    /// The region of an address, as a place in the list of regions, and the length of the shortest
    /// prefix of it that lies there as a whole.
    pub fn region(&self, address: IpAddr) -> (Option<usize>, u8) {
        let found = self.regions.find(address);
        let region = (found.value != NONE).then_some(found.value.into());
        (region, found.bits)
    }

    /// Whether a configured network holds the address. Looks at each: not for every query.
    pub fn is_configured(&self, address: IpAddr) -> bool {
        self.configured
            .iter()
            .any(|network| network.contains(&address))
    }

    /// How many ranges of different regions there are.
    pub fn ranges(&self) -> usize {
        self.regions.len()
    }
}

fn placeless() -> impl Iterator<Item = IpNet> {
    let v4 = PLACELESS_V4
        .into_iter()
        .map(|(octets, length)| IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from(octets), length)));
    let v6 = PLACELESS_V6.into_iter().map(|([first, second], length)| {
        let address = Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0);
        IpNet::V6(Ipv6Net::new_assert(address, length))
    });
    v4.chain(v6)
}
