//! What the relay is to reach, as numbers of one run, and whether it did.

use super::{
    cases::{PAYLOADS, alone, saturated},
    kinds::Kind,
    record::{
        ALLOCATIONS, BUSIEST, CPU, CPU_PER_ALLOCATION, CPU_PER_BYTE, LOSS, MEMORY, Records,
        USUAL_P99,
    },
    stats::{Spread, paired},
};

/// Our relay's name in the tables.
pub const OURS: &str = Kind::Turnd.name();
/// coturn's name.
pub const COTURN: &str = Kind::Coturn.name();
/// The name of the forwarder that the relay is held against.
pub const FLOOR: &str = Kind::Mmsg.name();

/// A number that is measured: of whom, in which case.
#[derive(Debug, Clone)]
struct Number {
    case: String,
    subject: &'static str,
    pointer: &'static str,
}

fn number(case: impl Into<String>, subject: &'static str, pointer: &'static str) -> Number {
    Number {
        case: case.into(),
        subject,
        pointer,
    }
}

/// What is compared with the bound.
#[derive(Debug, Clone)]
enum Measured {
    /// A number as it is.
    Plain(Number),
    /// The first over the second.
    Ratio(Number, Number),
    /// The first less the second.
    More(Number, Number),
}

/// How far it may go.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// One target.
#[derive(Debug, Clone)]
pub struct Target {
    /// What is measured, in words.
    pub text: String,
    measured: Measured,
    bound: Bound,
}

/// What came of a target.
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    /// Median and ends of what was measured.
    pub spread: Spread,
    /// Whether the median is within the bound.
    pub met: bool,
}

impl Target {
    /// The bound in words.
    pub fn bound(&self) -> String {
        match self.bound {
            Bound::AtMost(most) => format!("<= {most}"),
            Bound::AtLeast(least) => format!(">= {least}"),
        }
    }

    /// Judges by `records`; `None` where something is not measured.
    pub fn judge(&self, records: &Records) -> Option<Verdict> {
        let rounds = |number: &Number| records.rounds(&number.case, number.subject, number.pointer);
        let spread = match &self.measured {
            Measured::Plain(number) => Spread::of(rounds(number).into_values()),
            Measured::Ratio(a, b) => paired(&rounds(a), &rounds(b), |a, b| a / b),
            Measured::More(a, b) => paired(&rounds(a), &rounds(b), |a, b| a - b),
        }?;
        let met = match self.bound {
            Bound::AtMost(most) => spread.median <= most,
            Bound::AtLeast(least) => spread.median >= least,
        };
        Some(Verdict { spread, met })
    }
}

fn ratio(text: impl Into<String>, a: Number, b: Number, bound: Bound) -> Target {
    Target {
        text: text.into(),
        measured: Measured::Ratio(a, b),
        bound,
    }
}

fn plain(text: impl Into<String>, number: Number, bound: Bound) -> Target {
    Target {
        text: text.into(),
        measured: Measured::Plain(number),
        bound,
    }
}

/// Both subjects in one case, by CPU time per packet.
fn against(subject: &'static str, case: &str, most: f64) -> Target {
    ratio(
        format!("{case}: CPU per packet / {subject}"),
        number(case, OURS, CPU),
        number(case, subject, CPU),
        Bound::AtMost(most),
    )
}

/// Our relay in one case over the same in another, by CPU time per packet.
fn across(case: &str, other: &str, most: f64) -> Target {
    ratio(
        format!("{case} / {other}: CPU per packet"),
        number(case, OURS, CPU),
        number(other, OURS, CPU),
        Bound::AtMost(most),
    )
}

