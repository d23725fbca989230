//! Which addresses a lane answers with, and in which order.

use super::deal::{Card, FAMILIES, Lane};

/// Chosen cards: per lane, per family, best first.
pub(super) type Picked = [[Vec<usize>; 2]; 2];

/// Picks up to `count` cards per lane and family. The first of each family is what counts: it is
/// healthy where the lane has anything healthy; the two lanes' first ones share no availability
/// zone where that can be had; a lane's first A and first AAAA differ in vendor, else in zone,
/// else in relay, where they can. The rest is vendor-distinct, then zone-distinct, and never in a
/// zone that the other lane uses, unless both lanes stand in one zone anyway: the second thing
/// returned says whether they do not.
pub(super) fn pick(cards: &[Card], lanes: &[Lane; 2], count: usize) -> (Picked, bool) {
    let mut picked = Picked::default();
    let mut apart = true;
    for family in FAMILIES {
        apart &= heads(cards, lanes, family, &mut picked);
    }
    for _ in 1..count {
        for lane in 0..2 {
            for family in FAMILIES {
                if let Some(next) = next(cards, &lanes[lane][family], family, lane, &picked, apart)
                {
                    picked[lane][family].push(next);
                }
            }
        }
    }
    (picked, apart)
}

/// Whether a card may not be added to a lane because of what the other one has.
pub(super) fn clashes(
    cards: &[Card],
    index: usize,
    lane: usize,
    picked: &Picked,
    apart: bool,
) -> bool {
    picked[1 - lane]
        .iter()
        .flatten()
        .any(|other| index == *other || (apart && cards[index].zone == cards[*other].zone))
}

/// Picks the first card of both lanes for one family; false when the lanes could not be kept in
/// different zones.
fn heads(cards: &[Card], lanes: &[Lane; 2], family: usize, picked: &mut Picked) -> bool {
    let [a, b] = [0, 1].map(|lane| candidates(cards, &lanes[lane][family], &picked[lane]));
    let zones_apart = |x: usize, y: usize| cards[x].zone != cards[y].zone;
    let relays_apart = |x: usize, y: usize| x != y;
    let rules: [&dyn Fn(usize, usize) -> bool; 2] = [&zones_apart, &relays_apart];
    for (level, apart) in rules.into_iter().enumerate() {
        let free = |lane: usize, card: usize| {
            picked[1 - lane]
                .iter()
                .flatten()
                .all(|other| apart(card, *other))
        };
        let pair = match (a.is_empty(), b.is_empty()) {
            (true, true) => return true,
            (false, true) => a.iter().find(|x| free(0, **x)).map(|x| (Some(*x), None)),
            (true, false) => b.iter().find(|y| free(1, **y)).map(|y| (None, Some(*y))),
            (false, false) => a.iter().filter(|x| free(0, **x)).find_map(|x| {
                let fits = |y: &&usize| free(1, **y) && apart(*x, **y);
                b.iter().find(fits).map(|y| (Some(*x), Some(*y)))
            }),
        };
        if let Some((x, y)) = pair {
            picked[0][family].extend(x);
            picked[1][family].extend(y);
            return level == 0;
        }
    }
    picked[0][family].extend(a.first());
    picked[1][family].extend(b.first());
    false
}

/// The cards that may come first, best first: healthy ones only if there are any, and those most
/// unlike what the lane's other family begins with.
fn candidates(cards: &[Card], lane: &[usize], picked: &[Vec<usize>; 2]) -> Vec<usize> {
    let Some(best) = lane.first() else {
        return Vec::new();
    };
    let head = picked
        .iter()
        .find_map(|family| family.first())
        .map(|index| cards[*index]);
    let likeness = |card: &Card| {
        head.map(|h| {
            (
                h.vendor == card.vendor,
                h.zone == card.zone,
                h.relay == card.relay,
            )
        })
    };
    let mut fitting: Vec<usize> = lane
        .iter()
        .copied()
        .filter(|index| cards[*index].doubt == cards[*best].doubt)
        .collect();
    fitting.sort_by_key(|index| likeness(&cards[*index]));
    fitting
}

/// The next card of a lane's family, if one may be added.
fn next(
    cards: &[Card],
    lane_cards: &[usize],
    family: usize,
    lane: usize,
    picked: &Picked,
    apart: bool,
) -> Option<usize> {
    let own = &picked[lane][family];
    let free = |index: &usize| !own.contains(index) && !clashes(cards, *index, lane, picked, apart);
    lane_cards.iter().copied().filter(free).min_by_key(|index| {
        let card = &cards[*index];
        let vendor = own.iter().any(|other| cards[*other].vendor == card.vendor);
        let zone = own.iter().any(|other| cards[*other].zone == card.zone);
        // Ties go to the first, and the cards come in rank order.
        (card.doubt, vendor, zone)
    })
}
