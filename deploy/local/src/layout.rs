//! Which processes a local cluster has, and on which addresses: pure, from the options alone.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::options::{Net, Options};

/// The zone every local cluster serves; `example` is reserved for this (RFC 6761 section 6.5).
pub const ZONE: &str = "turn.example";

/// The two regions, the default one first.
const REGIONS: [Region; 2] = [
    Region {
        id: "eu",
        third_octet: 1,
        place: [50.1, 8.7],
        cities: ["fra", "ams"],
    },
    Region {
        id: "us",
        third_octet: 2,
        place: [40.7, -74.0],
        cities: ["nyc", "sfo"],
    },
];
const VENDORS: [&str; 3] = ["alpha", "beta", "gamma"];
const DNSDS: u8 = 2;
/// Third number of the addresses of the name servers and of the echo peer.
const SERVICES_OCTET: u8 = 9;

/// A region and how its relays are named: one city per availability zone.
#[derive(Debug)]
struct Region {
    id: &'static str,
    third_octet: u8,
    place: [f64; 2],
    cities: [&'static str; 2],
}

/// One relay process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Id in reports, owner name below the zone, and name of its directory.
    pub id: String,
    /// Region id.
    pub region: &'static str,
    /// Availability zone id, unique over all regions.
    pub zone: String,
    /// Vendor id.
    pub vendor: &'static str,
    /// TURN over UDP.
    pub turn: SocketAddrV4,
    /// Credentials over HTTP.
    pub rest: SocketAddrV4,
    /// Health and metrics over HTTP.
    pub admin: SocketAddrV4,
    /// Id of its report key.
    pub key_id: u32,
}

/// One dnsd process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dnsd {
    /// Id, name server name below the zone, and name of its directory.
    pub id: String,
    /// DNS over UDP and TCP.
    pub dns: SocketAddrV4,
    /// Liveness reports over UDP.
    pub reports: SocketAddrV4,
    /// What the others see, over UDP.
    pub sharing: SocketAddrV4,
    /// Who runs its machine.
    pub vendor: &'static str,
    /// Where that stands.
    pub region: &'static str,
    /// Health and metrics over HTTP.
    pub admin: SocketAddrV4,
}

/// A region as the name servers know it.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionView {
    /// Region id.
    pub id: &'static str,
    /// Latitude and longitude, in degrees: the nearest other region serves when this one has no relay.
    pub place: [f64; 2],
    /// Network whose clients belong to this region.
    pub clients: String,
    /// Whether clients of no known network belong here.
    pub default: bool,
}

/// Everything that runs, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// Relays, regions alternating.
    pub relays: Vec<Relay>,
    /// Name servers.
    pub dnsds: Vec<Dnsd>,
    /// Regions, the default one first.
    pub regions: Vec<RegionView>,
    /// Network all addresses are taken from.
    pub net: Net,
    /// A loopback address nobody serves: where an echo peer for experiments may listen.
    pub peer: SocketAddrV4,
}

impl Layout {
    /// Lays out the cluster that `options` ask for.
    pub fn new(options: &Options) -> Self {
        let port = |base: u16| base + options.port_offset;
        let dnsds = (1..=DNSDS).map(|n| {
            let place = usize::from(n - 1);
            let ip = options.net.address(SERVICES_OCTET, n);
            Dnsd {
                id: format!("ns{n}"),
                dns: SocketAddrV4::new(ip, port(5300)),
                reports: SocketAddrV4::new(ip, port(5301)),
                sharing: SocketAddrV4::new(ip, port(5302)),
                vendor: VENDORS[place % VENDORS.len()],
                region: REGIONS[place % REGIONS.len()].id,
                admin: SocketAddrV4::new(ip, port(9653)),
            }
        });
        let regions = REGIONS.iter().enumerate().map(|(n, region)| RegionView {
            id: region.id,
            place: region.place,
            clients: format!("{}/24", options.net.address(region.third_octet, 0)),
            default: n == 0,
        });
        Self {
            relays: (0..options.relays).map(|n| relay(n, options)).collect(),
            dnsds: dnsds.collect(),
            regions: regions.collect(),
            net: options.net,
            peer: SocketAddrV4::new(options.net.address(SERVICES_OCTET, 9), 3480),
        }
    }

    /// Addresses of the name servers' DNS ports.
    pub fn dns_servers(&self) -> impl Iterator<Item = SocketAddrV4> + '_ {
        self.dnsds.iter().map(|dnsd| dnsd.dns)
    }
}

/// The `n`th relay: regions alternate; within a region vendors and zones do.
fn relay(n: u8, options: &Options) -> Relay {
    let count = REGIONS.len();
    let region = &REGIONS[usize::from(n) % count];
    let within = usize::from(n) / count;
    // Two zones and three vendors share no factor: every vendor reaches every zone in turn.
    let half = within % region.cities.len();
    let ip: Ipv4Addr = options.net.address(region.third_octet, (within + 1) as u8);
    let at = |base: u16| SocketAddrV4::new(ip, base + options.port_offset);
    Relay {
        id: format!(
            "{}-{}",
            region.cities[half],
            within / region.cities.len() + 1
        ),
        region: region.id,
        zone: format!("{}-{}", region.id, ["a", "b"][half]),
        vendor: VENDORS[within % VENDORS.len()],
        turn: at(3478),
        rest: at(8080),
        admin: at(9641),
        key_id: u32::from(n) + 1,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use clap::Parser as _;

    use super::*;

    fn layout(args: &[&str]) -> Layout {
        Layout::new(&Options::parse_from([&["local-cluster"], args].concat()))
    }

    #[test]
    fn six_relays_cover_every_region_with_every_vendor_and_both_zones() {
        let layout = layout(&[]);
        let mut vendors: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut zones: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for relay in &layout.relays {
            vendors
                .entry(relay.region)
                .or_default()
                .insert(relay.vendor);
            zones.entry(relay.region).or_default().insert(&relay.zone);
        }
        assert_eq!(layout.relays.len(), 6);
        assert_eq!(vendors.len(), 2);
        assert!(
            vendors.values().all(|vendors| vendors.len() == 3),
            "{vendors:?}"
        );
        assert!(zones.values().all(|zones| zones.len() == 2), "{zones:?}");
    }

    #[test]
    fn ids_and_addresses_never_repeat() {
        let layout = layout(&["--relays", "24", "--net", "127.77", "--port-offset", "100"]);
        let ids: BTreeSet<_> = layout.relays.iter().map(|relay| &relay.id).collect();
        let addresses: BTreeSet<_> = layout.relays.iter().map(|relay| relay.turn).collect();
        assert_eq!((ids.len(), addresses.len()), (24, 24));
        assert!(
            addresses
                .iter()
                .all(|a| a.port() == 3578 && a.ip().octets()[..2] == [127, 77])
        );
        assert_eq!(layout.dnsds[1].dns.to_string(), "127.77.9.2:5400");
    }
}
