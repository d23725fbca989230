//! `[relay]`: who this relay is, where it listens, from where it relays.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::sync::LazyLock;
use std::time::Duration;

use ipnet::IpNet;
use liveness::RelayId;
use settings::{PortRange, Spanned, Table};
use turnd_core::Realm;

use super::{limits, names};
use crate::net::udp::Buffers;

/// Socket buffer sizes that are taken, in bytes.
const BUFFER_RANGE: std::ops::RangeInclusive<usize> = 64 << 10..=256 << 20;

/// The socket buffer size that is asked for by default, in bytes.
const BUFFER: usize = 4 << 20;

/// How long datagrams may gather by default. Far below the 20 ms between two packets of speech.
const GATHER: Duration = Duration::from_micros(250);

/// The longest that datagrams may gather.
const LONGEST_GATHER: Duration = Duration::from_millis(5);

/// The dynamic ports (RFC 6335), where RFC 8656 wants relayed transport addresses.
const DYNAMIC_PORTS: (u16, u16) = (49152, 65535);

/// Below are the system ports (RFC 6335), which are never relayed from.
const FIRST_PORT: u16 = 1024;

/// The `[relay]` table.
#[derive(Debug, Clone)]
pub struct Relay {
    /// The relay's id, also its owner name below the zone.
    pub id: RelayId,
    /// The realm of the long-term credential mechanism.
    pub realm: Realm,
    /// The zone whose names the REST endpoint hands out; lower case, no final dot.
    pub zone: String,
    /// UDP listen addresses, all distinct, none a duplicate of a wildcard.
    pub listen: Vec<SocketAddr>,
    /// TCP listen addresses, by the same rules; none when no TCP is served.
    pub listen_tcp: Vec<SocketAddr>,
    /// Where proxies are that say first whom they speak for (PROXY protocol, version 2). From there
    /// it is required, from anywhere else it is not understood.
    pub proxy_protocol_from: Vec<IpNet>,
    /// The address that IPv4 relayed transport addresses are taken from.
    pub ipv4: Option<Ipv4Addr>,
    /// The address that IPv6 relayed transport addresses are taken from.
    pub ipv6: Option<Ipv6Addr>,
    /// What clients are told in place of `ipv4`, behind a 1:1 NAT.
    pub external_ipv4: Option<Ipv4Addr>,
    /// What clients are told in place of `ipv6`, behind a 1:1 NAT.
    pub external_ipv6: Option<Ipv6Addr>,
    /// Whether clients may have TCP allocations (RFC 6062).
    pub tcp_allocations: bool,
    /// The ports of relayed transport addresses.
    pub ports: PortRange,
    /// Worker threads as configured; 0 stands for one per core.
    pub workers: u16,
    /// Whether clients that ask for it may move to other addresses (RFC 8016).
    pub mobility: bool,
    /// How long a drain waits for sessions to end.
    pub drain_grace: Duration,
    /// Socket buffer sizes of the listeners.
    pub buffers: Buffers,
    /// How long datagrams may gather under partial load before they are relayed together; zero:
    /// each is relayed at once.
    pub gather: Duration,
}

impl Relay {
    pub(super) fn build(table: &mut Table<'_>) -> Option<Self> {
        let id = table.required_parsed(
            "id",
            "1 to 32 characters of a-z, 0-9 and hyphens, no hyphen at either end",
            "\"fra-1\"",
            str::parse::<RelayId>,
        );
        let realm = table.required_parsed(
            "realm",
            "a text of 1 to 56 bytes in quotes",
            "\"turn.example.org\"",
            Realm::new,
        );
        let zone = table.required_parsed(
            "zone",
            "a DNS name in quotes",
            "\"turn.example.org\"",
            names::zone,
        );
        let listen = table.required_list("listen");
        let listen = listen.and_then(|listen| listeners(table, "listen", listen));
        let listen_tcp = table.list("listen_tcp");
        let listen_tcp = listeners(table, "listen_tcp", listen_tcp);
        let proxy_protocol_from = proxies(table);
        let addresses = table.required_list("relay_addresses");
        let help = "name an address of this machine that peers can reach";
        let addresses =
            addresses.and_then(|list| addresses_of(table, "relay_addresses", &list, help));
        let external = table.list::<IpAddr>("external_addresses");
        let external = external_addresses(table, &external, addresses);
        let tcp_allocations = table.with_default("tcp_allocations", false);
        let ports = table.with_default("relay_ports", default_ports()?);
        let workers = table.with_default_in("workers", 0, 0..=limits::WORKERS);
        let drain_grace = table.with_default_in(
            "drain_grace",
            Duration::from_hours(1),
            Duration::ZERO..=Duration::from_hours(168),
        );
        let mobility = table.with_default("mobility", false);
        let receive = table
            .with_default_in("receive_buffer", BUFFER, BUFFER_RANGE)
            .value;
        let send = table
            .with_default_in("send_buffer", BUFFER, BUFFER_RANGE)
            .value;
        let gather = table.with_default_in("gather", GATHER, Duration::ZERO..=LONGEST_GATHER);
        let (ipv4, ipv6) = addresses?;
        let (external_ipv4, external_ipv6) = external?;
        let relay = Self {
            id: id?.value,
            realm: realm?.value,
            zone: zone?.value,
            listen: listen?,
            listen_tcp: listen_tcp?,
            proxy_protocol_from,
            ipv4,
            ipv6,
            external_ipv4,
            external_ipv6,
            tcp_allocations: tcp_allocations.value,
            ports: ports.value,
            workers: workers.value,
            drain_grace: drain_grace.value,
            mobility: mobility.value,
            buffers: Buffers { receive, send },
            gather: gather.value,
        };
        relay.check_ports(table, &ports).then_some(relay)
    }

