//! What another inventory would take out of the answers, and whether that is too much at once.
//!
//! Changes of the configuration are the commonest outage. So before one is taken over, the relays
//! that serve now are looked for in it. A relay at another address counts as a new one, and a new
//! one serves nobody until it has been judged: what replaces everything in one step takes everything
//! out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use liveness::RelayId;
use serde::Serialize;

use crate::inventory::{Inventory, RegionId, RelayEntry};
use crate::steer::{View, serving};

/// What goes from the answers, told by the relays in them, and what is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The highest number of a configuration that was in force.
    pub newest: u64,
    /// The number of this one.
    pub generation: u64,
    /// The zone's name before and after, where it changes: then every name is gone.
    pub zone: Option<(String, String)>,
    /// How many relays serve now.
    pub serving: usize,
    /// Those that serve now and would not any more, in the order of their ids.
    pub removed: Vec<String>,
    /// Those that are configured anew, or elsewhere than before, in the order of their ids. They
    /// serve once they have been judged.
    pub added: Vec<String>,
    /// Regions that lose relays.
    pub regions: Vec<RegionDifference>,
}

/// What one region would lose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegionDifference {
    /// Its id.
    pub region: String,
    /// How many of its relays serve now.
    pub serving: usize,
    /// How many of these would still serve, in this region.
    pub staying: usize,
    /// Whether it is configured no more: its own name is gone, too.
    pub gone: bool,
}

/// Why a change is too large to be taken over unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// It is older than one that was in force before.
    Older {
        /// Its number.
        generation: u64,
        /// The higher one.
        newest: u64,
    },
    /// The zone has another name.
    Zone {
        /// The one that nobody would find any more.
        was: String,
    },
    /// A larger share of the serving relays goes than may.
    Share {
        /// How many go.
        removed: usize,
        /// Of how many.
        serving: usize,
        /// Percent that may.
        percent: usize,
    },
    /// A region loses all relays that it has.
    Last {
        /// Its id.
        region: String,
        /// How many.
        serving: usize,
    },
    /// A region is configured no more.
    Region {
        /// Its id.
        region: String,
    },
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Older { generation, newest } => write!(
                f,
                "its generation is {generation}, and {newest} has been in force: it is an old file"
            ),
            Self::Zone { was } => write!(f, "no name below {was} would be answered any more"),
            Self::Share {
                removed,
                serving,
                percent,
            } => write!(
                f,
                "{removed} of the {serving} relays that serve would go at once, more than {percent} %"
            ),
            Self::Last { region, serving: 1 } => {
                write!(f, "region {region} would lose its only serving relay")
            }
            Self::Last { region, serving } => {
                write!(
                    f,
                    "region {region} would lose all its {serving} serving relays"
                )
            }
            Self::Region { region } => {
                write!(f, "region {region} would be gone, and its name with it")
            }
        }
    }
}

impl Objection {
    /// Whether it holds even against somebody who means the change.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Older { .. })
    }
}

impl Difference {
    /// What speaks against the change where at most `percent` of the serving relays may go at once.
    /// One may always go, unless it is the last of its region: else no small fleet could ever be
    /// changed.
    pub fn objections(&self, percent: usize) -> Vec<Objection> {
        let mut objections = Vec::new();
        let (generation, newest) = (self.generation, self.newest);
        if generation < newest {
            objections.push(Objection::Older { generation, newest });
        }
        if let Some((was, _)) = &self.zone {
            objections.push(Objection::Zone { was: was.clone() });
        }
        let (removed, serving) = (self.removed.len(), self.serving);
        if removed > 1 && removed * 100 > percent * serving {
            objections.push(Objection::Share {
                removed,
                serving,
                percent,
            });
        }
        for region in &self.regions {
            let (id, serving) = (region.region.clone(), region.serving);
            if region.gone {
                objections.push(Objection::Region { region: id });
            } else if region.staying == 0 && serving > 0 {
                objections.push(Objection::Last {
                    region: id,
                    serving,
                });
            }
        }
        objections
    }

    /// What changes from `before`, seen as in `view`, to `after`.
    pub(crate) fn new(before: &Inventory, view: &View, after: &Inventory) -> Self {
        let relays = before.relays().iter().enumerate();
        let serving = serving(before, view);
        let now = relays.filter(|(index, _)| serving.contains(index));
        let now: BTreeSet<RelayId> = now.map(|(_, relay)| relay.id).collect();
        let known = |id: &RelayId| both(before, after, *id).is_some();
        let stays = |id: &RelayId| both(before, after, *id).is_some_and(serves_on);
        let texts = |ids: BTreeSet<RelayId>| ids.iter().map(ToString::to_string).collect();
        let all = after.relays().iter().map(|relay| relay.id);
        let (was, becomes) = (&before.zone().name, &after.zone().name);
        Self {
            newest: before.generation(),
            generation: after.generation(),
            zone: (was != becomes).then(|| (was.to_string(), becomes.to_string())),
            serving: now.len(),
            removed: texts(now.iter().copied().filter(|id| !stays(id)).collect()),
            added: texts(all.filter(|id| !known(id)).collect()),
            regions: regions(before, after, &now, &stays),
        }
    }
}

/// A relay as it is in both inventories, if it has the same addresses in both.
fn both<'a>(
    before: &'a Inventory,
    after: &'a Inventory,
    id: RelayId,
) -> Option<[&'a RelayEntry; 2]> {
    let (old, new) = (before.relay_index(&id)?, after.relay_index(&id)?);
    let (old, new) = (&before.relays()[old], &after.relays()[new]);
    old.is_same_place(new).then_some([old, new])
}

/// Whether a relay that serves goes on: not if it is put in reserve.
fn serves_on([old, new]: [&RelayEntry; 2]) -> bool {
    old.standby || !new.standby
}

/// The regions that lose relays or are gone.
fn regions(
    before: &Inventory,
    after: &Inventory,
    now: &BTreeSet<RelayId>,
    stays: &dyn Fn(&RelayId) -> bool,
) -> Vec<RegionDifference> {
    let homes = |inventory: &Inventory| -> BTreeMap<RelayId, RegionId> {
        let relays = inventory.relays().iter();
        relays
            .map(|relay| (relay.id, relay.region.clone()))
            .collect()
    };
    let (old, new) = (homes(before), homes(after));
    let of = |region: &RegionId| {
        let own = now.iter().filter(|id| old.get(*id) == Some(region));
        let staying = |id: &&RelayId| new.get(*id) == Some(region) && stays(id);
        RegionDifference {
            region: region.to_string(),
            serving: own.clone().count(),
            staying: own.filter(staying).count(),
            gone: !after.regions().iter().any(|other| other.id == *region),
        }
    };
    let all = before.regions().iter().map(|region| of(&region.id));
    all.filter(|region| region.gone || region.staying < region.serving)
        .collect()
}
