//! One decision of a person: about what, until when, why, by whom, and which of two is newer.

use std::fmt;
use std::str::FromStr;

use credentials::UnixTime;
use liveness::NodeId;
use serde::{Deserialize, Serialize};

use crate::health::Override;
use crate::inventory::{Inventory, RelayEntry};
use crate::limits::{PLACE_MAX, WHO_MAX, WHY_MAX};
use crate::newest::Dated;

/// Kinds of what can be decided about, the most particular first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// One relay.
    Relay,
    /// An availability zone.
    Zone,
    /// A region.
    Region,
    /// A vendor.
    Vendor,
}

impl ScopeKind {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Relay, "relay"),
        (Self::Zone, "zone"),
        (Self::Region, "region"),
        (Self::Vendor, "vendor"),
    ];
}

/// What is decided about: a relay, or all of a zone, region or vendor, those that come later
/// included. As text `fra-1`, `relay:fra-1`, `vendor:alpha`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Scope {
    /// What it is.
    pub kind: ScopeKind,
    /// Its name: 1 to [`PLACE_MAX`] bytes.
    pub name: String,
}

/// Not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scope: write a relay's id, or zone:NAME, region:NAME, vendor:NAME")]
pub struct WrongScope(String);

impl FromStr for Scope {
    type Err = WrongScope;

    fn from_str(text: &str) -> Result<Self, WrongScope> {
        let (kind, name) = text.split_once(':').unwrap_or(("relay", text));
        let kind = ScopeKind::ALL.iter().find(|(_, word)| *word == kind);
        match kind {
            Some((kind, _)) if !name.is_empty() && name.len() <= PLACE_MAX => Ok(Self {
                kind: *kind,
                name: name.to_owned(),
            }),
            _ => Err(WrongScope(text.chars().take(PLACE_MAX).collect())),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = WrongScope;

    fn try_from(text: String) -> Result<Self, WrongScope> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = ScopeKind::ALL.iter().find(|(kind, _)| *kind == self.kind);
        write!(f, "{}:{}", word.map_or("", |(_, word)| word), self.name)
    }
}

impl Scope {
    /// Whether a relay is of it.
    pub fn covers(&self, relay: &RelayEntry) -> bool {
        self.name
            == match self.kind {
                ScopeKind::Relay => relay.id.as_str(),
                ScopeKind::Zone => &relay.zone,
                ScopeKind::Region => relay.region.as_str(),
                ScopeKind::Vendor => &relay.vendor,
            }
    }

    /// Whether a relay is of it, or one that joins by a rule would be.
    pub fn is_in(&self, inventory: &Inventory) -> bool {
        let rules = inventory.enrolments().iter();
        let mut places = rules.filter_map(|rule| match self.kind {
            ScopeKind::Relay => None,
            ScopeKind::Zone => Some(rule.zone.as_str()),
            ScopeKind::Region => Some(rule.region.as_str()),
            ScopeKind::Vendor => Some(rule.vendor.as_str()),
        });
        inventory.relays().iter().any(|relay| self.covers(relay))
            || places.any(|place| place == self.name)
    }
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// About what.
    pub scope: Scope,
    /// What; `None` lifts the one before.
    pub decision: Option<Override>,
    /// When it runs out, in seconds since 1970; without it, never.
    pub until: Option<u64>,
    /// Why: 1 to [`WHY_MAX`] bytes.
    pub why: String,
    /// Whose decision it is: 1 to [`WHO_MAX`] bytes.
    pub who: String,
    /// When it was made, in milliseconds since 1970 by the clock of `node`, but later than the one
    /// before.
    pub at_ms: u64,
    /// The nameserver it was made at.
    pub node: String,
}

impl Entry {
    /// Whether it is in force.
    pub fn holds(&self, unix: UnixTime) -> bool {
        self.decision.is_some() && self.until.is_none_or(|until| unix.0 < until)
    }
}

impl Dated for Entry {
    type Key = Scope;

    fn key(&self) -> &Scope {
        &self.scope
    }

    fn version(&self) -> impl Ord {
        let decision = self.decision.map(|decision| decision as u8);
        let content = (decision, self.until, &self.why, &self.who, &self.scope);
        (self.at_ms, &self.node, content)
    }

    fn at_ms(&self) -> u64 {
        self.at_ms
    }

    fn ended(&self) -> Option<u64> {
        match self.decision {
            None => Some(self.at_ms / 1000),
            Some(_) => self.until,
        }
    }

    fn is_well_formed(&self) -> bool {
        let within = |text: &str, most: usize| (1..=most).contains(&text.len());
        within(&self.scope.name, PLACE_MAX)
            && within(&self.why, WHY_MAX)
            && within(&self.who, WHO_MAX)
            && self.node.parse::<NodeId>().is_ok()
    }
}