    /// How many workers run here; the same for the whole run.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => cores(),
            workers => usize::from(workers),
        }
    }

    /// The addresses that relayed transport addresses are taken from.
    pub fn relay_ips(&self) -> impl Iterator<Item = IpAddr> {
        let ipv6 = self.ipv6.map(IpAddr::V6);
        self.ipv4.map(IpAddr::V4).into_iter().chain(ipv6)
    }

    /// The address clients are sent to, one of each family: the first listener's; for a wildcard the
    /// address that is relayed from, with the listener's port; behind a 1:1 NAT the external one.
    pub fn advertised(&self, ipv6: bool) -> Option<SocketAddr> {
        let listen = self.listen.iter().find(|listen| listen.is_ipv6() == ipv6)?;
        Some(SocketAddr::new(self.public(listen.ip())?, listen.port()))
    }

    /// The TCP ports that clients find at an address that they are sent to.
    pub fn tcp_ports(&self, address: IpAddr) -> impl Iterator<Item = u16> {
        let there = move |listen: &&SocketAddr| {
            let wildcard = listen.ip().is_unspecified() && listen.is_ipv6() == address.is_ipv6();
            wildcard || self.public(listen.ip()) == Some(address)
        };
        self.listen_tcp.iter().filter(there).map(SocketAddr::port)
    }

    /// How clients reach what listens at `ip`.
    fn public(&self, ip: IpAddr) -> Option<IpAddr> {
        let (relayed, external) = if ip.is_ipv6() {
            let external = self.external_ipv6.map(IpAddr::V6);
            (self.ipv6.map(IpAddr::V6), external)
        } else {
            let external = self.external_ipv4.map(IpAddr::V4);
            (self.ipv4.map(IpAddr::V4), external)
        };
        let is_relayed = ip.is_unspecified() || Some(ip) == relayed;
        if is_relayed {
            external.or(relayed)
        } else {
            Some(ip)
        }
    }

    fn check_ports(&self, table: &Table<'_>, ports: &Spanned<PortRange>) -> bool {
        let range = self.ports.ports();
        let have = range.len();
        let need = self.worker_count() * limits::PORTS_PER_WORKER;
        if have < need {
            table.error(
                ports.span,
                format!("`relay.relay_ports` holds {have} ports, too few for the workers"),
                format!(
                    "{} workers need at least {need} ports: widen the range or set fewer workers",
                    self.worker_count()
                ),
            );
            return false;
        }
        if *range.start() < FIRST_PORT {
            table.error(
                ports.span,
                "`relay.relay_ports` begins below 1024, among the ports of system services",
                "write e.g. \"49152-65535\"",
            );
            return false;
        }
        let relayed = |ip: IpAddr| self.ipv4 == v4(ip) && v4(ip).is_some() || self.ipv6 == v6(ip);
        let clash = self.listen.iter().chain(&self.listen_tcp).find(|listen| {
            let here = listen.ip().is_unspecified() || relayed(listen.ip());
            here && range.contains(&listen.port())
        });
        if let Some(listen) = clash {
            table.error(
                ports.span,
                format!("`relay.relay_ports` holds the port of the listener {listen}"),
                "keep the listen ports outside of the relayed ports",
            );
        }
        clash.is_none()
    }
}

/// The cores this process may use, as they were at its start: a reload counts the workers that run,
/// even when the process has been moved to other cores.
fn cores() -> usize {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZero::get));
    *CORES
}

fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

fn v6(ip: IpAddr) -> Option<Ipv6Addr> {
    match ip {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    }
}

fn default_ports() -> Option<PortRange> {
    PortRange::new(DYNAMIC_PORTS.0, DYNAMIC_PORTS.1)
}

