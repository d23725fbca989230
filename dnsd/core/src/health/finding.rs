//! What this node's own evidence says of one relay: an accusation, a doubt, a vote.

use std::time::Instant;

use liveness::State as Claim;

use super::machine::Health;
use super::{Reason, Spared};
use crate::inventory::Thresholds;
use crate::votes::Vote;

impl Health {
    /// Weighs the node's own evidence anew. `echo_doubtful`: the echo fails at most relays, which
    /// says more of this node.
    pub fn find(&mut self, now: Instant, t: &Thresholds, echo_doubtful: bool) -> Vote {
        self.expire(now, t);
        self.speaks = self.is_speaking(now, t);
        self.quiet = self.is_quiet(now, t);
        self.accused = self.accusation(now, t, echo_doubtful);
        self.finding = match self.accused {
            Some(_) => Vote::Down,
            None if self.is_well(now, t) => Vote::Up,
            None => Vote::Abstain,
        };
        self.finding
    }

    /// The node's own vote, as of the last input.
    pub fn finding(&self) -> Vote {
        self.finding
    }

    /// What this node's own evidence accuses it of, as of the last input.
    pub fn accused(&self) -> Option<Reason> {
        self.accused
    }

    /// Whether it was condemned for silence: nothing of it came, not even a refusal.
    pub fn is_silent(&self) -> bool {
        self.condemned == Some(Reason::Unreachable)
    }

    /// Whether its probes condemn it, and it stays only because too few others are up.
    pub fn is_gray(&self) -> bool {
        matches!(self.spared, Some(Spared::Floor | Spared::LastUp))
    }

    /// Since when neither a report nor an answer has come from a relay that should send both.
    /// A refusal is an answer.
    pub fn quiet(&self) -> Option<Instant> {
        self.quiet
    }

    /// To be full or starting passes by itself: a relay that cannot be heard saying so, from here or
    /// by way of others, is judged by probes again. To drain does not.
    fn expire(&mut self, now: Instant, t: &Thresholds) {
        let passing = matches!(self.claim, Some(Claim::Full | Claim::Starting));
        let told = self.hearsay.unwrap_or(self.started).max(self.heard());
        if passing && now.saturating_duration_since(told) >= t.silence_dead {
            self.claim = None;
        }
    }

    fn is_speaking(&self, now: Instant, t: &Thresholds) -> bool {
        let reports = self.claim == Some(Claim::Serving) && self.silence(now) < t.silence_suspect;
        let within = |at: Instant| now.saturating_duration_since(at) < t.stun_dead;
        (self.last.is_some() && reports) || self.stun.last_ok().is_some_and(within)
    }

    fn is_quiet(&self, now: Instant, t: &Thresholds) -> Option<Instant> {
        let late = self.silence(now) >= t.report_interval + t.report_slack;
        let heard = self.heard();
        (late && self.stun.is_unanswered())
            .then(|| self.stun.last_ok().map_or(heard, |at| at.max(heard)))
    }

    /// Whether everything this node knows speaks for the relay, and it says itself that it serves.
    /// One that was condemned must have reported a few times since.
    fn is_well(&self, now: Instant, t: &Thresholds) -> bool {
        let reports = self.run.map_or(0, |run| run.reports);
        self.claim == Some(Claim::Serving)
            && self.last.is_some()
            && self.vouched
            && (self.condemned.is_none() || reports >= t.recover_reports)
            && self.doubt(now, t).is_none()
    }

    /// What the evidence accuses the relay of, if of anything.
    fn accusation(&self, now: Instant, t: &Thresholds, echo_doubtful: bool) -> Option<Reason> {
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
        if self.echo.points() >= t.points_down && !echo_doubtful {
            return Some(Reason::EchoFails);
        }
        (silence >= t.silence_dead && without_stun >= t.silence_dead).then_some(Reason::Unreachable)
    }

    /// What casts doubt, if anything does.
    pub(super) fn doubt(&self, now: Instant, t: &Thresholds) -> Option<Reason> {
        if self.silence(now) >= t.silence_suspect {
            return Some(Reason::Silent);
        }
        if self.stun.points() >= t.points_suspect {
            return Some(Reason::StunFails);
        }
        (self.echo.points() >= t.points_suspect).then_some(Reason::EchoFails)
    }
}
