//! Where clients are: configured networks before a database of places, and how wide an answer is
//! true, against a model that looks at everything each time.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::IpAddr;

use common::asking::{NOW, all_up, keys};
use common::{inventory, name, region, relay};
use credentials::UnixTime;
use credentials::label::{Label, Lane};
use dnsd_core::answer::{Query, answer, trace};
use dnsd_core::explain::RegionBy;
use dnsd_core::inventory::{BadGeography, Geography, Inventory, Place, Region};
use dnsd_core::snapshot::Snapshot;
use hickory_proto::rr::{DNSClass, RecordType};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;

/// What says nothing of where a client is, as the registries list it.
const PLACELESS: [&str; 21] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
    "::/3",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "4000::/2",
    "8000::/1",
];

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Networks that often hold one another, near what is special.
fn network() -> impl Strategy<Value = IpNet> {
    let v4 = (
        prop::sample::select(vec![9_u8, 10, 11, 100, 224, 255]),
        prop::array::uniform3(prop::sample::select(vec![0_u8, 64, 128, 255])),
        4..=32_u8,
    );
    let v4 = v4.prop_map(|(a, [b, c, d], length)| {
        IpNet::V4(Ipv4Net::new([a, b, c, d].into(), length).unwrap().trunc())
    });
    let v6 = (
        prop::sample::select(vec![0x2001_u16, 0x2002, 0x2a00, 0xfd00, 0xffff]),
        prop::array::uniform7(prop::sample::select(vec![0_u16, 0x200, 0xdb8, 0xffff])),
        3..=128_u8,
    );
    let v6 = v6.prop_map(|(first, rest, length)| {
        let mut groups = [first; 8];
        groups[1..].copy_from_slice(&rest);
        IpNet::V6(Ipv6Net::new(groups.into(), length).unwrap().trunc())
    });
    prop_oneof![v4, v6]
}

/// Some networks that have nothing in common, in order, each with a region.
fn apart() -> impl Strategy<Value = Vec<(IpNet, usize)>> {
    prop::collection::vec((network(), 0..3_usize), 0..12).prop_map(|mut all| {
        all.sort_by_key(|(network, _)| (network.network(), network.prefix_len()));
        let mut apart: Vec<(IpNet, usize)> = Vec::new();
        for (network, region) in all {
            if !apart.iter().any(|(other, _)| other.contains(&network)) {
                apart.push((network, region));
            }
        }
        apart
    })
}

fn configured() -> impl Strategy<Value = Vec<(IpNet, usize)>> {
    prop::collection::btree_map(network(), 0..3_usize, 0..12)
        .prop_map(|map| map.into_iter().collect())
}

fn geography(networks: &[(IpNet, usize)]) -> Geography {
    let mut geography = Geography::default();
    for (network, region) in networks {
        geography.add(*network, Some(*region)).unwrap();
    }
    geography
}

/// Three regions with these networks; `relays` of them in each, the last region's without IPv6.
fn world(configured: &[(IpNet, usize)], database: &[(IpNet, usize)], relays: u8) -> Inventory {
    let names = ["r0", "r1", "r2"];
    let regions = names.iter().enumerate().map(|(index, id)| {
        let own = configured.iter().filter(|(_, region)| *region == index);
        Region {
            clients: own.map(|(network, _)| *network).collect(),
            ..region(id, &[], &[])
        }
    });
    let mut all = Vec::new();
    for (index, id) in (0..).zip(names) {
        for number in 0..relays {
            let (relay_id, vendor) = (format!("x{index}{number}"), format!("v{number}"));
            let host = 1 + index * relays + number;
            let zone = format!("{id}-{number}");
            let mut entry = relay(&relay_id, id, &zone, &vendor, host);
            entry.ipv6 = entry.ipv6.filter(|_| index < 2);
            all.push(entry);
        }
    }
    inventory(regions.collect(), all).with_geography(geography(database))
}

/// The region of an address, and whether the address says nothing.
fn model(
    configured: &[(IpNet, usize)],
    database: &[(IpNet, usize)],
    at: IpAddr,
) -> (Option<usize>, bool) {
    let holds = |(network, _): &&(IpNet, usize)| network.contains(&at);
    let own = configured
        .iter()
        .filter(holds)
        .max_by_key(|(network, _)| network.prefix_len());
    let told = database.iter().find(holds);
    let special = PLACELESS
        .iter()
        .copied()
        .map(net)
        .filter(|special| special.contains(&at));
    let special = special.map(|special| special.prefix_len()).max();
    let placeless =
        special.is_some_and(|special| own.is_none_or(|(own, _)| own.prefix_len() < special));
    (own.or(told).map(|(_, region)| *region), placeless)
}

