//! Lets datagrams gather under partial load: how long a worker looks away after a turn.
//!
//! A worker that waits is woken for nearly every datagram, and to be woken costs more than to relay.
//! Where datagrams keep coming in ones and twos, the worker therefore waits a moment after each
//! turn, in which nothing wakes it, and then takes at once all that has come. It does so only while
//! that pays: not when little comes, not when it is behind, and not for a burst, which gathers by
//! itself while its first datagrams are relayed. A train that comes in one piece is one arrival.

use std::time::{Duration, Instant};

/// A new interval between two wakes counts for one part in so many.
const WEIGHT: u32 = 8;

/// Arrivals that a moment has to bring, or it was not worth it.
const WORTH: usize = 2;

/// A moment this short costs more than it saves.
const SHORTEST: Duration = Duration::from_micros(20);

/// When a worker looks away, and for how long.
#[derive(Debug)]
pub(super) struct Gather {
    most: Duration,
    /// When the latest turn began that was woken.
    woken: Instant,
    /// From one wake to the next, smoothed.
    between: Duration,
    /// Whether the worker looked away before this turn.
    looked_away: bool,
}

impl Gather {
    /// For a worker that begins at `now` and may look away for up to `most`; zero: never.
    pub(super) fn new(most: Duration, now: Instant) -> Self {
        Self {
            most,
            woken: now,
            between: most * 2,
            looked_away: false,
        }
    }

    /// Changes for how long the worker may look away.
    pub(super) fn allow(&mut self, most: Duration) {
        (self.most, self.between) = (most, most * 2);
    }

    /// How long to look away after a turn that began at `began`, ends at `now` and brought
    /// `arrivals`. `woken` says whether the worker slept before it. What comes meanwhile waits no
    /// longer than allowed, counted from the beginning of this turn.
    pub(super) fn moment(
        &mut self,
        (began, now): (Instant, Instant),
        arrivals: usize,
        woken: bool,
    ) -> Option<Duration> {
        let looked_away = std::mem::take(&mut self.looked_away);
        if woken {
            // One long silence among wakes in quick succession is soon forgotten.
            let interval = began.saturating_duration_since(self.woken);
            let interval = interval.min(self.most * WEIGHT);
            self.between = (self.between * (WEIGHT - 1) + interval) / WEIGHT;
            self.woken = began;
        }
        if looked_away && arrivals < WORTH {
            self.between = self.most * 2;
        }
        if arrivals == 0 || self.between >= self.most / 2 {
            return None;
        }
        // Nothing is left for a worker that is behind, and needs no time to gather.
        let spent = now.saturating_duration_since(began);
        let moment = self.most.saturating_sub(spent);
        self.looked_away = moment >= SHORTEST;
        self.looked_away.then_some(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MOST: Duration = Duration::from_micros(250);

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    /// What a second of arrivals comes to.
    #[derive(Debug, Default)]
    struct Seen {
        datagrams: u64,
        /// Times that the worker slept until a datagram woke it, and that it looked away.
        wakes: u64,
        moments: u64,
        /// The longest that a datagram waited to be received.
        longest: Duration,
    }

    /// A worker that takes 4 us for each datagram, and 10 us to be woken.
    fn simulate(most: Duration, arrivals: &[Duration]) -> Seen {
        let start = clock::instant();
        let mut gather = Gather::new(most, start);
        let (mut at, mut next) = (Duration::ZERO, 0);
        let mut seen = Seen::default();
        while next < arrivals.len() {
            let woken = arrivals[next] > at;
            if woken {
                at = arrivals[next] + micros(10);
                seen.wakes += 1;
            }
            let came = arrivals[next..].iter().take_while(|when| **when <= at);
            let came = came.count();
            let datagrams = came.min(128);
            seen.longest = seen.longest.max(at.saturating_sub(arrivals[next]));
            next += datagrams;
            seen.datagrams += datagrams as u64;
            let began = at;
            at += micros(4) * datagrams as u32;
            let times = (start + began, start + at);
            if came > datagrams {
                continue;
            }
            if let Some(moment) = gather.moment(times, datagrams, woken) {
                at += moment;
                seen.moments += 1;
                // A timer that finds nothing: the worker goes to sleep.
                if arrivals.get(next).is_some_and(|when| *when > at) {
                    let times = (start + at, start + at);
                    assert_eq!(gather.moment(times, 0, false), None);
                }
            }
        }
        seen
    }

    /// So many per second, evenly.
    fn steady(rate: u32) -> Vec<Duration> {
        (1..=rate)
            .map(|n| Duration::from_secs(1) * n / rate)
            .collect()
    }

    #[test]
    fn a_steady_stream_is_taken_in_moments() {
        for rate in [20_000, 40_000, 100_000, 150_000] {
            let seen = simulate(MOST, &steady(rate));
            assert_eq!(seen.datagrams, u64::from(rate));
            let turns = seen.wakes + seen.moments;
            assert!(turns * 3 < seen.datagrams, "{rate}: {seen:?}");
            assert!(seen.wakes < seen.moments, "{rate}: {seen:?}");
        }
    }

    #[test]
    fn nothing_waits_longer_than_allowed() {
        for most in [micros(100), MOST, micros(1000)] {
            for rate in [100, 5000, 40_000, 150_000, 240_000] {
                let seen = simulate(most, &steady(rate));
                assert!(seen.longest <= most, "{most:?}, {rate}: {seen:?}");
            }
        }
        let seen = simulate(Duration::ZERO, &steady(40_000));
        assert_eq!(seen.moments, 0);
    }

    #[test]
    fn what_comes_seldom_is_relayed_at_once() {
        for rate in [50, 1000, 5000] {
            let seen = simulate(MOST, &steady(rate));
            assert_eq!((seen.moments, seen.wakes), (0, seen.datagrams), "{rate}");
        }
    }

    #[test]
    fn bursts_gather_by_themselves() {
        // Sixteen at once, 3 us apart, every 3.3 ms.
        let train = |n: u32| (0..16).map(move |k| micros(3300) * n + micros(3) * k);
        let arrivals: Vec<_> = (1..300).flat_map(train).collect();
        let seen = simulate(MOST, &arrivals);
        assert_eq!((seen.moments, seen.wakes), (0, 299), "{seen:?}");
    }

    #[test]
    fn one_train_that_goes_to_and_fro_is_not_held_up() {
        let mut gather = Gather::new(MOST, clock::instant());
        let (mut now, mut moments) = (clock::instant(), 0);
        for _ in 0..1000 {
            // Its other end takes as long to send it back as the worker to relay it.
            let relayed = now + micros(20);
            let moment = gather.moment((now, relayed), 1, true);
            moments += u32::from(moment.is_some());
            now = relayed + moment.unwrap_or_default() + micros(20);
        }
        assert!((1..100).contains(&moments), "{moments}");
    }

    #[test]
    fn a_worker_that_is_behind_never_looks_away() {
        let seen = simulate(MOST, &steady(400_000));
        // Once it is behind, it stays so.
        assert!(seen.moments < 300, "{seen:?}");
        assert!(seen.wakes < 100, "{seen:?}");
    }
}
