//! The tables: what everybody costs, how each got there, and which targets are met.

use std::fmt::Write as _;

use super::{
    cases::{self, Case},
    record::{
        ALLOCATIONS, CPU, CPU_PER_ALLOCATION, CPU_PER_BYTE, GENERATOR_SHARE, LOSS, MEMORY, P50,
        P99, RATE, Records, SERVER_SHARE, USUAL_P99,
    },
    stats::{Spread, paired},
    targets::{self, OURS},
};

/// Stands where nothing was measured.
const NONE: &str = "-";

/// All tables of what was measured of `subjects`, in this order.
pub fn all(records: &Records, subjects: &[String]) -> String {
    let cases: Vec<Case> = cases::all();
    let cases: Vec<&Case> = cases
        .iter()
        .filter(|case| records.has_case(&case.name))
        .collect();
    let subjects: Vec<&str> = subjects
        .iter()
        .map(String::as_str)
        .filter(|subject| records.has_subject(subject))
        .collect();
    let mut text = String::new();
    for (title, rows) in [
        (
            "CPU time of the server per relayed packet in us: medians, and ratios of the same round",
            costs(records, &cases, &subjects),
        ),
        (
            "How they got there (medians; lost: the worst round in which the generator had time to spare; \
             again: runs made once more as something disturbed them, so often in vain, which \
             counts only where nothing else was seen; \
             usual p99: of each 0.1 s, the median)",
            details(records, &cases, &subjects),
        ),
        (
            "Allocations (of the kernel's memory nothing is counted)",
            allocations(records, &cases, &subjects),
        ),
        ("Targets", verdicts(records)),
    ] {
        if rows.len() > 1 {
            let _ = write!(text, "\n{title}\n{}", lines(&rows));
        }
    }
    text
}

fn costs(records: &Records, cases: &[&Case], subjects: &[&str]) -> Vec<Vec<String>> {
    let others: Vec<&str> = subjects
        .iter()
        .copied()
        .filter(|subject| *subject != OURS)
        .collect();
    let mut head = vec!["case".to_owned()];
    head.extend(subjects.iter().map(|subject| (*subject).to_owned()));
    head.extend(others.iter().map(|other| format!("{OURS}/{other}")));
    let row = |case: &&Case| {
        let mut row = vec![case.name.clone()];
        for subject in subjects {
            row.push(median(records.spread(&case.name, subject, CPU)));
        }
        for other in &others {
            let rounds = |subject| records.rounds(&case.name, subject, CPU);
            row.push(with_ends(paired(&rounds(OURS), &rounds(other), |a, b| {
                a / b
            })));
        }
        row
    };
    std::iter::once(head).chain(cases.iter().map(row)).collect()
}

fn details(records: &Records, cases: &[&Case], subjects: &[&str]) -> Vec<Vec<String>> {
    let head = [
        "case",
        "server",
        "packets/s",
        "lost %",
        "p50 us",
        "p99 us",
        "usual p99",
        "server %",
        "generator %",
        "ns/byte",
        "again",
    ];
    let mut rows = vec![head.map(str::to_owned).into()];
    for case in cases {
        for subject in subjects {
            let of = |pointer| records.spread(&case.name, subject, pointer);
            let Some(rate) = of(RATE) else { continue };
            let whole = |spread: Option<Spread>| {
                spread.map_or_else(|| NONE.to_owned(), |spread| format!("{:.0}", spread.median))
            };
            let lost = of(LOSS).map(|lost| format!("{:.3}", lost.most));
            rows.push(vec![
                case.name.clone(),
                (*subject).to_owned(),
                whole(Some(rate)),
                lost.unwrap_or_else(|| NONE.to_owned()),
                whole(of(P50)),
                whole(of(P99)),
                whole(of(USUAL_P99)),
                whole(of(SERVER_SHARE)),
                whole(of(GENERATOR_SHARE)),
                median(of(CPU_PER_BYTE)),
                match records.disturbances(&case.name, subject) {
                    (0, _) => NONE.to_owned(),
                    (again, vain) => format!("{again} ({vain})"),
                },
            ]);
        }
    }
    rows
}

fn allocations(records: &Records, cases: &[&Case], subjects: &[&str]) -> Vec<Vec<String>> {
    let head = ["case", "server", "per second", "CPU us each", "bytes each"];
    let mut rows = vec![head.map(str::to_owned).into()];
    for case in cases.iter().filter(|case| case.opening.is_some()) {
        for subject in subjects {
            let of = |pointer| records.spread(&case.name, subject, pointer);
            if of(RATE).is_some() {
                let told = [ALLOCATIONS, CPU_PER_ALLOCATION, MEMORY];
                let mut row = vec![case.name.clone(), (*subject).to_owned()];
                row.extend(told.map(|pointer| median(of(pointer))));
                rows.push(row);
            }
        }
    }
    rows
}

fn verdicts(records: &Records) -> Vec<Vec<String>> {
    let head = ["target", "bound", "measured", ""];
    let mut rows = vec![head.map(str::to_owned).into()];
    for target in targets::all() {
        let verdict = target.judge(records);
        let word = match verdict {
            Some(verdict) if verdict.met => "met",
            Some(_) => "MISSED",
            None => "not measured",
        };
        let measured = with_ends(verdict.map(|verdict| verdict.spread));
        rows.push(vec![
            target.text.clone(),
            target.bound(),
            measured,
            word.to_owned(),
        ]);
    }
    rows
}

fn median(spread: Option<Spread>) -> String {
    spread.map_or_else(|| NONE.to_owned(), |spread| short(spread.median))
}

fn with_ends(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || NONE.to_owned(),
        |spread| {
            let [median, least, most] = [spread.median, spread.least, spread.most].map(short);
            format!("{median} ({least}-{most})")
        },
    )
}

/// Three digits or so.
fn short(number: f64) -> String {
    match number.abs() {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// Rows as lines, their first column to the left, the others to the right.
fn lines(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::record::Record, *};

    #[test]
    fn the_tables_tell_costs_ratios_and_verdicts() {
        let mut records = Records::default();
        for (round, factor) in [(1, 1.0), (2, 2.0), (3, 1.1)] {
            for (subject, cpu) in [("turnd", 2.0), ("coturn", 4.0)] {
                let load = json!({
                    "relayed_per_second": 1000.4,
                    "loss_percent": 0.0,
                    "server": {"cpu_us_per_packet": cpu * factor},
                });
                records.push(Record {
                    tries: round,
                    disturbed: round == 2,
                    ..Record::new("saturated-160-x1000", subject, round, load)
                });
            }
        }
        let names = ["turnd", "coturn", "absent"].map(str::to_owned);
        let text = all(&records, &names);
        let words = |start: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap();
            line.split_whitespace().map(str::to_owned).collect()
        };
        let row = ["saturated-160-x1000", "2.10", "4.20", "0.50", "(0.50-0.50)"];
        assert_eq!(words("saturated-160-x1000"), row, "{text}");
        let details = words("saturated-160-x1000  coturn");
        assert!(details.ends_with(&["3".into(), "(1)".into()]), "{text}");
        let verdict = words("saturated-160-x1000: CPU per packet / coturn");
        assert_eq!(verdict.last().unwrap(), "met", "{text}");
        let unknown = words("allocate: bytes");
        assert!(unknown.ends_with(&["not".into(), "measured".into()]));
        assert!(!text.contains("absent"));
    }
}
