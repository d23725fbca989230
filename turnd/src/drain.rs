//! When the relay drains, how far it has got, and when the process ends.
//!
//! Two can ask for it: the service manager (a signal; the process ends after it) and an operator
//! through the nameservers' acknowledgements (an order; it can be taken back).

use std::time::{Duration, Instant};

/// Longest time before the end in which refreshes are refused: the default lifetime of an
/// allocation, so that every client meets a refusal and moves while its media still flows.
const REFUSING: Duration = Duration::from_mins(10);

/// Shortest time from the signal to the end: the report of it has left in all its copies.
const FAREWELL: Duration = Duration::from_millis(250);

/// How far a drain has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// New sessions are taken.
    Serving,
    /// No new ones; running ones go on.
    Draining,
    /// Running ones are not refreshed any more.
    Refusing,
    /// The process ends.
    Over,
}

/// The state of a drain.
#[derive(Debug, Default)]
pub struct Drainage {
    /// Since when a signal asked for it.
    signalled: Option<Instant>,
    /// A second signal came.
    at_once: bool,
    /// Whether an operator asks for it.
    ordered: bool,
}

impl Drainage {
    /// A signal to end. The second one means at once.
    pub fn signal(&mut self, now: Instant) {
        self.at_once = self.signalled.is_some();
        self.signalled.get_or_insert(now);
    }

    /// An operator's order to drain, or to serve again.
    pub fn order(&mut self, drain: bool) {
        self.ordered = drain;
    }

    /// Whether the process is on its way out.
    pub fn ending(&self) -> bool {
        self.signalled.is_some()
    }

    /// Where the drain stands; `empty` says that every worker refuses new sessions and has none.
    pub fn phase(&self, now: Instant, grace: Duration, empty: bool) -> Phase {
        let Some(since) = self.signalled else {
            return if self.ordered {
                Phase::Draining
            } else {
                Phase::Serving
            };
        };
        let gone = now.saturating_duration_since(since);
        if self.at_once || gone >= grace.max(FAREWELL) || empty && gone >= FAREWELL {
            Phase::Over
        } else if gone >= grace.saturating_sub(REFUSING.min(grace / 2)) {
            Phase::Refusing
        } else {
            Phase::Draining
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_hours(1);

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_signal_drains_then_refuses_then_ends() {
        let start = crate::clock::instant();
        let mut drainage = Drainage::default();
        assert_eq!(drainage.phase(start, GRACE, true), Phase::Serving);
        drainage.signal(start);
        assert_eq!(drainage.phase(start, GRACE, true), Phase::Draining);
        assert_eq!(
            drainage.phase(at(start, 2999), GRACE, false),
            Phase::Draining
        );
        assert_eq!(
            drainage.phase(at(start, 3000), GRACE, false),
            Phase::Refusing
        );
        assert_eq!(drainage.phase(at(start, 3600), GRACE, false), Phase::Over);
    }

    #[test]
    fn it_ends_as_soon_as_it_is_empty() {
        let start = crate::clock::instant();
        let mut drainage = Drainage::default();
        drainage.signal(start);
        assert_eq!(drainage.phase(at(start, 1), GRACE, true), Phase::Over);
    }

    #[test]
    fn the_second_signal_ends_at_once() {
        let start = crate::clock::instant();
        let mut drainage = Drainage::default();
        drainage.signal(start);
        drainage.signal(start);
        assert_eq!(drainage.phase(start, GRACE, false), Phase::Over);
    }

    #[test]
    fn no_grace_still_says_farewell() {
        let start = crate::clock::instant();
        let mut drainage = Drainage::default();
        drainage.signal(start);
        assert_ne!(drainage.phase(start, Duration::ZERO, false), Phase::Over);
        assert_eq!(
            drainage.phase(at(start, 1), Duration::ZERO, false),
            Phase::Over
        );
    }

    #[test]
    fn an_order_can_be_taken_back_a_signal_cannot() {
        let start = crate::clock::instant();
        let mut drainage = Drainage::default();
        drainage.order(true);
        assert_eq!(
            drainage.phase(at(start, 9999), GRACE, true),
            Phase::Draining
        );
        drainage.order(false);
        assert_eq!(drainage.phase(start, GRACE, true), Phase::Serving);
        drainage.signal(start);
        drainage.order(false);
        assert_eq!(drainage.phase(at(start, 2), GRACE, false), Phase::Draining);
    }
}
