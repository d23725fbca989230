//! Questions of every kind, and the records they get.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::net::IpAddr;

use common::asking::{EU, NOW, US, addresses, ask, keys, relays, snapshot};
use common::name;
use dnsd_core::answer::{Answer, Query, answer, trace};
use dnsd_core::explain::RegionBy;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, RData, RecordType};
use proptest::prelude::*;

fn assert_negative(answer: &Answer, rcode: ResponseCode, what: &str) {
    assert_eq!(
        (answer.rcode, answer.authoritative),
        (rcode, true),
        "{what}"
    );
    assert!(
        answer.answers.is_empty() && answer.additionals.is_empty(),
        "{what}"
    );
    let [soa] = &answer.authorities[..] else {
        panic!("{what}: {answer:?}")
    };
    let RData::SOA(data) = &soa.data else {
        panic!("{what}: {soa:?}")
    };
    assert_eq!(soa.name, name("turn.example."), "{what}");
    // RFC 2308 section 3: the lesser of the two limits the life of a negative answer.
    assert!(soa.ttl <= 10 && data.minimum <= 10, "{what}");
}

#[test]
fn steered_names_answer_addresses_of_the_clients_region() {
    let snapshot = snapshot();
    let owners = [
        "turn.example.",
        "a.turn.example.",
        "b.turn.example.",
        "api.turn.example.",
    ];
    for owner in owners
        .into_iter()
        .chain(["anything.a.turn.example.", "x_.b.turn.example."])
    {
        for (client, hosts) in [(EU, 11..=13), (US, 21..=23), ("203.0.113.9", 11..=13)] {
            for record_type in [RecordType::A, RecordType::AAAA] {
                let answer = ask(&snapshot, owner, record_type, client);
                assert_eq!(
                    (answer.rcode, answer.authoritative),
                    (ResponseCode::NoError, true)
                );
                assert!(!answer.answers.is_empty() && answer.answers.len() <= 2);
                assert!(answer.authorities.is_empty() && answer.additionals.is_empty());
                assert!(
                    relays(&answer).iter().all(|host| hosts.contains(host)),
                    "{owner} {client}"
                );
                assert_eq!(answer.scope, 24);
                for record in &answer.answers {
                    assert_eq!((record.ttl, record.record_type()), (30, record_type));
                    assert_eq!(record.dns_class, DNSClass::IN);
                }
            }
        }
    }
}

#[test]
fn the_lanes_of_one_client_share_no_relay_and_the_first_a_and_aaaa_differ() {
    let snapshot = snapshot();
    for n in 0..=255 {
        let client = format!("198.18.{n}.1");
        let of = |owner, record_type| relays(&ask(&snapshot, owner, record_type, &client));
        let lane = |owner| -> BTreeSet<u8> {
            let both = of(owner, RecordType::A)
                .into_iter()
                .chain(of(owner, RecordType::AAAA));
            both.collect()
        };
        assert!(
            lane("a.turn.example.").is_disjoint(&lane("b.turn.example.")),
            "{client}"
        );
        let apex = [RecordType::A, RecordType::AAAA].map(|t| of("turn.example.", t)[0]);
        assert_ne!(apex[0], apex[1], "{client}");
        // Neighbours in one network get the same answer.
        let neighbour = format!("198.18.{n}.200");
        let theirs = ask(&snapshot, "a.turn.example.", RecordType::A, &neighbour);
        assert_eq!(
            theirs,
            ask(&snapshot, "a.turn.example.", RecordType::A, &client),
            "{client}"
        );
    }
}

#[test]
fn owner_names_keep_the_case_of_the_question() {
    let snapshot = snapshot();
    for owner in [
        "TuRn.ExAmPlE.",
        "A.tURN.example.",
        "XyZ.b.TURN.Example.",
        "fRa-1.turn.example.",
    ] {
        let answer = ask(&snapshot, owner, RecordType::A, EU);
        assert_eq!(answer.rcode, ResponseCode::NoError, "{owner}");
        assert!(
            answer
                .answers
                .iter()
                .all(|record| record.name.eq_case(&name(owner))),
            "{owner}"
        );
    }
}

