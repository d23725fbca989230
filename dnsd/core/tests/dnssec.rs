//! Signed zones: whatever is answered to whomever, it is signed, and what is not there is proved.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::asking::{EU, NOW, US, all_up, keys};
use common::shapes::{build, shape};
use common::validate::{Judge, key, zone_keys};
use common::{name, six};
use credentials::UnixTime;
use credentials::label::{Label, Lane, Tag, Transport};
use dnsd_core::answer::{Answer, Query, answer};
use dnsd_core::dnssec::{self, Cache, Keys, ZoneKeys};
use dnsd_core::inventory::{Inventory, OtherZone};
use dnsd_core::paths::Path;
use dnsd_core::records::Records;
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::{Spill, View};
use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use proptest::prelude::*;

const RECORDS: &str = "\
$TTL 300
@           TXT   \"ours\"
@           CAA   0 issue \"ca.example\"
WWW         A     192.0.2.80
WWW         A     192.0.2.7
lane-a      CNAME A.turn.example.
chain       CNAME lane-a
out         CNAME www.elsewhere.example.
gone        CNAME nothing
over        CNAME b.other.example.
host        HINFO \"cpu\" \"os\"
mail        MX    10 WWW
deep.non.empty TXT \"below\"
wild.wild   TXT   \"exact\"
*.wild      TXT   \"any\"
*.wild      A     192.0.2.9
*.alias     CNAME x.wild
_acme.a     TXT   \"challenge\"
cut         NS    ns.cut
ns.cut      A     192.0.2.53
safe        NS    ns.elsewhere.example.
safe        DS    12345 13 2 0000000000000000000000000000000000000000000000000000000000000001
deep        NS    ns1
_stun._tcp  SRV   7 0 3478 mine.example.
";

/// Two signed zones with the steered names, one without, one that is not signed, and one below another.
const SIGNED: [&str; 4] = [
    "turn.example.",
    "other.example.",
    "plain.example.",
    "deep.turn.example.",
];
const UNSIGNED: [&str; 1] = ["bare.example."];

const JUDGE: Judge<'_> = Judge {
    zones: &[
        (SIGNED[0], &[1]),
        (SIGNED[1], &[2]),
        (SIGNED[2], &[3]),
        (SIGNED[3], &[4]),
    ],
    unsigned: &UNSIGNED,
    now: NOW,
};

fn zoned(inventory: Inventory) -> Inventory {
    let other = |zone: &str, steered, text: &str| OtherZone {
        name: name(zone),
        contact: name("admin.other.example."),
        steered,
        records: Records::parse(text, &name(zone)).unwrap(),
    };
    let others = vec![
        other(SIGNED[1], true, "x 60 TXT other\n"),
        other(
            SIGNED[2],
            false,
            "@ 60 A 192.0.2.1\nwww 60 A 192.0.2.2\n* 60 TXT \"all\"\n",
        ),
        other(SIGNED[3], false, "www 60 A 192.0.2.2\n"),
        other(UNSIGNED[0], false, "www 60 A 192.0.2.2\n"),
    ];
    let first = Records::parse(RECORDS, &name(SIGNED[0])).unwrap();
    inventory.with_zones(first, others).unwrap()
}

fn signed(inventory: &Inventory, view: &View) -> Snapshot {
    let snapshot = Snapshot::compile(inventory, view, 42);
    snapshot.signed(&zone_keys(&SIGNED, NOW), &mut Cache::default(), NOW)
}

fn ask(snapshot: &Snapshot, owner: &Name, record_type: RecordType, client: &str) -> Answer {
    let query = Query {
        name: owner,
        record_type,
        class: DNSClass::IN,
        client: client.parse().unwrap(),
        subnet: None,
        dnssec_ok: true,
    };
    answer(snapshot, &keys(), NOW, &query)
}

