//! The rules: from one relay's evidence to its verdict.

use std::time::{Duration, Instant};

use liveness::State as Claim;

use super::machine::Health;
use super::words::{is_good, word_out};
use super::{Around, Override, Reason, Spared, State, Verdict};
use crate::inventory::Thresholds;
use crate::limits;
use crate::votes::Vote;

/// How many times longer each further hold is: so much that a relay that is up for less than half
/// a minute at a time comes and goes once, and is then held.
const HOLD_GROWTH: u32 = 16;
/// How often the hold may grow; that many times is beyond any sensible maximum.
const GROWTHS_MAX: u32 = 5;
/// The whole share of clients.
pub(crate) const RAMP_WHOLE: u32 = 1000;
/// In how many steps a relay that was down gets there.
const RAMP_STEPS: u32 = 10;

impl Health {
    /// Draws the verdict from the evidence, after [`find`](Health::find); true when state or
    /// reason changed.
    pub fn judge(&mut self, now: Instant, t: &Thresholds, around: Around) -> bool {
        if around.echo_doubtful && self.condemned == Some(Reason::EchoFails) {
            self.acquit(now);
            if let Some((_, before)) = self.flapped.take() {
                self.flaps = before;
            }
        }
        let voted = around.tally.is_shared() && around.tally.condemns();
        let charge = self
            .accused
            .or_else(|| (voted && self.finding == Vote::Abstain).then_some(Reason::Voted));
        self.spared = charge
            .filter(|_| self.condemned.is_none())
            .and_then(|charge| self.spared(now, t, charge, around));
        match (charge, self.condemned) {
            (Some(reason), None) if self.spared.is_none() => self.condemn(now, reason, t),
            // One that called itself failing has meanwhile gone altogether.
            (Some(reason), Some(_)) if self.is_out() => self.condemned = Some(reason),
            // One that did not relay, or that others condemned, has meanwhile gone altogether.
            (Some(reason), Some(Reason::EchoFails | Reason::Voted)) => {
                self.condemned = Some(reason);
            }
            _ => {}
        }
        self.readmit(now, t, around);
        let answers = self.stun.last_ok().is_some();
        let serving = self.claim == Some(Claim::Serving);
        if answers && (serving || self.silence(now) >= t.silence_suspect) && !self.vouched {
            self.vouched = true;
            self.up_since = Some(now);
        }
        let disputed = voted && self.finding == Vote::Up;
        let unchanged = around
            .frozen
            .is_some_and(|begun| !self.doubted_before(begun, t));
        if unchanged {
            self.suspect_until = None;
        } else if self.suspicion(now, t, disputed).is_some() {
            self.suspect_until = Some(now + t.suspect_hold);
        }
        let (state, reason) = self.standing(now, t, disputed, around.complained);
        self.enter(now, state, reason, around)
    }

    /// Ends a condemnation that has been outlived.
    fn readmit(&mut self, now: Instant, t: &Thresholds, around: Around) {
        if self.condemned.is_none() {
            return;
        }
        let backed = around.tally.is_shared() && around.tally.vouches() && !self.is_out();
        if !backed || self.finding == Vote::Up {
            self.backed = None;
        } else if self.backed.is_none() {
            self.backed = Some(now);
        }
        let voted = around.tally.is_shared() && around.tally.condemns();
        let recovered = self.has_recovered(now, t, around.alone);
        let answers = !voted && self.answers_on(now, t, around.alone);
        if recovered || answers || self.is_backed(now, t) {
            // Cold, and not to be overrun; unless there is no other anyway.
            let cold = recovered && !around.alone;
            self.acquit(now);
            self.ramp = cold.then_some(now);
        }
    }

    /// Whether a relay in frozen times was in doubt before they began.
    fn doubted_before(&self, begun: Instant, t: &Thresholds) -> bool {
        let before = begun.checked_sub(t.together);
        self.verdict.state == State::Suspect
            && before.is_some_and(|before| self.verdict.since < before)
    }

