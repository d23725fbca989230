//! The daemon's JSON made readable for people.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use settings::Errors;

/// Problems of a configuration file, for programs.
pub fn problems(path: &Path, errors: &Errors) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let problems = errors.problems().iter().map(|problem| {
        let (line, column) = position(&text, problem.span.start);
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

/// Line and column of a byte, both from 1; columns count characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |last| last.chars().count())
        + 1;
    (line, column)
}

/// `dnsd status`.
pub fn status(value: &Value) -> String {
    let mut out = format!(
        "{} serves answers {}\n",
        text(&value["node"]),
        text(&value["serial"])
    );
    for relay in value["relays"].as_array().into_iter().flatten() {
        out += &explanation(relay);
    }
    out
}

/// `dnsd explain`.
pub fn explanation(value: &Value) -> String {
    tree(value)
}

/// `dnsd answer`.
pub fn answer(value: &Value) -> String {
    let mut out = String::new();
    for section in ["answers", "authorities", "additionals"] {
        for record in value[section].as_array().into_iter().flatten() {
            let _ = writeln!(out, "{section:12}{}", text(record));
        }
    }
    let _ = writeln!(out, "{:12}{}", "rcode", text(&value["rcode"]));
    let _ = writeln!(out, "{:12}{}", "scope", text(&value["scope"]));
    out += &tree(&value["trace"]);
    out
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Indented `key: value` lines.
fn tree(value: &Value) -> String {
    let mut out = String::new();
    branch(value, 0, &mut out);
    out
}

fn branch(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    let entries: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (format!("{key}:"), value))
            .collect(),
        Value::Array(list) => list.iter().map(|value| ("-".to_owned(), value)).collect(),
        single => {
            let _ = writeln!(out, "{indent}{}", text(single));
            return;
        }
    };
    for (key, value) in entries {
        if value.is_object() || value.is_array() {
            let _ = writeln!(out, "{indent}{key}");
            branch(value, depth + 1, out);
        } else if !value.is_null() {
            let _ = writeln!(out, "{indent}{key} {}", text(value));
        }
    }
}