/// All targets.
pub fn all() -> Vec<Target> {
    let mut targets = Vec::new();
    for payload in PAYLOADS {
        let loads = [1, 10, 100, 1000].map(|allocations| saturated(payload, allocations));
        targets.extend(loads.iter().map(|case| against(FLOOR, case, 1.10)));
        let singly = [100, 1000].map(|allocations| alone(payload, allocations));
        targets.extend(singly.iter().map(|case| against(FLOOR, case, 1.10)));
        let many = [saturated(payload, 1000), alone(payload, 1000)];
        targets.extend(many.iter().map(|case| against(COTURN, case, 0.70)));
        let usual = saturated(payload, 100);
        targets.push(across(&format!("indications-{payload}"), &usual, 1.15));
        targets.push(across(&saturated(payload, 10_000), &usual, 1.15));
        let [few, many] = [100, 10_000].map(|allocations| alone(payload, allocations));
        targets.push(across(&many, &few, 1.15));
    }
    targets.push(across("sparse-x10000", "sparse-x100", 1.15));
    for case in [
        "coalesced-x1",
        "coalesced-1100-x1",
        "coalesced-x100",
        "coalesced-33ms",
        "coalesced-33ms-x100",
    ] {
        targets.push(against(COTURN, case, 0.30));
    }
    for case in ["trains-33ms", "trains-33ms-x100"] {
        targets.push(against(COTURN, case, 0.70));
    }
    let gathered = |pointer| number("paced-gather", OURS, pointer);
    targets.extend([
        ratio(
            "paced-gather: CPU per packet / coturn (paced)",
            gathered(CPU),
            number("paced", COTURN, CPU),
            Bound::AtMost(0.60),
        ),
        Target {
            text: "paced-gather: p99 of a usual 0.1 s more than paced, us".to_owned(),
            measured: Measured::More(gathered(USUAL_P99), number("paced", OURS, USUAL_P99)),
            bound: Bound::AtMost(500.0),
        },
        against(COTURN, "paced", 0.95),
        plain(
            "allocate: bytes per idle allocation",
            number("allocate", OURS, MEMORY),
            Bound::AtMost(4096.0),
        ),
        plain(
            "allocate: CPU per allocation, us",
            number("allocate", OURS, CPU_PER_ALLOCATION),
            Bound::AtMost(25.0),
        ),
        ratio(
            "allocate: CPU per allocation / coturn",
            number("allocate", OURS, CPU_PER_ALLOCATION),
            number("allocate", COTURN, CPU_PER_ALLOCATION),
            Bound::AtMost(0.35),
        ),
        ratio(
            "allocate: allocations per second / coturn",
            number("allocate", OURS, ALLOCATIONS),
            number("allocate", COTURN, ALLOCATIONS),
            Bound::AtLeast(4.0),
        ),
    ]);
    for case in ["below-saturation-160", "below-saturation-1100", "audio"] {
        targets.push(plain(
            format!("{case}: percent lost"),
            number(case, OURS, LOSS),
            Bound::AtMost(0.0),
        ));
    }
    // No core is left for a generator that fills two: what they would carry is told by the time that the
    // busier worker spends on a packet of all. It shows work that is done twice and an uneven spread.
    targets.push(ratio(
        "workers-2 / workers-1: packets, had each thread a core of its own",
        number("workers-1", OURS, BUSIEST),
        number("workers-2", OURS, BUSIEST),
        Bound::AtLeast(1.8),
    ));
    targets.push(ratio(
        "tls: CPU per byte / coturn",
        number("tls", OURS, CPU_PER_BYTE),
        number("tls", COTURN, CPU_PER_BYTE),
        Bound::AtMost(0.80),
    ));
    targets
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::cases, *};
    use crate::bench::record::Record;

    #[test]
    fn every_target_is_of_a_case_that_exists() {
        let cases: Vec<_> = cases::all().into_iter().map(|case| case.name).collect();
        for target in all() {
            let numbers = match &target.measured {
                Measured::Plain(number) => vec![number],
                Measured::Ratio(a, b) | Measured::More(a, b) => vec![a, b],
            };
            for number in numbers {
                assert!(cases.contains(&number.case), "{target:?}");
            }
        }
    }

    #[test]
    fn a_target_is_met_by_the_median_of_the_rounds() {
        let mut records = Records::default();
        let target = against(COTURN, "case", 0.70);
        assert!(target.judge(&records).is_none());
        for (round, ours) in [(1, 6.0), (2, 9.0), (3, 7.0)] {
            for (subject, cpu) in [(OURS, ours), (COTURN, 10.0)] {
                let load = json!({"server": {"cpu_us_per_packet": cpu}});
                records.push(Record::new("case", subject, round, load));
            }
        }
        let verdict = target.judge(&records).unwrap();
        let Spread {
            median,
            least,
            most,
        } = verdict.spread;
        assert!(verdict.met && (median, least, most) == (0.7, 0.6, 0.9));
        assert!(!against(COTURN, "case", 0.69).judge(&records).unwrap().met);
    }
}