    /// Why the relay is not taken out although `charge` speaks against it.
    fn spared(
        &self,
        now: Instant,
        t: &Thresholds,
        charge: Reason,
        around: Around,
    ) -> Option<Spared> {
        let shared = around.tally.is_shared();
        // The echo alone must not leave anybody without a relay, whoever says so.
        let last = charge == Reason::EchoFails && around.guards.last_up;
        // What reports, and is failed by probes alone, and what says nothing at all.
        let reports = self.silence(now) < t.silence_down;
        let silent = !reports && self.stun.refusals() == 0;
        [
            (around.frozen.is_some(), Spared::Isolated),
            (around.expecting, Spared::Expecting),
            (!around.tally.condemns(), Spared::NotAgreed),
            (last, Spared::LastUp),
            (!shared && reports && around.guards.at_floor, Spared::Floor),
            (
                !shared && silent && around.guards.rationed,
                Spared::Rationed,
            ),
        ]
        .into_iter()
        .find_map(|(holds, spared)| holds.then_some(spared))
    }

    fn acquit(&mut self, now: Instant) {
        self.condemned = None;
        self.run = None;
        self.answering = None;
        self.backed = None;
        // The doubts were about the time before.
        self.suspect_until = None;
        self.vouched = true;
        self.up_since = Some(now);
    }

    fn enter(&mut self, now: Instant, state: State, reason: Reason, around: Around) -> bool {
        let before = self.verdict;
        if (before.state, before.reason) == (state, reason) {
            return false;
        }
        self.verdict = Verdict {
            state,
            reason,
            since: before.since,
            evidence: Some(self.evidence(now, around)),
        };
        if before.state != state {
            if is_good(before.state) {
                self.last_good = Some(now);
            }
            self.verdict.since = now;
            if self.history.len() >= limits::HISTORY_MAX {
                self.history.pop_front();
            }
            self.history.push_back(before);
        }
        true
    }

    fn standing(
        &self,
        now: Instant,
        t: &Thresholds,
        disputed: bool,
        complained: bool,
    ) -> (State, Reason) {
        match self.decision {
            Some(Override::Up) => return (State::ForcedUp, Reason::Override),
            Some(Override::Down | Override::Drain) => return (State::ForcedDown, Reason::Override),
            None => {}
        }
        if let Some(word) = self.claim.and_then(word_out) {
            // A relay that leaves by its own word is draining until it has really gone.
            let gone = self
                .condemned
                .filter(|_| self.silence(now) >= t.silence_down);
            return match gone {
                Some(reason) if reason != word => (State::Down, reason),
                _ => (State::Draining, word),
            };
        }
        if let Some(reason) = self.condemned {
            let recovering = self.run.is_some();
            return (
                State::Down,
                if recovering {
                    Reason::Recovering
                } else {
                    reason
                },
            );
        }
        if !self.vouched {
            return (State::Unknown, Reason::NoEvidence);
        }
        if self.suspect_until.is_some_and(|until| now < until) {
            let kept = matches!(
                self.verdict.reason,
                Reason::Silent | Reason::StunFails | Reason::EchoFails | Reason::Disputed
            );
            let fallback = if kept {
                self.verdict.reason
            } else {
                Reason::Silent
            };
            return (
                State::Suspect,
                self.suspicion(now, t, disputed).unwrap_or(fallback),
            );
        }
        if complained {
            return (State::Suspect, Reason::Complaints);
        }
        let reason = if self.last.is_some() {
            Reason::Healthy
        } else {
            Reason::Restored
        };
        (State::Up, reason)
    }

    /// What casts doubt, if anything does.
    fn suspicion(&self, now: Instant, t: &Thresholds, disputed: bool) -> Option<Reason> {
        let others = || disputed.then_some(Reason::Disputed);
        self.doubt(now, t).or_else(others)
    }

