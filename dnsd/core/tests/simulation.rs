//! Nameservers that exchange votes in a world where everything goes wrong, from a seed: whatever
//! happens, nothing is answered empty, nothing healthy is taken out while a quorum sees it,
//! nothing dead stays, generations rise, and in the end all agree.
//!
//! `SIMULATION_SEEDS=2000` runs that many; `SIMULATION_SEED=7` runs one again.
#![allow(clippy::unwrap_used)]

mod common;
mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sim::Sim;

/// Seeds of an ordinary run.
const SEEDS: u64 = 5;
/// Seconds without trouble, with trouble, and until all must be well again: the longest hold, and
/// a while.
const QUIET: u64 = 60;
const TROUBLE: u64 = 240;
const CALM: u64 = 400;
/// Every so many seconds it is looked whether it is.
const LOOK: u64 = 10;
/// Seeds that have found something once.
const FOUND: [u64; 0] = [];

#[derive(Default)]
struct Sum {
    seconds: u64,
    events: u64,
    removals: u64,
    publications: u64,
    isolations: u64,
    took: Vec<u64>,
}

fn simulate(seed: u64, sum: &mut Sum) {
    let mut sim = Sim::new(seed);
    sim.run(QUIET);
    sim.plan(TROUBLE);
    sim.run(TROUBLE);
    sim.heal();
    let mut calm = 0;
    loop {
        sim.run(LOOK);
        calm += LOOK;
        let Some(dissent) = sim.dissent() else { break };
        assert!(calm < CALM, "{dissent}");
    }
    sum.seconds += QUIET + TROUBLE + calm;
    sum.events += sim.events;
    sum.removals += sim.truth.removals;
    sum.publications += sim.truth.publications;
    sum.isolations += sim.truth.isolations;
    sum.took.append(&mut sim.truth.took);
}

#[allow(
    clippy::disallowed_methods,
    reason = "which seeds to run is the tester's choice"
)]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the rate is measured by a real clock"
)]
fn whatever_happens() {
    let seeds: Vec<u64> = match number("SIMULATION_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SIMULATION_SEEDS").unwrap_or(SEEDS))
            .chain(FOUND)
            .collect(),
    };
    let began = std::time::Instant::now();
    let mut sum = Sum::default();
    let mut failed = Vec::new();
    for seed in &seeds {
        if catch_unwind(AssertUnwindSafe(|| simulate(*seed, &mut sum))).is_err() {
            println!("again: SIMULATION_SEED={seed} cargo test -p dnsd-core --test simulation");
            failed.push(*seed);
        }
    }
    let real = began.elapsed().as_secs_f64();
    let hours = Duration::from_secs(sum.seconds).as_secs_f64() / 3600.0;
    println!(
        "{} seeds, {hours:.1} simulated hours in {real:.1} s, {:.2} a second; {} events, {} removals, \
         {} publications, {} inputs in self-doubt",
        seeds.len(),
        hours / real,
        sum.events,
        sum.removals,
        sum.publications,
        sum.isolations,
    );
    sum.took.sort_unstable();
    let of = |part: usize| {
        sum.took
            .get(sum.took.len() * part / 100)
            .map(|us| us / 1000)
    };
    println!(
        "{} removals of what died in quiet times: median {:?} ms, 99th percentile {:?} ms",
        sum.took.len(),
        of(50),
        of(99),
    );
    assert!(failed.is_empty(), "seeds {failed:?}");
}
