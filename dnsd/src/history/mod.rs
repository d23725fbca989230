//! What changed, for whoever asks later: a bounded list of events, the oldest giving way.

pub mod text;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::limits::{HISTORY_BYTES, HISTORY_EVENTS, HISTORY_TEXT};

/// Something that changed. The names of its fields and of `kind` are stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// The daemon started; nothing older is known.
    Started {
        /// Whether it knew from a state file how things stood.
        restored: bool,
        /// The generation of the configuration.
        generation: u64,
    },
    /// A relay's verdict is another one.
    Verdict {
        /// Its id.
        relay: String,
        /// How it stood.
        from: &'static str,
        /// How it stands.
        to: &'static str,
        /// Why.
        reason: String,
        /// What that rests on.
        evidence: String,
    },
    /// Clients are taken off one way to a relay, or let back.
    Path {
        /// The relay's id.
        relay: String,
        /// `udp`, `tcp` or `tls`.
        transport: &'static str,
        /// `ipv4` or `ipv6`.
        family: &'static str,
        /// Whether they are kept off it now.
        withdrawn: bool,
        /// Why.
        reason: &'static str,
    },
    /// Answers were published in which some region's clients have other relays than before.
    Published {
        /// Their serial.
        serial: u32,
        /// What happened just before.
        because: Vec<String>,
        /// What is different.
        regions: Vec<PoolChange>,
    },
    /// A region does something else about its load.
    Load {
        /// Its id.
        region: String,
        /// Whether its relays in reserve serve.
        reserve: bool,
        /// The share of its clients that other regions took, in thousandths.
        spilled_from: u32,
        /// The share that they take now.
        spilled_to: u32,
    },
    /// A person decided something, here or at another nameserver.
    Decided {
        /// About what.
        scope: String,
        /// What.
        decision: &'static str,
        /// When it runs out, in seconds since 1970.
        until: Option<u64>,
        /// Why.
        why: String,
        /// Who.
        who: String,
        /// At which nameserver.
        node: String,
    },
    /// A decision ran out; or holds again, because the clock went back.
    RanOut {
        /// About what.
        scope: String,
        /// What.
        decision: &'static str,
        /// Whether it holds again.
        again: bool,
    },
    /// Another configuration is in force.
    Reloaded {
        /// Its generation.
        generation: u64,
        /// Whether somebody insisted on it.
        insisted: bool,
        /// The relays that served and do not any more.
        removed: Vec<String>,
        /// The relays that are new, or elsewhere.
        added: Vec<String>,
    },
    /// A configuration was not taken over.
    ReloadRefused {
        /// Why.
        why: String,
    },
    /// This node began to distrust itself.
    DoubtBegan {
        /// What fell silent.
        cause: String,
    },
    /// This node trusts itself again.
    DoubtEnded,
    /// Another nameserver is heard, or not any more.
    Peer {
        /// Its id.
        observer: String,
        /// Whether it is.
        heard: bool,
    },
    /// Two machines report under one relay's name, and neither is believed; or one does again.
    Twins {
        /// Its id.
        relay: String,
        /// Whether they are there.
        fenced: bool,
    },
    /// A machine that is not listed joined by a rule.
    Joined {
        /// Its relay's id.
        relay: String,
        /// Where it is.
        addresses: Vec<String>,
    },
    /// A relay is none of the fleet any more.
    Forgotten {
        /// Its id.
        relay: String,
    },
}

/// What is different for the clients of one region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolChange {
    /// The region of the clients.
    pub region: String,
    /// The region whose relays serve them.
    pub served_by: String,
    /// The relays that serve them now, and did not.
    pub entered: Vec<String>,
    /// The relays that served them, and do not any more.
    pub left: Vec<String>,
}

impl Event {
    /// The relay that it is about, where it is about one.
    pub fn relay(&self) -> Option<&str> {
        match self {
            Self::Verdict { relay, .. }
            | Self::Path { relay, .. }
            | Self::Twins { relay, .. }
            | Self::Joined { relay, .. }
            | Self::Forgotten { relay } => Some(relay),
            _ => None,
        }
    }

    /// Whether it concerns a relay, `of` telling whether the relay is of a scope.
    fn concerns(&self, relay: &str, of: impl Fn(&str) -> bool) -> bool {
        let named = |ids: &[String]| ids.iter().any(|id| id == relay);
        match self {
            Self::Published { regions, .. } => {
                let mut regions = regions.iter();
                regions.any(|change| named(&change.entered) || named(&change.left))
            }
            Self::Reloaded { removed, added, .. } => named(removed) || named(added),
            Self::Decided { scope, .. } | Self::RanOut { scope, .. } => of(scope),
            other => other.relay() == Some(relay),
        }
    }
}

