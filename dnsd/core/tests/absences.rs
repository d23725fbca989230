//! Why a relay is not in an answer: exactly one reason each, and without it, it passes that step.
#![allow(clippy::unwrap_used)]

mod common;

use common::asking::{NOW, keys};
use common::name;
use common::shapes::{Shape, build, shape};
use credentials::UnixTime;
use credentials::label::{Label, Lane, Tag};
use dnsd_core::answer::{Query, trace};
use dnsd_core::explain::{RelayTrace, SteeringTrace};
use dnsd_core::inventory::{Inventory, Policy};
use dnsd_core::paths::{Family, Path, PathSet, Transport};
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::{Absence, Flow, Spill, Standing, View};
use hickory_proto::rr::{DNSClass, RecordType};
use proptest::prelude::*;

/// What is asked, and by whom.
#[derive(Clone, Debug)]
struct Ask {
    owner: String,
    kind: RecordType,
    client: u32,
}

fn asks() -> impl Strategy<Value = Ask> {
    let owners = [
        "", "a.", "b.", "tls.", "tls.a.", "udp.b.", "tcp.", "r0.", "r1.", "r2.", "api.",
    ];
    let kinds = [RecordType::A, RecordType::AAAA];
    (0..owners.len(), 0..kinds.len(), any::<u32>()).prop_map(move |(owner, kind, client)| Ask {
        owner: format!("{}turn.example.", owners[owner]),
        kind: kinds[kind],
        client,
    })
}

fn steering(inventory: &Inventory, view: &View, ask: &Ask) -> SteeringTrace {
    let snapshot = Snapshot::compile(inventory, view, 1);
    let name = name(&ask.owner);
    let query = Query {
        name: &name,
        record_type: ask.kind,
        class: DNSClass::IN,
        client: std::net::Ipv4Addr::from_bits(ask.client).into(),
        subnet: None,
        dnssec_ok: false,
    };
    trace(&snapshot, &keys(), NOW, &query).steering.unwrap()
}

fn absence(inventory: &Inventory, view: &View, ask: &Ask, relay: usize) -> Option<Absence> {
    steering(inventory, view, ask).relays[relay].absence
}

/// Some paths withdrawn or not served, some people's decisions, some regions that overflow.
fn disturb(view: &mut View, paths: &[u8], flows: u8) {
    for (seat, bits) in view.seats.iter_mut().zip(paths) {
        let some = |bits: u8| -> PathSet {
            let paths = Path::all().zip(0..);
            let there = paths.filter(|(path, _)| bits & 1 << (path.transport as u8) != 0);
            there.map(|(path, _)| path).collect()
        };
        seat.served = some(bits | 1);
        seat.withdrawn = some(bits >> 3 & bits);
        seat.forced = bits & 0x40 != 0;
    }
    view.flows = (0..3)
        .map(|region| Flow {
            reserve: flows >> region & 1 != 0,
            spill: (1..3)
                .filter(|_| flows >> (region + 3) & 1 != 0)
                .map(|next| Spill {
                    to: (region + next) % 3,
                    permille: 600,
                })
                .collect(),
        })
        .collect();
}

/// Makes a relay one that no step keeps out for how it stands.
fn heal(view: &mut View, relay: usize) {
    let newest = view.seats.iter().filter_map(|seat| seat.last_good).max();
    let seat = &mut view.seats[relay];
    seat.standing = Standing::Up;
    seat.gray = false;
    seat.last_good = newest.or_else(|| Some(common::start()));
}

