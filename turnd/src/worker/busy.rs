//! How busy a worker is, smoothed: one busy second does not make a full relay.

/// The newest measurement counts for one part in so many.
const WEIGHT: u32 = 4;

/// A moving average in thousandths.
#[derive(Debug, Default)]
pub(super) struct Busy(u32);

impl Busy {
    /// Takes in one interval's share of processor time, 0 to 1000.
    pub(super) fn add(&mut self, permille: u16) {
        // Kept in parts of a thousandth, so that it reaches both ends.
        self.0 = self.0 - self.0 / WEIGHT + u32::from(permille);
    }

    /// The average, 0 to 1000.
    pub(super) fn permille(&self) -> u16 {
        u16::try_from(self.0 / WEIGHT).unwrap_or(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_within_seconds_and_no_faster() {
        let mut busy = Busy::default();
        busy.add(1000);
        assert_eq!(busy.permille(), 250);
        for _ in 0..30 {
            busy.add(1000);
        }
        assert!(busy.permille() >= 999, "{}", busy.permille());
        for _ in 0..30 {
            busy.add(0);
        }
        assert_eq!(busy.permille(), 0);
    }
}
