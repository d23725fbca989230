//! Signed zones as they are transferred, and a slow and obvious judge of the whole.

use std::collections::{BTreeMap, BTreeSet};

use credentials::UnixTime;
use dnsd_core::answer::Answer;
use dnsd_core::inventory::{Inventory, OtherZone};
use dnsd_core::records::Records;
use dnsd_core::transfer::Release;
use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::validate::Judge;
use super::{name, six};

/// What each zone's file holds.
const FILE: &str = "\
$TTL 600
WWW        A     192.0.2.80
alias      CNAME www
*.wild     TXT   \"any\"
deep.empty TXT   \"below\"
_acme.a    TXT   \"challenge\"
cut        NS    ns.cut
ns.cut     A     192.0.2.53
x.ns.cut   A     192.0.2.54
cut-not    TXT   \"beside\"
safe       NS    ns.elsewhere.example.
safe       DS    12345 13 2 0000000000000000000000000000000000000000000000000000000000000001
";

/// Zones that have keys, and one without.
pub const SIGNED: [&str; 2] = ["turn.example.", "other.example."];
pub const UNSIGNED: &str = "plain.example.";

/// Six relays, these zones and their records.
pub fn inventory() -> Inventory {
    let records = |zone: &str| Records::parse(FILE, &name(zone)).unwrap();
    let other = |zone: &str, steered| OtherZone {
        name: name(zone),
        contact: name("admin.other.example."),
        steered,
        records: records(zone),
    };
    let others = vec![other(SIGNED[1], true), other(UNSIGNED, false)];
    six().with_zones(records(SIGNED[0]), others).unwrap()
}

/// All that a transfer of a zone holds, the SOA once.
pub fn transferred(release: &Release, zone: &str) -> Vec<Record> {
    let zone = name(zone);
    let soa = release.soa(&zone).unwrap();
    std::iter::once(soa).chain(release.records(&zone)).collect()
}

/// A signature record's data.
pub fn rrsig(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig),
        _ => None,
    }
}

/// All signatures among some records.
pub fn rrsigs(records: &[Record]) -> Vec<&RRSIG> {
    records.iter().filter_map(rrsig).collect()
}

/// What a zone holds besides SOA and DNSSEC.
pub fn plain(release: &Release, zone: &str) -> Vec<Record> {
    let records = release.records(&name(zone));
    records
        .filter(|record| !matches!(record.data, RData::DNSSEC(_)))
        .collect()
}

/// A name as RFC 4034 section 6.1 orders it: by its labels from the last to the first.
fn canonical(name: &Name) -> Vec<Vec<u8>> {
    let labels = name.iter().map(<[u8]>::to_ascii_lowercase);
    let mut labels: Vec<_> = labels.collect();
    labels.reverse();
    labels
}

/// Whether a name lies below one of the delegations of [`FILE`].
fn is_glue(owner: &Name, zone: &str) -> bool {
    let cuts = ["cut", "safe"].map(|cut| name(&format!("{cut}.{zone}")));
    cuts.iter().any(|cut| cut != owner && cut.zone_of(owner))
}

/// Judges the whole of a signed zone whose keys have these numbers.
pub fn is_whole(records: &[Record], zone: &str, keys: &[u8], now: UnixTime) {
    let cuts = ["cut", "safe"].map(|cut| name(&format!("{cut}.{zone}")));
    let delegates = |record: &Record| {
        is_glue(&record.name, zone)
            || record.record_type() == RecordType::NS && cuts.contains(&record.name)
    };
    let ours: Vec<_> = records
        .iter()
        .filter(|record| !delegates(record))
        .cloned()
        .collect();
    let whole = Answer {
        rcode: ResponseCode::NoError,
        authoritative: true,
        answers: ours,
        authorities: Vec::new(),
        additionals: Vec::new(),
        scope: 0,
        steered: None,
        complaint: None,
        error: None,
    };
    let judge = Judge {
        zones: &[(zone, keys)],
        unsigned: &[],
        now,
    };
    assert_eq!(judge.judge(&name(zone), RecordType::AXFR, &whole), Ok(()));
    let foreign = records.iter().filter(|record| delegates(record));
    for record in foreign {
        let signature = records.iter().filter(|other| other.name == record.name);
        let mut signed = signature.filter_map(rrsig);
        let kind = record.record_type();
        assert!(signed.all(|rrsig| rrsig.input().type_covered != kind));
    }
    // Each TTL is the one that was signed.
    let sets = records.iter().filter(|record| rrsig(record).is_none());
    let ttls: BTreeMap<_, _> = sets
        .map(|record| {
            (
                (record.name.to_lowercase(), record.record_type()),
                record.ttl,
            )
        })
        .collect();
    for record in records {
        if let Some(rrsig) = rrsig(record) {
            let ttl = ttls[&(record.name.to_lowercase(), rrsig.input().type_covered)];
            assert_eq!((record.ttl, rrsig.input().original_ttl), (ttl, ttl));
        }
    }
    // One chain through all names with records of ours, which tells all of their types.
    let mut types: BTreeMap<Vec<Vec<u8>>, BTreeSet<RecordType>> = BTreeMap::new();
    let mut chain = Vec::new();
    for record in records.iter().filter(|record| !is_glue(&record.name, zone)) {
        let owner = canonical(&record.name);
        types
            .entry(owner.clone())
            .or_default()
            .insert(record.record_type());
        if let RData::DNSSEC(DNSSECRData::NSEC(nsec)) = &record.data {
            chain.push((owner, canonical(nsec.next_domain_name()), nsec.type_set()));
        }
    }
    chain.sort_by_key(|(owner, ..)| owner.clone());
    let owners: Vec<_> = types.keys().cloned().collect();
    let nexts = owners.iter().cycle().skip(1);
    assert_eq!(chain.len(), owners.len());
    for (((owner, next, told), (at, has)), after) in chain.iter().zip(&types).zip(nexts) {
        assert_eq!((owner, next), (at, after));
        assert_eq!(&told.iter().collect::<BTreeSet<_>>(), has, "{owner:?}");
    }
}