const TYPES: [RecordType; 19] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::NAPTR,
    RecordType::TXT,
    RecordType::NS,
    RecordType::SOA,
    RecordType::CNAME,
    RecordType::MX,
    RecordType::CAA,
    RecordType::DS,
    RecordType::DNSKEY,
    RecordType::CDS,
    RecordType::CDNSKEY,
    RecordType::NSEC,
    RecordType::RRSIG,
    RecordType::HINFO,
    RecordType::ANY,
    RecordType::HTTPS,
];

/// Names of every kind, there or not.
fn names(zone: &str, more: &[String]) -> Vec<Name> {
    let heads = [
        "",
        "a",
        "b",
        "*.a",
        "x.a",
        "x.y.b",
        "!.a",
        "zzz.b",
        "a.udp.a",
        "udp",
        "tcp",
        "tls",
        "tls.a",
        "udp.b",
        "_udp",
        "_tcp.a",
        "_turn._udp",
        "_turns._tcp.b",
        "_stun._tcp",
        "x._turn._udp",
        "api",
        "www",
        "wWw",
        "lane-a",
        "chain",
        "out",
        "gone",
        "over",
        "host",
        "mail",
        "non.empty",
        "empty",
        "x.non.empty",
        "wild",
        "x.wild",
        "y.x.wild",
        "wild.wild",
        "x.wild.wild",
        "q.alias",
        "_acme.a",
        "cut",
        "x.cut",
        "ns.cut",
        "safe",
        "x.safe",
        "deep",
        "www.deep",
        "x.deep",
        "ns1",
        "ns2",
        "nothing",
        "x.nothing",
        "0",
        "\\000",
        "zz",
        "\u{7f}",
    ];
    let heads = heads
        .into_iter()
        .map(str::to_owned)
        .chain(more.iter().cloned());
    heads.map(|head| below(&head, zone)).collect()
}

/// A name below a zone, of labels that may hold anything.
fn below(head: &str, zone: &str) -> Name {
    let labels = head.split('.').filter(|label| !label.is_empty());
    let labels = labels.map(str::as_bytes);
    let head = Name::from_labels(labels).unwrap();
    head.append_domain(&name(zone)).unwrap()
}

