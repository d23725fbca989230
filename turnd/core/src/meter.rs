//! How much one allocation may relay: token buckets, kept with integers and the time at hand.

use std::time::Instant;

use crate::limits::{BANDWIDTH_BURST, BANDWIDTH_MOST, Limits};

/// Tokens are counted in billionths: a rate per second earns that many per nanosecond.
const WHOLE: u64 = 1_000_000_000;

/// One token bucket. Rate and burst come with each use, since a new configuration may change them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// When `tokens` was right.
    at: Instant,
    tokens: u64,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            at: now,
            tokens: u64::MAX,
        }
    }

    /// Takes `amount` tokens, if there are so many.
    pub(crate) fn take(&mut self, now: Instant, rate: u64, burst: u64, amount: u64) -> bool {
        let nanos = now.saturating_duration_since(self.at).as_nanos() as u64;
        self.tokens = self.tokens.saturating_add(nanos.saturating_mul(rate));
        self.tokens = self.tokens.min(burst.saturating_mul(WHOLE));
        self.at = now;
        let left = self.tokens.checked_sub(amount.saturating_mul(WHOLE));
        self.tokens = left.unwrap_or(self.tokens);
        left.is_some()
    }
}

/// What an allocation relays, both directions together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    /// When the tokens were right.
    at: Instant,
    bytes: u64,
    packets: u64,
}

/// Why a datagram is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    Bandwidth,
    Packets,
}

impl Meter {
    /// With full buckets.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            at: now,
            bytes: u64::MAX,
            packets: u64::MAX,
        }
    }

    /// What is not limited stays full.
    #[inline]
    fn refill(&mut self, limits: &Limits, now: Instant) {
        let bandwidth = limits.bandwidth.min(BANDWIDTH_MOST);
        let packets = u64::from(limits.packets);
        // All packets of a batch have one time.
        if now != self.at {
            let nanos = now.saturating_duration_since(self.at).as_nanos() as u64;
            self.bytes = self.bytes.saturating_add(nanos.saturating_mul(bandwidth));
            self.packets = self.packets.saturating_add(nanos.saturating_mul(packets));
            self.at = now;
        }
        self.bytes = match bandwidth {
            0 => u64::MAX,
            _ => self
                .bytes
                .min(bandwidth.max(BANDWIDTH_BURST).saturating_mul(WHOLE)),
        };
        self.packets = match packets {
            0 => u64::MAX,
            _ => self.packets.min(packets * WHOLE),
        };
    }

    /// Counts one datagram with `bytes` of payload, unless it is too much.
    #[inline]
    pub(crate) fn take(
        &mut self,
        limits: &Limits,
        now: Instant,
        bytes: usize,
    ) -> Result<(), Excess> {
        self.refill(limits, now);
        let cost = bytes as u64 * WHOLE;
        let left = self.bytes.checked_sub(cost).ok_or(Excess::Bandwidth)?;
        let packets = self.packets.checked_sub(WHOLE).ok_or(Excess::Packets)?;
        (self.bytes, self.packets) = (left, packets);
        Ok(())
    }

    /// How many bytes of a stream may be relayed now.
    pub(crate) fn left(&mut self, limits: &Limits, now: Instant) -> usize {
        self.refill(limits, now);
        match limits.bandwidth {
            0 => usize::MAX,
            _ => (self.bytes / WHOLE) as usize,
        }
    }

    /// Counts bytes of a stream.
    pub(crate) fn spend(&mut self, bytes: usize) {
        let cost = (bytes as u64).saturating_mul(WHOLE);
        self.bytes = self.bytes.saturating_sub(cost);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an arbitrary beginning of time")]
mod tests {
    use super::*;
    use std::time::Duration;

    fn limits(bandwidth: u64, packets: u32) -> Limits {
        Limits {
            bandwidth,
            packets,
            ..Limits::default()
        }
    }

    /// Bytes that pass when `offered` datagrams of `size` come evenly over `seconds`.
    fn passed(limits: &Limits, size: usize, offered: u32, seconds: u32) -> usize {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let step = Duration::from_secs(seconds.into()) / offered;
        let fits = |n: &u32| meter.take(limits, start + step * *n, size).is_ok();
        (0..offered).filter(fits).count() * size
    }

    #[test]
    fn in_the_long_run_the_rate_passes_and_before_it_one_second_of_it() {
        for rate in [1_000_000, 12_500_000, 1_000_000_000] {
            // Twice as much is offered as may pass, over ten seconds.
            let size = 50_000;
            let offered = (rate * 20 / size) as u32;
            let got = passed(&limits(rate, 0), size as usize, offered, 10) as u64;
            let fair = rate * 11;
            assert!(got <= fair && got + 2 * size >= fair, "{got} of {fair}");
        }
        let got = passed(&limits(0, 100), 1, 10_000, 10);
        assert!((1099..=1100).contains(&got), "{got}");
    }

    #[test]
    fn zero_is_no_limit_and_the_largest_does_not_overflow() {
        assert_eq!(passed(&limits(0, 0), 65_535, 10_000, 1), 655_350_000);
        assert_eq!(
            passed(&limits(u64::MAX, u32::MAX), 65_535, 10_000, 1),
            655_350_000
        );
    }

    #[test]
    fn a_small_rate_lets_whole_datagrams_pass() {
        // 1000 bytes per second, datagrams of 1500: the burst lets 43 of them pass.
        let got = passed(&limits(1000, 0), 1500, 200, 20);
        assert!((84_000..=85_600).contains(&got), "{got}");
    }

    #[test]
    fn a_limit_that_comes_later_begins_with_a_full_burst() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let unlimited = limits(0, 0);
        for second in 0..10 {
            let now = start + Duration::from_secs(second);
            assert_eq!(meter.take(&unlimited, now, 60_000), Ok(()));
        }
        let now = start + Duration::from_secs(10);
        let limits = limits(100_000, 10);
        let fits = |_: &u32| meter.take(&limits, now, 10_000).is_ok();
        assert_eq!((0..20).filter(fits).count(), 10);
    }

    #[test]
    fn what_is_too_much_for_one_bucket_costs_nothing_in_the_other() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let limits = limits(100_000, 10);
        assert_eq!(meter.take(&limits, start, 100_001), Err(Excess::Bandwidth));
        for _ in 0..10 {
            assert_eq!(meter.take(&limits, start, 10_000), Ok(()));
        }
        assert_eq!(meter.take(&limits, start, 0), Err(Excess::Packets));
        assert_eq!(meter.take(&limits, start, 1), Err(Excess::Bandwidth));
    }
}