#[test]
fn names_that_answer_everybody_alike() {
    let snapshot = snapshot();
    for (owner, record_type, expected) in [
        ("fra-1.turn.example.", RecordType::A, "198.51.100.11"),
        ("fra-1.turn.example.", RecordType::AAAA, "2001:db8:1::b"),
        ("ns1.turn.example.", RecordType::A, "192.0.2.1"),
        ("NS1.turn.example.", RecordType::AAAA, "2001:db8::1"),
        ("ns2.turn.example.", RecordType::A, "192.0.2.2"),
    ] {
        let answer = ask(&snapshot, owner, record_type, US);
        assert_eq!(
            addresses(&answer.answers),
            [expected.parse::<IpAddr>().unwrap()],
            "{owner}"
        );
        assert_eq!((answer.scope, answer.answers[0].ttl), (0, 300));
    }
    let us = ask(&snapshot, "us.turn.example.", RecordType::A, EU);
    assert!(
        relays(&us).iter().all(|host| (21..=23).contains(host)),
        "the region asked for"
    );
}

#[test]
fn the_apex_has_soa_and_ns_with_glue() {
    let snapshot = snapshot();
    let soa = ask(&snapshot, "turn.example.", RecordType::SOA, EU);
    let RData::SOA(data) = &soa.answers[0].data else {
        panic!("{soa:?}")
    };
    assert_eq!((data.serial, &data.mname), (42, &name("ns1.turn.example.")));
    assert_eq!(data.rname, name("hostmaster.turn.example."));
    let ns = ask(&snapshot, "turn.example.", RecordType::NS, EU);
    let servers: Vec<String> = ns
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect();
    assert_eq!(
        servers,
        [
            "ns1.turn.example.",
            "ns2.turn.example.",
            "ns.elsewhere.example."
        ]
    );
    let glue: Vec<String> = ns
        .additionals
        .iter()
        .map(|record| format!("{} {}", record.name, record.data))
        .collect();
    assert_eq!(
        glue,
        [
            "ns1.turn.example. 192.0.2.1",
            "ns1.turn.example. 2001:db8::1",
            "ns2.turn.example. 192.0.2.2",
        ]
    );
}

