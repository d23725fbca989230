//! What people decided about relays: per scope the newest decision, and what was decided before.

mod entry;

use std::collections::VecDeque;

use credentials::UnixTime;

pub use entry::{Entry, Scope, ScopeKind, WrongScope};

pub use crate::newest::{KEPT, Merged};

use crate::health::Override;
use crate::inventory::RelayEntry;
use crate::limits;
use crate::newest::Newest;

/// The decisions of people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overrides {
    entries: Newest<Entry>,
    /// What was new, oldest first.
    journal: VecDeque<Entry>,
    /// The time, as last told.
    unix: UnixTime,
}

impl Default for Overrides {
    fn default() -> Self {
        Self {
            entries: Newest::new(limits::OVERRIDES_MAX),
            journal: VecDeque::new(),
            unix: UnixTime::default(),
        }
    }
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
        let merged = self.entries.merge(unix, entry.clone());
        if merged != Merged::News {
            return merged;
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
        let changed = self.entries.iter().filter(differs).cloned().collect();
        self.entries.tell_time(unix);
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
        let oldest = self.entries.in_the_way();
        oldest.is_some_and(|oldest| oldest.holds(self.unix))
    }

    /// Every entry, those that were lifted or have run out included.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Those that hold.
    pub fn holds(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.holds(self.unix))
    }

    /// What was new here, oldest first: the last [`limits::JOURNAL_MAX`].
    pub fn journal(&self) -> impl Iterator<Item = &Entry> {
        self.journal.iter()
    }
}