/// Checks the listen addresses, each and against each other.
fn listeners(
    table: &Table<'_>,
    key: &'static str,
    list: Vec<Spanned<SocketAddr>>,
) -> Option<Vec<SocketAddr>> {
    let mut good = true;
    let mut wrong = |span, what: String, help: &str| {
        table.error(span, what, help);
        good = false;
    };
    if list.len() > limits::LISTENERS {
        let what = format!("`relay.{key}` has {} addresses", list.len());
        wrong(table.key_span(key), what, "at most 16 are served");
    }
    for (index, listen) in list.iter().enumerate() {
        let address = listen.value;
        if address.port() == 0 {
            wrong(
                listen.span,
                format!("`relay.{key}[{index}]` has port 0"),
                "clients have to know the port: 3478 is the standard one",
            );
        }
        if let Err(why) = usable(address.ip()) {
            let what = format!("`relay.{key}[{index}]` cannot be listened on: {why}");
            wrong(listen.span, what, "name an address of this machine");
        }
        let twice = list[..index]
            .iter()
            .map(|other| other.value)
            .find(|other| meet(*other, address));
        if let Some(other) = twice {
            let what = format!("`relay.{key}[{index}]` is covered by {other} already");
            wrong(
                listen.span,
                what,
                "list each address once; a wildcard covers all of its family",
            );
        }
    }
    good.then(|| list.into_iter().map(|listen| listen.value).collect())
}

/// The networks of proxies; one of a whole family would let every client say who it is.
fn proxies(table: &mut Table<'_>) -> Vec<IpNet> {
    let networks = table.list::<IpNet>("proxy_protocol_from");
    for network in networks
        .iter()
        .filter(|network| network.value.prefix_len() == 0)
    {
        table.error(
            network.span,
            format!("`relay.proxy_protocol_from` holds {}", network.value),
            "every client could say who it is: name the proxies' own networks",
        );
    }
    networks.into_iter().map(|network| network.value).collect()
}

/// Whether two sockets of one protocol cannot have both addresses.
pub(super) fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let wild = other.ip().is_unspecified() || one.ip().is_unspecified();
    let same_family = other.is_ipv4() == one.is_ipv4();
    other.port() == one.port() && (other.ip() == one.ip() || wild && same_family)
}

/// At most one IPv4 and one IPv6 address.
type Pair = (Option<Ipv4Addr>, Option<Ipv6Addr>);

/// At most one address per family, each one that a relayed transport address can have.
fn addresses_of(
    table: &Table<'_>,
    key: &str,
    list: &[Spanned<IpAddr>],
    help: &str,
) -> Option<Pair> {
    let (mut ipv4, mut ipv6, mut good) = (None, None, true);
    for (index, address) in list.iter().enumerate() {
        let name = format!("relay.{key}[{index}]");
        let why = if address.value.is_unspecified() {
            Err("a wildcard cannot be told to a client")
        } else {
            usable(address.value)
        };
        if let Err(why) = why {
            let what = format!("`{name}` cannot be relayed from: {why}");
            table.error(address.span, what, help);
            good = false;
        }
        let second = match address.value {
            IpAddr::V4(ip) => ipv4.replace(ip).is_some(),
            IpAddr::V6(ip) => ipv6.replace(ip).is_some(),
        };
        if second {
            let family = if address.value.is_ipv4() {
                "IPv4"
            } else {
                "IPv6"
            };
            let what = format!("`{name}` is the second {family} address");
            table.error(
                address.span,
                what,
                "at most one of each family is relayed from",
            );
            good = false;
        }
    }
    good.then_some((ipv4, ipv6))
}

/// The addresses that a router translates to those that are relayed from. `relayed` is unknown
/// where it is wrong itself.
fn external_addresses(
    table: &Table<'_>,
    list: &[Spanned<IpAddr>],
    relayed: Option<Pair>,
) -> Option<Pair> {
    let help = "name the address that peers reach";
    let external = addresses_of(table, "external_addresses", list, help)?;
    let (ipv4, ipv6) = relayed?;
    let mut good = true;
    for (index, address) in list.iter().enumerate() {
        let internal = match address.value {
            IpAddr::V4(_) => ipv4.map(IpAddr::V4),
            IpAddr::V6(_) => ipv6.map(IpAddr::V6),
        };
        let name = format!("relay.external_addresses[{index}]");
        let (what, help) = match internal {
            None => (
                format!("`{name}` stands for no address: none of its family is relayed from"),
                "add the address behind the NAT to `relay.relay_addresses`",
            ),
            Some(internal) if internal == address.value => (
                format!("`{name}` is in `relay.relay_addresses` as well"),
                "leave it out: an address of this machine itself needs no translation",
            ),
            Some(_) => continue,
        };
        table.error(address.span, what, help);
        good = false;
    }
    good.then_some(external)
}

/// Addresses that no socket can be bound to for unicast.
fn usable(ip: IpAddr) -> Result<(), &'static str> {
    match ip {
        ip if ip.is_multicast() => Err("it is a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Err("it is the broadcast address"),
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            Err("write an IPv4 address in its own form, not mapped into IPv6")
        }
        _ => Ok(()),
    }
}
