//! What people decided about relays: a map that all nameservers keep, the same after the same news
//! in any order, and however often.
//!
//! Per scope the newest entry wins. A decision that was lifted or has run out keeps its place for
//! [`KEPT`], so that no older one comes back from a nameserver that had not heard; one that was away
//! for longer may bring back what was lifted meanwhile.

mod entry;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use credentials::UnixTime;

pub use entry::{Entry, Scope, ScopeKind, WrongScope};

use crate::health::Override;
use crate::inventory::RelayEntry;
use crate::limits;

/// How long a decision that was lifted or has run out is remembered.
pub const KEPT: Duration = Duration::from_hours(7 * 24);
/// How far ahead of this node's clock an entry may be dated.
const AHEAD: Duration = Duration::from_hours(24);

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// It is the newest of its scope.
    News,
    /// It, or a newer one, was known.
    Known,
    /// Its time is long over.
    Over,
    /// A text in it is too long or empty, or it is dated more than a day ahead.
    Malformed,
    /// There are [`limits::OVERRIDES_MAX`] newer ones.
    Crowded,
}

/// The decisions of people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    entries: BTreeMap<Scope, Entry>,
    /// What was new, oldest first.
    journal: VecDeque<Entry>,
    /// The time, as last told.
    unix: UnixTime,
}

impl Overrides {
    /// As they were kept by [`entries`](Self::entries) and [`journal`](Self::journal).
    pub fn restored(
        unix: UnixTime,
        entries: impl IntoIterator<Item = Entry>,
        journal: impl IntoIterator<Item = Entry>,
    ) -> Self {
        let mut overrides = Self::default();
        for entry in entries {
            overrides.merge(unix, entry);
        }
        let journal = journal.into_iter().take(limits::JOURNAL_MAX);
        overrides.journal = journal.collect();
        overrides
    }

    /// Takes an entry, of a person here or from another nameserver.
    pub fn merge(&mut self, unix: UnixTime, entry: Entry) -> Merged {
        self.unix = unix;
        if !entry.is_well_formed() || entry.at_ms > (unix.0 + AHEAD.as_secs()) * 1000 {
            return Merged::Malformed;
        }
        if entry.is_over(unix) {
            return Merged::Over;
        }
        let known = self.entries.get(&entry.scope);
        if known.is_some_and(|known| known.version() >= entry.version()) {
            return Merged::Known;
        }
        let scope = entry.scope.clone();
        self.entries.insert(entry.scope.clone(), entry.clone());
        if self.entries.len() > limits::OVERRIDES_MAX {
            // The oldest gives way wherever it is known: that, too, ends the same in any order.
            let oldest = self.entries.values().min_by_key(|entry| entry.version());
            let oldest = oldest.map(|entry| entry.scope.clone());
            if let Some(oldest) = oldest {
                self.entries.remove(&oldest);
                if oldest == scope {
                    return Merged::Crowded;
                }
            }
        }
        if self.journal.len() >= limits::JOURNAL_MAX {
            self.journal.pop_front();
        }
        self.journal.push_back(entry);
        Merged::News
    }

    /// Lets time pass; the decisions that have run out since, or, where the clock went back, hold
    /// again.
    pub fn tell_time(&mut self, unix: UnixTime) -> Vec<Entry> {
        let before = std::mem::replace(&mut self.unix, unix);
        let differs = |entry: &&Entry| entry.holds(before) != entry.holds(unix);
        let changed = self.entries.values().filter(differs).cloned().collect();
        self.entries.retain(|_, entry| !entry.is_over(unix));
        changed
    }

    /// The decision that holds for a relay: that about the relay itself, else that about its zone,
    /// else its region, else its vendor.
    pub fn holding(&self, relay: &RelayEntry) -> Option<&Entry> {
        let names = [
            (ScopeKind::Relay, relay.id.as_str()),
            (ScopeKind::Zone, &relay.zone),
            (ScopeKind::Region, relay.region.as_str()),
            (ScopeKind::Vendor, &relay.vendor),
        ];
        let scopes = names.map(|(kind, name)| Scope {
            kind,
            name: name.to_owned(),
        });
        let mut held = scopes.iter().filter_map(|scope| self.entries.get(scope));
        held.find(|entry| entry.holds(self.unix))
    }

    /// The decision for a relay.
    pub fn decision(&self, relay: &RelayEntry) -> Option<Override> {
        self.holding(relay)?.decision
    }

    /// The newest entry of a scope, whether it holds or not.
    pub fn get(&self, scope: &Scope) -> Option<&Entry> {
        self.entries.get(scope)
    }

    /// Whether an entry of one more scope would push out a decision that holds.
    pub fn is_full(&self) -> bool {
        let oldest = self.entries.values().min_by_key(|entry| entry.version());
        self.entries.len() >= limits::OVERRIDES_MAX
            && oldest.is_some_and(|oldest| oldest.holds(self.unix))
    }

    /// Every entry, those that were lifted or have run out included.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Those that hold.
    pub fn holds(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| entry.holds(self.unix))
    }

    /// What was new here, oldest first: the last [`limits::JOURNAL_MAX`].
    pub fn journal(&self) -> impl Iterator<Item = &Entry> {
        self.journal.iter()
    }
}
