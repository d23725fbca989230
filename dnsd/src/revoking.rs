//! `dnsd revoke`, `reinstate`, `revocations`: the command line's part in revocations.

use std::fmt::Write as _;

use clap::Args;
use dnsd_core::revocations::Subject;
use serde_json::{Value, json};

use crate::orders::seconds;
use crate::readable::{ago, table, text};

/// Whom, for how long and why.
#[derive(Debug, Args)]
pub struct Revocation {
    /// Whom: user:ID (a user id, as in user:shop/ann) or tenant:ID (all users of an API key)
    subject: Subject,
    /// How long it holds, as in 72h: longer than any credential of theirs and any session. Without
    /// it: revocations.lasting of the configuration
    #[arg(long = "for", value_name = "DURATION", value_parser = seconds)]
    lasting: Option<u64>,
    /// Why, for the record and for the other operators
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
}

/// Whose revocation is lifted, and why.
#[derive(Debug, Args)]
pub struct Reinstatement {
    /// Whom: user:ID or tenant:ID
    subject: Subject,
    /// Why, for the record and for the other operators
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
}

/// The path of revocations on the control socket.
pub const PATH: &str = "/v1/revocations";

impl Revocation {
    /// The request.
    pub fn request(&self) -> String {
        let (subject, why) = (&self.subject, &self.why);
        json!({ "subject": subject, "seconds": self.lasting, "why": why }).to_string()
    }
}

impl Reinstatement {
    /// The request.
    pub fn request(&self) -> String {
        let (subject, why) = (&self.subject, &self.why);
        json!({ "subject": subject, "revoked": false, "why": why }).to_string()
    }
}

/// What was done.
pub fn done(value: &Value) -> String {
    let entry = &value["entry"];
    let what = if entry["revoked"] == true {
        "revoked"
    } else {
        "reinstated"
    };
    format!("{} {what}\n", text(&entry["subject"]))
}

/// `dnsd revocations`: who is revoked, and which relays do not know.
pub fn list(value: &Value) -> String {
    let now = value["unix"].as_u64().unwrap_or_default();
    let heads = ["WHOM", "ENDS IN", "MADE", "AT", "WHO", "WHY"];
    let row = |entry: &Value| {
        let number = |key: &str| entry[key].as_u64().unwrap_or_default();
        [
            text(&entry["subject"]),
            ago(number("until").saturating_sub(now) * 1000),
            ago((now * 1000).saturating_sub(number("at_ms"))) + " ago",
            text(&entry["node"]),
            text(&entry["who"]),
            text(&entry["why"]),
        ]
    };
    let list = |key: &str| value[key].as_array().cloned().unwrap_or_default();
    let revoked = list("revoked");
    let mut out = String::new();
    if revoked.is_empty() {
        out += "nobody is revoked\n";
    } else {
        let mut rows = vec![heads.map(str::to_owned)];
        rows.extend(revoked.iter().map(row));
        table(&rows, &mut out);
    }
    let behind: Vec<_> = list("behind").iter().map(text).collect();
    if behind.is_empty() {
        out += "\nevery relay that is heard applies this\n";
    } else {
        let _ = writeln!(out, "\nnot applied so by: {}", behind.join(", "));
    }
    out
}
