//! Our relay measured beside coturn, webrtc-rs and the least that forwarding can cost, in rounds that
//! alternate between them.
//!
//! Servers run on one core and the generator on another. The number to look at is CPU time per relayed
//! packet, which holds also where the generator is the slower one; and of it the ratio to another
//! server in the same round, which holds on any machine.

pub mod cases;
pub mod record;
pub mod server;
pub mod stats;
pub mod subjects;
pub mod table;
pub mod targets;

use std::{
    io,
    path::PathBuf,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use cases::{Case, Pace};
use record::{CPU, RATE, Record, Records};
use server::{Bench, hold};
use stats::Spread;
use subjects::Subject;

/// How long locks are held before others have their turn: until the case then running is over.
const AT_A_TIME: Duration = Duration::from_secs(30);

/// What is run how often.
#[derive(Debug)]
pub struct Schedule {
    /// The cases, in order.
    pub cases: Vec<Case>,
    /// The subjects, whose order is turned by one each round.
    pub subjects: Vec<Subject>,
    /// How often everything is run.
    pub rounds: u32,
    /// Where all runs are written after each case.
    pub json: Option<PathBuf>,
    /// Files whose locks are held while anything is measured, in the order they are taken.
    pub locks: Vec<PathBuf>,
}

/// Runs everything, adding to `records`; ends early, without an error, when it is told to stop.
///
/// # Errors
/// When results cannot be written or the lock cannot be had.
pub fn run(bench: &Bench, schedule: &Schedule, records: &mut Records) -> io::Result<()> {
    let before = records.last_round();
    let (mut held, mut held_since) = (hold(&schedule.locks)?, Instant::now());
    for round in 1..=schedule.rounds {
        for case in &schedule.cases {
            if held_since.elapsed() > AT_A_TIME {
                // In this order: what waits for them has its turn in between.
                drop(held);
                held = hold(&schedule.locks)?;
                held_since = Instant::now();
            }
            let mut subjects: Vec<_> = schedule.subjects.iter().collect();
            if !subjects.is_empty() {
                let turn = (round - 1) as usize % subjects.len();
                subjects.rotate_left(turn);
            }
            for subject in subjects.iter().filter(|one| case.who.contains(&one.kind)) {
                let rate = rate(case, subject, records);
                let outcome = rate.and_then(|rate| bench.run(case, subject, rate));
                if bench.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let (name, at) = (&subject.name, format!("{round}/{}", schedule.rounds));
                match outcome {
                    Ok(load) => {
                        let record = Record::new(&case.name, name, before + round, load);
                        let cpu = record.number(CPU).unwrap_or_default();
                        eprintln!("{at} {:<24} {name:<10} {cpu:.2} us/packet", case.name);
                        records.push(record);
                    }
                    Err(why) => eprintln!("{at} {:<24} {name:<10} skipped: {why}", case.name),
                }
            }
            if let Some(file) = &schedule.json {
                records.write(file)?;
            }
        }
    }
    Ok(())
}

/// Packets per second of a client's side, where the case says it as a share of full load.
fn rate(case: &Case, subject: &Subject, records: &Records) -> Result<Option<u32>, String> {
    let Pace::Share(share, of) = &case.pace else {
        return Ok(None);
    };
    let full = records.rounds(of, &subject.name, RATE).into_values();
    let full = Spread::of(full).ok_or_else(|| format!("{of} was not measured"))?;
    // Each packet is relayed there and back.
    #[expect(clippy::cast_sign_loss, reason = "a share of packets counted")]
    let rate = (share * full.median / 2.0) as u32;
    Ok(Some(rate))
}
