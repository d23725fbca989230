//! One path of one relay: its probes, its certificate, and whether clients are kept off it.
//!
//! A path is judged only while the relay as a whole works: what makes every path fail is the
//! relay's own verdict. Until it has been withdrawn, it serves.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::evidence::ms;
use super::facts::probe_facts;
use super::judge::hold;
use super::track::{Effect, Track};
use super::{Outcome, Probe, ProbeKind};
use crate::explain::PathFacts;
use crate::inventory::Thresholds;
use crate::paths::Path;

/// How long a burst of probes lasts.
const BURST: Duration = Duration::from_secs(3);
/// In how many intervals all relays are probed: what fails within them fails together.
const ROUNDS: u32 = 3;

/// What a path's verdict is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathReason {
    /// No probe has told anything yet.
    NoEvidence,
    /// Probes succeed.
    Works,
    /// Probes fail while the relay answers on another path.
    Fails,
    /// Nothing listens there.
    PortClosed,
    /// The certificate has expired or is about to.
    CertificateExpires,
    /// It was withdrawn and has not yet done well for long enough.
    Recovering,
}

impl PathReason {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoEvidence => "no_evidence",
            Self::Works => "works",
            Self::Fails => "fails",
            Self::PortClosed => "port_closed",
            Self::CertificateExpires => "certificate_expires",
            Self::Recovering => "recovering",
        }
    }
}

/// Why a path that fails is not withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unwithdrawn {
    /// It fails at most relays at once: the fault may be this node's.
    MostFail,
    /// Some clients would be left with too few relays that work there.
    Floor,
    /// This node distrusts itself.
    Isolated,
}

/// A path's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathVerdict {
    /// Which.
    pub path: Path,
    /// Whether clients are kept off it.
    pub withdrawn: bool,
    /// Why it stands so.
    pub reason: PathReason,
    /// Since when.
    pub since: Instant,
    /// When its certificate expires, as far as one was seen.
    pub expires: Option<Instant>,
}

/// A path's evidence and verdict.
#[derive(Debug)]
pub struct PathHealth {
    path: Path,
    track: Track,
    withdrawn: bool,
    reason: PathReason,
    since: Instant,
    /// When clients were last taken off it, or let back.
    changed: Option<Instant>,
    /// Since when it has failed without a success in between.
    failing: Option<Instant>,
    /// Since when it has succeeded without a failure in between, while withdrawn.
    answering: Option<Instant>,
    expires: Option<Instant>,
    flaps: u32,
    unwithdrawn: Option<Unwithdrawn>,
}

impl PathHealth {
    /// A path of which nothing is known. `seed` is its relay's.
    pub fn new(path: Path, seed: u64, now: Instant, t: &Thresholds) -> Self {
        let mut track = Track::new(ProbeKind::Path(path), seed, now);
        track.spread(now, t.path_interval.unwrap_or_default());
        Self {
            path,
            track,
            withdrawn: false,
            reason: PathReason::NoEvidence,
            since: now,
            changed: None,
            failing: None,
            answering: None,
            expires: None,
            flaps: 0,
            unwithdrawn: None,
        }
    }

    /// It was withdrawn before a restart.
    pub fn restore(&mut self, reason: PathReason, since: Instant, flaps: u32) {
        self.enter(since, true, reason);
        self.flaps = flaps;
    }

    /// Its standing as of the last input.
    pub fn verdict(&self) -> PathVerdict {
        PathVerdict {
            path: self.path,
            withdrawn: self.withdrawn,
            reason: self.reason,
            since: self.since,
            expires: self.expires,
        }
    }

    /// When clients were last taken off it, or let back.
    pub fn changed(&self) -> Option<Instant> {
        self.changed
    }

    /// How often it has been withdrawn lately.
    pub fn flaps(&self) -> u32 {
        self.flaps
    }

    /// Takes what is left of the certificate's life; none if it has expired.
    pub fn handle_certificate(&mut self, now: Instant, left: Duration) {
        // Beyond what an instant can tell it does not matter when.
        self.expires = now.checked_add(left);
    }

    /// Takes the outcome of a probe; false when no such probe is under way.
    pub fn handle_probe(&mut self, now: Instant, probe: Probe, outcome: &Outcome) -> bool {
        let before = self.track.points();
        match self.track.outcome(now, probe, outcome) {
            Effect::Stray => return false,
            Effect::Nothing => {}
            Effect::Succeeded => {
                self.failing = None;
                self.track.calm();
                if self.withdrawn && self.answering.is_none() {
                    self.answering = Some(now);
                    self.track.burst(now, BURST);
                }
            }
            Effect::Failed => {
                self.answering = None;
                if before == 0 {
                    self.failing = Some(now);
                    if !self.withdrawn {
                        self.track.burst(now, BURST);
                    }
                }
            }
        }
        true
    }

    /// The probe that is due, if one is; the one after it follows in `interval`.
    pub fn due(&mut self, now: Instant, t: &Thresholds, interval: Duration) -> Option<Probe> {
        self.track
            .due(now, interval, t.path_spacing, t.path_timeout)
    }

