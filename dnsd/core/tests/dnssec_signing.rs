//! What signs a zone and when: nothing twice, and keys by the clock.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::asking::{EU, NOW, all_up};
use common::signed::{SIGNED, TYPES, UNSIGNED, ask, below, find, names, zoned};
use common::validate::{Judge, key, zone_keys};
use common::{name, six};
use credentials::UnixTime;
use dnsd_core::dnssec::{self, Cache, Keys, ZoneKeys};
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::View;
use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::rr::{RData, Record, RecordType};

/// Signatures of one change are few, and the same again cost nothing.
#[test]
fn what_did_not_change_is_not_signed_again() {
    let inventory = zoned(six());
    let (keys, mut cache) = (zone_keys(&SIGNED, NOW), Cache::default());
    let mut sign = |view: &View, serial, now| {
        let before = cache.made();
        let snapshot = Snapshot::compile(&inventory, view, serial);
        drop(snapshot.signed(&keys, &mut cache, now));
        (cache.made() - before, cache.len() as u64)
    };
    let up = all_up(&inventory);
    let (first, kept) = sign(&up, 1, NOW);
    assert!(first > 500 && kept == first, "{first} {kept}");
    // Nothing but the serials.
    assert_eq!(sign(&up, 2, NOW).0, SIGNED.len() as u64);
    let mut down = up.clone();
    down.seats[0].standing = dnsd_core::steer::Standing::Down;
    let (changed, _) = sign(&down, 3, NOW);
    assert!(
        changed > SIGNED.len() as u64 && changed < first / 2,
        "{changed} of {first}"
    );
    assert_eq!(sign(&up, 4, NOW).0, SIGNED.len() as u64);
    // Within a day each is made anew once, and what is out of use is forgotten.
    let hours = 1..=24;
    let renewed: Vec<_> = hours
        .map(|hour| sign(&up, 4 + hour, UnixTime(NOW.0 + 3600 * u64::from(hour))))
        .collect();
    let all: u64 = renewed.iter().map(|(made, _)| made).sum();
    assert!(
        (first - 4..first + 24 * 5).contains(&all),
        "{all} of {first}"
    );
    assert!(
        renewed
            .iter()
            .all(|(made, kept)| *made < first / 6 && *kept < first * 2),
        "{renewed:?}"
    );
}

fn tags(records: &[Record]) -> BTreeSet<u16> {
    let tag = |record: &Record| match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig.input().key_tag),
        RData::DNSSEC(DNSSECRData::CDS(cds)) => Some(cds.key_tag()),
        RData::DNSSEC(DNSSECRData::DNSKEY(dnskey)) => dnskey.calculate_key_tag().ok(),
        _ => None,
    };
    records.iter().filter_map(tag).collect()
}

/// A roll by the clock alone: shown, announced, signing, gone; whatever a resolver has kept of before,
/// the keys it knows are signed by all and verify what it is sent.
#[test]
fn a_key_is_rolled_by_the_clock() {
    let inventory = zoned(six());
    let at = |hours: u64| UnixTime(NOW.0 + hours * 3600);
    let (mut old, mut new) = (key(1, NOW), key(9, at(10)));
    let (first, second) = (old.tag(), new.tag());
    new.timing.sync_publish = Some(at(20));
    new.timing.activate = at(30);
    old.timing.sync_delete = Some(at(20));
    old.timing.inactive = Some(at(30));
    old.timing.delete = Some(at(40));
    let mut keys = Keys::default();
    keys.insert(
        &name("turn.example."),
        ZoneKeys::new(vec![old, new], NOW).unwrap(),
    );
    let (keys, mut cache) = (Arc::new(keys), Cache::default());
    let only = |tag: u16| BTreeSet::from([tag]);
    let both = BTreeSet::from([first, second]);
    for (hours, shown, announced, signs) in [
        (1, only(first), only(first), first),
        (11, both.clone(), only(first), first),
        (21, both.clone(), only(second), first),
        (31, both, only(second), second),
        (41, only(second), only(second), second),
    ] {
        let now = at(hours);
        let snapshot = Snapshot::compile(&inventory, &all_up(&inventory), 42);
        let snapshot = snapshot.signed(&keys, &mut cache, now);
        let told = ask(&snapshot, &name("turn.example."), RecordType::DNSKEY, EU);
        let dnskeys: Vec<_> = find(&told.answers, RecordType::DNSKEY)
            .into_iter()
            .cloned()
            .collect();
        assert_eq!(tags(&dnskeys), shown, "after {hours} h");
        let rrsigs: Vec<_> = find(&told.answers, RecordType::RRSIG)
            .into_iter()
            .cloned()
            .collect();
        assert_eq!(tags(&rrsigs), shown, "after {hours} h");
        let told = ask(&snapshot, &name("turn.example."), RecordType::CDS, EU);
        let cds: Vec<_> = find(&told.answers, RecordType::CDS)
            .into_iter()
            .cloned()
            .collect();
        assert_eq!(tags(&cds), announced, "after {hours} h");
        let told = ask(&snapshot, &name("x.a.turn.example."), RecordType::A, EU);
        assert_eq!(tags(&told.answers), only(signs), "after {hours} h");
        let judge = Judge {
            zones: &[("turn.example.", &[1, 9])],
            unsigned: &[SIGNED[1], SIGNED[2], SIGNED[3], UNSIGNED[0]],
            now,
        };
        for owner in names("turn.example.", &[]) {
            for kind in TYPES {
                let answer = ask(&snapshot, &owner, kind, EU);
                assert_eq!(
                    judge.judge(&owner, kind, &answer),
                    Ok(()),
                    "after {hours} h {owner} {kind}"
                );
            }
        }
        assert!(dnssec::due(&keys, now) <= at(hours + 1));
    }
    assert_eq!(dnssec::due(&keys, UnixTime(at(30).0 - 7)), at(30));
}

/// Of keys that are active together the newest signs, whichever has the lower tag.
#[test]
fn the_newest_of_the_active_keys_signs() {
    let inventory = zoned(six());
    let hour = |hours: u64| UnixTime(NOW.0 - hours * 3600);
    for (older, newer) in [(1, 9), (9, 1)] {
        let all = vec![key(older, hour(2)), key(newer, hour(1))];
        let newest = all[1].tag();
        let mut keys = Keys::default();
        let zone = name("turn.example.");
        keys.insert(&zone, ZoneKeys::new(all, NOW).unwrap());
        let snapshot = Snapshot::compile(&inventory, &all_up(&inventory), 42);
        let snapshot = snapshot.signed(&Arc::new(keys), &mut Cache::default(), NOW);
        for (owner, kind) in [("text", RecordType::NSEC), ("x.a", RecordType::A)] {
            let owner = below(owner, "turn.example.");
            let told = ask(&snapshot, &owner, kind, EU);
            let records = told.answers.iter().chain(&told.authorities);
            let rrsigs: Vec<_> = records.cloned().collect();
            assert_eq!(tags(&rrsigs), BTreeSet::from([newest]), "{owner} {kind}");
        }
    }
}
