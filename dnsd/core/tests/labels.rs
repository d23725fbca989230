//! Names with a label below a lane: what the label carries, and what a worthless one does.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::net::IpAddr;

use common::asking::{EU, NOW, US, addresses, all_up, ask, keys, relays, snapshot};
use common::{inventory, name, region, relay, six};
use credentials::UnixTime;
use credentials::label::Transport::{Tcp, Tls, Udp};
use credentials::label::{self, Label, Lane, Tag};
use dnsd_core::answer::{Query, answer, trace};
use dnsd_core::explain::{LabelUse, RegionBy};
use dnsd_core::inventory::Inventory;
use dnsd_core::paths::{self, Family, Path};
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::{Flow, Seat, Spill, Standing};
use hickory_proto::rr::{DNSClass, RecordType};
use proptest::prelude::*;

fn label(draw: u32, region: Option<&str>, avoid: &[IpAddr]) -> Label {
    let mut tags = avoid.iter().map(|address| Tag::of_addr(*address));
    Label {
        draw,
        region: region.map(Tag::of_name),
        avoid: [tags.next(), tags.next()],
        tenant: None,
        transport: None,
        expires: UnixTime(NOW.0 + 60),
    }
}

fn owners(label: &Label) -> [String; 2] {
    Lane::ALL.map(|lane| {
        format!(
            "{}.{}.turn.example.",
            keys().seal(label, lane),
            lane.as_str()
        )
    })
}

#[test]
fn a_label_carries_the_region_and_its_own_draw() {
    let snapshot = snapshot();
    let [a, _] = owners(&label(5, Some("us"), &[]));
    for spelling in [a.clone(), a.to_uppercase()] {
        let one = ask(&snapshot, &spelling, RecordType::A, EU);
        assert!(relays(&one).iter().all(|host| (21..=23).contains(host)));
        assert_eq!(one.scope, 0, "it does not matter who asks");
        assert_eq!(
            relays(&one),
            relays(&ask(&snapshot, &spelling, RecordType::A, US))
        );
    }
    // Without a region of its own, who asks decides that, and the draw the rest.
    let [a, _] = owners(&label(5, None, &[]));
    assert!(
        relays(&ask(&snapshot, &a, RecordType::A, US))
            .iter()
            .all(|host| *host > 20)
    );
    // An unknown region is none.
    let [a, _] = owners(&label(5, Some("moon"), &[]));
    assert!(
        relays(&ask(&snapshot, &a, RecordType::A, EU))
            .iter()
            .all(|host| *host < 20)
    );
    // Different draws spread one client over the variants.
    let firsts: BTreeSet<u8> = (0..200)
        .map(|draw| {
            relays(&ask(
                &snapshot,
                &owners(&label(draw, None, &[]))[0],
                RecordType::A,
                EU,
            ))[0]
        })
        .collect();
    assert_eq!(firsts, [11, 12, 13].into());
}

#[test]
fn forged_and_old_labels_are_answered_like_their_lane() {
    let snapshot = snapshot();
    let plain = ask(&snapshot, "a.turn.example.", RecordType::A, US);
    let mut old = label(5, Some("eu"), &[]);
    old.expires = UnixTime(NOW.0 - 60);
    let [old, _] = owners(&old);
    let [good, _] = owners(&label(5, Some("eu"), &[]));
    let other_lane = good.replace(".a.turn", ".b.turn");
    let plain_b = ask(&snapshot, "b.turn.example.", RecordType::A, US);
    let forged = format!("{}.a.turn.example.", "0".repeat(63));
    for (owner, plain) in [(old, &plain), (forged, &plain), (other_lane, &plain_b)] {
        let answer = ask(&snapshot, &owner, RecordType::A, US);
        assert_eq!(relays(&answer), relays(plain), "{owner}");
        let name = name(&owner);
        let query = Query {
            name: &name,
            record_type: RecordType::A,
            class: DNSClass::IN,
            client: US.parse().unwrap(),
            subnet: None,
            dnssec_ok: false,
        };
        assert_eq!(
            trace(&snapshot, &keys(), NOW, &query).label,
            LabelUse::Ignored
        );
    }
}

