//! What the operator configured: the zone, regions, relays, policy; checked once, then trusted.

mod check;
mod codes;
mod enrolment;
mod geography;
mod numbers;
mod places;
mod policy;
mod problem;
mod ranges;
mod zones;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::str::FromStr;
use std::sync::Arc;

use hickory_proto::rr::Name;
use ipnet::IpNet;
use liveness::{KeyId, RelayId, Report, Transports};

pub use codes::{Continent, Country, UnknownCode};
pub use enrolment::{Applicant, Enrolment, Refusal};
pub use geography::{BadCoordinates, Coordinates, Rules};
pub use places::{BadGeography, Geography, Place, Places};
pub use policy::{Policy, Thresholds};
pub use problem::{Problem, Subject};
pub use zones::OtherZone;
pub(crate) use zones::{SERVICES, ServedZone};

use crate::answer::fast::Index;
use crate::paths::{Family, Path, PathSet, Transport, Word};

/// The zone that is served.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its apex.
    pub name: Name,
    /// The responsible person's mailbox as a domain name (RFC 1035 section 3.3.13).
    pub contact: Name,
    /// Its nameservers, the primary first.
    pub nameservers: Vec<Nameserver>,
}

/// One nameserver of the zone.
#[derive(Clone, Debug)]
pub struct Nameserver {
    /// Its name: one label below the zone, or anywhere outside the zone.
    pub name: Name,
    /// Its IPv4 address; glue.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address; glue.
    pub ipv6: Option<Ipv6Addr>,
}

/// Names a region; also its owner name below the zone: one DNS label, lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(String);

/// The text is no region id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to 32 characters of a-z, 0-9 and '-', not beginning or ending with '-'")]
pub struct BadRegionId;

impl RegionId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RegionId {
    type Err = BadRegionId;

    fn from_str(text: &str) -> Result<Self, BadRegionId> {
        // The same shape as a relay's id, because both become owner names.
        let id: RelayId = text.parse().map_err(|_| BadRegionId)?;
        Ok(Self(id.to_string()))
    }
}

impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A region: where clients come from and where relays stand.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its id.
    pub id: RegionId,
    /// The regions that serve its clients when it has no healthy relay, best first. Regions not
    /// named here never serve them. `None`: all others, the nearest first.
    pub fallback: Option<Vec<RegionId>>,
    /// Where it lies; of all regions or of none.
    pub coordinates: Option<Coordinates>,
    /// The networks its clients come from; the longest match over all regions wins.
    pub clients: Vec<IpNet>,
    /// The countries its clients are in, where a database of places says so; each in one region.
    pub countries: Vec<Country>,
    /// The same by continent, for countries that no region names.
    pub continents: Vec<Continent>,
    /// Whether it takes the clients of unknown place; true for exactly one region.
    pub default: bool,
}

/// A relay as configured. What a report claims beyond this is not believed.
#[derive(Clone, Debug)]
pub struct RelayEntry {
    /// Its id; also its owner name below the zone.
    pub id: RelayId,
    /// Where it stands.
    pub region: RegionId,
    /// Its availability zone: relays with the same text share a fate, whatever their vendor.
    pub zone: String,
    /// Who runs the machine.
    pub vendor: String,
    /// Where clients reach it over IPv4.
    pub ipv4: Option<SocketAddrV4>,
    /// Where clients reach it over IPv6.
    pub ipv6: Option<SocketAddrV6>,
    /// Its share of clients relative to others, 1 to [`limits::WEIGHT_MAX`](crate::limits::WEIGHT_MAX).
    pub weight: u32,
    /// Whether it is kept in reserve: it serves only when the others of its region have no
    /// headroom left, or none of them is up.
    pub standby: bool,
    /// The keys its reports may be signed with.
    pub keys: Vec<KeyId>,
    /// The transports it serves, but for those that its reports named and name no longer; `None`:
    /// UDP, and what its reports name.
    pub transports: Option<Transports>,
    /// Its port for TCP; `None`: that of its address.
    pub tcp_port: Option<u16>,
    /// Its port for TLS; `None`: that for TCP, where turnd tells the two apart.
    pub tls_port: Option<u16>,
}

