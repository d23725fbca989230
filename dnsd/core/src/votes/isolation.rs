//! Self-doubt: when so much falls silent at once that the fault is more likely this node's own.

use std::time::Instant;

use serde::Serialize;

use crate::inventory::Thresholds;

/// What fell silent together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// More relays than fail together by chance.
    Relays,
    /// All relays of two vendors.
    Vendors,
    /// More than half of the other observers.
    Peers,
}

/// This node distrusts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// Since when.
    pub since: Instant,
    /// Why.
    pub cause: Cause,
}

/// A relay as self-doubt sees it: one that counts as good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glimpse<'a> {
    /// Who runs it.
    pub(crate) vendor: &'a str,
    /// When it was last heard, if it has gone quiet.
    pub(crate) quiet: Option<Instant>,
    /// Whether other observers find it dead too.
    pub(crate) confirmed: bool,
}

/// Everything that self-doubt looks at.
#[derive(Debug)]
pub(crate) struct Sight<'a> {
    /// The relays that count as good.
    pub(crate) relays: Vec<Glimpse<'a>>,
    /// How many other observers are known, and when the silent ones were last heard.
    pub(crate) peers: (usize, Vec<Instant>),
    /// Whether there is, or lately was, anybody to be contradicted by.
    pub(crate) accompanied: bool,
}

/// Whether this node distrusts itself.
#[derive(Debug, Default)]
pub(crate) struct SelfDoubt {
    current: Option<Isolation>,
    /// Since when nothing speaks for it any more.
    clear: Option<Instant>,
}

impl SelfDoubt {
    /// Whether, since when and why.
    pub(crate) fn current(&self) -> Option<Isolation> {
        self.current
    }

    /// Looks again; true when that changed anything.
    ///
    /// Alone there is nobody to tell an outage from blindness, and an outage that is not acted
    /// on hurts more: a node that knows of no others never begins to doubt.
    pub(crate) fn look(&mut self, now: Instant, sight: &Sight<'_>, t: &Thresholds) -> bool {
        let before = self.current;
        let begun = before.map_or(now, |isolation| isolation.since);
        let cause = relays(now, begun, sight, t).or_else(|| peers(begun, sight, t));
        match (cause, before) {
            (Some(Seen::Silent(cause)), None) if sight.accompanied => {
                self.current = Some(Isolation { since: now, cause });
            }
            (Some(Seen::Silent(_)), _) => self.clear = None,
            // Others see the same: it is no fault of this node's.
            (Some(Seen::Confirmed), _) => self.current = None,
            (None, Some(_)) => {
                let since = *self.clear.get_or_insert(now);
                if now.saturating_duration_since(since) >= t.suspect_hold {
                    self.current = None;
                }
            }
            (None, None) => {}
        }
        if self.current.is_none() {
            self.clear = None;
        }
        before.is_some() != self.current.is_some()
    }

    /// When to look again although nothing happens.
    pub(crate) fn deadline(&self, now: Instant, t: &Thresholds) -> Option<Instant> {
        let patience = self.current.map(|isolation| isolation.since + t.patience);
        let clear = self.clear.map(|since| since + t.suspect_hold);
        patience
            .into_iter()
            .chain(clear)
            .filter(|at| *at > now)
            .min()
    }
}

enum Seen {
    Silent(Cause),
    Confirmed,
}

/// Relays that went quiet together: more than happens by chance, or all of two vendors.
fn relays(now: Instant, begun: Instant, sight: &Sight<'_>, t: &Thresholds) -> Option<Seen> {
    let horizon = begun.checked_sub(t.together);
    let quiet = |relay: &&Glimpse<'_>| {
        let since = relay.quiet;
        since.is_some_and(|since| horizon.is_none_or(|horizon| since >= horizon))
    };
    let gone: Vec<&Glimpse<'_>> = sight.relays.iter().filter(quiet).collect();
    let all = sight.relays.len();
    // A node that hears most of the relays for this long is not cut off; what it cannot hear is
    // then left to the votes.
    let patient = now.saturating_duration_since(begun) >= t.patience;
    if gone.is_empty() || (patient && gone.len() * 2 <= all) {
        return None;
    }
    let by_chance = t.isolation_least.max(all * t.isolation_percent / 100);
    let cause = if gone.len() > by_chance {
        Cause::Relays
    } else if vendors_lost(sight, &gone) >= 2 {
        Cause::Vendors
    } else {
        return None;
    };
    let confirmed = gone.iter().filter(|relay| relay.confirmed).count();
    if confirmed * 2 > gone.len() {
        return Some(Seen::Confirmed);
    }
    Some(Seen::Silent(cause))
}

/// How many vendors have lost all their relays.
fn vendors_lost(sight: &Sight<'_>, gone: &[&Glimpse<'_>]) -> usize {
    let mut vendors: Vec<&str> = gone.iter().map(|relay| relay.vendor).collect();
    vendors.sort_unstable();
    vendors.dedup();
    let count = |vendor: &str| sight.relays.iter().filter(|r| r.vendor == vendor).count();
    let lost = |vendor: &str| gone.iter().filter(|r| r.vendor == vendor).count();
    vendors.retain(|vendor| lost(vendor) == count(vendor));
    vendors.len()
}

/// Other observers that fell silent together. One of two may well have gone by itself.
fn peers(begun: Instant, sight: &Sight<'_>, t: &Thresholds) -> Option<Seen> {
    let (known, silent) = &sight.peers;
    let newest = silent.iter().max()?;
    let span = t.together + t.ballot_life;
    let together = silent.iter().filter(|heard| {
        let before = newest.saturating_duration_since(**heard);
        before <= t.together && begun.saturating_duration_since(**heard) <= span
    });
    let together = together.count();
    (together >= 2 && together * 2 > *known).then_some(Seen::Silent(Cause::Peers))
}
