//! What was measured, run by run: kept in a file, found by case and subject.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::stats::{Rounds, Spread};

/// CPU time of the server per relayed packet, in microseconds.
pub const CPU: &str = "/server/cpu_us_per_packet";
/// CPU time of the server per byte of payload, in nanoseconds.
pub const CPU_PER_BYTE: &str = "/server/cpu_ns_per_byte";
/// The server's share of one core, in percent.
pub const SERVER_SHARE: &str = "/server/cpu/percent";
/// The generator's share of one core, in percent.
pub const GENERATOR_SHARE: &str = "/generator/percent";
/// Relayed packets per second, both directions together.
pub const RATE: &str = "/relayed_per_second";
/// CPU time of the server's busiest thread per relayed packet, in microseconds.
pub const BUSIEST: &str = "/server/busiest_us_per_packet";
/// How long server and generator were ready to run but had no core, in percent of the interval.
pub const WAITED: &str = "/waited_percent";
/// Packets that the schedule owed and the generator did not send.
pub const SKIPPED: &str = "/skipped";
/// Packets that clients sent.
pub const SENT: &str = "/up/sent";
/// Packets lost, in percent; of a run in which the generator had time to spare, as it loses some
/// itself otherwise.
pub const LOSS: &str = "/loss_percent";
/// Median round trip in microseconds.
pub const P50: &str = "/rtt_us/p50";
/// 99th percentile of the round trip in microseconds.
pub const P99: &str = "/rtt_us/p99";
/// The same of a usual tenth of a second.
pub const USUAL_P99: &str = "/rtt_us/usual_p99";
/// Memory that no file is behind, in bytes per idle allocation.
pub const MEMORY: &str = "/server/anon_per_allocation";
/// Allocations made per second.
pub const ALLOCATIONS: &str = "/allocate/per_second";
/// CPU time of the server for an allocation, in microseconds.
pub const CPU_PER_ALLOCATION: &str = "/allocate/cpu_us_per_allocation";

/// The generator's share of a core up to which it loses nothing itself, in percent.
const AT_EASE: f64 = 85.0;

/// One run of the generator against one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The case's name.
    pub case: String,
    /// The subject's name.
    pub subject: String,
    /// The round; ratios are taken within one.
    pub round: u32,
    /// What the generator printed.
    pub load: Value,
    /// How often it was run until this came of it.
    #[serde(default = "once")]
    pub tries: u32,
    /// Whether something else had its hands on the machine, in this last try, too.
    #[serde(default)]
    pub disturbed: bool,
}

const fn once() -> u32 {
    1
}

impl Record {
    /// A run with what the generator printed.
    pub fn new(case: &str, subject: &str, round: u32, load: Value) -> Self {
        Self {
            case: case.to_owned(),
            subject: subject.to_owned(),
            round,
            load,
            tries: once(),
            disturbed: false,
        }
    }

    /// The number at `pointer`, one of this module's constants, where it says something.
    pub fn number(&self, pointer: &str) -> Option<f64> {
        let number = |pointer| self.load.pointer(pointer)?.as_f64();
        if pointer == LOSS && number(GENERATOR_SHARE).is_some_and(|share| share > AT_EASE) {
            return None;
        }
        number(pointer)
    }
}

/// All runs.
#[derive(Debug, Clone, Default)]
pub struct Records(Vec<Record>);

impl Records {
    /// Adds a run.
    pub fn push(&mut self, record: Record) {
        self.0.push(record);
    }

    /// The number at `pointer` in each round of `subject` in `case`; of disturbed ones only where there
    /// are no others.
    pub fn rounds(&self, case: &str, subject: &str, pointer: &str) -> Rounds {
        let of = |record: &&Record| record.case == case && record.subject == subject;
        let numbers = self.0.iter().filter(of);
        let calm = numbers.clone().any(|record| !record.disturbed);
        numbers
            .filter(|record| !(calm && record.disturbed))
            .filter_map(|record| Some((record.round, record.number(pointer)?)))
            .collect()
    }

