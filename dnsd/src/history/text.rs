//! The history made readable for people: a line an event.

use std::fmt::Write as _;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::readable::{ago, text};

/// `dnsd history`.
pub fn history(value: &Value) -> String {
    let now = value["unix_ms"].as_u64().unwrap_or_default();
    let since = value["since_ms"].as_u64().unwrap_or_default();
    let age = |at: u64| ago(now.saturating_sub(at));
    let mut out = format!("since {}, {} ago", clock(since), age(since));
    if let Some(lost @ 1..) = value["lost"].as_u64() {
        let _ = write!(out, "; of what was first, {lost} events are lost");
    }
    out.push('\n');
    for event in value["events"].as_array().into_iter().flatten() {
        let at = event["at_ms"].as_u64().unwrap_or_default();
        let _ = writeln!(out, "{}  {:>7} ago  {}", clock(at), age(at), line(event));
    }
    out
}

/// A time of day, in UTC.
fn clock(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or_default();
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

fn line(event: &Value) -> String {
    let of = |key: &str| text(&event[key]);
    let is = |key: &str| event[key] == true;
    let either = |key: &str, yes: &str, no: &str| if is(key) { yes } else { no }.to_owned();
    match event["kind"].as_str().unwrap_or_default() {
        "started" => format!(
            "started with generation {}, {}",
            of("generation"),
            either("restored", "knowing how things stood", "knowing nothing")
        ),
        "verdict" => format!(
            "{}: {} -> {}, {} ({})",
            of("relay"),
            of("from"),
            of("to"),
            of("reason"),
            of("evidence")
        ),
        "path" => format!(
            "{}: {} over {} {}: {}",
            of("relay"),
            of("transport"),
            of("family"),
            either("withdrawn", "withdrawn", "serves again"),
            of("reason")
        ),
        "published" => published(event),
        "load" => format!(
            "region {}: {} ‰ of its clients go elsewhere, before {} ‰; its reserve {}",
            of("region"),
            of("spilled_to"),
            of("spilled_from"),
            either("reserve", "serves", "rests")
        ),
        "decided" => format!(
            "{} {}, by {} at {}: {}",
            of("decision"),
            of("scope"),
            of("who"),
            of("node"),
            of("why")
        ),
        "ran_out" => format!(
            "{} {} {}",
            of("decision"),
            of("scope"),
            either("again", "holds again: the clock went back", "ran out")
        ),
        "reloaded" => format!(
            "generation {} in force{}{}",
            of("generation"),
            either("insisted", ", somebody insisting", ""),
            signed(&event["added"], &event["removed"])
        ),
        "reload_refused" => format!("configuration refused: {}", of("why").replace('\n', "; ")),
        "doubt_began" => format!(
            "distrusts itself: too many {} fell silent at once",
            of("cause")
        ),
        "doubt_ended" => "trusts itself again".to_owned(),
        "peer" => format!(
            "{} {}",
            of("observer"),
            either("heard", "is heard", "is not heard any more")
        ),
        "twins" => format!(
            "{}: {}",
            of("relay"),
            either(
                "fenced",
                "two machines report under its name, neither is believed",
                "is believed again"
            )
        ),
        "joined" => {
            let addresses = event["addresses"].as_array().into_iter().flatten();
            let addresses: Vec<_> = addresses.map(text).collect();
            format!("{} joined: {}", of("relay"), addresses.join(", "))
        }
        "forgotten" => format!("{} is none of the fleet any more", of("relay")),
        other => other.to_owned(),
    }
}

fn published(event: &Value) -> String {
    let mut out = format!("answers {}:", text(&event["serial"]));
    for change in event["regions"].as_array().into_iter().flatten() {
        let _ = write!(
            out,
            " {} by {}{};",
            text(&change["region"]),
            text(&change["served_by"]),
            signed(&change["entered"], &change["left"])
        );
    }
    let because = event["because"].as_array().into_iter().flatten();
    let because: Vec<_> = because.map(text).collect();
    out + " because of " + &because.join(", ")
}

/// What came with a plus, what went with a minus.
fn signed(came: &Value, went: &Value) -> String {
    let mut out = String::new();
    for (sign, list) in [('+', came), ('-', went)] {
        for relay in list.as_array().into_iter().flatten() {
            let _ = write!(out, " {sign}{}", text(relay));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Event;

    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(clock(0), "1970-01-01T00:00:00Z");
        assert_eq!(clock(1_795_000_000_999), "2026-11-18T11:06:40Z");
    }

    #[test]
    fn every_kind_has_words_of_its_own() {
        let event = Event::Verdict {
            relay: "fra-1".to_owned(),
            from: "up",
            to: "down",
            reason: "unreachable".to_owned(),
            evidence: "no report".to_owned(),
        };
        let value = serde_json::to_value(event).expect("JSON");
        assert_eq!(line(&value), "fra-1: up -> down, unreachable (no report)");
    }
}
