//! Nameservers that exchange votes in a world where everything goes wrong, from a seed: whatever
//! happens, nothing is answered empty, nothing healthy is taken out while a quorum sees it,
//! nothing dead stays, clients land on relays that work, generations rise, and in the end all agree.
//!
//! `SIMULATION_SEEDS=2000` runs that many; `SIMULATION_SEED=7` runs one again.
#![allow(clippy::unwrap_used)]

mod common;
mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use dnsd_core::health::State;
use sim::queue::Random;
use sim::size::Size;
use sim::{Fate, Sim};

/// Seeds of an ordinary run.
const SEEDS: u64 = 20;
/// Seconds without trouble, with trouble, and until all must be well again: the longest hold, and
/// a while.
const QUIET: u64 = 60;
const TROUBLE: u64 = 240;
const CALM: u64 = 400;
/// The first two where there are hundreds of relays.
const QUIET_LARGE: u64 = 20;
const TROUBLE_LARGE: u64 = 60;
/// Every so many seconds it is looked whether it is.
const LOOK: u64 = 10;
/// Seeds that have found something once.
const FOUND: [u64; 2] = [246, 1632];

#[derive(Default)]
struct Sum {
    seconds: u64,
    events: u64,
    relays: usize,
    nodes: usize,
    removals: u64,
    publications: u64,
    isolations: u64,
    took: Vec<u64>,
    calls: u64,
    failed: u64,
    judged: u64,
    dead: u64,
    landed: Vec<u64>,
}

fn simulate(seed: u64, sum: &Mutex<Sum>) {
    let mut sim = Sim::new(seed);
    let (quiet, trouble) = if sim.size.is_large() {
        (QUIET_LARGE, TROUBLE_LARGE)
    } else {
        (QUIET, TROUBLE)
    };
    sim.run(quiet);
    sim.plan(trouble);
    sim.run(trouble);
    sim.heal();
    let mut calm = 0;
    loop {
        sim.run(LOOK);
        calm += LOOK;
        let Some(dissent) = sim.dissent() else { break };
        assert!(calm < CALM, "{dissent}");
    }
    let mut sum = sum.lock().unwrap();
    sum.seconds += quiet + trouble + calm;
    sum.events += sim.events;
    sum.relays = sum.relays.max(sim.size.relays);
    sum.nodes = sum.nodes.max(sim.size.nodes);
    sum.removals += sim.truth.removals;
    sum.publications += sim.truth.publications;
    sum.isolations += sim.truth.isolations;
    sum.took.append(&mut sim.truth.took);
    sum.calls += sim.crowd.calls;
    sum.failed += sim.crowd.failed;
    sum.judged += sim.truth.judged;
    sum.dead += sim.truth.dead;
    sum.landed.append(&mut sim.crowd.took);
}

#[allow(
    clippy::disallowed_methods,
    reason = "which seeds to run is the tester's choice"
)]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The value below which so many percent of `sorted` lie, in milliseconds.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).map_or(0, |us| us / 1000)
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
    let (sum, failed, next) = (
        Mutex::default(),
        Mutex::new(Vec::new()),
        AtomicUsize::new(0),
    );
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            if catch_unwind(AssertUnwindSafe(|| simulate(*seed, &sum))).is_err() {
                println!("again: SIMULATION_SEED={seed} cargo test -p dnsd-core --test simulation");
                failed.lock().unwrap().push(*seed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let real = began.elapsed().as_secs_f64();
    let mut sum: Sum = sum.into_inner().unwrap();
    let hours = Duration::from_secs(sum.seconds).as_secs_f64() / 3600.0;
    println!(
        "{} seeds, {hours:.1} simulated hours in {real:.1} s, {:.2} a second; up to {} relays and {} \
         nameservers; {} events, {} removals, {} publications, {} inputs in self-doubt",
        seeds.len(),
        hours / real,
        sum.relays,
        sum.nodes,
        sum.events,
        sum.removals,
        sum.publications,
        sum.isolations,
    );
    sum.took.sort_unstable();
    sum.landed.sort_unstable();
    for (what, times) in [
        ("removals of what died in quiet times", &sum.took),
        ("restarts of clients, from media to media", &sum.landed),
    ] {
        let (median, late) = (percentile(times, 50), percentile(times, 99));
        let count = times.len();
        println!("{count} {what}: median {median} ms, 99th percentile {late} ms");
    }
    println!(
        "{} calls begun; {} attempts found no relay; {} were in times when they had to find one; {} \
         looks for the dead",
        sum.calls, sum.failed, sum.judged, sum.dead
    );
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "seeds {failed:?}");
}

/// A world of three nameservers and six relays, all up.
fn settled(seed: u64) -> Sim {
    let size = Size {
        relays: 6,
        nodes: 3,
        clients: 100,
    };
    let mut sim = Sim::sized(size, Random(seed));
    sim.run(QUIET);
    sim
}

#[test]
fn in_a_day_of_loss_and_jitter_nobody_is_taken_out() {
    let mut sim = settled(1);
    sim.network.loss = 50;
    sim.network.jitter = 300_000;
    sim.run(24 * 3600);
    let doubts = sim.truth.publications;
    println!(
        "a day at 5 % loss and 300 ms jitter: {doubts} publications, {} calls",
        sim.crowd.calls
    );
    assert_eq!(sim.truth.removals, 0);
    assert_eq!(sim.crowd.failed, 0);
}

#[test]
fn a_flapper_changes_the_answers_at_most_twice_in_ten_minutes() {
    let window = 600;
    for seed in 1..20 {
        let mut sim = settled(seed);
        // When it went out or came back, per nameserver.
        let mut turns = [const { Vec::new() }; 3];
        let mut out = [false; 3];
        let began = sim.queue.now();
        while sim.queue.now() < began + 3600 * 1_000_000 {
            for fate in [Fate::Killed, Fate::Alive] {
                sim.befall(0, fate);
                for _ in 0..=sim.random.below(28) {
                    sim.run(1);
                    for (node, turns) in turns.iter_mut().enumerate() {
                        let is_out = sim.nodes[node].states[0] == State::Down;
                        if is_out != std::mem::replace(&mut out[node], is_out) {
                            turns.push((sim.queue.now() - began) / 1_000_000);
                        }
                    }
                }
            }
        }
        for turns in turns {
            // After it was found out for the first time.
            let turns = &turns[1..];
            let most = turns.iter().map(|from| {
                turns
                    .iter()
                    .filter(|at| (*from..*from + window).contains(at))
                    .count()
            });
            let most = most.max().unwrap_or(0);
            assert!(most <= 2, "seed {seed}: {turns:?}");
        }
    }
}
