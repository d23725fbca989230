//! Few numbers from many: medians, spreads, and ratios of what was measured in the same round.

use std::collections::BTreeMap;

/// One number of each round.
pub type Rounds = BTreeMap<u32, f64>;

/// The middle and the ends of several numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

impl Spread {
    /// Of `numbers`, in any order; `None` where there are none.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&least, &most) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self {
            median,
            least,
            most,
        })
    }
}

/// `what` of each pair of one round. Where no round has both, of the two medians: what was measured in
/// different runs can still be compared, with no spread to trust it by.
pub fn paired(a: &Rounds, b: &Rounds, what: impl Fn(f64, f64) -> f64) -> Option<Spread> {
    let both = a.iter().filter_map(|(round, a)| Some((*a, *b.get(round)?)));
    Spread::of(both.map(|(a, b)| what(a, b))).or_else(|| {
        let [a, b] = [a, b].map(|rounds| Spread::of(rounds.values().copied()));
        let of_medians = what(a?.median, b?.median);
        Spread::of([of_medians])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Median, least and most.
    fn told(spread: Option<Spread>) -> Option<[f64; 3]> {
        spread.map(|spread| [spread.median, spread.least, spread.most])
    }

    #[test]
    fn the_median_is_the_middle_one_or_between_the_middle_two() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(told(Spread::of([7.0])), Some([7.0, 7.0, 7.0]));
        assert_eq!(told(Spread::of([9.0, 1.0, 2.0])), Some([2.0, 1.0, 9.0]));
        assert_eq!(
            told(Spread::of([9.0, 1.0, 4.0, 2.0])),
            Some([3.0, 1.0, 9.0])
        );
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // The machine was twice as slow in the second round: no ratio shows it.
        let a = Rounds::from([(1, 3.0), (2, 6.0), (3, 3.3)]);
        let b = Rounds::from([(1, 2.0), (2, 4.0), (4, 100.0)]);
        let ratio = paired(&a, &b, |a, b| a / b);
        assert_eq!(told(ratio), Some([1.5, 1.5, 1.5]));
    }

    #[test]
    fn without_a_common_round_medians_are_compared() {
        let a = Rounds::from([(1, 3.0), (2, 5.0)]);
        let b = Rounds::from([(3, 2.0)]);
        let more = paired(&a, &b, |a, b| a - b);
        assert_eq!(told(more), Some([2.0, 2.0, 2.0]));
        assert_eq!(paired(&a, &Rounds::new(), |a, b| a / b), None);
    }
}
