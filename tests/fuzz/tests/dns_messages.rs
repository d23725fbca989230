//! Queries as resolvers send them, and with a byte or two changed: the fast path of answering is
//! open to those that it is for, and both ways give the same.

use std::net::SocketAddr;

use credentials::label::{Label, LabelKeys, Lane, Tag};
use credentials::{Secret, SecretRing, UnixTime};
use fuzz_tests::{DNS_NOW, DNS_SECRET, answer_fast, compare};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RecordType};
use proptest::prelude::*;

/// A sealed label.
fn label(lane: Lane, draw: u32, avoid: u8, expired: bool) -> String {
    let secret = Secret::new(DNS_SECRET.as_bytes().to_vec()).expect("long enough");
    let ring = SecretRing::new(secret, Vec::new()).expect("one");
    let avoided = Tag::of_addr([203, 0, 113, avoid].into());
    let label = Label {
        draw,
        region: draw.is_multiple_of(3).then(|| Tag::of_name("us")),
        avoid: [(avoid < 8).then_some(avoided), None],
        tenant: None,
        transport: None,
        expires: UnixTime(DNS_NOW.0 + 600 - 1200 * u64::from(expired)),
    };
    LabelKeys::derive(&ring).seal(&label, lane)
}

/// Names that are there, and some that are not.
fn name() -> impl Strategy<Value = String> {
    let below = prop::sample::select(vec![
        "",
        "a",
        "b",
        "udp",
        "tcp.a",
        "tls.b",
        "api",
        "eu",
        "us",
        "relay-0",
        "relay-1",
        "ns1",
        "_turn._udp",
        "_udp",
        "_turns._tcp.a",
        "www",
        "x.wild",
        "x.y.wild",
        "!.wild",
        "*x.wild",
        "%x.wild",
        "c.wild",
        "mm.wild",
        "o.m.wild",
        "q.o.wild",
        "wild",
        "*.wild",
        "*.a",
        "deep.below.here",
        "below.here",
        "alias",
        "astray",
        "abroad",
        "sub",
        "x.sub",
        "nothing",
        "x.nothing",
        "_x.a",
        "short.b",
        "inner",
        "x.inner",
        "x.y.inner",
        "1.2.3.4.5.6.7.8.9.a",
        "x.relay-0",
    ]);
    let below = below.prop_map(str::to_owned);
    let lane = prop::sample::select(vec![Lane::A, Lane::B]);
    let labelled = (lane, any::<u32>(), 0..16_u8, prop::bool::weighted(0.1));
    let labelled = labelled.prop_map(|(lane, draw, avoid, expired)| {
        format!("{}.{}", label(lane, draw, avoid, expired), lane.as_str())
    });
    let below = prop_oneof![4 => below, 3 => labelled];
    let zone = prop_oneof![9 => Just("turn.example."), 1 => Just("elsewhere.example.")];
    (below, zone).prop_map(|(below, zone)| match below.as_str() {
        "" => zone.to_owned(),
        below => format!("{below}.{zone}"),
    })
}

/// A datagram and whether it is one for the fast path, as far as its header and options go.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let kinds = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::A,
        RecordType::AAAA,
        RecordType::TXT,
        RecordType::SOA,
        RecordType::NS,
        RecordType::SRV,
        RecordType::NAPTR,
        RecordType::HTTPS,
        RecordType::CAA,
        RecordType::CNAME,
        RecordType::ANY,
        RecordType::DS,
        RecordType::MX,
        RecordType::Unknown(65_280),
    ];
    let kind = prop::sample::select(kinds.to_vec());
    let edns = prop::option::weighted(0.8, options());
    (name(), kind, any::<(u16, bool, bool)>(), edns, any::<u64>()).prop_map(
        |(name, kind, (id, rd, cd), edns, case)| {
            // Whatever a label has in it.
            let labels = name.trim_end_matches('.').split('.').map(str::as_bytes);
            let mut name = Name::from_labels(labels).expect("a name");
            name = mixed(&name, case);
            let mut message = Message::new(id, MessageType::Query, OpCode::Query);
            message.metadata.recursion_desired = rd;
            message.metadata.checking_disabled = cd;
            message.add_query(Query::query(name, kind));
            message.edns = edns;
            message.to_vec().expect("a message")
        },
    )
}

/// The same name in a case that `bits` decide about (0x20).
fn mixed(name: &Name, bits: u64) -> Name {
    let labels = name.iter().enumerate().map(|(at, label)| {
        let upper = |(i, byte): (usize, &u8)| match bits >> ((at * 7 + i) % 64) & 1 {
            1 => byte.to_ascii_uppercase(),
            _ => *byte,
        };
        label.iter().enumerate().map(upper).collect::<Vec<u8>>()
    });
    let mut mixed = Name::from_labels(labels.collect::<Vec<_>>()).expect("a name");
    mixed.set_fqdn(true);
    mixed
}

