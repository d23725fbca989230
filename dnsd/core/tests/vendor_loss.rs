//! One of three vendors is lost with all its relays while clients are in calls: what becomes of
//! those who were there, and of the relays that are left, by plain round-robin DNS and by ours.
#![allow(clippy::unwrap_used)]

mod common;
mod herd;
mod sim;

use std::thread;
use std::time::Duration;

use herd::{Fared, Herd, Setting};

/// Nine thousand clients; a third of them is at the vendor that is lost. The others have room for
/// all of them.
const ROOM: Setting = Setting {
    clients: [4500, 4500],
    capacity: 2000,
};
/// As many, and what is left of one region cannot hold its clients.
const TIGHT: Setting = Setting {
    clients: [5400, 3600],
    capacity: 1750,
};
/// What is left is nine tenths full with them.
const SCARCE: Setting = Setting {
    clients: [4500, 4500],
    capacity: 1650,
};
const SEEDS: u64 = 6;
/// How long it is looked on.
const SECONDS: u64 = 600;

/// Least, median and most, in words.
fn spread<T: Copy + PartialOrd + std::fmt::Display>(
    fared: &[Fared],
    of: impl Fn(&Fared) -> T,
) -> String {
    let mut all: Vec<T> = fared.iter().map(of).collect();
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let median = all[all.len() / 2];
    format!("{median:.1} ({:.1} to {:.1})", all[0], all[all.len() - 1])
}

fn seconds(ms: Option<u64>) -> f64 {
    ms.map_or(f64::INFINITY, |ms| Duration::from_millis(ms).as_secs_f64())
}

/// The same seeds either way.
fn lose(setting: Setting, steered: bool) -> Vec<Fared> {
    let all = |part: u64| {
        let seeds = (1..=SEEDS).filter(move |seed| seed % 2 == part);
        seeds.map(|seed| Herd::new(setting, steered, seed).lose_a_vendor(SECONDS))
    };
    let fared: Vec<Fared> = thread::scope(|scope| {
        let other = scope.spawn(|| all(1).collect::<Vec<_>>());
        let mut own: Vec<Fared> = all(0).collect();
        own.extend(other.join().unwrap());
        own
    });
    println!(
        "{}: lost {}; half again in {} s, 99 % in {} s; highest load of a relay {} %; 508 {}; \
         unanswered {}",
        if steered { "ours" } else { "round-robin" },
        spread(&fared, |one| one.lost),
        spread(&fared, |one| seconds(one.half)),
        spread(&fared, |one| seconds(one.nearly_all)),
        spread(&fared, |one| f64::from(one.highest) / 10.0),
        spread(&fared, |one| one.refused),
        spread(&fared, |one| one.unanswered),
    );
    fared
}

#[test]
fn whoever_was_at_a_lost_vendor_is_elsewhere_soon_and_nobody_is_overrun() {
    for (what, setting, roomy) in [
        ("with room", ROOM, true),
        ("with one region short of it", TIGHT, true),
        ("with a tenth to spare", SCARCE, false),
    ] {
        println!("{what}:");
        lose(setting, false);
        for one in lose(setting, true) {
            let full = one.highest >= 1000 || one.refused > 0;
            assert!(!(roomy && full), "a relay is full");
            // Of ten thousand allocations, when nearly all that there is is taken.
            assert!(one.refused < 100, "{} times refused", one.refused);
            let soon = one.nearly_all.is_some_and(|ms| ms < 12_000);
            assert!(soon, "{:?} ms", one.nearly_all);
        }
    }
}
