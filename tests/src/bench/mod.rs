//! Our relay measured beside coturn, webrtc-rs and the least that forwarding can cost, in rounds that
//! alternate between them.
//!
//! Servers run on one core and the generator on another. The number to look at is CPU time per relayed
//! packet, which holds also where the generator is the slower one; and of it the ratio to another
//! server in the same round, which holds on any machine.

pub mod cases;
pub mod kinds;
pub mod record;
pub mod server;
pub mod stats;
pub mod subjects;
pub mod table;
pub mod targets;

use std::{io, path::PathBuf, sync::atomic::Ordering};

use cases::{Case, Pace};
use record::{CPU, GENERATOR_SHARE, RATE, Record, Records, SENT, SERVER_SHARE, SKIPPED, WAITED};
use server::Bench;
use stats::Spread;
use subjects::Subject;

/// How often a run is made at most, as long as it is disturbed.
const TRIES: u32 = 3;
/// The share of a core in percent that is all of it.
const BUSY: f64 = 85.0;
/// For how much of the time they may have waited for a core that somebody else had, in percent: under full
/// load the kernel alone takes it from them for some 4 %.
const WAITED_AT_MOST: f64 = 10.0;
/// The share of what was owed that a generator has to have sent.
const SENT_AT_LEAST: f64 = 0.99;

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
}

/// Runs everything, adding to `records`; ends early, without an error, when it is told to stop.
///
/// # Errors
/// When results cannot be written.
pub fn run(bench: &Bench, schedule: &Schedule, records: &mut Records) -> io::Result<()> {
    let before = records.last_round();
    for round in 1..=schedule.rounds {
        for case in &schedule.cases {
            let mut subjects: Vec<_> = schedule.subjects.iter().collect();
            if !subjects.is_empty() {
                let turn = (round - 1) as usize % subjects.len();
                subjects.rotate_left(turn);
            }
            for subject in subjects.iter().filter(|one| case.who.contains(&one.kind)) {
                let rate = rate(case, subject, records);
                let outcome = rate.and_then(|rate| measure(bench, case, subject, rate));
                if bench.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let (name, at) = (&subject.name, format!("{round}/{}", schedule.rounds));
                match outcome {
                    Ok(record) => {
                        let cpu = record.number(CPU).unwrap_or_default();
                        let note = if record.disturbed { ", disturbed" } else { "" };
                        eprintln!("{at} {:<24} {name:<10} {cpu:.2} us/packet{note}", case.name);
                        let round = before + round;
                        records.push(Record { round, ..record });
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

/// Runs a case until nothing disturbs it, or too often.
fn measure(
    bench: &Bench,
    case: &Case,
    subject: &Subject,
    rate: Option<u32>,
) -> Result<Record, String> {
    let mut tries = 0;
    loop {
        tries += 1;
        let load = bench.run(case, subject, rate)?;
        let record = Record::new(&case.name, &subject.name, 0, load);
        let disturbed = disturbed(case, &record);
        if tries == TRIES || !disturbed {
            return Ok(Record {
                tries,
                disturbed,
                ..record
            });
        }
    }
}

/// Whether something else had its hands on the machine: somebody had to wait for a core, or nobody was
/// busy though there was always work, or the generator did not come to send what it should.
fn disturbed(case: &Case, record: &Record) -> bool {
    let number = |pointer| record.number(pointer).unwrap_or_default();
    let shares = [SERVER_SHARE, GENERATOR_SHARE].map(number);
    let (skipped, sent) = (number(SKIPPED), number(SENT));
    let (idle, waited) = match case.workers {
        1 => (
            shares.iter().all(|share| *share < BUSY),
            number(WAITED) > WAITED_AT_MOST,
        ),
        // The second worker shares its core with the generator, for which both wait.
        _ => (shares.iter().sum::<f64>() < 2.0 * BUSY, false),
    };
    case.saturates() && idle || waited || sent < SENT_AT_LEAST * (sent + skipped)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_disturbed(case: &str, server: f64, generator: f64, skipped: u32) -> bool {
        let load = json!({
            "server": {"cpu": {"percent": server}},
            "generator": {"percent": generator},
            "up": {"sent": 1000},
            "skipped": skipped,
        });
        let case = cases::select(&[case.to_owned()]).unwrap().pop().unwrap();
        disturbed(&case, &Record::new(&case.name, "turnd", 1, load))
    }

    #[test]
    fn who_always_has_work_is_busy_unless_disturbed() {
        let full = "saturated-160-x100";
        assert!(!is_disturbed(full, 99.0, 70.0, 0));
        assert!(!is_disturbed(full, 70.0, 99.0, 0));
        assert!(is_disturbed(full, 84.0, 84.0, 0));
        assert!(!is_disturbed("workers-2", 100.0, 70.0, 0));
        assert!(is_disturbed("workers-2", 99.0, 70.0, 0));
        // With one train on its way they rest in turns.
        assert!(!is_disturbed("coalesced-x1", 50.0, 50.0, 0));
        assert!(!is_disturbed("paced", 30.0, 40.0, 0));
    }

    #[test]
    fn nobody_waits_for_a_core_of_its_own_unless_disturbed() {
        let is_disturbed = |case: &str, waited: f64| {
            let case = cases::select(&[case.to_owned()]).unwrap().pop().unwrap();
            let load = json!({"waited_percent": waited, "generator": {"percent": 190.0}});
            disturbed(&case, &Record::new(&case.name, "turnd", 1, load))
        };
        assert!(!is_disturbed("paced", 9.0));
        assert!(is_disturbed("paced", 11.0));
        assert!(!is_disturbed("workers-2", 60.0));
    }

    #[test]
    fn a_generator_sends_what_is_owed_unless_disturbed() {
        assert!(!is_disturbed("paced", 30.0, 40.0, 10));
        assert!(is_disturbed("paced", 30.0, 40.0, 11));
    }
}
