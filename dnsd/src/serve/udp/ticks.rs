//! Waits for the end of a moment in which queries gather.
//!
//! Who sets a timer that is due before all others of its core has to tell the hardware, and on a
//! virtual machine that costs nearly as much as to be woken. So there are two timers, due by turns at
//! regular intervals, and each is set again while the other one is due before it: the hardware is told
//! by the interrupt that ends the moment, which comes anyway. How long the intervals are follows how
//! long it takes to answer what has gathered.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

/// By how much of itself, and by how much besides, what lies between two moments is thought to be
/// longer each time, until it is known to be shorter.
const LONGER: (u32, Duration) = (16, Duration::from_micros(1));

/// Two timers by turns.
#[derive(Debug)]
pub(super) struct Ticks {
    timers: [TimerFd; 2],
    schedule: Schedule,
}

impl Ticks {
    /// Makes the timers, which are not set yet.
    pub(super) fn new() -> Result<Self, Errno> {
        let timer = || TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC);
        Ok(Self {
            timers: [timer()?, timer()?],
            schedule: Schedule::default(),
        })
    }

    /// Sleeps for a moment that starts `now`: for at most `most`, and for at least half of that.
    pub(super) fn rest(&mut self, most: Duration, now: Instant) -> Result<(), Errno> {
        let (plan, made) = self.schedule.next(most, now);
        if made {
            for (timer, due) in self.timers.iter().zip([plan.due, plan.due + plan.interval]) {
                let (first, then) = (due - now, plan.interval * 2);
                let when = Expiration::IntervalDelayed(first.into(), then.into());
                let set = timer.set(when, TimerSetTimeFlags::empty());
                // Nobody must wait for one that is not set.
                set.inspect_err(|_| self.schedule.last = None)?;
            }
        }
        self.timers[plan.timer].wait()
    }
}

/// What the timers are set to.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Which of them ends the moment.
    timer: usize,
    /// When.
    due: Instant,
    /// So much later the other one ends the next.
    interval: Duration,
    /// What a moment might last when this was made.
    most: Duration,
}

/// When moments end.
#[derive(Debug, Default)]
struct Schedule {
    /// So much time lies at least between the end of a moment and the start of the next one: the
    /// queries of the first are answered in it.
    between: Duration,
    /// That of the moment before.
    last: Option<Plan>,
}

impl Schedule {
    /// The plan for a moment that starts `now`, and whether it is a new one, to which the timers have
    /// yet to be set.
    fn next(&mut self, most: Duration, now: Instant) -> (Plan, bool) {
        // So that a moment that starts sooner than was thought need not be too long.
        let moment = most * 15 / 16;
        let going_on = self.last.and_then(|last| {
            let between = now.saturating_duration_since(last.due);
            let longer = self.between + self.between / LONGER.0 + LONGER.1;
            self.between = longer.min(between);
            let next = Plan {
                timer: 1 - last.timer,
                due: last.due + last.interval,
                ..last
            };
            let suits = (now + most / 2..=now + most).contains(&next.due)
                && self.between + moment <= last.interval + most / 8
                && most == last.most;
            suits.then_some(next)
        });
        let plan = going_on.unwrap_or_else(|| Plan {
            timer: 0,
            due: now + moment,
            interval: self.between + moment,
            most,
        });
        self.last = Some(plan);
        (plan, going_on.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(200);

    /// Goes through moments, with so many microseconds between them. Tells how many had a new plan.
    fn pass(
        schedule: &mut Schedule,
        now: &mut Instant,
        most: Duration,
        between: impl IntoIterator<Item = u64>,
    ) -> usize {
        let mut made = 0;
        for between in between {
            *now += Duration::from_micros(between);
            let last = schedule.last;
            let (plan, new) = schedule.next(most, *now);
            assert!(plan.due <= *now + most && plan.due >= *now + most / 2);
            if !new {
                // Nobody has to tell the timers.
                let last = last.expect("a plan");
                assert_eq!(plan.timer, 1 - last.timer);
                assert_eq!(plan.due, last.due + last.interval);
                assert_eq!(plan.interval, last.interval);
            }
            made += usize::from(new);
            *now = plan.due;
        }
        made
    }

    #[test]
    fn timers_are_seldom_set_while_the_load_stays() {
        let (mut schedule, mut now) = (Schedule::default(), crate::clock::now());
        pass(&mut schedule, &mut now, MOST, [50; 100]);
        assert_eq!(pass(&mut schedule, &mut now, MOST, [50; 1000]), 0);
        // No two moments bring as many queries.
        let uneven = (0..1000).map(|turn| 45 + turn * 7 % 30);
        assert!(pass(&mut schedule, &mut now, MOST, uneven) < 100);
    }

    #[test]
    fn moments_are_never_too_long_or_short_whatever_lies_between() {
        let (mut schedule, mut now) = (Schedule::default(), crate::clock::now());
        let mut seed = 1_u64;
        let wild = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % (1 << (seed >> 60))
        });
        pass(&mut schedule, &mut now, MOST, wild.take(10_000));
        // Nothing came for long, and then a little.
        pass(&mut schedule, &mut now, MOST, [60_000_000, 0, 0, 1]);
    }

    #[test]
    fn intervals_grow_with_the_load_and_follow_the_setting() {
        let (mut schedule, mut now) = (Schedule::default(), crate::clock::now());
        for between in [10, 90, 300] {
            pass(&mut schedule, &mut now, MOST, [between; 200]);
            let interval = schedule.last.expect("a plan").interval;
            let between = Duration::from_micros(between);
            assert!(interval <= MOST + between && interval > MOST * 3 / 4 + between);
        }
        // A setting that a moment of before would suit just as well is another one all the same.
        for most in [MOST / 4, MOST / 4 + Duration::from_micros(2)] {
            assert_eq!(pass(&mut schedule, &mut now, most, [300; 4]), 1);
        }
    }

    #[test]
    fn two_timers_end_one_moment_after_the_other() {
        let mut ticks = Ticks::new().expect("descriptors");
        for most in [MOST, MOST * 10] {
            for _ in 0..20 {
                let start = crate::clock::now();
                ticks.rest(most, start).expect("timers");
                assert!(start.elapsed() >= most / 2);
            }
        }
    }
}
