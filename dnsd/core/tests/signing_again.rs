//! Signing with what was remembered gives what signing anew gives, and long work is done in small parts.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::asking::{EU, NOW, US, all_up, keys};
use common::validate::zone_keys;
use common::{name, region, relay, start};
use dnsd_core::answer::{Answer, Query, answer};
use dnsd_core::dnssec::Cache;
use dnsd_core::fleet::Fleet;
use dnsd_core::inventory::{Inventory, RelayEntry};
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::{Standing, View};
use hickory_proto::rr::{DNSClass, RecordType};

const ZONE: [&str; 1] = ["turn.example."];
const NAMES: [&str; 6] = [
    "turn.example.",
    "x.a.turn.example.",
    "b.turn.example.",
    "udp.turn.example.",
    "us.turn.example.",
    "_turn._udp.turn.example.",
];
const TYPES: [RecordType; 4] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::TXT,
];

fn fleet(change: impl Fn(usize, &mut RelayEntry)) -> Inventory {
    let places = ["eu", "eu", "eu", "eu", "us", "us", "us", "us"];
    let relays = (0..).zip(places).map(|(index, region)| {
        let (zone, vendor) = (format!("z{}", index % 3), format!("v{}", index % 4));
        let mut entry = relay(&format!("r{index}"), region, &zone, &vendor, index);
        change(index.into(), &mut entry);
        entry
    });
    let regions = vec![
        region("eu", &["us"], &["127.0.1.0/24"]),
        region("us", &["eu"], &["127.0.2.0/24"]),
    ];
    common::inventory(regions, relays.collect())
}

/// All are well, then one after the other is gone, then all are well again.
fn views(inventory: &Inventory) -> impl Iterator<Item = View> {
    let all = all_up(inventory);
    let one_down = |gone: usize| {
        let mut view = all.clone();
        view.seats[gone].standing = Standing::Down;
        view
    };
    let down: Vec<View> = (0..all.seats.len()).map(one_down).collect();
    [all.clone()].into_iter().chain(down).chain([all])
}

fn answers(snapshot: &Snapshot) -> Vec<Answer> {
    let ask = |owner: &str, record_type, client: &str| {
        let query = Query {
            name: &name(owner),
            record_type,
            class: DNSClass::IN,
            client: client.parse().unwrap(),
            subnet: None,
            dnssec_ok: true,
        };
        answer(snapshot, &keys(), NOW, &query)
    };
    let asked = NAMES
        .iter()
        .flat_map(|owner| TYPES.map(|kind| [EU, US].map(|client| ask(owner, kind, client))));
    asked.flatten().collect()
}

#[test]
fn what_is_remembered_is_what_would_be_signed() {
    let mut cache = Cache::default();
    let keys = zone_keys(&ZONE, NOW);
    let as_before = |_: usize, _: &mut RelayEntry| {};
    // The same place in the list is another relay, another address, another port.
    let renamed = |index: usize, entry: &mut RelayEntry| {
        entry.id = format!("r{}", (index + 1) % 8).parse().unwrap();
    };
    let moved = |index: usize, entry: &mut RelayEntry| {
        entry.ipv4 = Some(format!("192.0.2.{}:3478", 90 - index).parse().unwrap());
    };
    let other_port = |_: usize, entry: &mut RelayEntry| {
        let (ipv4, ipv6) = (entry.ipv4.as_mut().unwrap(), entry.ipv6.as_mut().unwrap());
        ipv4.set_port(5000);
        ipv6.set_port(5000);
    };
    let inventories = [
        fleet(as_before),
        fleet(renamed),
        fleet(moved),
        fleet(other_port),
        fleet(as_before),
    ];
    for (place, inventory) in inventories.iter().enumerate() {
        for view in views(inventory) {
            let signed = |cache: &mut Cache| {
                let snapshot = Snapshot::compile(inventory, &view, 42);
                answers(&snapshot.signed(&keys, cache, NOW))
            };
            let anew = signed(&mut Cache::default());
            assert_eq!(signed(&mut cache), anew, "{place}");
        }
    }
}

#[test]
fn long_work_pauses_after_each_small_part() {
    static PAUSES: AtomicUsize = AtomicUsize::new(0);
    let pause = || {
        PAUSES.fetch_add(1, Ordering::Relaxed);
    };
    let now = start();
    let mut fleet = Fleet::new(fleet(|_, _| {}), None, now, NOW);
    fleet.pausing(pause);
    let snapshot = fleet.publish(now, NOW);
    // Of the variants of two regions.
    let planned = PAUSES.swap(0, Ordering::Relaxed);
    assert!(planned >= 64, "{planned}");
    let mut cache = Cache::pausing(pause);
    drop(snapshot.signed(&zone_keys(&ZONE, NOW), &mut cache, NOW));
    let signed = PAUSES.load(Ordering::Relaxed) as u64;
    assert!(signed > cache.made(), "{signed} of {}", cache.made());
}
