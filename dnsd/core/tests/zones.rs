//! Names that are not steered, names of services, aliases, delegations, and several zones.
#![allow(clippy::unwrap_used)]

mod common;

use common::asking::{EU, US, all_up, ask, relays};
use common::{name, six};
use dnsd_core::answer::Answer;
use dnsd_core::inventory::{Inventory, OtherZone};
use dnsd_core::records::Records;
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::View;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};

const FIRST: &str = "\
$TTL 300
@           TXT   \"ours\"
lane-a      CNAME A.turn.example.
chain       CNAME lane-a
out         CNAME www.elsewhere.example.
gone        CNAME nothing
circle      CNAME elcric
elcric      CNAME circle
over        CNAME b.other.example.
wild.wild   TXT   \"exact\"
*.wild      TXT   \"any\"
*.wild      A     192.0.2.9
_acme.a     TXT   \"challenge\"
cut         NS    ns.cut
cut         NS    ns.elsewhere.example.
ns.cut      A     192.0.2.53
ns.cut      AAAA  2001:db8::53
_stun._tcp  SRV   7 0 3478 mine.example.
";
const PLAIN: &str = "@ 60 A 192.0.2.1\nwww 60 A 192.0.2.2\n";

fn other(zone: &str, steered: bool, text: &str) -> OtherZone {
    OtherZone {
        name: name(zone),
        contact: name("admin.other.example."),
        steered,
        records: Records::parse(text, &name(zone)).unwrap(),
    }
}

fn inventory() -> Inventory {
    let first = Records::parse(FIRST, &name("turn.example.")).unwrap();
    let others = vec![
        other("other.example.", true, "x 60 TXT other\n"),
        other("plain.example.", false, PLAIN),
        other("deep.plain.example.", false, PLAIN),
    ];
    six().with_zones(first, others).unwrap()
}

fn view(inventory: &Inventory) -> View {
    all_up(inventory)
}

fn snapshot() -> Snapshot {
    let inventory = inventory();
    Snapshot::compile(&inventory, &view(&inventory), 42)
}

fn texts(answer: &Answer) -> Vec<String> {
    let text = |record: &hickory_proto::rr::Record| {
        format!("{} {} {}", record.name, record.record_type(), record.data)
    };
    answer.answers.iter().map(text).collect()
}

