//! What the tests share: a small fleet to configure, and a clock to count from.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

pub mod asking;
pub mod panel;
pub mod shapes;
pub mod signed;
pub mod validate;
pub mod whole;
pub mod world;

use std::time::{Duration, Instant};

use credentials::UnixTime;
use dnsd_core::fleet::Fleet;
use dnsd_core::health::Override;
use dnsd_core::inventory::{Inventory, Nameserver, Policy, Region, RelayEntry, Thresholds, Zone};
use dnsd_core::overrides::{Entry, Merged, Scope, ScopeKind};
use hickory_proto::rr::Name;
use liveness::{KeyId, RelayId};

/// When decisions are made.
pub const UNIX: UnixTime = UnixTime(1_800_000_000);

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);
pub const HOUR: Duration = Duration::from_hours(1);

#[allow(
    clippy::disallowed_methods,
    reason = "tests need some instant to count from"
)]
pub fn start() -> Instant {
    Instant::now()
}

pub fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub fn zone() -> Zone {
    Zone {
        name: name("turn.example."),
        contact: name("hostmaster.turn.example."),
        nameservers: vec![
            Nameserver {
                name: name("ns1.turn.example."),
                ipv4: Some("192.0.2.1".parse().unwrap()),
                ipv6: Some("2001:db8::1".parse().unwrap()),
            },
            Nameserver {
                name: name("ns2.turn.example."),
                ipv4: Some("192.0.2.2".parse().unwrap()),
                ipv6: None,
            },
            Nameserver {
                name: name("ns.elsewhere.example."),
                ipv4: None,
                ipv6: None,
            },
        ],
    }
}

/// `id`, its fallbacks and client networks; the first one listed becomes the default.
pub fn region(id: &str, fallback: &[&str], clients: &[&str]) -> Region {
    Region {
        id: id.parse().unwrap(),
        fallback: Some(fallback.iter().map(|id| id.parse().unwrap()).collect()),
        coordinates: None,
        clients: clients.iter().map(|net| net.parse().unwrap()).collect(),
        countries: Vec::new(),
        continents: Vec::new(),
        default: false,
    }
}

/// A dual-stack relay whose addresses end in `host`.
pub fn relay(id: &str, region: &str, zone: &str, vendor: &str, host: u8) -> RelayEntry {
    RelayEntry {
        id: id.parse().unwrap(),
        region: region.parse().unwrap(),
        zone: zone.to_owned(),
        vendor: vendor.to_owned(),
        ipv4: Some(format!("198.51.100.{host}:3478").parse().unwrap()),
        ipv6: Some(format!("[2001:db8:1::{host:x}]:3478").parse().unwrap()),
        weight: 100,
        standby: false,
        keys: vec![KeyId(1)],
        transports: None,
        tcp_port: None,
        tls_port: None,
    }
}

pub fn inventory(mut regions: Vec<Region>, relays: Vec<RelayEntry>) -> Inventory {
    if let Some(first) = regions.first_mut() {
        first.default = true;
    }
    let policy = Policy {
        variants: 64,
        ..Policy::default()
    };
    Inventory::new(zone(), regions, relays, policy, Thresholds::default()).unwrap()
}

/// Three vendors, two regions, six relays.
pub fn six() -> Inventory {
    inventory(
        vec![
            region("eu", &["us"], &["127.0.1.0/24", "2001:db8:e::/48"]),
            region("us", &["eu"], &["127.0.2.0/24"]),
        ],
        vec![
            relay("fra-1", "eu", "eu-a", "alpha", 11),
            relay("ams-1", "eu", "eu-b", "beta", 12),
            relay("par-1", "eu", "eu-c", "gamma", 13),
            relay("nyc-1", "us", "us-a", "alpha", 21),
            relay("iad-1", "us", "us-b", "beta", 22),
            relay("ord-1", "us", "us-c", "gamma", 23),
        ],
    )
}

/// One region, a relay at each of three vendors.
pub fn three() -> Inventory {
    inventory(
        vec![region("eu", &[], &[])],
        vec![
            relay("fra-1", "eu", "eu-a", "alpha", 11),
            relay("ams-1", "eu", "eu-b", "beta", 12),
            relay("par-1", "eu", "eu-c", "gamma", 13),
        ],
    )
}

/// A person's decision about a relay, or that it is lifted; each is later than the one before.
pub fn force(fleet: &mut Fleet, now: Instant, relay: RelayId, decision: Option<Override>) {
    let scope = Scope {
        kind: ScopeKind::Relay,
        name: relay.to_string(),
    };
    let before = fleet.overrides().get(&scope).map_or(0, |entry| entry.at_ms);
    let entry = Entry {
        scope,
        decision,
        until: None,
        why: "a test".to_owned(),
        who: "its author".to_owned(),
        at_ms: before.max(UNIX.0 * 1000) + 1,
        node: "ns1".to_owned(),
    };
    assert_eq!(fleet.take_override(now, UNIX, entry), Merged::News);
}
