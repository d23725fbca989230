//! Constant work: what is not spent on relays that are gone is spent on those that are left.
//!
//! A nameserver that has less to do while half of its relays are dead has more to do the moment
//! they come back, which is the worst of moments. The echoes and the probes of paths are most of its
//! work and go only to relays that answer: there are as many per second, whoever answers, and half as
//! many more as the gone would have got, in place of their reports and acknowledgements.

use std::time::{Duration, Instant};

use super::Fleet;

/// The usual time between two probes, in thousandths of it.
const WHOLE: usize = 1000;
/// No relay is probed more than four times as often as usual, however few are left.
const LEAST: usize = WHOLE / 4;

/// How long after the last the next probe of a relay follows, in thousandths of the usual time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(u32);

impl Default for Pace {
    fn default() -> Self {
        Self(WHOLE as u32)
    }
}

impl Pace {
    /// The time between two probes that are usually `interval` apart.
    pub(super) fn of(self, interval: Duration) -> Duration {
        interval * self.0 / WHOLE as u32
    }
}

impl Fleet {
    /// Divides the probes among the relays that answer. A node that has just started has yet to
    /// find out which these are.
    pub(super) fn set_pace(&mut self, now: Instant) {
        let t = self.inventory.thresholds();
        let answering = self.members.iter().filter(|m| m.health.is_echoed(t));
        let (answering, all) = (answering.count(), self.members.len());
        let share = answering * WHOLE / (all + (all - answering) / 2).max(1);
        self.pace = if self.is_settled(now) {
            Pace(share.clamp(LEAST, WHOLE) as u32)
        } else {
            Pace::default()
        };
    }
}
