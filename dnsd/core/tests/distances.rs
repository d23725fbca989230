//! The order of regions that lie somewhere: by great circles, as a table of airports has them.
#![allow(clippy::unwrap_used)]

mod common;

use common::asking::{all_up, ask, relays};
use common::{inventory, region, relay};
use dnsd_core::inventory::{Coordinates, Inventory, Region};
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::Standing;
use hickory_proto::rr::RecordType;
use proptest::prelude::*;

/// The great-circle distance by the haversine formula, in radii of the globe.
fn haversine(a: (f64, f64), b: (f64, f64)) -> f64 {
    let [(la, lo), (lb, lp)] = [a, b].map(|(lat, lon)| (lat.to_radians(), lon.to_radians()));
    let half = |angle: f64| (angle / 2.0).sin().powi(2);
    let h = half(lb - la) + la.cos() * lb.cos() * half(lp - lo);
    2.0 * h.clamp(0.0, 1.0).sqrt().asin()
}

/// Regions `r0`, `r1` and so on at these places, a relay in each.
fn placed(places: &[(f64, f64)]) -> Inventory {
    let names: Vec<String> = (0..places.len()).map(|index| format!("r{index}")).collect();
    let regions = names.iter().zip(places).map(|(name, (lat, lon))| Region {
        fallback: None,
        coordinates: Some(Coordinates::new(*lat, *lon).unwrap()),
        ..region(name, &[], &[])
    });
    let relays = names.iter().zip(1..).map(|(name, host)| {
        let (id, vendor) = (format!("x{name}"), format!("v{host}"));
        relay(&id, name, name, &vendor, host)
    });
    inventory(regions.collect(), relays.collect())
}

fn somewhere() -> impl Strategy<Value = (f64, f64)> {
    prop_oneof![
        (-90.0..=90.0, -180.0..=180.0),
        // Poles, and both sides of the date line.
        (
            prop_oneof![Just(-90.0), Just(0.0), Just(90.0)],
            -180.0..=180.0
        ),
        (-90.0..=90.0, prop_oneof![Just(-180.0), Just(180.0)]),
    ]
}

proptest! {
    #[test]
    fn the_nearest_come_first(places in prop::collection::vec(somewhere(), 1..9)) {
        let inventory = placed(&places);
        for own in 0..places.len() {
            let reach = inventory.reach(own);
            let mut all = reach.to_vec();
            all.sort_unstable();
            prop_assert_eq!(all, (0..places.len()).collect::<Vec<_>>());
            prop_assert_eq!(reach[0], own);
            let far = |region: &usize| haversine(places[own], places[*region]);
            let sorted = reach.windows(2).all(|pair| far(&pair[0]) <= far(&pair[1]) + 1e-7);
            prop_assert!(sorted, "{:?} from {:?}", reach, places[own]);
        }
    }
}

#[test]
fn cities_are_where_they_are() {
    let cities = [
        (50.1, 8.7),    // Frankfurt
        (51.5, -0.1),   // London
        (40.7, -74.0),  // New York
        (35.7, 139.7),  // Tokyo
        (-33.9, 151.2), // Sydney
        (61.2, -149.9), // Anchorage
    ];
    let inventory = placed(&cities);
    assert_eq!(inventory.reach(0), [0, 1, 2, 5, 3, 4]);
    // Over the Pacific, not the way that the map's edge makes long.
    assert_eq!(inventory.reach(5), [5, 2, 3, 1, 0, 4]);
}

#[test]
fn what_lies_in_one_place_keeps_the_order_of_the_file() {
    let inventory = placed(&[(10.0, 20.0), (0.0, 0.0), (10.0, 20.0), (10.0, 20.0)]);
    assert_eq!(inventory.reach(0), [0, 2, 3, 1]);
    assert_eq!(inventory.reach(3), [3, 0, 2, 1]);
}

#[test]
fn an_empty_list_is_isolation_but_never_an_empty_answer() {
    let places = [(50.1, 8.7), (51.5, -0.1)];
    let near = placed(&places);
    let mut regions = near.regions().to_vec();
    regions[0].fallback = Some(Vec::new());
    let alone = inventory(regions, near.relays().to_vec());
    for (inventory, serves) in [(&near, 2), (&alone, 1)] {
        let mut view = all_up(inventory);
        view.seats[0].standing = Standing::Down;
        view.seats[0].last_good = None;
        let snapshot = Snapshot::compile(inventory, &view, 1);
        let given = ask(&snapshot, "r0.turn.example.", RecordType::A, "192.0.2.1");
        assert_eq!(relays(&given), [serves]);
    }
}

#[test]
fn places_outside_the_globe_are_none() {
    for (latitude, longitude) in [
        (90.1, 0.0),
        (0.0, -180.5),
        (f64::NAN, 0.0),
        (0.0, f64::INFINITY),
    ] {
        assert!(Coordinates::new(latitude, longitude).is_err());
    }
}