impl RelayEntry {
    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.ipv4.map(|a| IpAddr::V4(*a.ip()));
        let v6 = self.ipv6.map(|a| IpAddr::V6(*a.ip()));
        v4.into_iter().chain(v6)
    }

    /// Whether evidence about one entry speaks about the other: they have the same addresses, and
    /// are judged by the same transport.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let place = |entry: &Self| (entry.ipv4, entry.ipv6, entry.main_transport());
        place(self) == place(other)
    }

    /// The transport that the relay's own verdict is about: UDP, unless it serves only others.
    pub fn main_transport(&self) -> Transport {
        let served = self.transports.unwrap_or(Transports::UDP);
        let mut all = Transport::ALL.into_iter();
        all.find(|transport| served.has(transport.bit()))
            .unwrap_or(Transport::Udp)
    }

    /// Whether it has an address of this family.
    pub fn has(&self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.ipv4.is_some(),
            Family::Ipv6 => self.ipv6.is_some(),
        }
    }

    /// Where clients find it on a path.
    pub fn address(&self, path: Path) -> Option<SocketAddr> {
        let mut address: SocketAddr = match path.family {
            Family::Ipv4 => self.ipv4?.into(),
            Family::Ipv6 => self.ipv6?.into(),
        };
        let port = match path.transport {
            Transport::Udp => None,
            Transport::Tcp => self.tcp_port,
            Transport::Tls => self.tls_port.or(self.tcp_port),
        };
        if let Some(port) = port {
            address.set_port(port);
        }
        Some(address)
    }

    /// The paths that it serves by its own word.
    pub fn paths(&self, word: Word) -> PathSet {
        let main = self.main_transport();
        let served = word.serves(self.transports);
        Path::all()
            .filter(|path| self.has(path.family))
            .filter(|path| path.transport == main || served.has(path.transport.bit()))
            .collect()
    }

    /// Those of its paths that are judged apart from it: its own verdict is about the only family
    /// of its main transport. TLS always is: that a certificate expires says nothing of the relay.
    pub fn judged_paths(&self, word: Word) -> impl Iterator<Item = Path> {
        let (main, both) = (self.main_transport(), Family::ALL.map(|f| self.has(f)));
        let apart = move |path: &Path| {
            path.transport != main || path.transport == Transport::Tls || both == [true; 2]
        };
        self.paths(word).iter().filter(apart)
    }

    /// Whether one of these addresses is one of its own.
    pub(crate) fn is_at(&self, ipv4: Option<SocketAddrV4>, ipv6: Option<SocketAddrV6>) -> bool {
        let same = |a: IpAddr| self.addresses().any(|own| own == a);
        ipv4.is_some_and(|a| same((*a.ip()).into())) || ipv6.is_some_and(|a| same((*a.ip()).into()))
    }

    /// Whether a report claims no address but the configured ones. An unspecified address is no
    /// claim: the relay listens on all it has.
    pub fn agrees_with(&self, report: &Report) -> bool {
        let v4 = report.ipv4.filter(|claim| !claim.ip().is_unspecified());
        let v6 = report.ipv6.filter(|claim| !claim.ip().is_unspecified());
        v4.is_none_or(|claim| self.ipv4 == Some(claim))
            && v6.is_none_or(|claim| {
                self.ipv6
                    .is_some_and(|a| (a.ip(), a.port()) == (claim.ip(), claim.port()))
            })
    }
}