fn options() -> impl Strategy<Value = Edns> {
    let subnet = prop_oneof![
        (any::<[u8; 4]>(), 0..=32_u8).prop_map(|(address, bits)| (address.into(), bits)),
        (any::<[u16; 8]>(), 0..=128_u8).prop_map(|(address, bits)| (address.into(), bits)),
        (0..=32_u8).prop_map(|bits| ([198, 51, 100, 7].into(), bits)),
    ];
    let cookie = prop::sample::select(vec![7, 8, 16, 24, 41]);
    let cookie = cookie.prop_flat_map(|length: usize| prop::collection::vec(any::<u8>(), length));
    let of = (
        any::<bool>(),
        prop::sample::select(vec![0, 100, 512, 1232, 4096]),
        prop::option::weighted(0.4, subnet),
        prop::option::weighted(0.4, cookie),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    );
    of.prop_map(|(dnssec, payload, subnet, cookie, nsid, version)| {
        let mut edns = Edns::new();
        edns.set_max_payload(payload).set_dnssec_ok(dnssec);
        edns.set_version(u8::from(version));
        let options = edns.options_mut();
        if let Some((address, bits)) = subnet {
            options.insert(EdnsOption::Subnet(ClientSubnet::new(address, bits, 0)));
        }
        if let Some(cookie) = cookie {
            options.insert(EdnsOption::Unknown(EdnsCode::Cookie.into(), cookie));
        }
        if nsid {
            options.insert(EdnsOption::Unknown(EdnsCode::NSID.into(), Vec::new()));
        }
        edns
    })
}

fn client() -> impl Strategy<Value = SocketAddr> {
    let clients = [
        "192.0.2.53:5300",
        "198.51.100.7:9",
        "[2001:db8:1::53]:65535",
        "[::1]:53",
    ];
    prop::sample::select(
        clients
            .map(|text| text.parse().expect("an address"))
            .to_vec(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn both_ways_give_one_answer(datagram in datagram(), client in client()) {
        compare(&datagram, client);
    }

    #[test]
    fn whatever_is_changed_on_the_way(
        datagram in datagram(),
        client in client(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        length in any::<prop::sample::Index>(),
    ) {
        let mut datagram = datagram;
        for (at, byte) in changes {
            let at = at.index(datagram.len());
            datagram[at] = byte;
        }
        compare(&datagram, client);
        datagram.truncate(length.index(datagram.len()));
        compare(&datagram, client);
    }
}

/// What resolvers ask all day.
fn usual() -> impl Iterator<Item = (String, Vec<u8>)> {
    let sealed = format!("{}.a.turn.example.", label(Lane::A, 9, 3, false));
    let names = [
        "turn.example.",
        "a.turn.example.",
        "udp.b.turn.example.",
        &sealed,
        "relay-0.turn.example.",
        "www.turn.example.",
        "nothing.turn.example.",
        "x.wild.turn.example.",
        "x.inner.turn.example.",
    ];
    let names = names.map(|name| Name::from_ascii(name).expect("a name"));
    let asked = names.into_iter().flat_map(|name| {
        [RecordType::A, RecordType::AAAA, RecordType::TXT]
            .map(|kind| Query::query(name.clone(), kind))
    });
    asked.flat_map(|query| {
        let mut dnssec = Edns::new();
        dnssec.set_max_payload(1232).set_dnssec_ok(true);
        let mut cookie = Edns::new();
        let option = EdnsOption::Unknown(EdnsCode::Cookie.into(), b"a client".to_vec());
        cookie.options_mut().insert(option);
        [None, Some(dnssec), Some(cookie)].map(|edns| {
            let mut message = Message::new(1, MessageType::Query, OpCode::Query);
            message.add_query(query.clone());
            message.edns = edns;
            (query.to_string(), message.to_vec().expect("a message"))
        })
    })
}

/// It takes the fast path, or nothing above says anything.
#[test]
fn what_is_asked_all_day_takes_the_fast_path() {
    let client = "192.0.2.53:5300".parse().expect("an address");
    for (query, datagram) in usual() {
        assert!(compare(&datagram, client), "{query}");
    }
}

#[test]
fn the_fast_path_allocates_nothing() {
    let client = "192.0.2.53:5300".parse().expect("an address");
    let mut out = Vec::with_capacity(1232);
    for (query, datagram) in usual() {
        // The first time the answers are compiled.
        assert!(answer_fast(&datagram, client, &mut out), "{query}");
        let allocated = allocation_counter::measure(|| {
            answer_fast(&datagram, client, &mut out);
        });
        assert_eq!(allocated.count_total, 0, "{query}");
    }
}
