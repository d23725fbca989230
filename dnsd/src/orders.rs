//! `dnsd drain`, `undrain`, `force`, `overrides`: the command line's part in people's decisions.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dnsd_core::health::Override;
use dnsd_core::overrides::Scope;
use serde_json::{Value, json};
use settings::{Scalar, Value as _};

use crate::decisions::word;
use crate::readable::{ago, table, text};

/// About what, for how long and why.
#[derive(Debug, Args)]
pub struct Decide {
    /// What it is about: a relay's id, or zone:NAME, region:NAME, vendor:NAME
    scope: Scope,
    /// How long it holds, as in 2h: a whole number with s, m, h or d. Without it: until it is lifted
    #[arg(long = "for", value_name = "DURATION", value_parser = seconds)]
    lasting: Option<u64>,
    #[command(flatten)]
    grounds: Grounds,
}

/// About what, and why it is lifted.
#[derive(Debug, Args)]
pub struct Lift {
    /// What it is about: a relay's id, or zone:NAME, region:NAME, vendor:NAME
    scope: Scope,
    #[command(flatten)]
    grounds: Grounds,
}

#[derive(Debug, Args)]
struct Grounds {
    /// Why, for the record and for the other operators
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Even if fewer relays are left than should be
    #[arg(long)]
    yes_i_mean_it: bool,
}

/// What a relay is to count as, whatever the evidence.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Forced {
    /// As up
    Up,
    /// As down
    Down,
    /// As the evidence says: lifts what was decided
    None,
}

/// The path of decisions on the control socket.
pub const PATH: &str = "/v1/overrides";

impl Decide {
    /// The request to drain.
    pub fn drain(&self) -> String {
        self.request(Some(Override::Drain))
    }

    /// The request to force.
    pub fn force(&self, forced: Forced) -> String {
        self.request(match forced {
            Forced::Up => Some(Override::Up),
            Forced::Down => Some(Override::Down),
            Forced::None => None,
        })
    }

    fn request(&self, decision: Option<Override>) -> String {
        request(&self.scope, decision, self.lasting, &self.grounds)
    }
}

impl Lift {
    /// The request to lift.
    pub fn lift(&self) -> String {
        request(&self.scope, None, None, &self.grounds)
    }
}

fn request(
    scope: &Scope,
    decision: Option<Override>,
    seconds: Option<u64>,
    grounds: &Grounds,
) -> String {
    json!({
        "scope": scope,
        "decision": decision,
        "seconds": seconds,
        "why": grounds.why,
        "confirm": grounds.yes_i_mean_it,
    })
    .to_string()
}

/// A duration as people write it, in seconds: never 0.
///
/// # Errors
/// What to write.
pub fn seconds(text: &str) -> Result<u64, &'static str> {
    let wrong = "write a whole number with s, m, h or d, such as 90m";
    let duration = Duration::read(Scalar::String(text)).map_err(|_| wrong)?;
    let seconds = Some(duration.as_secs()).filter(|seconds| *seconds > 0);
    seconds.ok_or(wrong)
}

/// What a decision that was made does.
pub fn made(value: &Value) -> String {
    let mut out = format!(
        "{} {}",
        decision(&value["entry"]),
        text(&value["entry"]["scope"])
    );
    let relays = value["foresight"]["relays"].as_array();
    let relays: Vec<_> = relays.into_iter().flatten().map(text).collect();
    if relays.is_empty() {
        out += ": no relay is treated otherwise than before\n";
    } else {
        let _ = writeln!(out, ": {}", relays.join(", "));
    }
    // What is lifted counts as the evidence says, and that comes afterwards.
    if !value["entry"]["decision"].is_null() {
        for reserve in value["foresight"]["regions"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let [region, relays, up] =
                ["region", "relays", "would_be_up"].map(|key| text(&reserve[key]));
            let _ = writeln!(out, "  clients of {region}: {up} of {relays} relays up");
        }
    }
    for other in value["otherwise"].as_array().into_iter().flatten() {
        let (relay, scope) = (text(&other[0]), text(&other[1]));
        let _ = writeln!(out, "  but for {relay} that about {scope} holds");
    }
    out
}

/// `dnsd overrides`: what holds, then what was decided before, newest first.
pub fn decisions(value: &Value) -> String {
    let now = value["unix"].as_u64().unwrap_or_default();
    let heads = ["SCOPE", "DECISION", "ENDS IN", "MADE", "AT", "WHO", "WHY"];
    let row = |entry: &Value| {
        let ends = entry["until"].as_u64();
        let ends = ends.map(|until| ago(until.saturating_sub(now) * 1000));
        let made = entry["at_ms"].as_u64().unwrap_or_default();
        [
            text(&entry["scope"]),
            decision(entry).to_owned(),
            ends.unwrap_or_else(|| "never".to_owned()),
            ago((now * 1000).saturating_sub(made)) + " ago",
            text(&entry["node"]),
            text(&entry["who"]),
            text(&entry["why"]),
        ]
    };
    let list = |key: &str| value[key].as_array().cloned().unwrap_or_default();
    let holding = list("holding");
    let mut out = String::new();
    if holding.is_empty() {
        out += "nothing is decided: every relay counts as the evidence says\n";
    } else {
        let mut rows = vec![heads.map(str::to_owned)];
        rows.extend(holding.iter().map(row));
        table(&rows, &mut out);
    }
    let journal = list("journal");
    if !journal.is_empty() {
        out += "\nHISTORY\n";
        let mut rows = vec![heads.map(str::to_owned)];
        rows.extend(journal.iter().rev().map(row));
        table(&rows, &mut out);
    }
    out
}

fn decision(entry: &Value) -> &'static str {
    word(serde_json::from_value(entry["decision"].clone()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("2h"), Ok(7200));
        assert_eq!(seconds("7d"), Ok(604_800));
        for wrong in [
            "",
            "2",
            "h",
            "0s",
            "-1h",
            "2w",
            "1.5h",
            "99999999999999999d",
            "2é",
        ] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
