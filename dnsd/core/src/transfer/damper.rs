//! When secondaries get another edition: seldom, but not late where it matters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{Content, Edition, Release};
use crate::dnssec::Signing;
use crate::inventory::{Inventory, Thresholds};
use crate::paths::Transport;
use crate::snapshot::{next_serial, offered};
use crate::steer::{Plans, RegionPlan, Tier, View, steady};

/// Keeps the edition that is given out, and decides when the next one is due.
///
/// It is when a relay in it has not been serving for `release_hold`, when for `together` more than
/// `release_percent` of a set have not been serving, or were missing from it, when anything changed
/// that is not steered, or when signatures are renewed; but no sooner than `release_interval` after
/// the one before. While nothing better is known than the last-known-good, what was given out stays,
/// and where only signatures are renewed all records stay.
///
/// Nameservers tell each other their editions. Whoever hears of a newer one gives out its serial
/// from then on, so that no secondary that asks several of them sees a serial fall; with its own
/// content, unless it would choose now what the other has.
#[derive(Debug, Default)]
pub(crate) struct Damper {
    current: Option<Current>,
    /// The newest that is known of: another nameserver's, or this one's before its restart.
    newest: Edition,
    /// The relays that are given out and do not serve, by their place, and since when.
    gone: BTreeMap<u16, Instant>,
    /// Since when some set differs too much.
    differing: Option<Instant>,
    due: Option<Instant>,
}

#[derive(Debug)]
struct Current {
    release: Arc<Release>,
    /// When its content was first given out.
    since: Instant,
    /// What signatures are made by and for when in all that secondaries have under its serial;
    /// another nameserver may have older ones.
    mark: u64,
}

impl Damper {
    /// One that gave out `edition` before it was restarted.
    pub(crate) fn restored(edition: Edition) -> Self {
        Self {
            newest: edition,
            ..Self::default()
        }
    }

    /// What is given out; before the first time, what was.
    pub(crate) fn edition(&self) -> Edition {
        let current = self.current.as_ref();
        current.map_or(self.newest, |current| current.release.edition())
    }

    /// Hears what another nameserver gives out. Returns whether [`follow`](Self::follow) is due.
    pub(crate) fn hear(&mut self, edition: Edition) -> bool {
        let newer = edition.is_newer_than(self.newest) && edition.is_newer_than(self.edition());
        if newer {
            self.newest = edition;
        }
        newer
    }

    /// When [`follow`](Self::follow) is due at the latest.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is given out, now that the relays are seen like this. Nothing rather than what nobody
    /// would believe: where signatures cannot be made, the edition before, if there was one.
    pub(crate) fn follow(
        &mut self,
        now: Instant,
        inventory: &Inventory,
        view: &View,
        signing: &mut Signing<'_>,
    ) -> Option<Arc<Release>> {
        let t = inventory.thresholds();
        let plans = steady(inventory, view);
        self.due = None;
        let earliest = self.current.as_ref().map(|c| c.since + t.release_interval);
        let wanted = self.is_wanted(now, inventory, view, &plans);
        let mark = signing.mark();
        let stale = self.current.as_ref().is_some_and(|c| c.mark != mark);
        let may = earliest.is_none_or(|earliest| earliest <= now);
        if (wanted || stale) && !may {
            self.due = earliest;
        }
        let acts = (wanted || stale) && may;
        let known = self.newest;
        let outrun = self.current.is_some() && known.is_newer_than(self.edition());
        if let Some(current) = self.current.as_ref().filter(|_| !(acts || outrun)) {
            return Some(Arc::clone(&current.release));
        }
        let content = Content::new(inventory, view, plans);
        let same = |current: &&Current| !stale && current.release.content.hash == content.hash;
        let kept = |current: &Current| Arc::clone(&current.release.content);
        let (serial, content, since, mark) = match &self.current {
            Some(current) if same(&current) => {
                let serial = if outrun {
                    known.serial
                } else {
                    current.release.serial
                };
                (serial, Arc::new(content), current.since, mark)
            }
            // Another nameserver was first, or this one before its restart.
            _ if content.marked(mark) == known.content && (outrun || self.current.is_none()) => {
                (known.serial, Arc::new(content), now, mark)
            }
            // With older signatures some may have it under that serial for good.
            Some(current) if !acts => (known.serial, kept(current), current.since, current.mark),
            current => {
                let own = self.edition();
                let last = if known.is_newer_than(own) { known } else { own };
                let renewed = current.as_ref().filter(|_| !wanted);
                let content = renewed.map_or_else(|| Arc::new(content), kept);
                (next_serial(last.serial, signing.now), content, now, mark)
            }
        };
        let Some(release) = Release::new(serial, content, signing) else {
            self.due = Some(now + t.release_interval);
            return self.current.as_ref().map(|c| Arc::clone(&c.release));
        };
        self.gone.clear();
        self.differing = None;
        let release = Arc::new(release);
        self.current = Some(Current {
            release: Arc::clone(&release),
            since,
            mark,
        });
        self.newest = release.edition();
        Some(release)
    }

