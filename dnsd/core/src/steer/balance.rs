//! How many clients each variant gets, so that every relay comes first as often as its weight says.
//!
//! Variants are drawn, and there are few of them: left alike, some relays would by chance come first
//! half as often again as others. They stay what they are; only how often each is used is fitted
//! (iterative proportional fitting) to what relays should get of each list: the first lane, both
//! lanes together, names without a lane. Of two families that is so in IPv4: the first AAAA is at
//! another vendor than the first A, so that both cannot follow the weights.

use super::deal::{Card, FAMILIES};
use super::plan::Variant;

/// The share of a variant that every client which draws it keeps.
pub(super) const WHOLE: u32 = 1 << 16;
/// How much more, and less, than the average a variant may be used: all are to be.
const MOST: f64 = 3.0;
const LEAST: f64 = 0.25;
const ROUNDS: usize = 12;
/// How far off the goal is near enough.
const NEAR: f64 = 0.02;

/// The relays that come first in a variant, by list.
struct List {
    /// Per variant.
    heads: Vec<[Option<usize>; 2]>,
    /// What each relay should get, as many times as an average variant; 0 for those that get what
    /// they get.
    goals: Vec<f64>,
}

/// Sets the share of each variant. `cards` are those that the variants were made of, in any order.
pub(super) fn balance(cards: &[Card], variants: &mut [Variant]) {
    let family = FAMILIES
        .into_iter()
        .find(|family| cards.iter().any(|card| card.has[*family]));
    let lists = lists(cards, variants, family.unwrap_or_default());
    let mut used = vec![1.0_f64; variants.len()];
    for _ in 0..ROUNDS {
        let mut off = 0.0_f64;
        for list in &lists {
            off = off.max(list.fit(&mut used));
        }
        if off < NEAR {
            break;
        }
    }
    let most = used.iter().copied().fold(0.0, f64::max);
    for (variant, used) in variants.iter_mut().zip(used) {
        variant.share = part(used / most);
    }
}

/// So much of the whole, from 0 to 1.
#[allow(clippy::cast_sign_loss, reason = "it is clamped")]
fn part(of: f64) -> u32 {
    (of.clamp(0.0, 1.0) * f64::from(WHOLE)) as u32
}

/// What is to be fitted in one family.
fn lists(cards: &[Card], variants: &[Variant], family: usize) -> [List; 3] {
    let place = |relay: u16| cards.iter().position(|card| card.relay == relay);
    let first = |choice: &super::Choice| {
        let list = [&choice.ipv4, &choice.ipv6][family];
        list.first().and_then(|relay| place(*relay))
    };
    let lanes = variants
        .iter()
        .map(|variant| variant.lanes.each_ref().map(first));
    let lanes: Vec<[Option<usize>; 2]> = lanes.collect();
    let first_lane = lanes.iter().map(|[a, _]| [*a, None]);
    let both = lanes.iter().map(|[a, b]| [*a, b.filter(|_| a != b)]);
    let apex = variants.iter().map(|variant| [first(&variant.apex), None]);
    [
        List::new(cards, first_lane.collect()),
        List::new(cards, both.collect()),
        List::new(cards, apex.collect()),
    ]
}

impl List {
    fn new(cards: &[Card], heads: Vec<[Option<usize>; 2]>) -> Self {
        let mut came = vec![0.0; cards.len()];
        for head in heads.iter().flatten().flatten() {
            came[*head] += 1.0;
        }
        // Those in doubt come first only where nobody else can, and then always.
        let least = cards.iter().map(|card| card.doubt).min();
        let counts = |(card, came): (&Card, &f64)| Some(card.doubt) == least && *came > 0.0;
        let counted: Vec<bool> = cards.iter().zip(&came).map(counts).collect();
        let whole: f64 = came
            .iter()
            .zip(&counted)
            .filter(|(_, c)| **c)
            .map(|(n, _)| n)
            .sum();
        let weights = cards.iter().zip(&counted);
        let weights = weights.map(|(card, counted)| {
            if *counted {
                f64::from(card.weight)
            } else {
                0.0
            }
        });
        let most = heads.iter().fold(0.0, |count, _| count + 1.0);
        let goals = goals(cards, weights.collect(), whole, most);
        Self { heads, goals }
    }

    /// Brings the list nearer to its goals; how far off it was.
    fn fit(&self, used: &mut [f64]) -> f64 {
        let mut got = vec![0.0; self.goals.len()];
        for (heads, used) in self.heads.iter().zip(used.iter()) {
            heads.iter().flatten().for_each(|head| got[*head] += used);
        }
        let factor = |head: &usize| match (self.goals[*head], got[*head]) {
            (goal, got) if goal > 0.0 && got > 0.0 => goal / got,
            _ => 1.0,
        };
        let off = (0..self.goals.len()).map(|relay| (factor(&relay) - 1.0).abs());
        let off = off.fold(0.0, f64::max);
        for (heads, used) in self.heads.iter().zip(used.iter_mut()) {
            let factor = match heads {
                [Some(one), Some(other)] => (factor(one) * factor(other)).sqrt(),
                [Some(one), None] | [None, Some(one)] => factor(one),
                [None, None] => 1.0,
            };
            *used = (*used * factor).clamp(LEAST, MOST);
        }
        off
    }
}

/// Deals out `whole` by weight, to each vendor (or zone, where there is one vendor; or relay) no
/// more than `most`: the lanes do not share it.
fn goals(cards: &[Card], weights: Vec<f64>, whole: f64, most: f64) -> Vec<f64> {
    let apart = |level: fn(&Card) -> u16| cards.iter().any(|card| level(card) != level(&cards[0]));
    let levels: [fn(&Card) -> u16; 3] = [|card| card.vendor, |card| card.zone, |card| card.relay];
    let level = levels
        .into_iter()
        .find(|level| apart(*level))
        .unwrap_or(levels[2]);
    let mut groups: Vec<(u16, f64)> = Vec::new();
    for (card, weight) in cards.iter().zip(&weights) {
        match groups.iter_mut().find(|(group, _)| *group == level(card)) {
            Some((_, sum)) => *sum += weight,
            None => groups.push((level(card), *weight)),
        }
    }
    // Largest first: once one gets all that it wants, the smaller ones do.
    groups.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let (mut left, mut rest) = (whole, groups.iter().map(|(_, sum)| sum).sum::<f64>());
    let mut rates = Vec::new();
    for (group, sum) in groups {
        let part = if rest > 0.0 {
            (left * sum / rest).min(most)
        } else {
            0.0
        };
        left -= part;
        rest -= sum;
        rates.push((group, if sum > 0.0 { part / sum } else { 0.0 }));
    }
    let rate = |card: &Card| {
        let found = rates.iter().find(|(group, _)| *group == level(card));
        found.map_or(0.0, |(_, rate)| *rate)
    };
    let goals = cards.iter().zip(weights);
    goals.map(|(card, weight)| weight * rate(card)).collect()
}