    /// Runs that were made once more, and those that are disturbed nevertheless, of `subject` in `case`.
    pub fn disturbances(&self, case: &str, subject: &str) -> (u32, usize) {
        let of = |record: &&Record| record.case == case && record.subject == subject;
        let records = self.0.iter().filter(of);
        let again = records.clone().map(|record| record.tries - 1).sum();
        (again, records.filter(|record| record.disturbed).count())
    }

    /// The same as median and ends.
    pub fn spread(&self, case: &str, subject: &str, pointer: &str) -> Option<Spread> {
        Spread::of(self.rounds(case, subject, pointer).into_values())
    }

    /// Whether `case` was run.
    pub fn has_case(&self, case: &str) -> bool {
        self.0.iter().any(|record| record.case == case)
    }

    /// Whether `subject` was run.
    pub fn has_subject(&self, subject: &str) -> bool {
        self.0.iter().any(|record| record.subject == subject)
    }

    /// The number of the last round, 0 where there is none.
    pub fn last_round(&self) -> u32 {
        let rounds = self.0.iter().map(|record| record.round);
        rounds.max().unwrap_or_default()
    }

    /// Adds the runs in `file`, as rounds of their own.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn read(&mut self, file: &Path) -> io::Result<()> {
        let before = self.last_round();
        let read: Vec<Record> = serde_json::from_str(&fs::read_to_string(file)?)?;
        self.0.extend(read.into_iter().map(|record| Record {
            round: before + record.round,
            ..record
        }));
        Ok(())
    }

    /// Writes all runs into `file`; what it held before is replaced at once.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        let new = PathBuf::from(format!("{}.new", file.display()));
        fs::write(&new, serde_json::to_string_pretty(&self.0)?)?;
        fs::rename(new, file)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(subject: &str, round: u32, cpu: f64) -> Record {
        let load = json!({"server": {"cpu_us_per_packet": cpu}});
        Record::new("case", subject, round, load)
    }

    #[test]
    fn numbers_are_found_by_case_and_subject() {
        let mut records = Records::default();
        for (round, cpu) in [(1, 2.0), (2, 4.0), (3, 3.0)] {
            records.push(record("ours", round, cpu));
            records.push(record("theirs", round, 10.0 * cpu));
        }
        let told = |subject| {
            let spread = records.spread("case", subject, CPU)?;
            Some([spread.median, spread.least, spread.most])
        };
        assert_eq!(told("ours"), Some([3.0, 2.0, 4.0]));
        assert_eq!(told("theirs"), Some([30.0, 20.0, 40.0]));
        assert_eq!(records.spread("other", "ours", CPU), None);
        assert_eq!(records.spread("case", "ours", LOSS), None);
    }

    #[test]
    fn what_was_disturbed_counts_where_nothing_else_was_seen() {
        let mut records = Records::default();
        for round in [1, 2, 3] {
            records.push(Record {
                disturbed: round != 2,
                ..record("ours", round, f64::from(round))
            });
            records.push(Record {
                disturbed: true,
                ..record("theirs", round, 10.0)
            });
        }
        let rounds = |subject| records.rounds("case", subject, CPU);
        assert_eq!(rounds("ours"), Rounds::from([(2, 2.0)]));
        assert_eq!(rounds("theirs").len(), 3);
        assert_eq!(records.disturbances("case", "ours"), (0, 2));
    }

    #[test]
    fn what_a_generator_without_time_to_spare_lost_is_not_told() {
        for (share, told) in [(84.0, Some(1.5)), (86.0, None)] {
            let load = json!({"loss_percent": 1.5, "generator": {"percent": share}});
            assert_eq!(Record::new("case", "ours", 1, load).number(LOSS), told);
        }
    }

    #[test]
    fn files_come_back_as_rounds_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("runs.json");
        let mut records = Records::default();
        records.push(record("ours", 1, 2.0));
        records.push(record("ours", 2, 4.0));
        records.write(&file).unwrap();
        records.read(&file).unwrap();
        let cpu = records.rounds("case", "ours", CPU);
        assert_eq!(cpu, Rounds::from([(1, 2.0), (2, 4.0), (3, 2.0), (4, 4.0)]));
    }
}
