//! For whom steered names are answered, and which relays come first, as metrics.
//!
//! Counted by the indices of a snapshot's regions and relays, so that the query path looks nothing
//! up; a [`Tally`](super::Tally) holds its counts until it is folded or the indices mean others.

use std::sync::Arc;

use dnsd_core::answer::Steered;
use dnsd_core::snapshot::Snapshot;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::regions::RegionLabels;
use super::registered;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RelayLabels {
    relay: String,
}

/// The metrics: one counter per region and per relay of the configuration.
#[derive(Debug)]
pub(super) struct Families {
    regions: Family<RegionLabels, Counter>,
    relays: Family<RelayLabels, Counter>,
}

impl Families {
    pub(super) fn registered(new: &mut Registry) -> Self {
        Self {
            regions: registered(
                new,
                "steered_queries",
                "Queries for steered names answered, by the region that the client counts to",
            ),
            relays: registered(
                new,
                "relay_first",
                "Answers to such queries in which the relay stands first, which most clients use",
            ),
        }
    }

    /// The counters of a snapshot: those in force, where it has the same regions and relays.
    pub(super) fn of(&self, snapshot: &Snapshot, before: Option<&Arc<Shares>>) -> Arc<Shares> {
        let same = before.filter(|shares| {
            shares
                .regions
                .iter()
                .map(|(id, _)| id.as_str())
                .eq(snapshot.region_ids())
                && shares
                    .relays
                    .iter()
                    .map(|(id, _)| id.as_str())
                    .eq(snapshot.relay_ids())
        });
        if let Some(same) = same {
            return Arc::clone(same);
        }
        let regions = snapshot.region_ids().map(|id| {
            let region = id.to_owned();
            let counter = self.regions.get_or_create(&RegionLabels { region }).clone();
            (id.to_owned(), counter)
        });
        let relays = snapshot.relay_ids().map(|id| {
            let relay = id.to_owned();
            let counter = self.relays.get_or_create(&RelayLabels { relay }).clone();
            (id.to_owned(), counter)
        });
        let shares = Shares {
            regions: regions.collect(),
            relays: relays.collect(),
        };
        if let Some(before) = before {
            self.forget(before, &shares);
        }
        Arc::new(shares)
    }

    /// Shows no longer what is not configured any more.
    fn forget(&self, before: &Shares, now: &Shares) {
        let gone = |(id, _): &&(String, Counter), now: &[(String, Counter)]| {
            !now.iter().any(|(other, _)| other == id)
        };
        for (id, _) in before.regions.iter().filter(|old| gone(old, &now.regions)) {
            self.regions.remove(&RegionLabels { region: id.clone() });
        }
        for (id, _) in before.relays.iter().filter(|old| gone(old, &now.relays)) {
            self.relays.remove(&RelayLabels { relay: id.clone() });
        }
    }
}

/// The counters of a snapshot's regions and relays, by their indices.
#[derive(Debug)]
pub struct Shares {
    regions: Vec<(String, Counter)>,
    relays: Vec<(String, Counter)>,
}

/// One thread's counts by index, and whose indices they are.
#[derive(Debug, Default)]
pub(super) struct Counts {
    of: Option<Arc<Shares>>,
    regions: Vec<u64>,
    relays: Vec<u64>,
    /// The relays that have a count: few of many, after a short turn.
    counted: Vec<u16>,
}

impl Counts {
    /// Counts an answer of the snapshot with these counters. Allocates only where they are not those
    /// of the answer before.
    pub(super) fn add(&mut self, shares: &Arc<Shares>, steered: Steered) {
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, shares)) {
            self.fold();
            self.regions = vec![0; shares.regions.len()];
            self.relays = vec![0; shares.relays.len()];
            self.counted = Vec::with_capacity(shares.relays.len());
            self.of = Some(Arc::clone(shares));
        }
        if let Some(count) = self.regions.get_mut(usize::from(steered.region)) {
            *count += 1;
        }
        if let Some(first) = steered.first
            && let Some(count) = self.relays.get_mut(usize::from(first))
        {
            if *count == 0 {
                self.counted.push(first);
            }
            *count += 1;
        }
    }

    /// Adds them to the metrics and clears them.
    pub(super) fn fold(&mut self) {
        let Some(of) = &self.of else { return };
        for ((_, counter), count) in of.regions.iter().zip(&mut self.regions) {
            if *count > 0 {
                counter.inc_by(std::mem::take(count));
            }
        }
        for relay in self.counted.drain(..).map(usize::from) {
            of.relays[relay]
                .1
                .inc_by(std::mem::take(&mut self.relays[relay]));
        }
    }
}
