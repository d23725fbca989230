//! One simulated nameserver: a fleet, its clocks, and what survives its crashes.

use std::time::{Duration, Instant};

use credentials::UnixTime;
use dnsd_core::fleet::{Action, Fleet, Saved};
use dnsd_core::health::State;
use dnsd_core::inventory::Inventory;
use dnsd_core::snapshot::Snapshot;
use dnsd_core::votes::{Ballot, Observer};

use super::super::common::panel::observer;
use super::super::common::start;
use super::super::common::world::EPOCH;

const MILLION: i128 = 1_000_000;

pub struct Node {
    pub observer: Observer,
    /// `None` while it is down.
    pub fleet: Option<Fleet>,
    /// Counts its lives.
    pub born: u32,
    /// When this life began, microseconds.
    pub since: u64,
    /// Numbers its timers: an older one is void.
    pub armed: u64,
    due: Option<u64>,
    inventory: Inventory,
    epoch: Instant,
    /// By how much its monotonic clock runs fast, parts per million.
    drift: i64,
    /// How far its wall clock is ahead of the true time, seconds.
    pub ahead: i64,
    saved: Option<Saved>,
    pub snapshot: Option<Snapshot>,
    pub serial: u32,
    pub generation: u64,
    pub condemned: u64,
    /// How it last saw each relay.
    pub states: Vec<State>,
    /// When it last distrusted itself.
    pub doubted: Option<u64>,
}

impl Node {
    pub fn new(
        index: usize,
        domain: (&str, &str),
        inventory: Inventory,
        skew: Duration,
        drift: i64,
    ) -> Self {
        let relays = inventory.relays().len();
        let mut node = Self {
            observer: observer(&format!("ns{index}"), domain.0, domain.1),
            fleet: None,
            born: 0,
            since: 0,
            armed: 0,
            due: None,
            inventory,
            // Monotonic clocks of different machines have nothing in common.
            epoch: start() + skew,
            drift,
            ahead: 0,
            saved: None,
            snapshot: None,
            serial: 0,
            generation: 0,
            condemned: 0,
            states: vec![State::Unknown; relays],
            doubted: None,
        };
        node.boot(0);
        node
    }

    pub fn instant(&self, now: u64) -> Instant {
        self.epoch + Duration::from_micros(self.local(now))
    }

    /// What its monotonic clock shows at the true time `now`.
    fn local(&self, now: u64) -> u64 {
        let gained = i128::from(now) * i128::from(self.drift) / MILLION;
        u64::try_from(i128::from(now) + gained).unwrap()
    }

    /// The first moment at which its monotonic clock shows `local`.
    fn moment(&self, local: u64) -> u64 {
        let about = i128::from(local) * MILLION / (MILLION + i128::from(self.drift));
        // The rounding of both ways is off by less than this.
        let mut moment = u64::try_from(about).unwrap().saturating_sub(2);
        while self.local(moment) < local {
            moment += 1;
        }
        moment
    }

    pub fn unix(&self, now: u64) -> UnixTime {
        let seconds = (EPOCH + now / 1_000_000).saturating_add_signed(self.ahead);
        UnixTime(seconds)
    }

    pub fn boot(&mut self, now: u64) {
        let (at, unix) = (self.instant(now), self.unix(now));
        let mut fleet = Fleet::new(self.inventory.clone(), self.saved.as_ref(), at, unix);
        fleet.join(at, unix, self.observer.clone());
        self.born += 1;
        self.since = now;
        self.condemned = 0;
        self.due = None;
        let verdict = |entry: &dnsd_core::inventory::RelayEntry| fleet.verdict(entry.id);
        let states = self.inventory.relays().iter().filter_map(verdict);
        self.states = states.map(|verdict| verdict.state).collect();
        self.fleet = Some(fleet);
    }

    /// It ends at once; what it wrote last survives, or its disk is lost as well.
    pub fn crash(&mut self, loses_disk: bool) {
        self.fleet = None;
        self.armed += 1;
        if loses_disk {
            self.saved = None;
            self.serial = 0;
        }
    }

    pub fn input(&mut self, now: u64) -> Option<(&mut Fleet, Instant)> {
        let at = self.instant(now);
        self.fleet.as_mut().map(|fleet| (fleet, at))
    }

    pub fn action(&mut self) -> Option<Action> {
        self.fleet.as_mut()?.poll_action()
    }

    pub fn ballot(&mut self, now: u64) -> Ballot {
        let at = self.instant(now);
        self.fleet.as_mut().unwrap().ballot(at).unwrap()
    }

    pub fn publish(&mut self, now: u64) {
        let (at, unix) = (self.instant(now), self.unix(now));
        let fleet = self.fleet.as_mut().unwrap();
        self.snapshot = Some(fleet.publish(at, unix));
        self.saved = Some(fleet.saved(at, unix));
    }

    /// How long until its timer, if it has to be set anew, and the timer's number.
    pub fn arm(&mut self, now: u64) -> Option<(u64, u64)> {
        let due = self.fleet.as_ref()?.poll_timeout()?;
        // Never early: a timer that fires before its time is set again for nothing.
        let due = due
            .saturating_duration_since(self.epoch)
            .as_nanos()
            .div_ceil(1000);
        let due = self.moment(u64::try_from(due).unwrap()).max(now);
        if self.due == Some(due) && due > now {
            return None;
        }
        self.due = Some(due);
        self.armed += 1;
        Some((due - now, self.armed))
    }

    pub fn is_isolated(&self) -> bool {
        self.fleet
            .as_ref()
            .is_some_and(|fleet| fleet.isolation().is_some())
    }
}