/// An event and its time.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// When, in milliseconds since 1970, by this machine's clock.
    at_ms: u64,
    /// What.
    #[serde(flatten)]
    event: Event,
}

/// What is asked of the history.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// Only the last so many seconds.
    pub seconds: Option<u64>,
    /// Only what concerns this relay.
    pub relay: Option<String>,
}

/// The part of the history that was asked for.
#[derive(Debug, Serialize)]
pub struct Told {
    /// The time, in milliseconds since 1970.
    unix_ms: u64,
    /// Since when anything is known, in milliseconds since 1970.
    since_ms: u64,
    /// How many events were lost since because there were too many.
    lost: u64,
    /// The events, oldest first.
    events: Vec<Record>,
}

/// The last events since the start: at most [`HISTORY_EVENTS`] and [`HISTORY_BYTES`].
#[derive(Debug)]
pub struct History {
    since_ms: u64,
    /// With the length of each as JSON.
    records: VecDeque<(Record, usize)>,
    bytes: usize,
    lost: u64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            since_ms: clock::unix_millis(),
            records: VecDeque::new(),
            bytes: 0,
            lost: 0,
        }
    }
}

impl History {
    /// Adds an event that happens now.
    pub fn add(&mut self, event: Event) {
        let at_ms = clock::unix_millis();
        let record = Record { at_ms, event };
        let bytes = serde_json::to_string(&record).map_or(0, |text| text.len());
        self.records.push_back((record, bytes));
        self.bytes += bytes;
        while self.records.len() > HISTORY_EVENTS || self.bytes > HISTORY_BYTES {
            let gone = self.records.pop_front();
            self.bytes -= gone.map_or(self.bytes, |(_, bytes)| bytes);
            self.lost += 1;
        }
    }

    /// What was asked for, `of` telling whether the relay that is asked about is of a scope.
    pub fn told(&self, span: &Span, of: impl Fn(&str) -> bool) -> Told {
        let unix_ms = clock::unix_millis();
        let seconds = span.seconds.unwrap_or(u64::MAX);
        let from = unix_ms.saturating_sub(seconds.saturating_mul(1000));
        let wanted = |record: &Record| {
            let relay = span.relay.as_deref();
            record.at_ms >= from && relay.is_none_or(|relay| record.event.concerns(relay, &of))
        };
        Told {
            unix_ms,
            since_ms: self.since_ms,
            lost: self.lost,
            events: {
                let all = self.records.iter().map(|(record, _)| record);
                all.filter(|record| wanted(record)).cloned().collect()
            },
        }
    }
}

/// A text of bounded length.
pub fn short(text: &str) -> String {
    let mut end = text.len().min(HISTORY_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forgotten(relay: usize) -> Event {
        Event::Forgotten {
            relay: format!("r-{relay}"),
        }
    }

    #[test]
    fn the_oldest_gives_way_and_is_counted() {
        let mut history = History::default();
        for relay in 0..HISTORY_EVENTS + 3 {
            history.add(forgotten(relay));
        }
        let told = history.told(&Span::default(), |_| false);
        assert_eq!((told.events.len(), told.lost), (HISTORY_EVENTS, 3));
        assert_eq!(told.events[0].event, forgotten(3));
    }

    #[test]
    fn a_relay_is_concerned_by_what_names_it_or_its_place() {
        let mut history = History::default();
        history.add(forgotten(1));
        history.add(Event::DoubtEnded);
        for scope in ["vendor:alpha", "vendor:beta"] {
            history.add(Event::RanOut {
                scope: scope.to_owned(),
                decision: "drain",
                again: false,
            });
        }
        let change = PoolChange {
            region: "eu".to_owned(),
            served_by: "eu".to_owned(),
            entered: vec!["r-2".to_owned()],
            left: Vec::new(),
        };
        history.add(Event::Published {
            serial: 7,
            because: Vec::new(),
            regions: vec![change],
        });
        let kinds = |relay: &str| {
            let span = Span {
                relay: Some(relay.to_owned()),
                seconds: Some(3600),
            };
            let told = history.told(&span, |scope| scope == "vendor:alpha");
            let value = serde_json::to_value(&told.events).expect("JSON");
            let kinds = value.as_array().into_iter().flatten();
            kinds
                .map(|event| event["kind"].as_str().map(str::to_owned))
                .collect::<Vec<_>>()
        };
        let some = |kinds: &[&str]| {
            kinds
                .iter()
                .map(|kind| Some((*kind).to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds("r-1"), some(&["forgotten", "ran_out"]));
        assert_eq!(kinds("r-2"), some(&["ran_out", "published"]));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(short("as it is"), "as it is");
        assert!(short(&"ä".repeat(HISTORY_TEXT)).len() <= HISTORY_TEXT);
    }
}
