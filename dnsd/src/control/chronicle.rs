//! What the control loop keeps for its history: how things stood when last noted, and what changed.

use std::collections::{BTreeMap, BTreeSet};

use dnsd_core::explain::ObserverFacts;
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::Strain;
use liveness::RelayId;

use crate::history::{Event, History, PoolChange, short};
use crate::limits::HISTORY_CAUSES;

/// Whose relays serve a region's clients, and which.
type Served = (String, BTreeSet<String>);

/// The history, and what it was last told.
#[derive(Debug, Default)]
pub struct Chronicle {
    /// What was noted.
    pub history: History,
    /// Whether all that was known at the start has been looked at: it is no news.
    pub(super) begun: bool,
    /// What has happened since answers were last published.
    causes: Vec<String>,
    pools: BTreeMap<String, Served>,
    strains: BTreeMap<String, (bool, u32)>,
    heard: BTreeSet<String>,
    fenced: BTreeSet<RelayId>,
}

impl Chronicle {
    /// Notes an event that may be the cause of other answers, in a few words.
    pub(crate) fn cause(&mut self, event: Event, words: &str) {
        if self.causes.len() < HISTORY_CAUSES {
            self.causes.push(short(words));
        }
        self.history.add(event);
    }

    /// Notes which relays serve whom otherwise than before.
    pub(super) fn published(&mut self, snapshot: &Snapshot) {
        let mut causes = std::mem::take(&mut self.causes);
        if causes.is_empty() {
            causes.push("time or loads".to_owned());
        }
        let pools: BTreeMap<String, Served> = snapshot.pools().collect();
        let nobody = Served::default();
        let mut changes = Vec::new();
        for (region, (by, relays)) in &pools {
            let (was_by, was) = self.pools.get(region).unwrap_or(&nobody);
            if was_by != by || was != relays {
                changes.push(PoolChange {
                    region: region.clone(),
                    served_by: by.clone(),
                    entered: relays.difference(was).cloned().collect(),
                    left: was.difference(relays).cloned().collect(),
                });
            }
        }
        self.pools = pools;
        if self.begun && !changes.is_empty() {
            self.history.add(Event::Published {
                serial: snapshot.serial(),
                because: causes,
                regions: changes,
            });
        }
    }

    /// Notes what regions do about their loads.
    pub(super) fn strained(&mut self, strains: &[Strain]) {
        let now = strains.iter().map(|strain| {
            let does = (strain.reserve, strain.spilled_permille);
            (strain.region.clone(), does)
        });
        let now: BTreeMap<_, _> = now.collect();
        for (region, does) in &now {
            let did = self.strains.get(region).copied().unwrap_or_default();
            if self.begun && did != *does {
                let event = Event::Load {
                    region: region.clone(),
                    reserve: does.0,
                    spilled_from: did.1,
                    spilled_to: does.1,
                };
                self.cause(event, &format!("the load of {region}"));
            }
        }
        self.strains = now;
    }

    /// Notes which other nameservers are heard, and which not any more.
    pub(super) fn observed(&mut self, observers: &[ObserverFacts]) {
        let fresh = observers.iter().filter(|other| other.fresh);
        let heard: BTreeSet<String> = fresh.map(|other| other.observer.clone()).collect();
        for observer in heard.symmetric_difference(&self.heard) {
            self.history.add(Event::Peer {
                observer: observer.clone(),
                heard: heard.contains(observer),
            });
        }
        self.heard = heard;
    }

    /// Notes when reports under one relay's name cease to be believed, and when they are again.
    pub(super) fn reported(&mut self, relay: RelayId, twins: bool) {
        let changed = if twins {
            self.fenced.insert(relay)
        } else {
            self.fenced.remove(&relay)
        };
        if changed {
            self.history.add(Event::Twins {
                relay: relay.to_string(),
                fenced: twins,
            });
        }
    }

    /// Forgets a relay.
    pub(super) fn forget(&mut self, relay: RelayId) {
        self.fenced.remove(&relay);
        let event = Event::Forgotten {
            relay: relay.to_string(),
        };
        self.cause(event, &format!("{relay} is forgotten"));
    }
}
