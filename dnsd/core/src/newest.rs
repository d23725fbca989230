//! A map that all nameservers keep, the same after the same news in any order, and however often:
//! of one key the newest entry wins.

use std::collections::BTreeMap;
use std::time::Duration;

use credentials::UnixTime;

/// How long an entry that was lifted or has run out keeps its place, so that no older one comes back
/// from a nameserver that had not heard; one that was away for longer may bring back what was lifted
/// meanwhile.
pub const KEPT: Duration = Duration::from_hours(7 * 24);
/// How far ahead of this node's clock an entry may be dated.
const AHEAD: Duration = Duration::from_hours(24);

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// It is the newest of its key.
    News,
    /// It, or a newer one, was known.
    Known,
    /// Its time is long over.
    Over,
    /// A text in it is too long or empty, or it is dated more than a day ahead.
    Malformed,
    /// There are as many newer ones as are kept.
    Crowded,
}

/// What can be kept so.
pub(crate) trait Dated: Clone {
    /// What it is about.
    type Key: Clone + Ord;

    fn key(&self) -> &Self::Key;

    /// What two entries of one key are compared by, and the time first: the later one is newer, and
    /// of two at one time all nodes choose the same.
    fn version(&self) -> impl Ord;

    /// When it was made, in milliseconds since 1970.
    fn at_ms(&self) -> u64;

    /// When it was lifted or ran out, in seconds since 1970; `None` if it never does.
    fn ended(&self) -> Option<u64>;

    fn is_well_formed(&self) -> bool;

    /// Whether nobody can still have an older one.
    fn is_over(&self, unix: UnixTime) -> bool {
        self.ended()
            .is_some_and(|ended| unix.0 >= ended.saturating_add(KEPT.as_secs()))
    }
}

/// The newest entries, by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Newest<E: Dated> {
    entries: BTreeMap<E::Key, E>,
    most: usize,
}

impl<E: Dated> Newest<E> {
    /// None yet, and never more than `most`.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            most,
        }
    }

    /// Takes an entry, made here or at another node.
    pub(crate) fn merge(&mut self, unix: UnixTime, entry: E) -> Merged {
        if !entry.is_well_formed() || entry.at_ms() > (unix.0 + AHEAD.as_secs()) * 1000 {
            return Merged::Malformed;
        }
        if entry.is_over(unix) {
            return Merged::Over;
        }
        let known = self.entries.get(entry.key());
        if known.is_some_and(|known| known.version() >= entry.version()) {
            return Merged::Known;
        }
        let key = entry.key().clone();
        self.entries.insert(key.clone(), entry);
        if self.entries.len() > self.most {
            // The oldest gives way wherever it is known: that, too, ends the same in any order.
            let oldest = self.oldest().map(|entry| entry.key().clone());
            if let Some(oldest) = oldest {
                self.entries.remove(&oldest);
                if oldest == key {
                    return Merged::Crowded;
                }
            }
        }
        Merged::News
    }

    /// Forgets those whose time is long over.
    pub(crate) fn tell_time(&mut self, unix: UnixTime) {
        self.entries.retain(|_, entry| !entry.is_over(unix));
    }

    /// The newest entry about `key`.
    pub(crate) fn get(&self, key: &E::Key) -> Option<&E> {
        self.entries.get(key)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &E> {
        self.entries.values()
    }

    /// The one that an entry about one more key would push out, if there is no room for it.
    pub(crate) fn in_the_way(&self) -> Option<&E> {
        let full = self.entries.len() >= self.most;
        self.oldest().filter(|_| full)
    }

    fn oldest(&self) -> Option<&E> {
        self.entries
            .values()
            .min_by(|a, b| a.version().cmp(&b.version()))
    }
}