    pub(super) fn condemn(&mut self, now: Instant, reason: Reason, t: &Thresholds) {
        let steady = |since: Instant| now.saturating_duration_since(since) >= t.flap_memory;
        if self.up_since.is_some_and(steady) {
            self.flaps = 0;
        }
        // One that went after having said so is not flapping.
        let announced = matches!(self.claim, Some(Claim::Draining | Claim::Starting));
        if !announced {
            self.flapped = Some((now, self.flaps));
            self.flaps = self.flaps.saturating_add(1);
        }
        self.condemned = Some(reason);
        self.run = None;
        self.answering = None;
        self.backed = None;
        self.ramp = None;
        self.suspect_until = None;
        self.stun.calm();
        self.echo.calm();
    }

    fn has_recovered(&self, now: Instant, t: &Thresholds, alone: bool) -> bool {
        let Some(run) = self.run.filter(|_| self.claim == Some(Claim::Serving)) else {
            return false;
        };
        // Just before its time is over it may have gone again.
        if self.silence(now) >= t.report_interval + t.report_slack {
            return false;
        }
        let probes_good = self.stun.ok_since(run.since)
            && self.stun.points() < t.points_suspect
            && self.echo.points() < t.points_suspect;
        if alone {
            return probes_good;
        }
        let echoed = t.echo_interval.is_none() || self.echo.ok_since(run.since);
        probes_good
            && echoed
            && run.reports >= t.recover_reports
            && now.saturating_duration_since(run.since) >= self.hold(t)
    }

    /// Whether a relay whose reports do not arrive has answered probes for long enough to be taken
    /// for alive: it is then suspect.
    fn answers_on(&self, now: Instant, t: &Thresholds, alone: bool) -> bool {
        let Some(since) = self.answering.filter(|_| !self.is_out()) else {
            return false;
        };
        let hold = if alone {
            t.hold
        } else {
            self.hold(t).max(t.hold)
        };
        let end = since + hold;
        let echoed = t.echo_interval.is_none() || self.echo.ok_since(since);
        now >= end
            && echoed
            && self.silence(now) >= t.silence_suspect
            && self.stun.points() < t.points_suspect
            && self.echo.points() < t.points_suspect
    }

    /// Whether most observers have long enough called up a relay that this one cannot hear: it is
    /// then suspect.
    fn is_backed(&self, now: Instant, t: &Thresholds) -> bool {
        let end = self.backed.map(|since| since + self.hold(t).max(t.hold));
        end.is_some_and(|end| now >= end)
    }

    /// The share of clients a relay gets of its configured weight, in thousandths; rises in tenths
    /// after it was down.
    pub fn share(&self, now: Instant, t: &Thresholds) -> u32 {
        let Some(from) = self.ramp.filter(|_| !t.ramp.is_zero()) else {
            return RAMP_WHOLE;
        };
        let passed = now.saturating_duration_since(from).as_millis();
        let steps = passed * u128::from(RAMP_STEPS) / t.ramp.as_millis().max(1);
        let steps = u32::try_from(steps).unwrap_or(RAMP_STEPS);
        (steps + 1).min(RAMP_STEPS) * (RAMP_WHOLE / RAMP_STEPS)
    }

    /// When [`share`](Self::share) next rises.
    pub fn next_share(&self, now: Instant, t: &Thresholds) -> Option<Instant> {
        let from = self.ramp?;
        let step = t.ramp / RAMP_STEPS;
        (1..RAMP_STEPS)
            .map(|n| from + step * n)
            .find(|at| *at > now)
    }

    /// How long the relay must do well before it is up again.
    pub(super) fn hold(&self, t: &Thresholds) -> Duration {
        hold(self.flaps, t)
    }
}

/// How long what has been condemned `flaps` times must do well before it is up again.
pub(super) fn hold(flaps: u32, t: &Thresholds) -> Duration {
    let Some(growths) = flaps.checked_sub(1) else {
        return Duration::ZERO;
    };
    t.hold
        .saturating_mul(HOLD_GROWTH.pow(growths.min(GROWTHS_MAX)))
        .min(t.hold_max)
}
