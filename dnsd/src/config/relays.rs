//! `[[regions]]` and `[[relays]]`.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};

use dnsd_core::inventory::{self, Continent, Coordinates, Country, RegionId, RelayEntry};
use dnsd_core::limits::{PLACE_MAX, RELAY_KEYS_MAX, WEIGHT_MAX};
use dnsd_core::paths::Transport;
use ipnet::IpNet;
use liveness::{KeyId, RelayId, Transports};
use settings::{Spanned, Table};

/// What a region's name is, for messages.
pub(super) const REGION: &str = "a region's name: 1 to 32 lower-case letters, digits and hyphens";
/// What a country's code is, for messages.
const COUNTRY: &str = "a country's code of two capital letters (ISO 3166-1)";
/// What a continent's code is, for messages.
const CONTINENT: &str = "one of AF, AN, AS, EU, NA, OC, SA";
/// What a transport is, for messages.
const TRANSPORT: &str = "one of udp, tcp, tls";
/// Weight of a relay that has none.
pub(super) const WEIGHT: u32 = 100;

/// One entry of `[[regions]]`.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) id: Spanned<RegionId>,
    /// The fallbacks that are listed, and where; without them the order is that of distance.
    pub(super) fallback: Option<Vec<Spanned<RegionId>>>,
    pub(super) coordinates: Option<Coordinates>,
    pub(super) clients: Vec<Spanned<IpNet>>,
    pub(super) countries: Vec<Spanned<Country>>,
    pub(super) continents: Vec<Spanned<Continent>>,
    pub(super) default: Option<Spanned<bool>>,
}

impl Region {
    /// Whether it takes the clients of unknown place.
    pub(super) fn is_default(&self) -> bool {
        self.default.is_some_and(|default| default.value)
    }
}

/// One entry of `[[relays]]`.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) id: Spanned<RelayId>,
    pub(super) region: Spanned<RegionId>,
    pub(super) zone: String,
    pub(super) vendor: String,
    pub(super) addresses: Vec<Spanned<SocketAddr>>,
    pub(super) keys: Vec<Spanned<u32>>,
    pub(super) weight: u32,
    pub(super) standby: bool,
    pub(super) transports: Option<Transports>,
    pub(super) tcp_port: Option<u16>,
    pub(super) tls_port: Option<u16>,
}

/// The regions that could be read, and whether those are all.
pub(super) fn regions(root: &mut Table<'_>) -> (Vec<Region>, bool) {
    let tables = root.tables("regions");
    let count = tables.len();
    if tables.is_empty() {
        let help = "add [[regions]] with an id and `default = true`";
        root.error(root.key_span("regions"), "there are no regions", help);
    }
    let read = |mut table: Table<'_>| {
        let id = table.required_parsed("id", REGION, "\"eu\"", str::parse);
        let listed = table.has("fallback");
        let fallback = table.list_parsed("fallback", REGION, "\"us\"", str::parse);
        let coordinates = coordinates(&mut table);
        let clients = table.list::<IpNet>("clients");
        let countries = table.list_parsed("countries", COUNTRY, "\"DE\"", str::parse);
        let continents = table.list_parsed("continents", CONTINENT, "\"EU\"", str::parse);
        let default = table.optional::<bool>("default");
        Some(Region {
            id: id?,
            fallback: listed.then_some(fallback),
            coordinates: coordinates.ok()?,
            clients,
            countries,
            continents,
            default,
        })
    };
    let regions: Vec<_> = tables.into_iter().filter_map(read).collect();
    let every = count > 0 && regions.len() == count;
    (regions, every)
}

/// Where a region lies, if the file says so; `Err` where that is wrong.
fn coordinates(table: &mut Table<'_>) -> Result<Option<Coordinates>, ()> {
    let keys = ["latitude", "longitude"].map(|key| table.has(key));
    let latitude = table.optional_in("latitude", -90.0..=90.0);
    let longitude = table.optional_in("longitude", -180.0..=180.0);
    match (keys, latitude, longitude) {
        ([false, false], ..) => Ok(None),
        ([true, true], Some(latitude), Some(longitude)) => {
            let read = Coordinates::new(latitude.value, longitude.value);
            read.map(Some).map_err(drop)
        }
        ([true, true], ..) => Err(()),
        _ => {
            let what = "a region's place needs both `latitude` and `longitude`";
            let help = "write both in degrees, south and west negative";
            table.error(table.span(), what, help);
            Err(())
        }
    }
}

/// The relays that could be read, and whether those are all.
pub(super) fn relays(root: &mut Table<'_>) -> (Vec<Relay>, bool) {
    let tables = root.tables("relays");
    let count = tables.len();
    if tables.is_empty() {
        let help = "add [[relays]] with id, region, zone, vendor, addresses and keys";
        root.error(root.key_span("relays"), "there are no relays", help);
    }
    let relays: Vec<_> = tables.into_iter().filter_map(relay).collect();
    let every = count > 0 && relays.len() == count;
    (relays, every)
}

