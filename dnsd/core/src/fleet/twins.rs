//! Two machines with one name: found out, and neither believed.
//!
//! A relay that starts anew reports under a higher boot id, and once. Two that run at the same time,
//! as after a machine was cloned, overtake each other: the one whose id is lower is told so, chooses
//! a higher one, and the other falls behind. Whose word is whose cannot be told then.

use std::time::{Duration, Instant};

/// So often one must have fallen behind and risen again,
const RISES: u8 = 3;
/// each time within this of the last,
const WINDOW: Duration = Duration::from_secs(10);
/// for the reports not to be believed until so long after the last sign.
const FENCED: Duration = Duration::from_secs(30);

/// What is remembered of one relay to tell twins from a restart.
#[derive(Debug, Default)]
pub(super) struct Twins {
    /// A report came under an old boot id since the last rise.
    behind: bool,
    rises: u8,
    last: Option<Instant>,
    until: Option<Instant>,
}

impl Twins {
    /// A report came under an old boot id.
    pub(super) fn falls_behind(&mut self) {
        self.behind = true;
    }

    /// A report was accepted under a boot id above the one before.
    pub(super) fn rises(&mut self, now: Instant) {
        if !std::mem::take(&mut self.behind) {
            return;
        }
        let near = |at: Instant| now.saturating_duration_since(at) < WINDOW;
        self.rises = if self.last.is_some_and(near) {
            self.rises.saturating_add(1)
        } else {
            1
        };
        self.last = Some(now);
        if self.rises >= RISES {
            self.fence(now);
        }
    }

    /// There are two for certain.
    pub(super) fn fence(&mut self, now: Instant) {
        self.until = Some(now + FENCED);
    }

    /// Whether the relay's reports are not to be believed.
    pub(super) fn are_there(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}
