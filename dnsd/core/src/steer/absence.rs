//! Why a relay is not in an answer, told by the very steps that choose the answer.

use std::fmt;

use serde::Serialize;

use super::deal;
use super::pick::{Picked, clashes, pick};
use super::plan::{Variant, deal_again};
use super::pool::{Pool, pool};
use super::{Seat, Standing, View};
use crate::inventory::Inventory;
use crate::paths::{Family, Transport};

/// Why a relay is not in an answer: the first step of the choice that it did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// The client goes to another region, because its own lacks headroom.
    Spilled,
    /// It stands in a region that these clients are never sent to.
    OutOfReach,
    /// A region that comes before its own in the order serves.
    OtherRegion,
    /// A person decided that it counts as down.
    ForcedDown,
    /// It is taken for dead.
    Down,
    /// It is leaving, or failing, by its own word.
    Leaving,
    /// It takes no new clients for now.
    Full,
    /// Nothing is known of it.
    Unknown,
    /// It is in doubt, and others are not.
    Suspect,
    /// It is in reserve, and at rest.
    Standby,
    /// It has no address of this family.
    NoAddress,
    /// It does not serve the transport, or not over this family.
    NotServed,
    /// Clients are kept off the transport there, because it fails.
    Withdrawn,
    /// The client's label says to avoid it, or to avoid others by a detour that leaves it out, too.
    Avoided,
    /// In this variant its vendor, or zone, belongs to the other lane.
    OtherLane,
    /// The other lane's answer names a relay in its zone.
    OtherLaneInZone,
    /// The answer is full of relays that rank before it in this variant.
    LowerRank,
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spilled => "the client's region lacks headroom, and it is sent to another",
            Self::OutOfReach => "it stands in a region that these clients are never sent to",
            Self::OtherRegion => "a region that comes before its own serves",
            Self::ForcedDown => "a person decided that it counts as down",
            Self::Down => "it is down",
            Self::Leaving => "it says that it is leaving, or failing",
            Self::Full => "it says that it is full",
            Self::Unknown => "nothing is known of it yet",
            Self::Suspect => "it is suspect, and served last",
            Self::Standby => "it is in reserve, and at rest",
            Self::NoAddress => "it has no address of this family",
            Self::NotServed => "it does not serve this transport",
            Self::Withdrawn => "clients are kept off this transport there: it fails",
            Self::Avoided => "the label leads around it",
            Self::OtherLane => "in this variant it belongs to the other lane",
            Self::OtherLaneInZone => "the other lane is answered with a relay in its zone",
            Self::LowerRank => "others rank before it in this variant",
        })
    }
}

impl Absence {
    /// What a relay that is not served as healthy is kept out for.
    pub(super) fn of_standing(seat: &Seat) -> Self {
        match seat.standing {
            Standing::Down if seat.forced => Self::ForcedDown,
            Standing::Down => Self::Down,
            Standing::Leaving => Self::Leaving,
            Standing::Full => Self::Full,
            Standing::Unknown => Self::Unknown,
            // Of the healthy only those that were found not to relay are passed over for this.
            Standing::Suspect | Standing::Up => Self::Suspect,
        }
    }
}

/// The answer that is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// The client's region.
    pub(crate) region: usize,
    /// The one that takes it instead.
    pub(crate) spilled_to: Option<usize>,
    pub(crate) transport: Option<Transport>,
    pub(crate) family: Family,
    /// 0 or 1; `None` for names without a lane.
    pub(crate) lane: Option<usize>,
    pub(crate) variant: &'a Variant,
    /// The relays to avoid.
    pub(crate) avoid: &'a [u16],
}

/// For each relay, in the inventory's order, why it is not in the answer; `None` for those that
/// are.
pub(crate) fn absences(
    inventory: &Inventory,
    view: &View,
    asked: &Asked<'_>,
) -> Vec<Option<Absence>> {
    let pool_of = |region| pool(inventory, view, region, asked.transport);
    let home = pool_of(asked.region);
    let spilled = asked.spilled_to.map(pool_of);
    let serving = spilled.as_ref().unwrap_or(&home);
    let family = asked.family;
    let picked = Deal::again(inventory, view, serving, asked);
    let absence = |relay: usize| {
        let kept_out = serving.absence(inventory, view, relay, family);
        match (kept_out, &spilled) {
            (None, _) => picked.absence(relay as u16, asked),
            (Some(there), None) => Some(there),
            // What keeps it from serving its own region tells more than that another serves.
            (Some(there), Some(_)) => match home.absence(inventory, view, relay, family) {
                None => Some(Absence::Spilled),
                Some(Absence::OtherRegion | Absence::OutOfReach) => Some(there),
                here => here,
            },
        }
    };
    (0..inventory.relays().len()).map(absence).collect()
}

/// One variant's deal, made again.
struct Deal {
    cards: Vec<deal::Card>,
    lanes: [deal::Lane; 2],
    picked: Picked,
    apart: bool,
}

impl Deal {
    fn again(inventory: &Inventory, view: &View, pool: &Pool, asked: &Asked<'_>) -> Self {
        let mut cards = deal::cards(inventory, view, pool);
        let lanes = deal_again(&mut cards, asked.variant, asked.lane.is_some());
        let (picked, apart) = pick(&cards, &lanes, inventory.policy().answers);
        Self {
            cards,
            lanes,
            picked,
            apart,
        }
    }

    /// Why a relay of the pool is not in the answer.
    fn absence(&self, relay: u16, asked: &Asked<'_>) -> Option<Absence> {
        let lane = asked.lane.unwrap_or_default();
        let choice = asked
            .lane
            .map_or(&asked.variant.apex, |lane| &asked.variant.lanes[lane]);
        let (family, answered) = match asked.family {
            Family::Ipv4 => (0, &choice.ipv4),
            Family::Ipv6 => (1, &choice.ipv6),
        };
        if answered.contains(&relay) {
            return None;
        }
        if asked.avoid.contains(&relay) || asked.variant.without == Some(relay) {
            return Some(Absence::Avoided);
        }
        let index = self.cards.iter().position(|card| card.relay == relay);
        let index = index.filter(|index| self.lanes[lane][family].contains(index));
        Some(match index {
            None => Absence::OtherLane,
            Some(index) if clashes(&self.cards, index, lane, &self.picked, self.apart) => {
                Absence::OtherLaneInZone
            }
            Some(index) if self.cards[index].doubt > 0 => Absence::Suspect,
            Some(_) => Absence::LowerRank,
        })
    }
}