/// The addresses at which anything may change: the ends of every network and what is beside them.
fn borders(networks: &[(IpNet, usize)]) -> Vec<IpAddr> {
    let special = PLACELESS.iter().copied().map(net);
    let all = networks.iter().map(|(network, _)| *network).chain(special);
    let ends = all.flat_map(|network| [network.network(), network.broadcast()]);
    ends.flat_map(|end| match end {
        IpAddr::V4(v4) => [
            v4.to_bits().saturating_sub(1),
            v4.to_bits(),
            v4.to_bits().saturating_add(1),
        ]
        .map(|bits| IpAddr::from(bits.to_be_bytes())),
        IpAddr::V6(v6) => [
            v6.to_bits().saturating_sub(1),
            v6.to_bits(),
            v6.to_bits().saturating_add(1),
        ]
        .map(|bits| IpAddr::from(bits.to_be_bytes())),
    })
    .collect()
}

proptest! {
    #[test]
    fn places_are_what_the_model_says_and_as_wide_as_they_are(
        configured in configured(),
        database in apart(),
        more in prop::collection::vec(network(), 0..8),
    ) {
        let world = world(&configured, &database, 1);
        let mut all: Vec<_> = configured.iter().chain(&database).copied().collect();
        all.extend(more.into_iter().map(|network| (network, 0)));
        let borders = borders(&all);
        let model = |at: &IpAddr| model(&configured, &database, *at);
        for at in &borders {
            let Place { region, placeless, bits } = world.places().find(*at);
            prop_assert_eq!((region, placeless), model(at), "{}", at);
            let prefix = |length| IpNet::new(*at, length).unwrap();
            let alike = |network: IpNet| {
                let mut inside = borders.iter().filter(|other| network.contains(*other));
                inside.all(|other| model(other) == model(at))
            };
            prop_assert!(alike(prefix(bits)), "{} is not alike all over /{}", at, bits);
            prop_assert!(bits == 0 || !alike(prefix(bits - 1)), "{} is so in a wider /{}", at, bits - 1);
        }
    }

    #[test]
    fn whoever_is_within_the_scope_gets_the_same_answer(
        configured in configured(),
        database in apart(),
        relays in 1..3_u8,
        subnet in network(),
        other in any::<u128>(),
        resolver in network(),
        owner in 0..4_usize,
        v6 in any::<bool>(),
    ) {
        let world = world(&configured, &database, relays);
        let mut view = all_up(&world);
        view.cautious = true;
        let snapshot = Snapshot::compile(&world, &view, 1);
        let label = Label {
            draw: 7,
            region: None,
            avoid: [None; 2],
            tenant: None,
            transport: None,
            expires: UnixTime(NOW.0 + 60),
        };
        let label = keys().seal(&label, Lane::A);
        let owners = ["turn.example.", "a.turn.example.", "r1.turn.example.", &format!("{label}.a.turn.example.")];
        let owner = name(owners[owner]);
        let ask = |subnet: IpNet| {
            let query = Query {
                name: &owner,
                record_type: if v6 { RecordType::AAAA } else { RecordType::A },
                class: DNSClass::IN,
                client: resolver.addr(),
                subnet: Some(subnet),
                dnssec_ok: false,
            };
            answer(&snapshot, &keys(), NOW, &query)
        };
        let given = ask(subnet);
        prop_assert!(given.scope <= subnet.prefix_len());
        let most = if subnet.addr().is_ipv4() { 24 } else { 56 };
        prop_assert!(given.scope <= most);
        // The same bits up to the scope, any others behind, told with as many bits.
        let beside: IpNet = match subnet {
            IpNet::V4(v4) => {
                let kept = u32::MAX.checked_shl(32 - u32::from(given.scope)).unwrap_or(0);
                let bits = (v4.addr().to_bits() & kept) | (other as u32 & !kept);
                IpNet::V4(Ipv4Net::new(bits.into(), v4.prefix_len()).unwrap().trunc())
            }
            IpNet::V6(v6) => {
                let kept = u128::MAX.checked_shl(128 - u32::from(given.scope)).unwrap_or(0);
                let bits = (v6.addr().to_bits() & kept) | (other & !kept);
                IpNet::V6(Ipv6Net::new(bits.into(), v6.prefix_len()).unwrap().trunc())
            }
        };
        prop_assert_eq!(ask(beside), given, "{} and {}", subnet, beside);
    }
}