/// Half of the European clients go to America.
fn spilling() -> Snapshot {
    let inventory = six();
    let mut view = all_up(&inventory);
    let spill = Spill {
        to: 1,
        permille: 500,
    };
    view.flows = vec![
        Flow {
            reserve: false,
            spill: vec![spill],
        },
        Flow::default(),
    ];
    Snapshot::compile(&inventory, &view, 42)
}

#[test]
fn both_lanes_of_a_client_that_spills_go_to_one_region_and_share_no_vendor() {
    let (snapshot, mut spilled) = (spilling(), 0);
    for draw in 0..1000 {
        let owners = owners(&label(draw, Some("eu"), &[]));
        let [a, b] = owners.map(|owner| relays(&ask(&snapshot, &owner, RecordType::A, US)));
        let far = a.iter().all(|host| *host > 20);
        assert!(
            a.iter().chain(&b).all(|host| (*host > 20) == far),
            "{a:?} {b:?}"
        );
        // The last digit tells the vendor.
        assert!(
            a.iter().all(|x| b.iter().all(|y| x % 10 != y % 10)),
            "{a:?} {b:?}"
        );
        spilled += u32::from(far);
    }
    assert!((440..=560).contains(&spilled), "{spilled}");
}

/// Six relays of which the first two have no TLS that works, and the third no TCP.
fn with_broken_paths() -> Snapshot {
    let inventory = six();
    let mut view = all_up(&inventory);
    let broken = |transport| Family::ALL.map(|family| Path { transport, family });
    for seat in &mut view.seats[..2] {
        seat.withdrawn = broken(paths::Transport::Tls).into_iter().collect();
    }
    view.seats[2].withdrawn = broken(paths::Transport::Tcp).into_iter().collect();
    Snapshot::compile(&inventory, &view, 42)
}

#[test]
fn a_label_of_a_transport_leaves_out_the_relays_where_that_is_broken() {
    let snapshot = with_broken_paths();
    let mut named: [BTreeSet<u8>; 4] = Default::default();
    for draw in 0..200 {
        for (transport, named) in [None, Some(Udp), Some(Tcp), Some(Tls)]
            .into_iter()
            .zip(&mut named)
        {
            let label = Label {
                transport,
                ..label(draw, Some("eu"), &[])
            };
            for owner in owners(&label) {
                for record_type in [RecordType::A, RecordType::AAAA] {
                    named.extend(relays(&ask(&snapshot, &owner, record_type, US)));
                }
            }
        }
    }
    assert_eq!(
        named,
        [
            [11, 12, 13].into(),
            [11, 12, 13].into(),
            [11, 12].into(),
            [13].into(),
        ]
    );
    let [owner, _] = owners(&Label {
        transport: Some(Tls),
        ..label(1, None, &[])
    });
    let name = name(&owner);
    let query = Query {
        name: &name,
        record_type: RecordType::A,
        class: DNSClass::IN,
        client: EU.parse().unwrap(),
        subnet: None,
        dnssec_ok: false,
    };
    let trace = trace(&snapshot, &keys(), NOW, &query);
    assert_eq!(
        trace.steering.unwrap().transport,
        Some(paths::Transport::Tls)
    );
}

