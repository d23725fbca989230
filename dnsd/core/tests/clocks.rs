//! How far this node's clock is off, by the clocks that most relays show.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::world::EPOCH;
use common::{SECOND, six, start};
use credentials::UnixTime;
use dnsd_core::fleet::Fleet;

const OWN: u64 = 1_800_000_000_000;
const HOUR_MS: i64 = 3_600_000;

fn fleet() -> (Fleet, Instant) {
    let now = start();
    (Fleet::new(six(), None, now, UnixTime(EPOCH)), now)
}

/// The offset where the relays' clocks, in turn, are ahead by so many milliseconds.
fn offset(ahead: &[i64]) -> i64 {
    let (mut fleet, now) = fleet();
    show(&mut fleet, now, ahead);
    fleet.clock_offset(now)
}

fn show(fleet: &mut Fleet, now: Instant, ahead: &[i64]) {
    for (relay, ahead) in six().relays().iter().zip(ahead) {
        let theirs = OWN.saturating_add_signed(*ahead);
        fleet.handle_clock(now, relay.id, theirs, OWN);
    }
}

#[test]
fn three_relays_at_least_must_have_told_the_time() {
    assert_eq!(offset(&[]), 0);
    assert_eq!(offset(&[HOUR_MS; 2]), 0);
    assert_eq!(offset(&[HOUR_MS; 3]), HOUR_MS);
    assert_eq!(offset(&[-HOUR_MS; 6]), -HOUR_MS);
    // One that tells it often is one.
    let (mut fleet, now) = fleet();
    for _ in 0..5 {
        show(&mut fleet, now, &[HOUR_MS; 2]);
    }
    assert_eq!(fleet.clock_offset(now), 0);
    // Nobody else's word counts.
    let stranger = "nowhere-1".parse().unwrap();
    fleet.handle_clock(now, stranger, OWN * 2, OWN);
    assert_eq!(fleet.clock_offset(now), 0);
}

#[test]
fn a_minute_is_no_difference() {
    assert_eq!(offset(&[60_000; 6]), 0);
    assert_eq!(offset(&[-60_000; 6]), 0);
    assert_eq!(offset(&[60_001; 6]), 60_001);
    assert_eq!(offset(&[-60_001; 6]), -60_001);
}

#[test]
fn what_was_told_long_ago_is_forgotten() {
    let (mut fleet, now) = fleet();
    show(&mut fleet, now, &[HOUR_MS; 6]);
    assert_eq!(fleet.clock_offset(now + SECOND * 9), HOUR_MS);
    assert_eq!(fleet.clock_offset(now + SECOND * 10), 0);
    show(&mut fleet, now + SECOND * 9, &[HOUR_MS; 2]);
    assert_eq!(fleet.clock_offset(now + SECOND * 10), 0);
}

/// Whatever half of the relays say, the offset lies within what the others say, or is none.
#[test]
fn half_of_the_relays_cannot_move_it() {
    let lies = [i64::MIN, -HOUR_MS * 9, -1, 0, 1, HOUR_MS * 9, i64::MAX];
    for truth in [-HOUR_MS, 0, HOUR_MS] {
        for one in lies {
            for two in lies {
                for three in lies {
                    let told = [one, truth, two, truth + 5, three, truth - 5];
                    let found = offset(&told);
                    let honest = (truth - 5..=truth + 5).contains(&found);
                    assert!(honest || found == 0, "{told:?}: {found}");
                }
                // Fewer than half cannot even hide it.
                let told = [one, truth, two, truth, truth, truth];
                assert_eq!(offset(&told), truth, "{told:?}");
                assert_eq!(offset(&told[..5]), truth, "{told:?}");
            }
        }
    }
}

#[test]
fn clocks_that_are_as_wrong_as_can_be_break_nothing() {
    let (mut fleet, now) = fleet();
    for (theirs, own) in [(u64::MAX, 0), (0, u64::MAX), (u64::MAX, u64::MAX), (0, 0)] {
        for relay in six().relays() {
            fleet.handle_clock(now, relay.id, theirs, own);
        }
        let found = fleet.clock_offset(now + Duration::from_millis(1));
        assert_eq!(
            found.signum(),
            i128::from(theirs).cmp(&i128::from(own)) as i64
        );
    }
}