fn relay(mut table: Table<'_>) -> Option<Relay> {
    let id = table.required_parsed(
        "id",
        "a name of 1 to 32 lower-case letters, digits and hyphens",
        "\"fra-1\"",
        str::parse::<RelayId>,
    );
    let region = table.required_parsed("region", REGION, "\"eu\"", str::parse);
    let zone = table.required_parsed("zone", "the availability zone", "\"eu-a\"", place);
    let vendor = table.required_parsed("vendor", "who runs the machine", "\"alpha\"", place);
    let addresses = table.required_list::<SocketAddr>("addresses");
    let keys = table.required_list::<u32>("keys");
    let weight = table.with_default_in("weight", WEIGHT, 1..=WEIGHT_MAX);
    let standby = table.with_default("standby", false);
    let transports = transports(&mut table);
    let mut port = |key| {
        let port = table.optional_in(key, 1_u16..=u16::MAX);
        port.map(|port| port.value)
    };
    let (tcp_port, tls_port) = (port("tcp_port"), port("tls_port"));
    if let Some(addresses) = &addresses {
        families(&table, addresses);
    }
    if let Some(key) = keys.as_ref().and_then(|keys| keys.get(RELAY_KEYS_MAX)) {
        table.error(
            key.span,
            format!("a relay has at most {RELAY_KEYS_MAX} keys"),
            "keep fewer",
        );
    }
    Some(Relay {
        id: id?,
        region: region?,
        zone: zone?.value,
        vendor: vendor?.value,
        addresses: addresses?,
        keys: keys?,
        weight: weight.value,
        standby: standby.value,
        transports,
        tcp_port,
        tls_port,
    })
}

/// The transports that are listed; `None` if that is left to the reports.
fn transports(table: &mut Table<'_>) -> Option<Transports> {
    let listed = table
        .has("transports")
        .then(|| table.key_span("transports"));
    let wrong = Cell::new(false);
    let read = table.list_parsed("transports", TRANSPORT, "\"tls\"", |text| {
        let read = transport(text);
        wrong.set(wrong.get() | read.is_err());
        read
    });
    let served = read.iter().map(|transport| transport.value);
    let served = served.reduce(Transports::with);
    if let Some(span) = listed.filter(|_| served.is_none() && !wrong.get()) {
        let help = "name what it serves, or leave this out: its reports say it, too";
        table.error(span, "a relay that serves no transport serves nobody", help);
    }
    served
}

fn transport(text: &str) -> Result<Transports, String> {
    let mut all = Transport::ALL.into_iter();
    let found = all.find(|transport| transport.as_str() == text);
    found
        .map(Transport::bit)
        .ok_or_else(|| format!("there is no transport {text:?}"))
}

/// At most one address of each family, and only such as clients can send to.
fn families(table: &Table<'_>, addresses: &[Spanned<SocketAddr>]) {
    for (index, address) in addresses.iter().enumerate() {
        let (ip, port) = (address.value.ip(), address.value.port());
        if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::from([255; 4]) {
            let what = format!("{ip} is no address that clients could send to");
            table.error(address.span, what, "write the relay's public address");
        }
        if port == 0 {
            table.error(
                address.span,
                "a relay does not listen on port 0",
                "write port 3478",
            );
        }
        let same = |other: &&Spanned<SocketAddr>| other.value.is_ipv4() == address.value.is_ipv4();
        if addresses[..index].iter().any(|other| same(&other)) {
            let what = "a relay has at most one IPv4 and one IPv6 address";
            table.error(
                address.span,
                what,
                "list the other address as a relay of its own",
            );
        }
    }
}

/// A vendor or availability zone: any text, compared as it stands.
pub(super) fn place(text: &str) -> Result<String, String> {
    match text.len() {
        1..=PLACE_MAX => Ok(text.to_owned()),
        _ => Err(format!("it has 1 to {PLACE_MAX} bytes")),
    }
}

impl From<&Region> for inventory::Region {
    fn from(region: &Region) -> Self {
        Self {
            id: region.id.value.clone(),
            fallback: region
                .fallback
                .as_ref()
                .map(|listed| listed.iter().map(|id| id.value.clone()).collect()),
            coordinates: region.coordinates,
            clients: region.clients.iter().map(|client| client.value).collect(),
            countries: region.countries.iter().map(|code| code.value).collect(),
            continents: region.continents.iter().map(|code| code.value).collect(),
            default: region.is_default(),
        }
    }
}

impl From<&Relay> for RelayEntry {
    fn from(relay: &Relay) -> Self {
        let addresses = || relay.addresses.iter().map(|address| address.value);
        Self {
            id: relay.id.value,
            region: relay.region.value.clone(),
            zone: relay.zone.clone(),
            vendor: relay.vendor.clone(),
            ipv4: addresses().find_map(|address| match address {
                SocketAddr::V4(v4) => Some(v4),
                SocketAddr::V6(_) => None,
            }),
            ipv6: addresses().find_map(|address| match address {
                SocketAddr::V6(v6) => Some(v6),
                SocketAddr::V4(_) => None,
            }),
            weight: relay.weight,
            standby: relay.standby,
            transports: relay.transports,
            tcp_port: relay.tcp_port,
            tls_port: relay.tls_port,
            keys: relay.keys.iter().map(|key| KeyId(key.value)).collect(),
        }
    }
}
