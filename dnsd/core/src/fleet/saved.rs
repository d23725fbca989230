//! What survives a restart, and its way back.

use std::net::{SocketAddrV4, SocketAddrV6};
use std::time::{Duration, Instant};

use credentials::UnixTime;
use liveness::{KeyId, RelayId, ReplayGuard, Transports};
use serde::{Deserialize, Serialize};

use super::Member;
use super::load::{Load, SavedLoad};
use crate::health::{Health, PathReason, Reason, Remembered, State};
use crate::inventory::{Applicant, RelayEntry, Thresholds};
use crate::overrides::{Entry, Overrides};
use crate::paths::{Path, Word};
use crate::revocations::{self, Revocations};
use crate::steer::SavedValve;
use crate::transfer::Edition;

/// What survives a restart. The shell stores it, as JSON or however it likes; what comes back is
/// taken with care: unknown relays are skipped, times in the future count as now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The serial last published.
    pub(super) serial: u32,
    /// What secondaries were last given.
    #[serde(default)]
    pub(super) edition: SavedEdition,
    /// The number of the last ballot.
    #[serde(default)]
    pub(super) generation: u64,
    /// The highest number of a configuration that was in force.
    #[serde(default)]
    pub(super) configuration: u64,
    /// The decisions of people.
    #[serde(default)]
    pub(super) overrides: Vec<Entry>,
    /// Those before them.
    #[serde(default)]
    pub(super) journal: Vec<Entry>,
    /// What regions do about their loads.
    #[serde(default)]
    pub(super) valves: Vec<SavedValve>,
    /// Those whose credentials no longer count.
    #[serde(default)]
    pub(super) revocations: Vec<revocations::Entry>,
    pub(super) relays: Vec<SavedRelay>,
}

/// The serial, and the hash of the content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedEdition(u32, u64);

impl From<Edition> for SavedEdition {
    fn from(edition: Edition) -> Self {
        Self(edition.serial, edition.content)
    }
}

impl Saved {
    pub(super) fn edition(&self) -> Edition {
        Edition {
            serial: self.edition.0,
            content: self.edition.1,
        }
    }

    pub(super) fn overrides(&self, unix: UnixTime) -> Overrides {
        let (entries, journal) = (self.overrides.clone(), self.journal.clone());
        Overrides::restored(unix, entries, journal)
    }

    pub(super) fn revocations(&self, unix: UnixTime) -> Revocations {
        Revocations::restored(unix, self.revocations.clone())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedRelay {
    pub(super) id: String,
    ipv4: Option<SocketAddrV4>,
    ipv6: Option<SocketAddrV6>,
    state: State,
    reason: Reason,
    since: u64,
    last_good: Option<u64>,
    flaps: u32,
    boot: u64,
    sequence: u64,
    /// The key by whose rule it has joined; none if it is listed.
    #[serde(default)]
    key: Option<u32>,
    /// The transports that it last named.
    #[serde(default)]
    transports: u16,
    /// Those that it had named before.
    #[serde(default)]
    stopped: u16,
    /// The paths that are withdrawn.
    #[serde(default)]
    withdrawn: Vec<SavedPath>,
    #[serde(default)]
    load: Option<SavedLoad>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedPath {
    path: Path,
    reason: PathReason,
    since: u64,
    flaps: u32,
}

impl SavedRelay {
    pub(super) fn new(entry: &RelayEntry, member: &Member, now: Instant, unix: UnixTime) -> Self {
        let (was, guard) = (member.health.remembered(now), member.guard);
        let unix_of = |at: Instant| {
            unix.0
                .saturating_sub((now.saturating_duration_since(at)).as_secs())
        };
        Self {
            id: entry.id.to_string(),
            ipv4: entry.ipv4,
            ipv6: entry.ipv6,
            state: was.state,
            reason: was.reason,
            since: unix_of(was.since),
            last_good: was.last_good.map(unix_of),
            flaps: was.flaps,
            boot: guard.boot(),
            sequence: guard.sequence(),
            key: None,
            transports: member.word.named.0,
            stopped: member.word.stopped.0,
            load: member.load.saved(unix_of),
            withdrawn: member
                .paths
                .iter()
                .filter(|path| path.verdict().withdrawn)
                .map(|path| SavedPath {
                    path: path.verdict().path,
                    reason: path.verdict().reason,
                    since: unix_of(path.verdict().since),
                    flaps: path.flaps(),
                })
                .collect(),
        }
    }

    /// Marks one that has joined.
    pub(super) fn by_rule(self, entry: &RelayEntry, joined: bool) -> Self {
        let key = entry.keys.first().filter(|_| joined).map(|key| key.0);
        Self { key, ..self }
    }

    /// One that has joined, as it did.
    pub(super) fn joined(&self) -> Option<Applicant> {
        Some(Applicant {
            key: KeyId(self.key?),
            id: self.id.parse().ok()?,
            ipv4: self.ipv4,
            ipv6: self.ipv6,
        })
    }

    /// The relay as it was; as unknown if it has moved to other addresses.
    pub(super) fn member(
        &self,
        entry: &RelayEntry,
        now: Instant,
        unix: UnixTime,
        t: &Thresholds,
    ) -> Member {
        let guard = ReplayGuard::restored(self.boot, self.sequence);
        if (self.ipv4, self.ipv6) != (entry.ipv4, entry.ipv6) {
            return Member::fresh(entry, guard, now, t);
        }
        let instant_of = |seconds: u64| {
            let age = Duration::from_secs(unix.0.saturating_sub(seconds));
            now.checked_sub(age).unwrap_or(now)
        };
        let mut member = Member::new(self.health(entry, now, instant_of), guard, now);
        if let Some(load) = self.load {
            member.load = Load::restored(load, instant_of);
        }
        if self.transports != 0 {
            member.word = Word {
                named: Transports(self.transports),
                stopped: Transports(self.stopped),
            };
        }
        member.offer(now, entry, t);
        for saved in &self.withdrawn {
            let SavedPath { path, reason, .. } = *saved;
            if let Some(known) = member.path_mut(path) {
                let since = instant_of(saved.since);
                known.restore(reason, since, saved.flaps);
            }
        }
        member
    }

    fn health(
        &self,
        entry: &RelayEntry,
        now: Instant,
        instant_of: impl Fn(u64) -> Instant,
    ) -> Health {
        let was = Remembered {
            state: self.state,
            reason: self.reason,
            since: instant_of(self.since),
            last_good: self.last_good.map(instant_of),
            flaps: self.flaps,
        };
        Health::restored(entry.id, now, was)
    }

    pub(super) fn is(&self, id: &RelayId) -> bool {
        self.id == id.as_str()
    }
}
