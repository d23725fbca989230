//! Which allocation sends when, where that does not depend on what comes back.

use std::time::Duration;

/// Turns in equal distances, taken by the allocations one after the other, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Packets of one turn.
    pub packets: u32,
    flows: u64,
    /// So many turns in so many nanoseconds.
    turns: u64,
    nanos: u64,
}

impl Schedule {
    /// `rate` packets per second over all of `flows` allocations.
    pub fn rate(rate: u32, flows: usize) -> Self {
        let (flows, turns) = (flows.max(1) as u64, u64::from(rate.max(1)));
        let (packets, nanos) = (1, 1_000_000_000);
        Self {
            packets,
            flows,
            turns,
            nanos,
        }
    }

    /// `packets` of each of `flows` allocations every `every_ms` milliseconds, the allocations spread
    /// evenly over that time.
    pub fn bursts(packets: u32, every_ms: u32, flows: usize) -> Self {
        let flows = flows.max(1) as u64;
        Self {
            packets,
            flows,
            turns: flows,
            nanos: u64::from(every_ms.max(1)) * 1_000_000,
        }
    }

    /// When the turn of this number is due, counted from the start.
    pub fn due(&self, turn: u64) -> Duration {
        let nanos = u128::from(turn) * u128::from(self.nanos) / u128::from(self.turns);
        Duration::from_nanos(nanos as u64)
    }

    /// How many turns were due before `elapsed`.
    pub fn owed(&self, elapsed: Duration) -> u64 {
        let turns = elapsed.as_nanos() * u128::from(self.turns);
        turns.div_ceil(u128::from(self.nanos)) as u64
    }

    /// Whose turn it is.
    pub fn flow(&self, turn: u64) -> usize {
        (turn % self.flows) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The turns within `time`: when, and whose.
    fn turns(schedule: &Schedule, time: Duration) -> Vec<(Duration, usize)> {
        let owed = schedule.owed(time);
        let turns = (0..owed).map(|turn| (schedule.due(turn), schedule.flow(turn)));
        turns.collect()
    }

    #[test]
    fn a_rate_is_spread_evenly_over_time_and_allocations() {
        let schedule = Schedule::rate(500, 2);
        let wanted = [(0, 0), (2, 1), (4, 0), (6, 1), (8, 0)];
        let wanted = wanted.map(|(at, flow)| (at * MS, flow));
        assert_eq!(turns(&schedule, 10 * MS), wanted);
        assert_eq!(schedule.packets, 1);
        assert_eq!(
            Schedule::rate(30_000, 7).owed(Duration::from_secs(2)),
            60_000
        );
    }

    #[test]
    fn trains_of_all_allocations_start_staggered_over_the_period() {
        let schedule = Schedule::bursts(16, 33, 3);
        let wanted = [(0, 0), (11, 1), (22, 2), (33, 0), (44, 1)];
        let wanted = wanted.map(|(at, flow)| (at * MS, flow));
        assert_eq!(turns(&schedule, 55 * MS), wanted);
        assert_eq!(schedule.packets, 16);
    }

    #[test]
    fn a_turn_is_owed_once_its_time_has_come_however_odd_the_numbers() {
        for schedule in [
            Schedule::rate(3, 2),
            Schedule::rate(9_999_999, 3),
            Schedule::bursts(1, 20, 7),
        ] {
            for turn in [1, 2, 3, 1000, 123_456_789] {
                let due = schedule.due(turn);
                assert!(schedule.owed(due) <= turn + 1, "{schedule:?} {turn}");
                let instant = Duration::from_nanos(1);
                assert!(schedule.owed(due + instant) > turn);
                assert!(schedule.owed(due.saturating_sub(instant)) <= turn);
            }
        }
    }
}
