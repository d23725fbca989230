//! From when to when signatures are good, so that all nameservers of a fleet make them alike.

use credentials::UnixTime;

use super::keys::{Key, Keys};
use super::pen::wire;
use crate::spread::hash;

/// How often a signature is made anew, in seconds.
const RENEWED: u64 = 24 * HOUR;
/// How long a signature is good from its making: it must outlive secondaries that hear nothing of us
/// until the zone expires there, which takes 14 days ([`EXPIRE`](crate::snapshot::EXPIRE)).
const VALID: u64 = 21 * 24 * HOUR;
/// How far a resolver's clock may be behind ours.
const BACKDATED: u64 = HOUR;
/// Signatures are made anew on the hour, each at one of the hours of a day.
const HOUR: u64 = 3600;

/// The time in which a signature is good, as its record says it (RFC 4034 section 3.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) inception: u32,
    pub(super) expiration: u32,
}

/// The window of a signature that is made now. `phase` says at which hour of the day it is made anew:
/// never all at once.
pub(super) fn window(now: UnixTime, phase: u64) -> Window {
    let phase = phase % (RENEWED / HOUR) * HOUR;
    let since = (now.0 % RENEWED + RENEWED - phase) % RENEWED;
    let begun = now.0.saturating_sub(since);
    Window {
        // Serial numbers: they go round (RFC 4034 section 3.1.5).
        inception: begun.saturating_sub(BACKDATED) as u32,
        expiration: (begun + VALID) as u32,
    }
}

/// The hour that a moment lies in: within it all windows stay the same.
pub(super) fn hour(now: UnixTime) -> u64 {
    now.0 / HOUR
}

/// What signatures made now depend on besides what is signed, as a number: the hour, and the part
/// that each key has. 0 where no zone has keys.
pub(super) fn mark(keys: &Keys, now: UnixTime) -> u64 {
    if keys.zones().next().is_none() {
        return 0;
    }
    let mut all = hour(now).to_be_bytes().to_vec();
    for (zone, own) in keys.zones() {
        all.extend(wire(zone));
        let parts: [(u8, Vec<&Key>); 3] = [
            (0, own.active(now).into_iter().collect()),
            (1, own.published(now).collect()),
            (2, own.announced(now).collect()),
        ];
        for (part, keys) in parts {
            let one = |key: &Key| [&[part][..], &key.public].concat();
            all.extend(keys.into_iter().flat_map(one));
        }
    }
    hash(&all).max(1)
}

/// When what was signed at `now` is to be signed anew: signatures are renewed, or a key's part changes.
pub fn due(keys: &Keys, now: UnixTime) -> UnixTime {
    let renewal = UnixTime((hour(now) + 1) * HOUR);
    let change = keys.next_change(now);
    change.map_or(renewal, |change| change.min(renewal))
}

/// Seconds that the signature which runs out first is still good, where all were made for `signed`.
pub fn least_left(signed: UnixTime, now: UnixTime) -> u64 {
    // The oldest was made anew an hour less than a day before the hour of its making.
    let oldest = (hour(signed) * HOUR + HOUR).saturating_sub(RENEWED);
    (oldest + VALID).saturating_sub(now.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_outlive_an_expiring_secondary_and_are_good_for_slow_clocks() {
        for now in (1_800_000_000..1_800_000_000 + 2 * RENEWED).step_by(599) {
            for phase in 0..30 {
                let Window {
                    inception,
                    expiration,
                } = window(UnixTime(now), phase);
                let (inception, expiration) = (u64::from(inception), u64::from(expiration));
                assert!(inception + BACKDATED <= now);
                assert!(now < inception + BACKDATED + RENEWED);
                assert!(expiration >= now + 14 * 24 * HOUR);
                assert!(expiration - now >= least_left(UnixTime(now), UnixTime(now)));
            }
        }
    }

    #[test]
    fn windows_change_on_the_hour_alone_and_a_twenty_fourth_of_them_each() {
        let at = |now: u64, phase| window(UnixTime(now), phase);
        for hour in 500_000..500_050 {
            let begins = hour * HOUR;
            let changed = (0..24).filter(|phase| at(begins - 1, *phase) != at(begins, *phase));
            assert_eq!(changed.count(), 1);
            for phase in 0..24 {
                assert_eq!(at(begins, phase), at(begins + HOUR - 1, phase));
            }
        }
    }
}