proptest! {
    /// Where every relay's every transport works, it makes no difference which one a label names.
    #[test]
    fn where_all_works_a_transport_changes_nothing(
        draw: u32,
        region in proptest::option::of(proptest::sample::select(vec!["eu", "us"])),
        avoided in proptest::collection::vec(11..14u8, 0..3),
        client in proptest::sample::select(vec![EU, US, "192.0.2.1"]),
    ) {
        let avoid: Vec<IpAddr> = avoided.iter().map(|host| [198, 51, 100, *host].into()).collect();
        let snapshot = snapshot();
        let label = label(draw, region, &avoid);
        for record_type in [RecordType::A, RecordType::AAAA] {
            let answers = |transport| owners(&Label { transport, ..label }).map(|owner| {
                let answer = ask(&snapshot, &owner, record_type, client);
                (addresses(&answer.answers), answer.answers[0].ttl, answer.scope)
            });
            let plain = answers(None);
            for transport in label::Transport::ALL {
                prop_assert_eq!(&answers(Some(transport)), &plain);
            }
        }
    }

    /// Whatever is broken, the lanes of one draw and one transport share no vendor while there are two.
    #[test]
    fn the_lanes_of_a_transport_share_no_vendor(draw: u32, broken in proptest::collection::vec(0..64u8, 6)) {
        let inventory = six();
        let mut view = all_up(&inventory);
        for (seat, bits) in view.seats.iter_mut().zip(&broken) {
            let paths = Path::all().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
            seat.withdrawn = paths.map(|(_, path)| path).collect();
        }
        let snapshot = Snapshot::compile(&inventory, &view, 1);
        for (transport, sealed) in paths::Transport::ALL.into_iter().zip(label::Transport::ALL) {
            for (family, record_type) in Family::ALL.into_iter().zip([RecordType::A, RecordType::AAAA]) {
                let works = view.seats[..3].iter().filter(|seat| seat.works(Path { transport, family }));
                if works.count() < 2 {
                    continue;
                }
                let label = Label { transport: Some(sealed), ..label(draw, Some("eu"), &[]) };
                let [a, b] = owners(&label).map(|owner| relays(&ask(&snapshot, &owner, record_type, US)));
                // The last digit tells the vendor.
                prop_assert!(a.iter().all(|x| b.iter().all(|y| x % 10 != y % 10)), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn relays_to_avoid_are_avoided_whenever_some_variant_allows(
        draw: u32,
        first in 0..8usize,
        second in proptest::option::of(0..8usize),
        answers in 1..3usize,
    ) {
        let relays: Vec<_> = (0..8u8)
            .map(|i| relay(
                &format!("r{i}"), "eu", &format!("z{i}"), &format!("v{}", i % 3), i + 1,
            ))
            .collect();
        let inventory = inventory(vec![region("eu", &[], &[])], relays);
        let policy = dnsd_core::inventory::Policy { answers, ..inventory.policy().clone() };
        let inventory = Inventory::new(
            inventory.zone().clone(), inventory.regions().to_vec(), inventory.relays().to_vec(),
            policy, inventory.thresholds().clone(),
        ).unwrap();
        let snapshot = Snapshot::compile(&inventory, &all_up(&inventory), 1);
        let avoid: Vec<usize> = [Some(first), second].into_iter().flatten().collect();
        let address = |i: &usize| inventory.relays()[*i].addresses().nth(*i % 2).unwrap();
        let addresses: Vec<IpAddr> = avoid.iter().map(address).collect();
        let owners = owners(&label(draw, None, &addresses));
        let named: Vec<usize> = owners.iter().flat_map(|owner| {
            [RecordType::A, RecordType::AAAA].map(|t| common::asking::relays(&ask(&snapshot, owner, t, EU)))
        }).flatten().map(|host| usize::from(host) - 1).collect();
        let (_, plan) = snapshot.plans().next().unwrap();
        let hits = |relays: &[usize]| relays.iter().filter(|r| avoid.contains(*r)).count();
        let least = plan.variants.iter().map(|variant| {
            let both = variant.lanes.iter().flat_map(dnsd_core::steer::Choice::relays);
            hits(&both.map(usize::from).collect::<Vec<_>>())
        }).min().unwrap();
        if least == 0 {
            prop_assert_eq!(hits(&named), 0);
        }
        // Both lanes were answered from one variant: they still share no vendor.
        let vendors = |lane: usize| -> BTreeSet<usize> {
            [RecordType::A, RecordType::AAAA].iter()
                .flat_map(|t| common::asking::relays(&ask(&snapshot, &owners[lane], *t, EU)))
                .map(|host| (usize::from(host) - 1) % 3).collect()
        };
        prop_assert!(vendors(0).is_disjoint(&vendors(1)));
    }
}

#[test]
fn the_only_relay_of_its_zone_is_avoided_in_both_lanes() {
    let relays = vec![
        relay("r0", "eu", "z0", "v0", 1),
        relay("r1", "eu", "z0", "v1", 2),
        relay("r2", "eu", "z1", "v2", 3),
    ];
    let inventory = inventory(vec![region("eu", &[], &[])], relays);
    let snapshot = Snapshot::compile(&inventory, &all_up(&inventory), 1);
    let first =
        |owner: &String| [RecordType::A, RecordType::AAAA].map(|t| relays_of(&snapshot, owner, t));
    for draw in 0..200 {
        let lone = inventory.relays()[2].addresses().next().unwrap();
        let [a, b] = owners(&label(draw, None, &[lone])).each_ref().map(first);
        for family in 0..2 {
            // Lane and lane, on the two vendors that are left.
            let named: BTreeSet<u8> = a[family].iter().chain(&b[family]).copied().collect();
            assert_eq!(named, BTreeSet::from([1, 2]), "{a:?} {b:?}");
            assert_eq!((a[family].len(), b[family].len()), (1, 1));
        }
    }
    // A client that avoids one of two vendors' relays would be left with one vendor: rather both.
    let two = common::inventory(
        vec![region("eu", &[], &[])],
        vec![
            relay("r0", "eu", "z0", "v0", 1),
            relay("r1", "eu", "z1", "v1", 2),
            relay("r2", "eu", "z2", "v1", 3),
        ],
    );
    let snapshot = Snapshot::compile(&two, &all_up(&two), 1);
    let avoided = two.relays()[0].addresses().next().unwrap();
    let lanes = owners(&label(1, None, &[avoided]));
    let vendors = lanes.each_ref().map(|owner| {
        let named = relays_of(&snapshot, owner, RecordType::A);
        named.iter().map(|host| *host > 1).collect::<BTreeSet<_>>()
    });
    assert!(vendors[0].is_disjoint(&vendors[1]), "{vendors:?}");
}

fn relays_of(snapshot: &Snapshot, owner: &str, record_type: RecordType) -> Vec<u8> {
    relays(&ask(snapshot, owner, record_type, EU))
}

#[test]
fn trace_tells_what_answer_does() {
    let inventory = six();
    let mut view = all_up(&inventory);
    for seat in &mut view.seats[..3] {
        *seat = Seat {
            doubt: true,
            ..Seat::new(Standing::Down)
        };
    }
    let snapshot = Snapshot::compile(&inventory, &view, 7);
    let [owner, _] = owners(&label(9, Some("eu"), &["198.51.100.21".parse().unwrap()]));
    let name = name(&owner);
    let query = Query {
        name: &name,
        record_type: RecordType::A,
        class: DNSClass::IN,
        client: US.parse().unwrap(),
        subnet: None,
        dnssec_ok: false,
    };
    let answer = answer(&snapshot, &keys(), NOW, &query);
    let trace = trace(&snapshot, &keys(), NOW, &query);
    assert_eq!(
        (trace.owner.as_str(), trace.label),
        ("label in lane a", LabelUse::Opened)
    );
    let steering = trace.steering.clone().unwrap();
    assert_eq!(
        (steering.region.as_str(), steering.served_by.as_str()),
        ("eu", "us")
    );
    assert_eq!((steering.region_by, steering.ttl), (RegionBy::Label, 5));
    assert_eq!(steering.avoid, ["nyc-1"]);
    assert_eq!(steering.addresses, addresses(&answer.answers));
    let json = serde_json::to_value(&trace).unwrap();
    assert_eq!(json["steering"]["tier"], "healthy");
    assert_eq!(json["serial"], 7);
}
