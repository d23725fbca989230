//! Signed zones: whatever is answered to whomever, it is signed, and what is not there is proved.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::asking::{EU, NOW, US, all_up, keys};
use common::shapes::{build, shape};
use common::signed::{JUDGE, SIGNED, TYPES, UNSIGNED, ask, below, find, names, signed, zoned};
use common::{name, six};
use credentials::UnixTime;
use credentials::label::{Label, Lane, Tag, Transport};
use dnsd_core::answer::{Query, answer};
use dnsd_core::paths::Path;
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::Spill;
use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use proptest::prelude::*;

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

/// Of what is delegated the zone says whether it is signed, and nothing of addresses there or of names
/// below (RFC 4035 section 2.3).
#[test]
fn the_chain_does_not_enter_what_is_delegated() {
    let inventory = zoned(six());
    let snapshot = signed(&inventory, &all_up(&inventory));
    let delegated = ["cut", "safe", "deep", "own"].map(|cut| below(cut, SIGNED[0]));
    let mut links = BTreeMap::new();
    // Of these one is served here as well, as a zone of its own with a chain of its own.
    let asked = names(SIGNED[0], &["saz".to_owned()]).into_iter();
    for owner in asked.filter(|owner| !delegated[2].zone_of(owner)) {
        for kind in [RecordType::DS, RecordType::TXT] {
            let answer = ask(&snapshot, &owner, kind, EU);
            for record in answer.answers.iter().chain(&answer.authorities) {
                if let RData::DNSSEC(DNSSECRData::NSEC(nsec)) = &record.data {
                    links.insert(record.name.to_lowercase(), nsec.clone());
                }
            }
        }
    }
    for (owner, nsec) in &links {
        let below = |name: &Name| {
            let mut cuts = delegated.iter();
            cuts.any(|cut| cut.zone_of(name) && cut != name)
        };
        let next = nsec.next_domain_name();
        assert!(!below(owner) && !below(next), "{owner} to {next}");
    }
    let types = |owner: &Name| links[owner].type_bit_maps().collect::<Vec<_>>();
    let [plain, signed] = [&delegated[3], &delegated[1]].map(types);
    assert_eq!(plain, [RecordType::NS, RecordType::RRSIG, RecordType::NSEC]);
    let more = [RecordType::NS, RecordType::DS];
    assert_eq!(signed, [&more[..], &plain[1..]].concat());
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