/// Without its reason, a relay is in the answer or kept out by another one.
fn check(inventory: &Inventory, view: &View, ask: &Ask, relay: usize, reason: Absence) {
    let mut view = view.clone();
    let home = inventory.home(relay);
    let mut ask = ask.clone();
    let mut inventory = inventory.clone();
    match reason {
        Absence::Down
        | Absence::ForcedDown
        | Absence::Leaving
        | Absence::Full
        | Absence::Unknown => {
            heal(&mut view, relay);
        }
        Absence::Suspect => heal(&mut view, relay),
        Absence::Withdrawn => view.seats[relay].withdrawn = PathSet::NONE,
        Absence::NotServed => view.seats[relay].served = PathSet::ALL,
        Absence::Standby => view.flows[home].reserve = true,
        Absence::Spilled => view.flows.iter_mut().for_each(|flow| flow.spill.clear()),
        Absence::OtherRegion => {
            for other in 0..inventory.relays().len() {
                if inventory.home(other) != home {
                    view.seats[other].standing = Standing::Down;
                    view.seats[other].last_good = None;
                }
            }
            heal(&mut view, relay);
        }
        Absence::OtherLane => {
            let (from, to) = if ask.owner.contains("a.turn") {
                ("a.turn", "b.turn")
            } else {
                ("b.turn", "a.turn")
            };
            ask.owner = ask.owner.replace(from, to);
        }
        Absence::LowerRank if ask.owner == "turn.example." => {
            let policy = Policy {
                answers: 8,
                ..inventory.policy().clone()
            };
            let (zone, regions) = (inventory.zone().clone(), inventory.regions().to_vec());
            let (relays, t) = (inventory.relays().to_vec(), inventory.thresholds().clone());
            inventory = Inventory::new(zone, regions, relays, policy, t).unwrap();
            let found = absence(&inventory, &view, &ask, relay);
            assert_eq!(found, None, "eight relays, and room for as many");
            return;
        }
        Absence::OutOfReach
        | Absence::NoAddress
        | Absence::Avoided
        | Absence::OtherLaneInZone
        | Absence::LowerRank => return,
    }
    let found = absence(&inventory, &view, &ask, relay);
    assert_ne!(found, Some(reason), "{ask:?} {relay}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn each_relay_is_answered_or_has_one_reason_and_passes_without_it(
        shapes in proptest::collection::vec(shape(false, false), 1..8),
        paths in proptest::collection::vec(any::<u8>(), 8),
        flows in any::<u8>(),
        answers in 1..3usize,
        ask in asks(),
    ) {
        let shapes: Vec<Shape> = shapes;
        let (inventory, mut view) = build(&shapes, answers);
        disturb(&mut view, &paths, flows);
        let steering = steering(&inventory, &view, &ask);
        prop_assert_eq!(steering.relays.len(), inventory.relays().len());
        for (relay, trace) in steering.relays.iter().enumerate() {
            let entry = &inventory.relays()[relay];
            let family = if ask.kind == RecordType::A { Family::Ipv4 } else { Family::Ipv6 };
            let own = entry.address(Path { transport: Transport::Udp, family });
            let place = own.and_then(|own| steering.addresses.iter().position(|at| *at == own.ip()));
            prop_assert_eq!(trace.place, place.map(|place| place + 1));
            prop_assert_eq!(trace.place.is_some(), trace.absence.is_none());
            prop_assert_eq!(trace.why.is_some(), trace.absence.is_some());
            if let Some(reason) = trace.absence {
                check(&inventory, &view, &ask, relay, reason);
            }
        }
    }
}

fn reasons(steering: &SteeringTrace) -> Vec<(&str, Option<Absence>)> {
    let relays = steering.relays.iter();
    relays
        .map(|RelayTrace { relay, absence, .. }| (relay.as_str(), *absence))
        .collect()
}

#[test]
fn the_plain_cases_are_told_as_anybody_would_expect() {
    let inventory = common::six();
    let mut view = common::asking::all_up(&inventory);
    let eu = u32::from(std::net::Ipv4Addr::new(127, 0, 1, 77));
    let ask = |owner: &str| Ask {
        owner: owner.to_owned(),
        kind: RecordType::A,
        client: eu,
    };
    view.seats[0].standing = Standing::Down;
    view.seats[1].standing = Standing::Down;
    view.seats[1].forced = true;
    let told = steering(&inventory, &view, &ask("turn.example."));
    assert_eq!(
        reasons(&told),
        [
            ("fra-1", Some(Absence::Down)),
            ("ams-1", Some(Absence::ForcedDown)),
            ("par-1", None),
            ("nyc-1", Some(Absence::OtherRegion)),
            ("iad-1", Some(Absence::OtherRegion)),
            ("ord-1", Some(Absence::OtherRegion)),
        ]
    );
    // Its UDP works, and only its TLS does not.
    view = common::asking::all_up(&inventory);
    let tls = Path {
        transport: Transport::Tls,
        family: Family::Ipv4,
    };
    view.seats[2].withdrawn = [tls].into_iter().collect();
    let told = steering(&inventory, &view, &ask("tls.turn.example."));
    assert_eq!(told.relays[2].absence, Some(Absence::Withdrawn));
    let told = steering(&inventory, &view, &ask("turn.example."));
    assert_ne!(told.relays[2].absence, Some(Absence::Withdrawn));
}

#[test]
fn what_a_label_leads_around_is_told() {
    let inventory = common::six();
    let view = common::asking::all_up(&inventory);
    let avoided = inventory.relays()[0].addresses().next().unwrap();
    for draw in 0..50 {
        let label = Label {
            draw,
            region: Some(Tag::of_name("eu")),
            avoid: [Some(Tag::of_addr(avoided)), None],
            tenant: None,
            transport: None,
            expires: UnixTime(NOW.0 + 60),
        };
        for lane in [Lane::A, Lane::B] {
            let sealed = keys().seal(&label, lane);
            let owner = format!("{}.{}.turn.example.", sealed, lane.as_str());
            let told = steering(
                &inventory,
                &view,
                &Ask {
                    owner,
                    kind: RecordType::A,
                    client: 7,
                },
            );
            assert_eq!(told.relays[0].absence, Some(Absence::Avoided));
            assert_eq!(told.avoid, ["fra-1"]);
        }
    }
}