    /// The whole relay fails: nothing that failed with it says anything of this path.
    pub fn forgive(&mut self, now: Instant, t: &Thresholds) {
        self.failing = None;
        self.answering = None;
        self.track.forgive();
        // Not at once either when the relay works again: others may come back with it.
        if self.track.next() <= now {
            self.track.spread(now, t.path_interval.unwrap_or_default());
        }
    }

    /// When it next wants to be probed or judged.
    pub fn deadline(&self, now: Instant, t: &Thresholds) -> Option<Instant> {
        let expires = self
            .expires
            .and_then(|at| at.checked_sub(t.certificate_margin));
        let judged = [expires, self.answering.map(|since| since + self.hold(t))];
        let judged = judged.into_iter().flatten().filter(|at| *at > now);
        t.path_interval
            .map(|_| judged.fold(self.track.next(), Instant::min))
    }

    /// What speaks against the path, if anything does, `works` telling whether the relay has
    /// worked as a whole since a time.
    pub fn charge(
        &self,
        now: Instant,
        t: &Thresholds,
        works: impl Fn(Instant) -> bool,
    ) -> Option<PathReason> {
        if self
            .expires
            .is_some_and(|at| at <= now + t.certificate_margin)
        {
            return Some(PathReason::CertificateExpires);
        }
        let proven = self.failing.is_some_and(works);
        (self.track.points() >= t.points_down && proven).then(|| {
            if self.track.refusals() > 0 {
                PathReason::PortClosed
            } else {
                PathReason::Fails
            }
        })
    }

    /// Whether it fails, or was withdrawn so lately that this belongs to what fails now; `None`
    /// while there is no evidence, or where it was withdrawn long before.
    pub fn fails(&self, now: Instant, t: &Thresholds) -> Option<bool> {
        let window = t.path_interval.unwrap_or_default() * ROUNDS;
        let lately = now.saturating_duration_since(self.since) < window;
        let expires = self
            .expires
            .is_some_and(|at| at <= now + t.certificate_margin);
        match (self.withdrawn, self.track.points() >= t.points_suspect) {
            (true, _) if !lately => None,
            (true, _) | (_, true) => Some(true),
            (false, false) if expires => Some(true),
            (false, false) => self.track.last_ok().map(|_| false),
        }
    }

    /// Gives clients a path back that was taken together with most others'.
    pub fn release(&mut self, now: Instant, t: &Thresholds) -> bool {
        let mistaken = self.withdrawn && self.fails(now, t) == Some(true);
        if mistaken {
            self.flaps = self.flaps.saturating_sub(1);
            self.unwithdrawn = Some(Unwithdrawn::MostFail);
            self.enter(now, false, self.reason);
        }
        mistaken
    }

    /// Draws the verdict. `charge` is what speaks against it, `guard` says what forbids to
    /// withdraw it. True when clients are to be told.
    pub fn judge(
        &mut self,
        now: Instant,
        t: &Thresholds,
        charge: Option<PathReason>,
        guard: Option<Unwithdrawn>,
    ) -> bool {
        match charge {
            Some(reason) if !self.withdrawn => {
                self.unwithdrawn = guard;
                if guard.is_some() {
                    self.reason = reason;
                    return false;
                }
                let steady = now.saturating_duration_since(self.since) >= t.flap_memory;
                self.flaps = if steady {
                    1
                } else {
                    self.flaps.saturating_add(1)
                };
                self.answering = None;
                self.track.calm();
                self.enter(now, true, reason);
                true
            }
            Some(reason) => {
                self.reason = reason;
                false
            }
            None if self.withdrawn => {
                let end = self.answering.map(|since| since + self.hold(t));
                let held = end.is_some_and(|end| now >= end && self.track.ok_since(end));
                if held {
                    self.enter(now, false, PathReason::Works);
                } else if self.answering.is_some() {
                    self.reason = PathReason::Recovering;
                }
                held
            }
            None => {
                self.unwithdrawn = None;
                if self.track.points() == 0 && self.track.last_ok().is_some() {
                    self.reason = PathReason::Works;
                }
                false
            }
        }
    }

    fn enter(&mut self, now: Instant, withdrawn: bool, reason: PathReason) {
        self.withdrawn = withdrawn;
        self.reason = reason;
        self.since = now;
        self.changed = Some(now);
    }

    fn hold(&self, t: &Thresholds) -> Duration {
        hold(self.flaps, t)
    }

    /// What `dnsd explain` shows of it.
    pub fn facts(&self, now: Instant) -> PathFacts {
        PathFacts {
            transport: self.path.transport,
            family: self.path.family,
            withdrawn: self.withdrawn,
            reason: self.reason,
            for_ms: ms(now.saturating_duration_since(self.since)),
            certificate_expires_in_s: self
                .expires
                .map(|at| at.saturating_duration_since(now).as_secs()),
            unwithdrawn: self.unwithdrawn,
            flaps: self.flaps,
            probe: probe_facts(now, &self.track),
        }
    }
}