/// Everything configured, consistent: every name in it resolves, nothing in it is empty.
#[derive(Clone, Debug)]
pub struct Inventory {
    zone: Zone,
    regions: Vec<Region>,
    relays: Vec<RelayEntry>,
    policy: Policy,
    thresholds: Thresholds,
    relay_index: BTreeMap<RelayId, usize>,
    /// Per region: its own index, then those of its fallbacks.
    reach: Vec<Vec<usize>>,
    places: Arc<Places>,
    /// Per relay: the index of its region.
    homes: Vec<usize>,
    default_region: usize,
    generation: u64,
    /// So many of the relays are listed; the others have joined.
    listed: usize,
    enrolments: Vec<Enrolment>,
    sources: zones::Sources,
    /// Made from the above.
    zones: Arc<[ServedZone]>,
    index: Arc<Index>,
}

impl Inventory {
    /// Checks everything and reports every problem found, in the order of the arguments.
    pub fn new(
        mut zone: Zone,
        regions: Vec<Region>,
        relays: Vec<RelayEntry>,
        policy: Policy,
        thresholds: Thresholds,
    ) -> Result<Self, Vec<Problem>> {
        let servers = zone.nameservers.iter_mut().map(|server| &mut server.name);
        for name in servers.chain([&mut zone.name, &mut zone.contact]) {
            name.set_fqdn(true);
        }
        check::check(&zone, &regions, &relays, &policy, &thresholds)?;
        let thresholds = thresholds.fitted();
        let region_index: BTreeMap<&RegionId, usize> = regions
            .iter()
            .enumerate()
            .map(|(index, region)| (&region.id, index))
            .collect();
        let find = |id: &RegionId| region_index.get(id).copied();
        let reach = (0..regions.len())
            .map(|own| geography::reach(&regions, own))
            .collect();
        // `check` has found every region that is named, so nothing falls back to 0 here.
        let homes = relays
            .iter()
            .map(|relay| find(&relay.region).unwrap_or_default())
            .collect();
        let default_region = regions.iter().position(|r| r.default).unwrap_or_default();
        let relay_index = relays
            .iter()
            .enumerate()
            .map(|(i, relay)| (relay.id, i))
            .collect();
        drop(region_index);
        let mut inventory = Self {
            sources: zones::Sources::default(),
            zones: Arc::default(),
            index: Arc::default(),
            listed: relays.len(),
            enrolments: Vec::new(),
            places: Arc::new(Places::new(&regions, Geography::default())),
            zone,
            regions,
            relays,
            policy,
            thresholds,
            relay_index,
            reach,
            homes,
            default_region,
            generation: 0,
        };
        let problems = inventory.compile_zones();
        debug_assert!(problems.is_empty(), "there are no records yet");
        Ok(inventory)
    }

    /// The same under a number of the operator's.
    #[must_use]
    pub fn numbered(self, generation: u64) -> Self {
        Self { generation, ..self }
    }

    /// The same with what a database of places says of addresses that no configured network holds.
    #[must_use]
    pub fn with_geography(self, geography: Geography) -> Self {
        let places = Arc::new(Places::new(&self.regions, geography));
        Self { places, ..self }
    }

    /// Where clients are.
    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// The operator's number of this configuration; each is higher than those before. 0: none.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The regions, in configured order; at least one.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The relays, in configured order; at least one.
    pub fn relays(&self) -> &[RelayEntry] {
        &self.relays
    }

    /// How to answer.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How to judge: as given, but never so that probes are too far apart to be judged by.
    pub fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// The place of a relay in [`relays`](Self::relays).
    pub fn relay_index(&self, id: &RelayId) -> Option<usize> {
        self.relay_index.get(id).copied()
    }

    /// The regions that may serve `region`'s clients, itself first; empty for an index out of range.
    pub fn reach(&self, region: usize) -> &[usize] {
        self.reach.get(region).map_or(&[], Vec::as_slice)
    }

    /// The place in [`regions`](Self::regions) of the region a relay stands in.
    pub fn home(&self, relay: usize) -> usize {
        self.homes
            .get(relay)
            .copied()
            .unwrap_or(self.default_region)
    }

    /// The place of the region that takes clients no network matches.
    pub fn default_region(&self) -> usize {
        self.default_region
    }
}
