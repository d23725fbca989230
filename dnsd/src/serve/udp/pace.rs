//! When a worker reads next: at once, when something has come, or after a moment in which more may
//! gather.
//!
//! To be woken costs more than to answer. Where queries come faster than they gather, one awakening
//! for each moment is cheaper than one for nearly each query; where they come slower, waiting would
//! delay them for nothing.

use std::time::Duration;

/// Queries of one moment from which on the next one is waited for.
const WORTHWHILE: usize = 2;

/// Counts the queries of a moment.
#[derive(Debug, Default)]
pub(super) struct Pace {
    read: usize,
}

impl Pace {
    /// Notes queries that were read.
    pub(super) fn note(&mut self, queries: usize) {
        self.read += queries;
    }

    /// Nothing waits: for how long to let queries gather before reading again; `None`: until the
    /// next one comes.
    pub(super) fn rest(&mut self, gather: Duration) -> Option<Duration> {
        let read = std::mem::take(&mut self.read);
        (read >= WORTHWHILE && !gather.is_zero()).then_some(gather)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_several_came_more_are_waited_for() {
        let mut pace = Pace::default();
        let gather = Duration::from_micros(200);
        assert_eq!(pace.rest(gather), None);
        pace.note(1);
        assert_eq!(pace.rest(gather), None);
        pace.note(1);
        assert_eq!(pace.rest(gather), None, "of the moment before");
        pace.note(1);
        pace.note(1);
        assert_eq!(pace.rest(gather), Some(gather));
        assert_eq!(pace.rest(gather), None);
        pace.note(9);
        assert_eq!(pace.rest(Duration::ZERO), None, "switched off");
    }
}
