//! The replay rule: (boot, sequence) of one relay may only rise.

/// The highest boot id that is believed. What lies above is no count of anything but a fault, and
/// remembering it would leave a relay no higher one to choose.
pub const BOOT_MAX: u64 = u64::MAX >> 1;

/// What a receiver remembers of one relay to refuse datagrams it has seen, or older ones.
///
/// A relay chooses a higher boot id at every start and counts sequences up from 1 within it. The
/// two numbers may be saved and restored, so that a receiver's restart forgets nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayGuard {
    boot: u64,
    sequence: u64,
}

/// Why a datagram is not new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Replayed {
    /// The boot id is below the newest one seen. A relay that lost its clock and its state learns
    /// the floor from [`Ack::boot_floor`](crate::Ack::boot_floor) and starts above it.
    #[error("boot id is not above {floor}")]
    StaleBoot {
        /// The newest boot id seen.
        floor: u64,
    },
    /// The sequence did not rise within its boot: a copy, or overtaken on the way.
    #[error("sequence is not above {last}")]
    StaleSequence {
        /// The newest sequence seen.
        last: u64,
    },
}

impl ReplayGuard {
    /// A guard that has seen nothing: the first datagram passes unless both its numbers are 0.
    pub const fn new() -> Self {
        Self {
            boot: 0,
            sequence: 0,
        }
    }

    /// A guard as it was when [`boot`](Self::boot) and [`sequence`](Self::sequence) were saved; a
    /// new one if the boot id is above [`BOOT_MAX`].
    pub const fn restored(boot: u64, sequence: u64) -> Self {
        if boot > BOOT_MAX {
            return Self::new();
        }
        Self { boot, sequence }
    }

    /// Accepts a datagram whose MAC has been verified, or says why it is not new.
    pub fn accept(&mut self, boot: u64, sequence: u64) -> Result<(), Replayed> {
        if boot < self.boot {
            return Err(Replayed::StaleBoot { floor: self.boot });
        }
        if boot == self.boot && sequence <= self.sequence {
            return Err(Replayed::StaleSequence {
                last: self.sequence,
            });
        }
        *self = Self { boot, sequence };
        Ok(())
    }

    /// The newest boot id accepted; 0 before the first.
    pub const fn boot(&self) -> u64 {
        self.boot
    }

    /// The newest sequence accepted within [`boot`](Self::boot); 0 before the first.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What to tell a relay that reported under `boot`: 0 when it may go on, else the id that
    /// its next one must exceed.
    pub const fn boot_floor(&self, boot: u64) -> u64 {
        if boot < self.boot { self.boot } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_rise_within_a_boot_and_boots_rise() {
        let mut guard = ReplayGuard::new();
        assert_eq!(guard.accept(0, 0), Err(Replayed::StaleSequence { last: 0 }));
        assert_eq!(guard.accept(10, 5), Ok(()));
        assert_eq!(
            guard.accept(10, 5),
            Err(Replayed::StaleSequence { last: 5 })
        );
        assert_eq!(
            guard.accept(10, 4),
            Err(Replayed::StaleSequence { last: 5 })
        );
        assert_eq!(guard.accept(10, 9), Ok(()));
        assert_eq!(guard.accept(9, 100), Err(Replayed::StaleBoot { floor: 10 }));
        assert_eq!(guard.boot_floor(9), 10);
        assert_eq!(guard.boot_floor(10), 0);
        assert_eq!(guard.accept(11, 1), Ok(()));
        assert_eq!(guard.accept(10, 10), Err(Replayed::StaleBoot { floor: 11 }));
    }

    #[test]
    fn a_refused_datagram_changes_nothing() {
        let mut guard = ReplayGuard::restored(7, 7);
        let before = guard;
        assert!(guard.accept(7, 7).is_err());
        assert!(guard.accept(6, 8).is_err());
        assert_eq!(guard, before);
        assert_eq!((guard.boot(), guard.sequence()), (7, 7));
    }

    #[test]
    fn a_saved_boot_id_that_no_report_may_have_is_forgotten() {
        let guard = ReplayGuard::restored(BOOT_MAX + 1, 1);
        assert_eq!(guard, ReplayGuard::new());
        let guard = ReplayGuard::restored(BOOT_MAX, 1);
        assert_eq!(guard.boot(), BOOT_MAX);
    }
}
