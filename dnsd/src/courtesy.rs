//! Who compiles answers lets those go first who give them, as long as that costs it little.
//!
//! A thread that is woken by a query waits for the slice of whoever has the core: milliseconds, where
//! the control loop compiles. So that gives way again and again. On a machine that is busy with other
//! things each time costs it milliseconds in turn, and reports must be read and verdicts made there
//! too: only a part of its time goes to courtesy.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::limits::{COURTESY_AT_ONCE, COURTESY_PART};

/// Lets another thread have the core, if any waits and there is time left to give.
pub fn give_way() {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    static GIVEN: Given = Given(AtomicU64::new(0));
    let before = BEGUN.elapsed();
    if GIVEN.may_give(before) {
        std::thread::yield_now();
        GIVEN.note(before, BEGUN.elapsed().saturating_sub(before));
    }
}

/// What was given away, as the time (in nanoseconds) at which it is made up for.
#[derive(Debug)]
struct Given(AtomicU64);

impl Given {
    fn may_give(&self, now: Duration) -> bool {
        let made_up = Duration::from_nanos(self.0.load(Ordering::Relaxed));
        made_up < now + COURTESY_AT_ONCE * COURTESY_PART
    }

    fn note(&self, now: Duration, given: Duration) {
        let made_up =
            Duration::from_nanos(self.0.load(Ordering::Relaxed)).max(now) + given * COURTESY_PART;
        // Centuries after the start.
        let nanos = u64::try_from(made_up.as_nanos()).unwrap_or(u64::MAX);
        self.0.store(nanos, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_busy_machine_a_tenth_is_given_and_on_another_all() {
        // How long it takes to have the core back, and what is then given of a second of work.
        for (each, least, most) in [
            (Duration::from_millis(4), 80, 120),
            (Duration::from_millis(40), 80, 160),
            (Duration::from_micros(1), 9, 11),
        ] {
            let given = Given(AtomicU64::new(0));
            let (mut now, mut all) = (Duration::ZERO, Duration::ZERO);
            // A small part of the work every 100 us.
            for _ in 0..10_000 {
                now += Duration::from_micros(100);
                if given.may_give(now) {
                    given.note(now, each);
                    now += each;
                    all += each;
                }
            }
            let millis = all.as_millis();
            assert!((least..=most).contains(&millis), "{each:?}: {millis} ms");
        }
    }
}
