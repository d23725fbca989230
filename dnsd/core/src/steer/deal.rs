//! One variant's deal: ranks the pool by a draw and splits it into two lanes.

use super::pool::Pool;
use super::{Seat, Standing, View};
use crate::inventory::Inventory;
use crate::spread::{hash, mix};

/// The two address families, as indices.
pub(super) const FAMILIES: [usize; 2] = [0, 1];

/// A relay of a pool, reduced to what the deal needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Card {
    pub(super) relay: u16,
    pub(super) vendor: u16,
    pub(super) zone: u16,
    /// 0 for one that is up, 1 for a suspect, 2 for one that was found not to relay.
    pub(super) doubt: u8,
    /// Whether it answers with IPv4, with IPv6.
    pub(super) has: [bool; 2],
    /// Ten thousand times the configured weight, or less for one that was down or has less room.
    pub(super) weight: u32,
    seed: u64,
}

/// Which cards, best first, a lane may use for each family: indices into the ranked cards.
pub(super) type Lane = [Vec<usize>; 2];

/// The pool as cards, in the inventory's order.
pub(super) fn cards(inventory: &Inventory, view: &View, pool: &Pool) -> Vec<Card> {
    let relays = inventory.relays();
    let mut vendors: Vec<&str> = relays.iter().map(|relay| relay.vendor.as_str()).collect();
    let mut zones: Vec<&str> = relays.iter().map(|relay| relay.zone.as_str()).collect();
    vendors.sort_unstable();
    zones.sort_unstable();
    let number = |names: &[&str], name: &str| names.partition_point(|other| *other < name) as u16;
    (0..relays.len())
        .map(|index| {
            (
                index,
                [pool.ipv4.contains(&index), pool.ipv6.contains(&index)],
            )
        })
        .filter(|(_, has)| has[0] || has[1])
        .map(|(index, has)| Card {
            relay: index as u16,
            vendor: number(&vendors, &relays[index].vendor),
            zone: number(&zones, &relays[index].zone),
            doubt: u8::from(view.seats[index].standing == Standing::Suspect)
                + u8::from(view.seats[index].gray),
            has,
            weight: weight(relays[index].weight, &view.seats[index]),
            seed: hash(relays[index].id.as_str().as_bytes()),
        })
        .collect()
}

/// Clients go where there is room, as far as the configured weights and slow start let them. A
/// relay that is nearly full keeps a tenth: when it is full it says so.
fn weight(configured: u32, seat: &Seat) -> u32 {
    configured * seat.share.clamp(1, 1000) * (seat.free / 100).clamp(1, 10)
}

/// Ranks the cards for one variant: the healthy before the suspect, else by weighted rendezvous
/// hashing, in which each relay comes first as often as its weight says, and a relay that leaves
/// moves nobody but its own clients.
pub(super) fn rank(cards: &mut [Card], variant: usize) {
    let draw = mix(variant as u64);
    let score = |card: &Card| {
        // Uniform in (0, 1); its negative logarithm over the weight is an exponential race.
        let uniform = (f64::from((mix(card.seed ^ draw) >> 32) as u32) + 0.5) / 4_294_967_296.0;
        -uniform.ln() / f64::from(card.weight)
    };
    // Positive floats are ordered as their bits.
    cards.sort_by_cached_key(|card| (card.doubt, score(card).to_bits(), card.relay));
}

/// All ranked cards in the first of two lanes.
pub(super) fn whole(cards: &[Card]) -> [Lane; 2] {
    let all = FAMILIES.map(|family| {
        (0..cards.len())
            .filter(|index| cards[*index].has[family])
            .collect()
    });
    [all, Lane::default()]
}

/// Splits ranked cards into the two lanes: by vendor, else by availability zone, else by relay,
/// else not at all.
pub(super) fn deal(cards: &[Card]) -> [Lane; 2] {
    let lane_of = vendors_by_lane(cards);
    let mut lanes: [Lane; 2] = Default::default();
    for (index, card) in cards.iter().enumerate() {
        let lane = usize::from(
            lane_of
                .iter()
                .any(|(vendor, b)| *b && *vendor == card.vendor),
        );
        for family in FAMILIES.into_iter().filter(|family| card.has[*family]) {
            lanes[lane][family].push(index);
        }
    }
    for family in FAMILIES {
        let [a, b] = &mut lanes;
        let (a, b) = (&mut a[family], &mut b[family]);
        if a.is_empty() {
            split(cards, b, a);
        } else if b.is_empty() {
            split(cards, a, b);
        }
    }
    lanes
}

/// Each vendor, best first, with whether it goes to lane b. Vendors alternate, except where a
/// lane would lack an address family that both could have.
fn vendors_by_lane(cards: &[Card]) -> Vec<(u16, bool)> {
    let mut vendors: Vec<(u16, [bool; 2])> = Vec::new();
    for card in cards {
        let known = vendors
            .iter()
            .position(|(vendor, _)| *vendor == card.vendor);
        let place = known.unwrap_or_else(|| {
            vendors.push((card.vendor, [false; 2]));
            vendors.len() - 1
        });
        for family in FAMILIES {
            vendors[place].1[family] |= card.has[family];
        }
    }
    let alternating = vendors.into_iter().enumerate();
    let mut dealt: Vec<(u16, [bool; 2], bool)> = alternating
        .map(|(rank, (vendor, has))| (vendor, has, rank % 2 == 1))
        .collect();
    for family in FAMILIES {
        for lane in [false, true] {
            complete(&mut dealt, family, lane);
        }
    }
    dealt
        .into_iter()
        .map(|(vendor, _, b)| (vendor, b))
        .collect()
}

/// If `lane` lacks a family that two vendors of the other lane have, moves the last of those over
/// that the other lane can spare.
fn complete(dealt: &mut [(u16, [bool; 2], bool)], family: usize, lane: bool) {
    let count = |dealt: &[(u16, [bool; 2], bool)], lane: bool, family: usize| {
        dealt
            .iter()
            .filter(|(_, has, b)| *b == lane && has[family])
            .count()
    };
    if count(dealt, lane, family) > 0 || count(dealt, !lane, family) < 2 {
        return;
    }
    let spare = (0..dealt.len()).rev().find(|index| {
        let (_, has, b) = dealt[*index];
        let needed = FAMILIES
            .iter()
            .any(|f| has[*f] && count(dealt, !lane, *f) < 2);
        b != lane && has[family] && !needed
    });
    if let Some(index) = spare {
        dealt[index].2 = lane;
    }
}

/// Fills an empty side from a full one at the coarsest level that leaves neither empty; a single
/// relay is shared.
fn split(cards: &[Card], full: &mut Vec<usize>, empty: &mut Vec<usize>) {
    let levels: [fn(&Card) -> u16; 3] = [|card| card.vendor, |card| card.zone, |card| card.relay];
    for level in levels {
        let mut groups: Vec<u16> = Vec::new();
        for card in full.iter().map(|index| &cards[*index]) {
            if !groups.contains(&level(card)) {
                groups.push(level(card));
            }
        }
        if groups.len() < 2 {
            continue;
        }
        let odd = |index: &usize| {
            groups
                .iter()
                .position(|group| *group == level(&cards[*index]))
                .is_some_and(|p| p % 2 == 1)
        };
        empty.extend(full.iter().copied().filter(odd));
        full.retain(|index| !odd(index));
        return;
    }
    empty.clone_from(full);
}
