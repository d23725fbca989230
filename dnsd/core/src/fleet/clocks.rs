//! How far this node's clock is from those of most relays: for its probe credentials, nothing else.

use std::time::{Duration, Instant};

use liveness::RelayId;

use super::Fleet;

/// So many relays must have told the time.
const WITNESSES: usize = 3;
/// What a relay said of the time counts for so long.
const FRESH: Duration = Duration::from_secs(10);
/// Clocks that differ by no more than this, in milliseconds, agree: a credential lives far longer.
const AGREED_MS: u64 = 60_000;

/// What a relay's clock showed beside this node's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// By how much it was ahead, in milliseconds.
    ahead_ms: i64,
    at: Instant,
}

impl Fleet {
    /// Takes the time by a relay's clock, from a report that has been accepted, beside that by this
    /// node's own; both in milliseconds since 1970.
    pub fn handle_clock(&mut self, now: Instant, relay: RelayId, theirs_ms: u64, own_ms: u64) {
        let index = self.inventory.relay_index(&relay);
        if let Some(member) = index.and_then(|index| self.members.get_mut(index)) {
            let apart = i64::try_from(theirs_ms.abs_diff(own_ms)).unwrap_or(i64::MAX);
            let ahead_ms = if theirs_ms < own_ms { -apart } else { apart };
            member.shown = Some(Shown { ahead_ms, at: now });
        }
    }

    /// By how many milliseconds the clocks of the relays are ahead of this node's: their median, of
    /// the middle two the one nearer to zero, so that half of them cannot move it. 0 where fewer
    /// than three have told lately, or they differ by a minute at most.
    pub fn clock_offset(&self, now: Instant) -> i64 {
        let shown = self.members.iter().filter_map(|member| member.shown);
        let fresh = shown.filter(|shown| now.saturating_duration_since(shown.at) < FRESH);
        let mut ahead: Vec<i64> = fresh.map(|shown| shown.ahead_ms).collect();
        if ahead.len() < WITNESSES {
            return 0;
        }
        ahead.sort_unstable();
        let middle = [(ahead.len() - 1) / 2, ahead.len() / 2].map(|place| ahead[place]);
        let median = middle.into_iter().min_by_key(|ahead| ahead.unsigned_abs());
        let median = median.filter(|ahead| ahead.unsigned_abs() > AGREED_MS);
        median.unwrap_or_default()
    }
}