/// Asks for every name and type on behalf of a client, and has all answers judged.
fn all_is_proved(snapshot: &Snapshot, more: &[String], client: &str) -> Result<(), String> {
    for zone in SIGNED.iter().chain(&UNSIGNED) {
        for owner in names(zone, more) {
            for kind in TYPES {
                let answer = ask(snapshot, &owner, kind, client);
                let judged = JUDGE.judge(&owner, kind, &answer);
                judged.map_err(|why| format!("{owner} {kind} {client}: {why}\n{answer:#?}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn every_name_and_type_is_signed_or_proved_to_be_missing() {
    let inventory = zoned(six());
    let snapshot = signed(&inventory, &all_up(&inventory));
    for client in [EU, US] {
        let more = ["eu", "us", "fra-1", "ord-1"].map(str::to_owned);
        all_is_proved(&snapshot, &more, client).unwrap();
    }
}

/// A label in a lane, for any client.
fn label(draw: u32, region: usize, avoid: &[u8], transport: Option<Transport>) -> Vec<String> {
    let address = |host: &u8| Tag::of_addr([198, 51, 100, *host].into());
    let mut tags = avoid.iter().map(address);
    let label = Label {
        draw,
        region: Some(Tag::of_name(["r0", "r1", "r2"][region % 3])),
        avoid: [tags.next(), tags.next()],
        tenant: None,
        transport,
        expires: UnixTime(NOW.0 + 60),
    };
    let sealed = Lane::ALL.map(|lane| format!("{}.{}", keys().seal(&label, lane), lane.as_str()));
    sealed.into()
}

fn transports() -> impl Strategy<Value = Option<Transport>> {
    let all = [Transport::Udp, Transport::Tcp, Transport::Tls];
    proptest::option::of(prop::sample::select(all.to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the fleet looks like and whoever asks: nothing that is answered lacks its signature.
    #[test]
    fn nothing_that_can_be_answered_lacks_its_signature(
        shapes in prop::collection::vec(shape(false, false), 1..24),
        answers in 1..4_usize,
        withdrawn in prop::collection::vec((0..24_usize, 0..6_usize), 0..12),
        spills in prop::collection::vec((0..3_usize, 0..3_usize, 0..1000_u32), 0..3),
        labels in prop::collection::vec(
            (any::<u32>(), 0..3_usize, prop::collection::vec(1..24_u8, 0..3), transports()), 12),
        clients in prop::collection::vec(any::<[u8; 4]>(), 12),
    ) {
        let (inventory, mut view) = build(&shapes, answers);
        let inventory = zoned(inventory);
        for (relay, path) in withdrawn {
            let path = Path::all().nth(path).unwrap();
            if let Some(seat) = view.seats.get_mut(relay) {
                seat.withdrawn = seat.withdrawn.iter().chain([path]).collect();
            }
        }
        for (from, to, permille) in spills {
            if from != to {
                view.flows[from].spill.push(Spill { to, permille });
            }
        }
        let snapshot = signed(&inventory, &view);
        let drawn = labels.iter().flat_map(|(draw, region, avoid, transport)| {
            label(*draw, *region, avoid, *transport)
        });
        let fixed = ["", "a", "b", "x.a", "udp", "tls", "tcp.a", "tls.b", "_turn._udp", "_turns._tcp.a", "api", "r0", "r1", "r2", "relay-0", "chain"];
        let owners: Vec<String> = drawn.chain(fixed.map(str::to_owned)).collect();
        for owner in owners {
            let owner = below(&owner, "turn.example.");
            for [a, b, c, d] in &clients {
                let client = format!("{a}.{b}.{c}.{d}");
                for kind in [RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::NAPTR] {
                    let answer = ask(&snapshot, &owner, kind, &client);
                    let judged = JUDGE.judge(&owner, kind, &answer);
                    prop_assert!(judged.is_ok(), "{} {} {}: {:?}\n{:#?}", owner, kind, client, judged, answer);
                }
            }
        }
    }
}

fn find(records: &[Record], kind: RecordType) -> Vec<&Record> {
    let found = records.iter().filter(|record| record.record_type() == kind);
    found.collect()
}

/// A resolver that keeps such a record would answer one label with what it knows of another.
#[test]
fn nothing_that_labels_would_stand_behind_is_kept() {
    let inventory = zoned(six());
    let snapshot = signed(&inventory, &all_up(&inventory));
    for lane in ["a", "b"] {
        for label in ["!", "0", "abc", "q7xk", "zzz", "_turn", "\u{7f}"] {
            let owner = below(&format!("{label}.{lane}"), "turn.example.");
            for kind in [
                RecordType::A,
                RecordType::AAAA,
                RecordType::TXT,
                RecordType::NSEC,
            ] {
                let answer = ask(&snapshot, &owner, kind, EU);
                let nsecs = answer.answers.iter().chain(&answer.authorities);
                let nsecs: Vec<_> = nsecs.cloned().collect();
                let nsecs = find(&nsecs, RecordType::NSEC);
                assert!(!nsecs.is_empty(), "{owner} {kind}");
                assert!(nsecs.iter().all(|nsec| nsec.ttl == 0), "{owner} {kind}");
                // Nor is what they are answered with.
                assert!(answer.answers.iter().all(|record| record.ttl == 0));
            }
        }
    }
    // What no label stands behind is kept, as long as any negative answer.
    let nothing = ask(&snapshot, &name("nothing.turn.example."), RecordType::A, EU);
    assert_eq!(nothing.rcode, ResponseCode::NXDomain);
    let nsecs = find(&nothing.authorities, RecordType::NSEC);
    assert!(nsecs.iter().all(|nsec| nsec.ttl == 5) && !nsecs.is_empty());
}

#[test]
fn whoever_does_not_want_dnssec_gets_none_of_it() {
    let inventory = zoned(six());
    let view = all_up(&inventory);
    let (signed, plain) = (
        signed(&inventory, &view),
        Snapshot::compile(&inventory, &view, 42),
    );
    for owner in names(SIGNED[0], &[]) {
        for kind in TYPES.into_iter().filter(|kind| !kind.is_dnssec()) {
            let query = Query {
                name: &owner,
                record_type: kind,
                class: DNSClass::IN,
                client: EU.parse().unwrap(),
                subnet: None,
                dnssec_ok: false,
            };
            let [signed, plain] = [&signed, &plain].map(|from| answer(from, &keys(), NOW, &query));
            assert_eq!(signed, plain, "{owner} {kind}");
            // Nor does who wants it from a zone that is not signed.
        }
    }
}

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

/// What secondaries get is a whole signed zone: a signature for each set by its own TTL, and one chain.
#[test]
fn a_static_zone_is_signed_as_it_stands() {
    let inventory = zoned(six());
    let snapshot = Snapshot::compile(&inventory, &all_up(&inventory), 42);
    let zone = name(SIGNED[0]);
    let kinds = [RecordType::SOA, RecordType::NS, RecordType::NAPTR];
    let asked = kinds.map(|kind| ask(&snapshot, &zone, kind, EU));
    let mut records: Vec<_> = asked
        .into_iter()
        .flat_map(|answer| answer.answers)
        .collect();
    for owner in ["a", "*.a", "fra-1", "ns1"] {
        records.extend(ask(&snapshot, &below(owner, SIGNED[0]), RecordType::A, EU).answers);
    }
    let sets = Records::parse(RECORDS, &zone).unwrap();
    records.extend(sets.sets().iter().flat_map(|set| {
        let record = |data: &RData| Record::from_rdata(set.name.clone(), set.ttl, data.clone());
        set.data.iter().map(record).collect::<Vec<_>>()
    }));
    let keys = zone_keys(&SIGNED, NOW);
    let added = snapshot.signing_records(&zone, &records, &keys, &mut Cache::default(), NOW);
    assert!(added.iter().all(|record| zone.zone_of(&record.name)));
    records.extend(added);
    let (mut owners, mut chain) = (BTreeSet::new(), Vec::new());
    for record in &records {
        let (owner, kind) = (record.name.to_lowercase(), record.record_type());
        let cut = ["cut", "safe", "deep"].map(|cut| below(cut, SIGNED[0]));
        let delegated = cut.iter().any(|cut| cut.zone_of(&owner));
        if delegated && !cut.contains(&owner) {
            continue;
        }
        owners.insert(owner.clone());
        let signed = records.iter().any(|other| match &other.data {
            RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => {
                let input = rrsig.input();
                let same = (other.name == owner, input.type_covered) == (true, kind);
                same && (input.original_ttl, other.ttl) == (record.ttl, record.ttl)
            }
            _ => false,
        });
        let expected = match kind {
            RecordType::RRSIG => continue,
            RecordType::NS | RecordType::A => !delegated,
            _ => true,
        };
        assert_eq!(signed, expected, "{owner} {kind}");
        if let RData::DNSSEC(DNSSECRData::NSEC(nsec)) = &record.data {
            chain.push((owner, nsec.next_domain_name().clone()));
        }
    }
    chain.sort();
    assert_eq!(chain.len(), owners.len());
    let nexts = chain.iter().map(|(owner, _)| owner).cycle().skip(1);
    assert!(
        chain
            .iter()
            .zip(nexts)
            .all(|((_, next), owner)| next == owner)
    );
    // Signatures are those of the judge's keys.
    let whole = Answer {
        rcode: ResponseCode::NoError,
        authoritative: true,
        answers: records
            .into_iter()
            .filter(|record| {
                let glue = ["ns.cut", "cut", "safe", "deep"].map(|name| below(name, SIGNED[0]));
                !glue.contains(&record.name)
            })
            .collect(),
        authorities: Vec::new(),
        additionals: Vec::new(),
        scope: 0,
        steered: None,
        complaint: None,
        error: None,
    };
    assert_eq!(JUDGE.judge(&zone, RecordType::AXFR, &whole), Ok(()));
}