    /// Whether what is given out differs too much from what would be chosen now.
    fn is_wanted(
        &mut self,
        now: Instant,
        inventory: &Inventory,
        view: &View,
        plans: &[Plans],
    ) -> bool {
        let Some(current) = &self.current else {
            return true;
        };
        let snapshot = &current.release.content.snapshot;
        let t = inventory.thresholds();
        if !Arc::ptr_eq(&snapshot.zones, inventory.zones()) || snapshot.offered != offered(view) {
            self.gone.clear();
            return true;
        }
        let mut differing = false;
        let mut missing = BTreeMap::new();
        for (given, plans) in snapshot.regions.iter().zip(plans) {
            let transports = Transport::ALL.iter().map(|transport| *transport as usize);
            let pairs = transports
                .map(|place| (&given.plans.by_transport[place], &plans.by_transport[place]));
            for (given, would) in pairs.chain([(&given.plans.main, &plans.main)]) {
                if would.tier >= Tier::LastKnownGood {
                    continue;
                }
                for relay in absent(given, would) {
                    let since = self.gone.get(&relay).copied().unwrap_or(now);
                    missing.insert(relay, since);
                }
                differing |= differs(given, would, t);
            }
        }
        self.gone = missing;
        // Should all go, they do so within this time, and then the last-known-good stay.
        self.differing = differing.then(|| self.differing.unwrap_or(now));
        let ends = self.gone.values().map(|since| *since + t.release_hold);
        let ends = ends.chain(self.differing.map(|since| since + t.together));
        self.due = ends.clone().filter(|end| *end > now).min();
        ends.clone().any(|end| end <= now)
    }
}

/// The lists that names are answered with.
fn lists(plan: &RegionPlan) -> impl Iterator<Item = &[u16]> {
    let variant = plan.variants.first().into_iter();
    variant.flat_map(|variant| {
        let choices = [&variant.lanes[0], &variant.lanes[1], &variant.apex];
        choices
            .into_iter()
            .flat_map(|choice| [&*choice.ipv4, &*choice.ipv6])
    })
}

/// The relays given out that serve no more.
fn absent(given: &RegionPlan, would: &RegionPlan) -> impl Iterator<Item = u16> {
    let relays = lists(given).flatten().copied();
    relays.filter(|relay| would.relays.binary_search(relay).is_err())
}

/// Whether more of any list than the threshold serve no more, or it could be so much longer. That
/// the deal would be another one now is no reason: those given out are as good.
fn differs(given: &RegionPlan, would: &RegionPlan, t: &Thresholds) -> bool {
    let many = |part: usize, whole: usize| part * 100 > t.release_percent * whole;
    let gone = |relay: &&u16| would.relays.binary_search(relay).is_err();
    lists(given).zip(lists(would)).any(|(given, would)| {
        many(given.iter().filter(gone).count(), given.len())
            || many(would.len().saturating_sub(given.len()), would.len())
    })
}
