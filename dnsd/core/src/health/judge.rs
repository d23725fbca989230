//! The rules: from one relay's evidence to its verdict.

use std::time::{Duration, Instant};

use liveness::State as Claim;

use super::machine::Health;
use super::words::{is_good, word_out};
use super::{Around, Override, Reason, State, Verdict};
use crate::inventory::Thresholds;
use crate::limits;

/// How often the hold may double; 2^20 times any sensible hold is beyond any sensible maximum.
const DOUBLINGS_MAX: u32 = 20;

impl Health {
    /// Draws the verdict from the evidence; true when state or reason changed.
    pub fn judge(&mut self, now: Instant, t: &Thresholds, around: Around) -> bool {
        self.expire(now, t);
        self.speaks = self.is_speaking(now, t);
        if around.echo_doubtful && self.condemned == Some(Reason::EchoFails) {
            self.acquit(now);
            if let Some((_, before)) = self.flapped.take() {
                self.flaps = before;
            }
        }
        let fatal = self.fatal(now, t, around);
        match (fatal, self.condemned) {
            (Some(reason), None) => self.condemn(now, reason, t),
            // One that called itself failing has meanwhile gone altogether.
            (Some(reason), Some(_)) if self.is_out() => self.condemned = Some(reason),
            // One that did not relay has meanwhile gone altogether.
            (Some(reason), Some(Reason::EchoFails)) => self.condemned = Some(reason),
            _ => {}
        }
        if self.condemned.is_some()
            && (self.has_recovered(now, t, around.alone) || self.answers_on(now, t, around.alone))
        {
            self.acquit(now);
        }
        let answers = self.stun.last_ok().is_some();
        let serving = self.claim == Some(Claim::Serving);
        if answers && (serving || self.silence(now) >= t.silence_suspect) && !self.vouched {
            self.vouched = true;
            self.up_since = Some(now);
        }
        if self.suspicion(now, t).is_some() {
            self.suspect_until = Some(now + t.suspect_hold);
        }
        let (state, reason) = self.standing(now, t);
        self.enter(now, state, reason)
    }

    fn acquit(&mut self, now: Instant) {
        self.condemned = None;
        self.run = None;
        self.answering = None;
        // The doubts were about the time before.
        self.suspect_until = None;
        self.vouched = true;
        self.up_since = Some(now);
    }

    /// To be full or starting passes by itself: a relay that cannot be heard saying so is judged
    /// by probes again. To drain does not.
    fn expire(&mut self, now: Instant, t: &Thresholds) {
        let passing = matches!(self.claim, Some(Claim::Full | Claim::Starting));
        if passing && self.silence(now) >= t.silence_dead {
            self.claim = None;
        }
    }

    fn is_speaking(&self, now: Instant, t: &Thresholds) -> bool {
        let reports = self.claim == Some(Claim::Serving) && self.silence(now) < t.silence_suspect;
        let within = |at: Instant| now.saturating_duration_since(at) < t.stun_dead;
        (self.last.is_some() && reports) || self.stun.last_ok().is_some_and(within)
    }

    fn enter(&mut self, now: Instant, state: State, reason: Reason) -> bool {
        let before = self.verdict;
        if (before.state, before.reason) == (state, reason) {
            return false;
        }
        self.verdict = Verdict {
            state,
            reason,
            ..before
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

    fn standing(&self, now: Instant, t: &Thresholds) -> (State, Reason) {
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
                Reason::Silent | Reason::StunFails | Reason::EchoFails
            );
            let fallback = if kept {
                self.verdict.reason
            } else {
                Reason::Silent
            };
            return (State::Suspect, self.suspicion(now, t).unwrap_or(fallback));
        }
        let reason = if self.last.is_some() {
            Reason::Healthy
        } else {
            Reason::Restored
        };
        (State::Up, reason)
    }

    /// What condemns, if anything does.
    fn fatal(&self, now: Instant, t: &Thresholds, around: Around) -> Option<Reason> {
        // Nothing is taken out before one round of reports and probes has had its time.
        if now < self.started + t.silence_down {
            return None;
        }
        let silence = self.silence(now);
        let without_stun =
            now.saturating_duration_since(self.stun.last_ok().unwrap_or(self.started));
        let stun_failed = self.stun.points() >= t.points_down;
        let silent = silence >= t.silence_down;
        if stun_failed && (silent || without_stun >= t.stun_dead) {
            return Some(match (self.stun.refusals() > 0, silent) {
                (true, _) => Reason::PortClosed,
                (false, true) => Reason::Unreachable,
                (false, false) => Reason::StunFails,
            });
        }
        // Where the echo alone speaks against it, it must not be this node's fault, nor leave
        // anybody without a relay.
        let spared = around.last_up || around.echo_doubtful;
        if self.echo.points() >= t.points_down && !spared {
            return Some(Reason::EchoFails);
        }
        (silence >= t.silence_dead && without_stun >= t.silence_dead).then_some(Reason::Unreachable)
    }

    /// What casts doubt, if anything does.
    fn suspicion(&self, now: Instant, t: &Thresholds) -> Option<Reason> {
        if self.silence(now) >= t.silence_suspect {
            return Some(Reason::Silent);
        }
        if self.stun.points() >= t.points_suspect {
            return Some(Reason::StunFails);
        }
        (self.echo.points() >= t.points_suspect).then_some(Reason::EchoFails)
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
        self.suspect_until = None;
        self.stun.calm();
        self.echo.calm();
    }

    fn has_recovered(&self, now: Instant, t: &Thresholds, alone: bool) -> bool {
        let Some(run) = self.run.filter(|_| self.claim == Some(Claim::Serving)) else {
            return false;
        };
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

    /// How long the relay must do well before it is up again.
    pub(super) fn hold(&self, t: &Thresholds) -> Duration {
        let Some(doublings) = self.flaps.checked_sub(1) else {
            return Duration::ZERO;
        };
        t.hold
            .saturating_mul(1 << doublings.min(DOUBLINGS_MAX))
            .min(t.hold_max)
    }
}