#[test]
fn what_is_not_there_is_denied_with_the_soa() {
    let snapshot = snapshot();
    for owner in [
        "nothing.turn.example.",
        "x.udp.a.turn.example.",
        "x._udp.a.turn.example.",
        "x.fra-1.turn.example.",
        "x.api.turn.example.",
        "x.eu.turn.example.",
        "x.ns1.turn.example.",
        "*.turn.example.",
        "c.turn.example.",
    ] {
        for record_type in [
            RecordType::A,
            RecordType::TXT,
            RecordType::ANY,
            RecordType::NS,
        ] {
            let answer = ask(&snapshot, owner, record_type, EU);
            assert_negative(&answer, ResponseCode::NXDomain, owner);
        }
    }
    for (owner, record_type) in [
        ("turn.example.", RecordType::TXT),
        ("turn.example.", RecordType::DS),
        ("a.turn.example.", RecordType::NS),
        ("a.turn.example.", RecordType::SOA),
        ("label.a.turn.example.", RecordType::TXT),
        // What a wildcard stands for, however deep (RFC 4592 section 2.2.1).
        ("x.y.a.turn.example.", RecordType::TXT),
        // There because something is below it.
        ("_udp.turn.example.", RecordType::A),
        ("_udp.b.turn.example.", RecordType::A),
        ("_turn._udp.turn.example.", RecordType::A),
        ("*.a.turn.example.", RecordType::MX),
        ("api.turn.example.", RecordType::HTTPS),
        ("fra-1.turn.example.", RecordType::SRV),
        ("ns2.turn.example.", RecordType::AAAA),
    ] {
        let answer = ask(&snapshot, owner, record_type, EU);
        assert_negative(&answer, ResponseCode::NoError, owner);
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    let snapshot = snapshot();
    let mut refused = vec![
        ask(&snapshot, "example.", RecordType::A, EU),
        ask(&snapshot, ".", RecordType::NS, EU),
        ask(&snapshot, "turn.example.com.", RecordType::A, EU),
        ask(&snapshot, "xturn.example.", RecordType::A, EU),
        ask(&snapshot, "turn.example.", RecordType::AXFR, EU),
        ask(&snapshot, "turn.example.", RecordType::IXFR, EU),
    ];
    let apex = name("turn.example.");
    let version = name("version.bind.");
    for (name, class) in [
        (&apex, DNSClass::CH),
        (&version, DNSClass::CH),
        (&apex, DNSClass::ANY),
    ] {
        let client = EU.parse().unwrap();
        let query = Query {
            name,
            record_type: RecordType::TXT,
            class,
            client,
            subnet: None,
            dnssec_ok: false,
        };
        refused.push(answer(&snapshot, &keys(), NOW, &query));
    }
    for answer in refused {
        assert_eq!(
            (answer.rcode, answer.authoritative),
            (ResponseCode::Refused, false)
        );
        let sections = [&answer.answers, &answer.authorities, &answer.additionals];
        assert!(sections.iter().all(|section| section.is_empty()));
    }
}

#[test]
fn any_is_answered_minimally() {
    let snapshot = snapshot();
    for owner in ["turn.example.", "x.a.turn.example.", "fra-1.turn.example."] {
        let answer = ask(&snapshot, owner, RecordType::ANY, EU);
        let [record] = &answer.answers[..] else {
            panic!("{answer:?}")
        };
        let RData::HINFO(hinfo) = &record.data else {
            panic!("{record:?}")
        };
        // RFC 8482 section 4.2.
        assert_eq!((&*hinfo.cpu, &*hinfo.os), (&b"RFC8482"[..], &b""[..]));
    }
}

#[test]
fn the_network_behind_the_resolver_decides_if_it_is_given() {
    let snapshot = snapshot();
    let owner = name("a.turn.example.");
    let ask = |client: &str, subnet: Option<&str>| {
        let query = Query {
            name: &owner,
            record_type: RecordType::A,
            class: DNSClass::IN,
            client: client.parse().unwrap(),
            subnet: subnet.map(|net| net.parse().unwrap()),
            dnssec_ok: false,
        };
        let steering = trace(&snapshot, &keys(), NOW, &query).steering.unwrap();
        (
            steering.region,
            steering.region_by,
            answer(&snapshot, &keys(), NOW, &query).scope,
        )
    };
    let is = |region: &str, by, scope| (region.to_owned(), by, scope);
    assert_eq!(ask(US, None), is("us", RegionBy::Resolver, 24));
    assert_eq!(
        ask(US, Some("127.0.1.0/24")),
        is("eu", RegionBy::Subnet, 24)
    );
    assert_eq!(
        ask(EU, Some("127.0.2.128/25")),
        is("us", RegionBy::Subnet, 24)
    );
    assert_eq!(
        ask(US, Some("2001:db8:e:100::/56")),
        is("eu", RegionBy::Subnet, 56)
    );
    // Wider than any network configured, or unknown: where the resolver stands is all we have.
    assert_eq!(
        ask(US, Some("127.0.0.0/16")),
        is("us", RegionBy::Resolver, 16)
    );
    assert_eq!(
        ask(US, Some("10.0.0.0/24")),
        is("us", RegionBy::Resolver, 8)
    );
    // "Do not use my address" (RFC 7871 section 7.1.2), however it is written.
    for none in ["0.0.0.0/0", "198.51.100.7/0"] {
        let query = |subnet: Option<&str>| Query {
            name: &owner,
            record_type: RecordType::A,
            class: DNSClass::IN,
            client: US.parse().unwrap(),
            subnet: subnet.map(|net| net.parse().unwrap()),
            dnssec_ok: false,
        };
        let with = trace(&snapshot, &keys(), NOW, &query(Some(none)));
        assert_eq!(with, trace(&snapshot, &keys(), NOW, &query(None)));
    }
    assert_eq!(
        ask("::ffff:127.0.2.5", None),
        is("us", RegionBy::Resolver, 24)
    );
    assert_eq!(ask("203.0.113.1", None), is("eu", RegionBy::Default, 24));
}

proptest! {
    #[test]
    fn no_question_panics_and_every_one_of_ours_is_authoritative(
        labels in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..64), 0..4),
        kind in any::<u16>(),
        client in any::<u128>(),
        length in 0..=128u8,
    ) {
        let snapshot = snapshot();
        let mut name = name("turn.example.");
        for label in &labels {
            name = name.prepend_label(&label[..]).unwrap_or(name);
        }
        let client = IpAddr::from(client.to_be_bytes());
        let query = Query {
            name: &name,
            record_type: RecordType::from(kind),
            class: DNSClass::IN,
            client,
            subnet: ipnet::IpNet::new(client, length).ok(),
            dnssec_ok: false,
        };
        let answer = answer(&snapshot, &keys(), NOW, &query);
        let transfer = matches!(query.record_type, RecordType::AXFR | RecordType::IXFR);
        prop_assert_eq!(answer.authoritative, !transfer);
        let _ = trace(&snapshot, &keys(), NOW, &query);
    }
}
