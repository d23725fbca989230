//! The count of the votes on one relay, and the rule for it.

use serde::Serialize;

/// The votes on one relay of the observers that count: those heard lately that do not distrust
/// themselves, this node among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How many observers count, abstaining ones included.
    pub observers: u16,
    /// How many call the relay up.
    pub up: u16,
    /// How many call it down.
    pub down: u16,
    /// How many failure domains the observers stand in.
    pub domains: u16,
    /// In how many of those somebody calls it down.
    pub down_domains: u16,
}

impl Tally {
    /// Whether the votes condemn: "up" is at or below a third of the observers, and "down" comes
    /// from two failure domains where there are two. One observer alone condemns by itself.
    pub fn condemns(&self) -> bool {
        let up = u32::from(self.up) * 3;
        self.down > 0 && up <= u32::from(self.observers) && self.down_domains >= self.domains.min(2)
    }

    /// Whether more than half of the observers call the relay up.
    pub fn vouches(&self) -> bool {
        u32::from(self.up) * 2 > u32::from(self.observers)
    }

    /// Whether more than one observer counts.
    pub fn is_shared(&self) -> bool {
        self.observers > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(observers: u16, up: u16, down: u16, domains: u16, down_domains: u16) -> Tally {
        Tally {
            observers,
            up,
            down,
            domains,
            down_domains,
        }
    }

    #[test]
    fn alone_ones_own_finding_condemns() {
        assert!(tally(1, 0, 1, 1, 1).condemns());
        assert!(!tally(1, 0, 0, 1, 0).condemns());
        assert!(!tally(1, 1, 0, 1, 0).condemns());
    }

    #[test]
    fn more_than_a_third_that_see_it_save_it() {
        for (observers, up, condemned) in [
            (2, 0, true),
            (2, 1, false),
            (3, 1, true),
            (3, 2, false),
            (5, 1, true),
            (5, 2, false),
            (9, 3, true),
            (9, 4, false),
        ] {
            let tally = tally(observers, up, observers - up, observers, observers - up);
            assert_eq!(tally.condemns(), condemned, "{tally:?}");
        }
    }

    #[test]
    fn one_failure_domain_does_not_condemn_where_there_are_two() {
        assert!(!tally(5, 0, 4, 2, 1).condemns());
        assert!(tally(5, 0, 2, 2, 2).condemns());
        assert!(tally(5, 0, 1, 1, 1).condemns());
    }

    #[test]
    fn most_observers_vouch() {
        assert!(tally(3, 2, 1, 3, 1).vouches());
        assert!(!tally(4, 2, 2, 4, 2).vouches());
    }
}
