//! What is wrong with an inventory is found before anything relies on it, all of it at once.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{name, region, relay, six};
use dnsd_core::inventory::{
    Coordinates, Inventory, Policy, Problem, Region, RelayEntry, Subject, Thresholds, Zone,
};

struct Parts {
    zone: Zone,
    regions: Vec<Region>,
    relays: Vec<RelayEntry>,
    policy: Policy,
    thresholds: Thresholds,
}

fn problems(change: impl FnOnce(&mut Parts)) -> Vec<Problem> {
    let good = six();
    let mut parts = Parts {
        zone: good.zone().clone(),
        regions: good.regions().to_vec(),
        relays: good.relays().to_vec(),
        policy: good.policy().clone(),
        thresholds: good.thresholds().clone(),
    };
    change(&mut parts);
    let Parts {
        zone,
        regions,
        relays,
        policy,
        thresholds,
    } = parts;
    Inventory::new(zone, regions, relays, policy, thresholds)
        .err()
        .unwrap_or_default()
}

fn assert_finds(subject: Subject, words: &str, change: impl FnOnce(&mut Parts)) {
    let found = problems(change);
    let hit = found
        .iter()
        .any(|p| p.subject == subject && p.message.contains(words));
    assert!(hit, "no {subject:?} with {words:?} in {found:?}");
}

#[test]
fn a_good_inventory_has_no_problems() {
    assert_eq!(problems(|_| {}), []);
    assert_eq!(
        problems(|p| p.zone.name = name("turn.example")),
        [],
        "absolute or not"
    );
}

#[test]
fn each_mistake_is_found_where_it_is() {
    use Subject as S;
    assert_finds(S::Zone, "root", |p| p.zone.name = name("."));
    assert_finds(S::Zone, "189 bytes", |p| {
        p.zone.name = name(&format!("{0}.{0}.{0}.{0}.", "x".repeat(50)));
    });
    assert_finds(S::Zone, "1 to 13 nameservers", |p| {
        p.zone.nameservers.clear();
    });
    assert_finds(S::Nameserver(1), "twice", |p| {
        p.zone.nameservers[1].name = name("NS1.turn.example.");
    });
    assert_finds(S::Nameserver(1), "needs an address", |p| {
        p.zone.nameservers[1].ipv4 = None;
    });
    assert_finds(S::Nameserver(0), "one label below", |p| {
        p.zone.nameservers[0].name = name("x.ns1.turn.example.");
    });
    assert_finds(S::Nameserver(0), "lane a", |p| {
        p.zone.nameservers[0].name = name("A.turn.example.");
    });
    assert_finds(S::Region(1), "needs an order of fallbacks", |p| {
        p.regions[1].fallback = None;
    });
    assert_finds(S::Region(1), "all regions have coordinates", |p| {
        p.regions[0].coordinates = Coordinates::new(50.1, 8.7).ok();
    });
    assert_finds(S::Regions, "exactly one region", |p| {
        p.regions[1].default = true;
    });
    assert_finds(S::Regions, "exactly one region", |p| {
        p.regions[0].default = false;
    });
    assert_finds(S::Region(0), "fallback region mars is not", |p| {
        p.regions[0].fallback = Some(vec!["mars".parse().unwrap()]);
    });
    assert_finds(S::Region(0), "listed twice", |p| {
        p.regions[0].fallback = Some(vec!["eu".parse().unwrap()]);
    });
    assert_finds(S::Region(1), "already belongs to region eu", |p| {
        p.regions[1].clients.push("127.0.1.9/24".parse().unwrap());
    });
    assert_finds(S::Region(2), "has no relay", |p| {
        p.regions.push(region("moon", &[], &[]));
    });
    assert_finds(S::Region(2), "is that of the credentials", |p| {
        p.regions.push(region("api", &["eu"], &[]));
    });
    assert_finds(S::Relays, "1 to 1024 relays", |p| p.relays.clear());
    assert_finds(S::Relay(6), "region moon of relay", |p| {
        p.relays.push(relay("x", "moon", "z", "v", 90));
    });
    assert_finds(S::Relay(6), "is that of relay fra-1", |p| {
        p.relays.push(relay("fra-1", "eu", "z", "v", 90));
    });
    assert_finds(S::Relay(6), "is that of region eu", |p| {
        p.relays.push(relay("eu", "eu", "z", "v", 90));
    });
    assert_finds(S::Relay(6), "is also that of fra-1", |p| {
        p.relays.push(relay("x", "eu", "z", "v", 11));
    });
    assert_finds(S::Relay(0), "weight", |p| p.relays[0].weight = 0);
    assert_finds(S::Relay(0), "weight", |p| p.relays[0].weight = 1001);
    assert_finds(S::Relay(0), "vendor", |p| p.relays[0].vendor.clear());
    assert_finds(S::Relay(0), "availability zone", |p| {
        p.relays[0].zone = "z".repeat(65);
    });
    assert_finds(S::Relay(0), "keys", |p| p.relays[0].keys.clear());
    assert_finds(S::Relay(0), "needs an address", |p| {
        (p.relays[0].ipv4, p.relays[0].ipv6) = (None, None);
    });
    assert_finds(S::Relay(0), "port 0", |p| {
        p.relays[0].ipv4 = Some("198.51.100.11:0".parse().unwrap());
    });
    assert_finds(S::Relay(0), "address of a host", |p| {
        p.relays[0].ipv4 = Some("224.0.0.1:3478".parse().unwrap());
    });
    assert_finds(S::Policy, "1 to 8 relays", |p| p.policy.answers = 0);
    assert_finds(S::Policy, "64 to 1024 variants", |p| p.policy.variants = 63);
    assert_finds(S::Policy, "minimum <= maximum", |p| p.policy.ttl_min = 31);
    assert_finds(S::Policy, "1 s to 1 d", |p| p.policy.ttl_static = 0);
    assert_finds(S::Policy, "1 to 10 s", |p| p.policy.ttl_negative = 11);
    assert_finds(S::Thresholds, "10 ms", |p| {
        p.thresholds.stun_interval = Duration::ZERO;
    });
    assert_finds(S::Thresholds, "before a report is late", |p| {
        p.thresholds.report_slack = Duration::from_secs(2);
    });
    assert_finds(S::Thresholds, "ordered", |p| {
        p.thresholds.silence_dead = Duration::from_secs(1);
    });
    assert_finds(S::Thresholds, "longest STUN timeout", |p| {
        p.thresholds.stun_timeout_max = Duration::from_millis(100);
    });
    assert_finds(S::Thresholds, "points", |p| p.thresholds.points_suspect = 7);
    assert_finds(S::Thresholds, "one report", |p| {
        p.thresholds.recover_reports = 0;
    });
    assert_finds(S::Thresholds, "hold", |p| {
        p.thresholds.hold_max = Duration::ZERO;
    });
}

#[test]
fn all_mistakes_are_told_at_once() {
    let found = problems(|p| {
        p.relays[0].weight = 0;
        p.relays[1].vendor.clear();
        p.policy.answers = 99;
    });
    assert_eq!(found.len(), 3, "{found:?}");
}