fn soa_of(answer: &Answer) -> String {
    let [soa] = &answer.authorities[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(soa.record_type(), RecordType::SOA);
    soa.name.to_string()
}

#[test]
fn services_name_relays_in_the_order_of_the_addresses() {
    let snapshot = snapshot();
    for (place, host) in [(EU, 11..=13), (US, 21..=23)] {
        for (service, lane) in [("_turn._udp", ""), ("_stun._udp", ""), ("_turn._udp", "a.")] {
            let owner = format!("{service}.{lane}turn.example.");
            let answer = ask(&snapshot, &owner, RecordType::SRV, place);
            assert_eq!((answer.rcode, answer.scope), (ResponseCode::NoError, 24));
            let of_lane = format!("udp.{lane}turn.example.");
            let (mut targets, mut before) = (Vec::new(), 0);
            for record in &answer.answers {
                let RData::SRV(srv) = &record.data else {
                    panic!("{record:?}")
                };
                assert!(srv.priority > before && srv.port == 3478, "{srv:?}");
                before = srv.priority;
                let addresses = ask(&snapshot, &srv.target.to_string(), RecordType::A, place);
                targets.extend(relays(&addresses));
                assert_eq!(record.ttl, 30);
            }
            let addresses = ask(&snapshot, &of_lane, RecordType::A, place);
            let expected = relays(&addresses);
            assert_eq!(targets[..expected.len()], expected, "{owner}");
            assert!(
                targets.iter().all(|target| host.contains(target)),
                "{owner}"
            );
        }
    }
    // The file's own records go before.
    let own = ask(&snapshot, "_stun._tcp.turn.example.", RecordType::SRV, EU);
    assert_eq!(
        texts(&own),
        ["_stun._tcp.turn.example. SRV 7 0 3478 mine.example."]
    );
}

#[test]
fn naptr_leads_to_the_services_of_what_relays_speak() {
    let inventory = inventory();
    let mut view = view(&inventory);
    let all = Snapshot::compile(&inventory, &view, 42);
    let ask_naptr = |snapshot: &Snapshot, owner| ask(snapshot, owner, RecordType::NAPTR, EU);
    let found = |snapshot: &Snapshot, owner| -> Vec<String> {
        let answer = ask_naptr(snapshot, owner);
        let text = |record: &hickory_proto::rr::Record| {
            let RData::NAPTR(naptr) = &record.data else {
                panic!("{record:?}")
            };
            assert_eq!((&*naptr.flags, naptr.regexp.len()), (&b"s"[..], 0));
            let services = String::from_utf8_lossy(&naptr.services);
            let at = ask(
                snapshot,
                &naptr.replacement.to_string(),
                RecordType::SRV,
                EU,
            );
            assert!(!at.answers.is_empty(), "{naptr:?}");
            format!("{} {} {services}", naptr.order, naptr.preference)
        };
        answer.answers.iter().map(text).collect()
    };
    let three = [
        "10 10 RELAY:turn.udp",
        "10 20 RELAY:turn.tcp",
        "10 30 RELAY:turn.tls",
    ];
    assert_eq!(found(&all, "turn.example."), three);
    assert_eq!(found(&all, "b.other.example."), three);
    for seat in &mut view.seats {
        let served = seat.served.iter();
        let udp = served.filter(|path| path.transport == dnsd_core::paths::Transport::Udp);
        seat.served = udp.collect();
    }
    let udp = Snapshot::compile(&inventory, &view, 43);
    assert_eq!(found(&udp, "a.turn.example."), three[..1]);
    // A label has none: its services would be the lane's, and the label lost.
    for owner in [
        "label.a.turn.example.",
        "*.a.turn.example.",
        "eu.turn.example.",
    ] {
        assert_eq!(soa_of(&ask_naptr(&all, owner)), "turn.example.", "{owner}");
    }
}

#[test]
fn aliases_are_followed_within_our_zones() {
    let snapshot = snapshot();
    let direct = relays(&ask(&snapshot, "a.turn.example.", RecordType::A, EU));
    for (owner, hops) in [("lane-a.turn.example.", 1), ("Chain.Turn.Example.", 2)] {
        let answer = ask(&snapshot, owner, RecordType::A, EU);
        assert_eq!(answer.answers[0].name.to_string(), owner, "case is kept");
        assert!(answer.authoritative && answer.scope == 24);
        assert_eq!(relays(&answer), direct, "{owner}");
        let aliases = answer.answers.iter();
        let aliases = aliases.filter(|record| record.record_type() == RecordType::CNAME);
        assert_eq!(aliases.count(), hops);
    }
    let over = ask(&snapshot, "over.turn.example.", RecordType::A, US);
    assert_eq!(
        relays(&over),
        relays(&ask(&snapshot, "b.turn.example.", RecordType::A, US))
    );
    let alias = ask(&snapshot, "chain.turn.example.", RecordType::CNAME, EU);
    assert_eq!(
        texts(&alias),
        ["chain.turn.example. CNAME lane-a.turn.example."]
    );
    let out = ask(&snapshot, "out.turn.example.", RecordType::A, EU);
    assert_eq!((out.rcode, out.answers.len()), (ResponseCode::NoError, 1));
    assert!(
        out.authorities.is_empty(),
        "what is elsewhere is not denied"
    );
    // RFC 6604 section 3: the code is that of the last name.
    let gone = ask(&snapshot, "gone.turn.example.", RecordType::A, EU);
    assert_eq!(
        (gone.rcode, gone.answers.len()),
        (ResponseCode::NXDomain, 1)
    );
    assert_eq!(soa_of(&gone), "turn.example.");
    let nodata = ask(&snapshot, "over.turn.example.", RecordType::TXT, EU);
    assert_eq!(
        (nodata.rcode, nodata.answers.len()),
        (ResponseCode::NoError, 1)
    );
    assert_eq!(soa_of(&nodata), "other.example.");
    let circle = ask(&snapshot, "circle.turn.example.", RecordType::A, EU);
    assert!((2..=16).contains(&circle.answers.len()), "{circle:?}");
}

#[test]
fn a_delegation_is_referred_to() {
    let snapshot = snapshot();
    for (owner, kind) in [
        ("cut.turn.example.", RecordType::A),
        ("CUT.turn.example.", RecordType::NS),
        ("x.y.cut.turn.example.", RecordType::TXT),
        ("ns.cut.turn.example.", RecordType::A),
    ] {
        let answer = ask(&snapshot, owner, kind, EU);
        assert_eq!(
            (answer.rcode, answer.authoritative),
            (ResponseCode::NoError, false)
        );
        assert!(answer.answers.is_empty());
        let servers: Vec<_> = answer.authorities.iter().map(ToString::to_string).collect();
        assert_eq!(
            servers,
            [
                "cut.turn.example. 300 IN NS ns.cut.turn.example.",
                "cut.turn.example. 300 IN NS ns.elsewhere.example.",
            ]
        );
        let glue: Vec<_> = answer
            .additionals
            .iter()
            .map(|r| r.data.to_string())
            .collect();
        assert_eq!(glue, ["192.0.2.53", "2001:db8::53"]);
    }
    // What lies above it is ours.
    let ds = ask(&snapshot, "cut.turn.example.", RecordType::DS, EU);
    assert!(ds.authoritative && soa_of(&ds) == "turn.example.");
}

#[test]
fn wildcards_stand_for_what_is_not_there() {
    let snapshot = snapshot();
    let found = |owner, kind| texts(&ask(&snapshot, owner, kind, EU));
    assert_eq!(
        found("X.y.wild.turn.example.", RecordType::TXT),
        ["X.y.wild.turn.example. TXT any"]
    );
    assert_eq!(
        found("wild.wild.turn.example.", RecordType::TXT),
        ["wild.wild.turn.example. TXT exact"]
    );
    // RFC 4592 section 2.2.1: what is there is not stood for, nor what lies below it.
    for (owner, rcode) in [
        ("wild.wild.turn.example.", ResponseCode::NoError),
        ("wild.turn.example.", ResponseCode::NoError),
        ("x.wild.wild.turn.example.", ResponseCode::NXDomain),
    ] {
        let answer = ask(&snapshot, owner, RecordType::A, EU);
        assert_eq!(
            (answer.rcode, soa_of(&answer)),
            (rcode, "turn.example.".to_owned())
        );
    }
    // A record below a lane stands before the labels.
    assert_eq!(
        found("_acme.a.turn.example.", RecordType::TXT),
        ["_acme.a.turn.example. TXT challenge"]
    );
    assert!(found("_acme.a.turn.example.", RecordType::A).is_empty());
    // Deeper below a lane than a label: the lane's answer.
    let deep = ask(&snapshot, "x.y.a.turn.example.", RecordType::A, EU);
    let lane = ask(&snapshot, "a.turn.example.", RecordType::A, EU);
    assert_eq!(relays(&deep), relays(&lane));
}

#[test]
fn every_zone_has_its_own_names_and_the_same_nameservers() {
    let snapshot = snapshot();
    for zone in [
        "turn.example.",
        "other.example.",
        "plain.example.",
        "deep.plain.example.",
    ] {
        let soa = ask(&snapshot, zone, RecordType::SOA, EU);
        let RData::SOA(data) = &soa.answers[0].data else {
            panic!("{soa:?}")
        };
        let contact = if zone == "turn.example." {
            "hostmaster.turn.example."
        } else {
            "admin.other.example."
        };
        assert_eq!(
            (data.serial, data.rname.to_string().as_str()),
            (42, contact)
        );
        assert_eq!(data.mname, name("ns1.turn.example."));
        let ns = ask(&snapshot, zone, RecordType::NS, EU);
        assert_eq!(ns.answers.len(), 3);
        assert_eq!(ns.additionals.is_empty(), zone != "turn.example.");
        let nothing = ask(&snapshot, &format!("nothing.{zone}"), RecordType::A, EU);
        assert_eq!(nothing.rcode, ResponseCode::NXDomain);
        assert_eq!(soa_of(&nothing), zone);
    }
    for owner in [
        "a.other.example.",
        "other.example.",
        "api.other.example.",
        "eu.other.example.",
    ] {
        let first = owner.replace("other", "turn");
        for client in [EU, US] {
            let [one, two] = [owner, &first].map(|o| ask(&snapshot, o, RecordType::A, client));
            assert_eq!(relays(&one), relays(&two), "{owner}");
        }
    }
    let target = ask(&snapshot, "_turn._udp.other.example.", RecordType::SRV, EU);
    assert!(texts(&target)[0].ends_with(".other.example."), "{target:?}");
    let plain = ask(&snapshot, "plain.example.", RecordType::A, EU);
    assert_eq!(texts(&plain), ["plain.example. A 192.0.2.1"]);
    assert_eq!(plain.scope, 0);
    let none = ask(&snapshot, "a.plain.example.", RecordType::A, EU);
    assert_eq!(none.rcode, ResponseCode::NXDomain);
    // The deepest zone answers.
    let deep = ask(&snapshot, "www.deep.plain.example.", RecordType::A, EU);
    assert_eq!(deep.answers.len(), 1);
}
