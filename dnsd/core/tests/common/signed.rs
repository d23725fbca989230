//! Signed zones with names of every kind, and a judge of what they are answered with.

use dnsd_core::answer::{Answer, Query, answer};
use dnsd_core::dnssec::Cache;
use dnsd_core::inventory::{Inventory, OtherZone};
use dnsd_core::records::Records;
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::View;
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};

use super::asking::{NOW, keys};
use super::name;
use super::validate::{Judge, zone_keys};

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
own         NS    own
own         A     192.0.2.54
_stun._tcp  SRV   7 0 3478 mine.example.
";

/// Two signed zones with the steered names, one without, one that is not signed, and one below another.
pub const SIGNED: [&str; 4] = [
    "turn.example.",
    "other.example.",
    "plain.example.",
    "deep.turn.example.",
];
pub const UNSIGNED: [&str; 1] = ["bare.example."];

pub const JUDGE: Judge<'_> = Judge {
    zones: &[
        (SIGNED[0], &[1]),
        (SIGNED[1], &[2]),
        (SIGNED[2], &[3]),
        (SIGNED[3], &[4]),
    ],
    unsigned: &UNSIGNED,
    now: NOW,
};

pub fn zoned(inventory: Inventory) -> Inventory {
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

pub fn signed(inventory: &Inventory, view: &View) -> Snapshot {
    let snapshot = Snapshot::compile(inventory, view, 42);
    snapshot.signed(&zone_keys(&SIGNED, NOW), &mut Cache::default(), NOW)
}

pub fn ask(snapshot: &Snapshot, owner: &Name, record_type: RecordType, client: &str) -> Answer {
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

pub const TYPES: [RecordType; 19] = [
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
pub fn names(zone: &str, more: &[String]) -> Vec<Name> {
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
        "own",
        "x.own",
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
pub fn below(head: &str, zone: &str) -> Name {
    let labels = head.split('.').filter(|label| !label.is_empty());
    let labels = labels.map(str::as_bytes);
    let head = Name::from_labels(labels).unwrap();
    head.append_domain(&name(zone)).unwrap()
}

pub fn find(records: &[Record], kind: RecordType) -> Vec<&Record> {
    let found = records.iter().filter(|record| record.record_type() == kind);
    found.collect()
}
