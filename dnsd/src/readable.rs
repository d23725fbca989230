//! The daemon's JSON made readable for people.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use settings::Errors;

/// Problems of a configuration file, for programs.
pub fn problems(path: &Path, errors: &Errors) -> Vec<Value> {
    let problems = errors.problems().iter().map(|problem| {
        // A file that could not be read has no places; its beginning stands for it.
        let (line, column) = errors.position(problem.span.start).unwrap_or((1, 1));
        json!({
            "file": path.display().to_string(),
            "line": line,
            "column": column,
            "what": problem.what,
            "expected": problem.expected,
            "write": problem.write,
            "help": problem.help,
        })
    });
    problems.collect()
}

/// `dnsd status`: a table.
pub fn status(value: &Value) -> String {
    let mut out = format!(
        "{}, answers {}\n\n",
        text(&value["node"]),
        text(&value["serial"])
    );
    let heads = [
        "RELAY", "VERDICT", "REASON", "FOR", "REGION", "ZONE", "VENDOR", "SESSIONS",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    for relay in value["relays"].as_array().into_iter().flatten() {
        rows.push([
            text(&relay["id"]),
            text(&relay["state"]),
            text(&relay["reason"]),
            relay["for_ms"].as_u64().map_or_else(String::new, ago),
            text(&relay["region"]),
            text(&relay["zone"]),
            text(&relay["vendor"]),
            text(&relay["report"]["sessions"]),
        ]);
    }
    table(&rows, &mut out);
    regions(&value["regions"], &mut out);
    if value["sharing"].is_object() {
        sharing(&value["sharing"], &mut out);
    }
    if value["geoip"].is_object() {
        let _ = writeln!(out, "\n{}", geoip(&value["geoip"]));
    }
    out
}

/// The database of places.
pub fn geoip(value: &Value) -> String {
    let path = text(&value["path"]);
    match (value["error"].as_str(), value["age_s"].as_u64()) {
        (Some(error), _) => format!("geoip: not used, {path} {error}"),
        (None, age) => format!(
            "geoip: {path}, a {} made {} ago, {} networks",
            text(&value["type"]),
            ago(age.unwrap_or_default().saturating_mul(1000)),
            text(&value["networks"]),
        ),
    }
}

/// How full each region is.
fn regions(value: &Value, out: &mut String) {
    out.push('\n');
    let heads = ["REGION", "FREE", "SPILLS", "RESERVE", "WANTS"];
    let mut rows = vec![heads.map(str::to_owned)];
    for region in value.as_array().into_iter().flatten() {
        let percent = |key: &str| {
            let permille = region[key].as_u64().unwrap_or_default();
            format!("{} %", permille / 10)
        };
        let serves = region["reserve"].as_bool() == Some(true);
        rows.push([
            text(&region["region"]),
            percent("free_permille"),
            percent("spilled_permille"),
            if serves { "serves" } else { "rests" }.to_owned(),
            format!("{} relays", text(&region["relays_wanted"])),
        ]);
    }
    table(&rows, out);
}

/// The generation of another nameserver's configuration, and whether it is that of this one.
fn configuration(own: &Value, theirs: &Value) -> String {
    let mark = if own == theirs { "" } else { " (differs)" };
    format!("{}{mark}", text(theirs))
}

/// The other nameservers, and what this one thinks of itself.
fn sharing(value: &Value, out: &mut String) {
    if let Some(cause) = value["isolated"].as_str() {
        let _ = writeln!(out, "\nisolated: too many {cause} fell silent at once");
    }
    let heads = [
        "OBSERVER", "COUNTS", "HEARD", "REGION", "VENDOR", "UP", "DOWN", "CONFIG",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    for observer in value["observers"].as_array().into_iter().flatten() {
        let counts = match (observer["fresh"].as_bool(), observer["isolated"].as_bool()) {
            (Some(false), _) => "silent",
            (_, Some(true)) => "isolated",
            _ => "yes",
        };
        rows.push([
            text(&observer["observer"]),
            counts.to_owned(),
            observer["ago_ms"].as_u64().map_or_else(String::new, ago),
            text(&observer["region"]),
            text(&observer["vendor"]),
            text(&observer["up"]),
            text(&observer["down"]),
            configuration(&value["configuration"], &observer["configuration"]),
        ]);
    }
    out.push('\n');
    table(&rows, out);
    for refused in value["refused"].as_array().into_iter().flatten() {
        let when = refused["ago_ms"].as_u64().map_or_else(String::new, ago);
        let [from, meaning, count] = ["from", "meaning", "count"].map(|key| text(&refused[key]));
        let _ = writeln!(
            out,
            "refused {from}, {when} ago: {meaning} ({count} in all)"
        );
    }
}

/// Columns as wide as their widest cell.
pub fn table<const N: usize>(rows: &[[String; N]], out: &mut String) {
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = rows
                .iter()
                .map(|row| row[column].len())
                .max()
                .unwrap_or_default();
            let _ = write!(out, "{cell:width$}  ");
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
}

/// `dnsd explain`: the verdict, what it rests on, and how it came.
pub fn explanation(value: &Value) -> String {
    let mut out = format!(
        "{} is {}: {}, for {}\n",
        text(&value["id"]),
        text(&value["state"]),
        text(&value["reason"]),
        value["for_ms"].as_u64().map_or_else(String::new, ago),
    );
    let mut rest = value.clone();
    if let Some(map) = rest.as_object_mut() {
        map.retain(|key, _| !["id", "relay", "state", "reason", "for_ms"].contains(&key.as_str()));
    }
    branch(&rest, 1, &mut out);
    out
}

/// What a verdict rests on, in one line for the log.
pub fn evidence(value: &Value) -> String {
    let probe = |kind: &str| {
        let facts = &value[kind];
        let ok = facts["last_ok_ms"]
            .as_u64()
            .map_or_else(|| "never".to_owned(), ago);
        let mut line = format!("{kind} ok {ok} ago, {} points", text(&facts["points"]));
        if let Some(failure) = facts["last_failure"].as_str() {
            let _ = write!(line, ", last failure {failure:?}");
        }
        line
    };
    let report = match value["report"]["ago_ms"].as_u64() {
        Some(ms) => format!(
            "report {} ago says {}",
            ago(ms),
            text(&value["report"]["state"])
        ),
        None => "no report".to_owned(),
    };
    format!("{report}; {}; {}", probe("stun"), probe("echo"))
}

/// `dnsd answer`: the records, then how they were chosen, then what became of each relay.
pub fn answer(value: &Value) -> String {
    let mut out = String::new();
    for section in ["answers", "authorities", "additionals"] {
        for record in value[section].as_array().into_iter().flatten() {
            let _ = writeln!(out, "{section:12}{}", text(record));
        }
    }
    let _ = writeln!(out, "{:12}{}", "rcode", text(&value["rcode"]));
    let _ = writeln!(out, "{:12}/{}", "scope", text(&value["scope"]));
    let mut trace = value["trace"].clone();
    let steering = trace["steering"].as_object_mut();
    let relays = steering.and_then(|steering| steering.remove("relays"));
    if let Some(map) = trace.as_object_mut() {
        map.retain(|key, _| !["answers", "rcode"].contains(&key.as_str()));
    }
    branch(&trace, 0, &mut out);
    let heads = ["RELAY", "PLACE", "REGION", "ZONE", "VENDOR", "WHY NOT"];
    let mut rows = vec![heads.map(str::to_owned)];
    for relay in relays.iter().filter_map(Value::as_array).flatten() {
        rows.push(
            ["relay", "place", "region", "zone", "vendor", "why"].map(|key| text(&relay[key])),
        );
    }
    if rows.len() > 1 {
        out.push('\n');
        table(&rows, &mut out);
    }
    out
}

/// `dnsd diff`: what would change, and what speaks against it.
pub fn compared(value: &Value) -> String {
    judgement(value, ["a reload takes this over", "a reload refuses this"])
}

/// `dnsd reload`: what has changed, or what spoke against it.
pub fn reloaded(value: &Value) -> String {
    judgement(value, ["taken over", "not taken over"])
}

fn judgement(value: &Value, [taken, refused]: [&str; 2]) -> String {
    let difference = &value["difference"];
    let mut out = format!(
        "generation {}, highest so far {}\n",
        text(&difference["generation"]),
        text(&difference["newest"])
    );
    if let Some([was, becomes]) = difference["zone"].as_array().map(Vec::as_slice) {
        let _ = writeln!(out, "zone {} becomes {}", text(was), text(becomes));
    }
    for (word, key) in [("removed", "removed"), ("new", "added")] {
        let ids = difference[key].as_array().into_iter().flatten();
        let ids: Vec<_> = ids.map(text).collect();
        if !ids.is_empty() {
            let _ = writeln!(out, "{word}: {}", ids.join(", "));
        }
    }
    for region in difference["regions"].as_array().into_iter().flatten() {
        let gone = if region["gone"] == true {
            ", and is gone"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "region {} keeps {} of {} serving relays{gone}",
            text(&region["region"]),
            text(&region["staying"]),
            text(&region["serving"]),
        );
    }
    for (word, key) in [("refused", "refusals"), ("objection", "objections")] {
        for why in value[key].as_array().into_iter().flatten() {
            let _ = writeln!(out, "{word}: {}", text(why));
        }
    }
    out + if value["taken"] == true {
        taken
    } else {
        refused
    }
}

/// A value as it is written in a sentence.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Milliseconds as people say them.
pub fn ago(ms: u64) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        s @ 1..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

/// Indented `key: value` lines; a list of plain values stands on one.
fn branch(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    let plain = |value: &Value| !value.is_object() && !value.is_array();
    let entries: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (format!("{key}:"), value))
            .collect(),
        Value::Array(list) => list.iter().map(|value| ("-".to_owned(), value)).collect(),
        single => vec![(String::new(), single)],
    };
    for (key, value) in entries {
        match value {
            Value::Null => {}
            Value::Array(list) if list.iter().all(plain) => {
                let cells: Vec<_> = list.iter().map(text).collect();
                let _ = writeln!(out, "{indent}{key} {}", cells.join(", "));
            }
            Value::Object(map) if key == "-" && map.values().all(plain) => {
                let cells: Vec<_> = map
                    .iter()
                    .map(|(key, value)| format!("{key} {}", text(value)))
                    .collect();
                let _ = writeln!(out, "{indent}{key} {}", cells.join(", "));
            }
            Value::Array(_) | Value::Object(_) => {
                let _ = writeln!(out, "{indent}{key}");
                branch(value, depth + 1, out);
            }
            single => {
                let _ = writeln!(out, "{indent}{key} {}", text(single));
            }
        }
    }
}
