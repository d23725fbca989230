//! At most one deadline per slot, in order.
//!
//! Only control messages move deadlines; a relayed packet compares times and touches nothing here.

use std::collections::BTreeSet;
use std::time::Instant;

/// The deadlines of all slots. Holds at most one entry per slot.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    due: BTreeSet<(Instant, u32)>,
}

impl Deadlines {
    /// Moves the deadline of `slot` from `old` to `new`.
    pub(crate) fn replace(&mut self, slot: u32, old: Option<Instant>, new: Option<Instant>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            let was = self.due.remove(&(old, slot));
            debug_assert!(was, "slot {slot} had no such deadline");
        }
        if let Some(new) = new {
            self.due.insert((new, slot));
        }
    }

    /// The earliest.
    pub(crate) fn first(&self) -> Option<(Instant, u32)> {
        self.due.first().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether `slot` is due at `at`.
    pub(crate) fn has(&self, slot: u32, at: Instant) -> bool {
        self.due.contains(&(at, slot))
    }
}