#[test]
fn a_database_is_told_from_a_configured_network_and_says_nothing_of_private_ones() {
    let database = [(net("9.0.0.0/8"), 1), (net("2a00::/16"), 1)];
    let world = world(
        &[(net("9.1.0.0/16"), 2), (net("10.1.0.0/16"), 2)],
        &database,
        1,
    );
    let snapshot = Snapshot::compile(&world, &all_up(&world), 1);
    let owner = name("turn.example.");
    let ask = |client: &str, subnet: Option<&str>| {
        let query = Query {
            name: &owner,
            record_type: RecordType::A,
            class: DNSClass::IN,
            client: client.parse().unwrap(),
            subnet: subnet.map(net),
            dnssec_ok: false,
        };
        let steering = trace(&snapshot, &keys(), NOW, &query).steering.unwrap();
        let scope = answer(&snapshot, &keys(), NOW, &query).scope;
        (steering.region, steering.region_by, steering.geoip, scope)
    };
    let is = |region: &str, by, geoip, scope| (region.to_owned(), by, geoip, scope);
    // One relay in each region: what differs is the region.
    let (home, away) = ("9.2.0.1", "8.8.8.8");
    assert_eq!(ask(home, None), is("r1", RegionBy::Resolver, true, 15));
    assert_eq!(
        ask(away, Some("9.2.0.0/24")),
        is("r1", RegionBy::Subnet, true, 15)
    );
    assert_eq!(
        ask(away, Some("9.1.7.0/24")),
        is("r2", RegionBy::Subnet, false, 16)
    );
    assert_eq!(
        ask(away, Some("9.1.7.9/32")),
        is("r2", RegionBy::Subnet, false, 16)
    );
    assert_eq!(
        ask(away, Some("2a00:1::/48")),
        is("r1", RegionBy::Subnet, true, 16)
    );
    // Private, unless it is configured; documentation; multicast.
    assert_eq!(
        ask(home, Some("10.2.0.0/24")),
        is("r1", RegionBy::Resolver, true, 15)
    );
    assert_eq!(
        ask(home, Some("10.1.2.0/24")),
        is("r2", RegionBy::Subnet, false, 16)
    );
    assert_eq!(
        ask(home, Some("203.0.113.0/24")),
        is("r1", RegionBy::Resolver, true, 24)
    );
    assert_eq!(
        ask(home, Some("fd00:1::/32")),
        is("r1", RegionBy::Resolver, true, 1)
    );
    // Too wide to say anything.
    assert_eq!(
        ask(home, Some("9.0.0.0/7")),
        is("r1", RegionBy::Resolver, true, 7)
    );
    assert_eq!(
        ask(home, Some("2a00::/15")),
        is("r1", RegionBy::Resolver, true, 15)
    );
    // Nobody knows: neither the network nor the resolver.
    assert_eq!(
        ask(away, Some("8.8.4.0/24")),
        is("r0", RegionBy::Default, false, 8)
    );
}

#[test]
fn a_database_comes_in_order_and_within_bounds() {
    let mut geography = Geography::default();
    geography.add(net("9.0.0.0/8"), Some(0)).unwrap();
    geography.add(net("2a00::/16"), Some(0)).unwrap();
    for back in ["9.1.0.0/16", "8.0.0.0/8"] {
        assert_eq!(
            geography.add(net(back), Some(1)),
            Err(BadGeography::Disorder)
        );
    }
    // Neighbours of one region are one range, whatever their number.
    for index in 0..2_100_000_u32 {
        let network = Ipv4Net::new((0x0b00_0000 + index * 16).into(), 28).unwrap();
        geography.add(network.into(), Some(1)).unwrap();
    }
    let mut full = Geography::default();
    let mut added = (0..2_100_000_u32).map(|index| {
        let network = Ipv4Net::new((0x0b00_0000 + index * 16).into(), 28).unwrap();
        full.add(network.into(), Some(index as usize % 2))
    });
    assert!(added.any(|added| added == Err(BadGeography::Ranges)));
}
