//! One relay's evidence: takes reports and outcomes in, asks for probes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use liveness::{RelayId, Report, State as Claim};

use super::track::{Effect, Track};
use super::words::{claim_of, is_good, reason_of, word_out};
use super::{Outcome, Override, Probe, ProbeKind, Reason, Spared, State, Verdict};
use crate::inventory::Thresholds;
use crate::spread::hash;
use crate::votes::Vote;

/// How long a burst of probes lasts unless something ends it.
const BURST: Duration = Duration::from_secs(3);
/// Round trips that an echo takes: challenge, allocation, permission, channel, and the echo, whose way
/// is two.
const ECHO_EXCHANGES: u32 = 6;

/// What a restart keeps of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// How it stood.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// Since when.
    pub since: Instant,
    /// When it was last up or suspect.
    pub last_good: Option<Instant>,
    /// How often it has been condemned lately.
    pub flaps: u32,
}

/// A condemned relay's way back: begins with a good report, ends with any new doubt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) since: Instant,
    pub(super) reports: u32,
}

/// One relay's evidence and verdict.
#[derive(Debug)]
pub struct Health {
    pub(super) started: Instant,
    pub(super) verdict: Verdict,
    pub(super) decision: Option<Override>,
    pub(super) last: Option<(Instant, Report)>,
    pub(super) claim: Option<Claim>,
    /// When another nameserver last passed on what it said.
    pub(super) hearsay: Option<Instant>,
    pub(super) stun: Track,
    pub(super) echo: Track,
    pub(super) late: bool,
    /// Set while the relay has to prove itself before it is up again.
    pub(super) condemned: Option<Reason>,
    pub(super) run: Option<Run>,
    /// Since when a condemned relay that is silent has answered probes without fail.
    pub(super) answering: Option<Instant>,
    /// The flaps before the last condemnation that counted as one, and when that was.
    pub(super) flapped: Option<(Instant, u32)>,
    /// Since when most observers have called a condemned relay up that this node does not.
    pub(super) backed: Option<Instant>,
    /// When it came back from having been down, while that still lessens its share.
    pub(super) ramp: Option<Instant>,
    /// This node's own vote.
    pub(super) finding: Vote,
    /// What this node's own evidence accuses it of.
    pub(super) accused: Option<Reason>,
    /// Why it is not taken out although something speaks against it.
    pub(super) spared: Option<Spared>,
    /// Since when it has gone quiet.
    pub(super) quiet: Option<Instant>,
    /// Whether it had spoken for itself lately when it was last judged.
    pub(super) speaks: bool,
    /// Whether anything has ever spoken for the relay.
    pub(super) vouched: bool,
    pub(super) flaps: u32,
    pub(super) up_since: Option<Instant>,
    pub(super) suspect_until: Option<Instant>,
    pub(super) last_good: Option<Instant>,
    pub(super) history: VecDeque<Verdict>,
}

impl Health {
    /// A relay of which nothing is known.
    pub fn new(id: RelayId, now: Instant) -> Self {
        let seed = hash(id.as_str().as_bytes());
        Self {
            started: now,
            verdict: Verdict {
                state: State::Unknown,
                reason: Reason::NoEvidence,
                since: now,
                evidence: None,
            },
            decision: None,
            last: None,
            claim: None,
            hearsay: None,
            stun: Track::new(ProbeKind::Stun, seed, now),
            echo: Track::new(ProbeKind::Echo, seed, now),
            late: false,
            condemned: None,
            run: None,
            answering: None,
            flapped: None,
            backed: None,
            ramp: None,
            finding: Vote::Abstain,
            accused: None,
            spared: None,
            quiet: None,
            speaks: false,
            vouched: false,
            flaps: 0,
            up_since: None,
            suspect_until: None,
            last_good: None,
            history: VecDeque::new(),
        }
    }

    /// A relay that has joined by itself: it has to show that it relays before anybody is sent
    /// there, and gets its share of clients slowly, as one does that was down.
    pub fn joined(id: RelayId, now: Instant) -> Self {
        let mut health = Self::new(id, now);
        health.condemned = Some(Reason::Joining);
        health.verdict.state = State::Down;
        health.verdict.reason = Reason::Joining;
        health
    }

    /// A relay as it was before a restart. From `now` on it is judged by the ordinary rules.
    pub fn restored(id: RelayId, now: Instant, was: Remembered) -> Self {
        let mut health = Self::new(id, now);
        health.verdict = Verdict {
            state: was.state,
            reason: was.reason,
            since: was.since,
            evidence: None,
        };
        health.flaps = was.flaps;
        health.last_good = was.last_good;
        match was.state {
            State::Up | State::Suspect => {
                health.vouched = true;
                health.up_since = Some(now);
                health.verdict.reason = Reason::Restored;
            }
            State::Down => health.condemned = Some(was.reason),
            State::Draining => health.claim = Some(claim_of(was.reason)),
            // What stood behind a decision is found out anew.
            State::Unknown | State::ForcedUp | State::ForcedDown => {}
        }
        health
    }

    /// What a restart should keep.
    pub fn remembered(&self, now: Instant) -> Remembered {
        Remembered {
            state: self.verdict.state,
            reason: self.verdict.reason,
            since: self.verdict.since,
            last_good: self.last_good(now),
            flaps: self.flaps,
        }
    }

    /// The verdict as of the last input.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// A person's decision, if there is one.
    pub fn decision(&self) -> Option<Override> {
        self.decision
    }

    /// When the relay was last up or suspect: `now` if it is.
    pub fn last_good(&self, now: Instant) -> Option<Instant> {
        if is_good(self.verdict.state) {
            Some(now)
        } else {
            self.last_good
        }
    }

    /// Whether this node has judged it by evidence of its own.
    pub fn is_judged(&self) -> bool {
        self.last.is_some() || matches!(self.verdict.state, State::Down | State::Draining)
    }

    /// Takes a report that is new and signed by the right key.
    pub fn handle_report(&mut self, now: Instant, report: &Report, t: &Thresholds) {
        let was_silent = self.silence(now) >= t.silence_down;
        self.last = Some((now, *report));
        self.claim = Some(report.state);
        self.late = false;
        if self.stun.points() == 0 {
            self.stun.calm();
        }
        match report.state {
            Claim::Serving => {
                self.answering = None;
                if self.condemned.is_some() {
                    // Whether it relays should be known by the time it has reported enough; one
                    // condemned for not relaying is asked at the regular pace.
                    if self.run.is_none() && (was_silent || self.echo.points() < t.points_suspect) {
                        self.echo.hurry(now);
                    }
                    let run = self.run.get_or_insert(Run {
                        since: now,
                        reports: 0,
                    });
                    run.reports = run.reports.saturating_add(1);
                }
                let wanted = self.condemned.is_some() || !self.vouched;
                if wanted && (was_silent || !self.stun.ok_since(self.stun_horizon(now, t))) {
                    self.stun.hurry(now);
                }
            }
            Claim::Failing(word) => {
                if self.condemned.is_none() {
                    self.condemn(now, reason_of(word), t);
                }
                self.run = None;
            }
            Claim::Starting | Claim::Full | Claim::Draining => self.run = None,
        }
    }

    /// Takes what the relay says of itself, by way of another nameserver. That it is up only its own
    /// reports and probes can show.
    pub fn hear_say(&mut self, now: Instant, claim: Claim, t: &Thresholds) {
        self.hearsay = Some(now);
        self.claim = Some(claim);
        if let Claim::Failing(word) = claim
            && self.condemned.is_none()
        {
            self.condemn(now, reason_of(word), t);
        }
        if claim != Claim::Serving {
            self.run = None;
        }
    }

    /// What the relay last said of itself.
    pub fn claim(&self) -> Option<Claim> {
        self.claim
    }

    /// Its reports are not to be believed, what it said last neither.
    pub fn disbelieve(&mut self) {
        self.claim = None;
        self.run = None;
    }

    /// Takes the outcome of a probe; false when no such probe is under way.
    pub fn handle_probe(
        &mut self,
        now: Instant,
        probe: Probe,
        outcome: &Outcome,
        t: &Thresholds,
    ) -> bool {
        let track = match probe.kind {
            ProbeKind::Stun => &mut self.stun,
            ProbeKind::Echo => &mut self.echo,
            ProbeKind::Path(_) => return false,
        };
        let before = track.points();
        match track.outcome(now, probe, outcome) {
            Effect::Stray => return false,
            Effect::Nothing => {}
            Effect::Succeeded => {
                if !self.late || probe.kind == ProbeKind::Echo {
                    track.calm();
                }
                let silent = self.silence(now) >= t.silence_suspect;
                if self.condemned.is_some() && silent && self.answering.is_none() {
                    self.answering = Some(now);
                    self.echo.hurry(now);
                }
            }
            Effect::Failed => {
                if before == 0 && self.condemned.is_none() {
                    track.burst(now, BURST);
                }
                let doubt = track.points() >= t.points_suspect;
                if doubt && self.run.is_some_and(|run| probe.sent >= run.since) {
                    self.run = None;
                }
                if doubt {
                    self.answering = None;
                }
            }
        }
        true
    }

    /// Lets time pass: hands out the probes that are due. Echoes follow each other in the
    /// `echo_interval` that is given.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        t: &Thresholds,
        echo_interval: Option<Duration>,
    ) -> [Option<Probe>; 2] {
        if !self.late && self.silence(now) >= t.report_interval + t.report_slack {
            self.late = true;
            // Also where it is held: others may have it up, and wait for this node's vote.
            if self.condemned.is_none() || self.run.is_some() {
                self.stun.burst(now, BURST);
            }
        }
        if self.silence(now) >= t.silence_suspect * 2 {
            self.run = None;
        }
        let patience = self.stun.patience(t.stun_timeout, t.stun_timeout_max);
        let stun = self
            .stun
            .due(now, t.stun_interval, t.stun_spacing, patience);
        let echo = match echo_interval {
            Some(interval) if self.may_echo(t) => {
                let each = t.echo_timeout / ECHO_EXCHANGES;
                let most = (t.stun_timeout_max * 2 / 3).max(each);
                let patience = self.stun.patience(each, most);
                self.echo
                    .due(now, interval, t.echo_spacing, patience * ECHO_EXCHANGES)
            }
            _ => None,
        };
        [stun, echo]
    }

    /// When [`handle_timeout`](Self::handle_timeout) and [`judge`](Self::judge) are next needed.
    pub fn deadline(&self, now: Instant, t: &Thresholds) -> Instant {
        let base = self.heard();
        let echo = (t.echo_interval.is_some() && self.may_echo(t)).then(|| self.echo.next());
        [
            Some(base + t.report_interval + t.report_slack),
            Some(base + t.silence_down),
            Some(base + t.silence_suspect),
            Some(base + t.silence_suspect * 2),
            Some(base + t.silence_dead),
            Some(self.started + t.silence_down),
            self.stun.last_ok().map(|at| at + t.stun_dead),
            self.run.map(|run| run.since + self.hold(t)),
            self.answering.map(|since| since + self.hold(t).max(t.hold)),
            self.backed.map(|since| since + self.hold(t).max(t.hold)),
            self.suspect_until,
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .chain(echo)
        .fold(self.stun.next(), Instant::min)
    }

    /// Sets or lifts a person's decision.
    pub fn force(&mut self, decision: Option<Override>) {
        self.decision = decision;
    }

    /// Whether a fresh report that says so, or a probe, lately spoke for the relay.
    pub fn speaks(&self) -> bool {
        self.speaks
    }

    /// Whether the relay answers STUN and takes clients, so that an echo can tell something.
    pub fn is_echoed(&self, t: &Thresholds) -> bool {
        self.may_echo(t)
    }

    /// Whether the echo through the relay fails.
    pub fn fails_echo(&self, t: &Thresholds) -> bool {
        self.echo.points() >= t.points_suspect
    }

    /// Whether probes have found that the relay works at `since` or later, and nothing else since.
    pub fn works_since(&self, since: Instant, t: &Thresholds) -> bool {
        let echoed = t.echo_interval.is_none() || self.echo.ok_since(since);
        self.condemned.is_none() && self.stun.ok_since(since) && echoed && self.may_echo(t)
    }

    /// Whether a failure on one path says nothing of that path, because the whole relay fails.
    pub fn fails(&self, t: &Thresholds) -> bool {
        self.condemned.is_some() || !self.may_echo(t) || self.fails_echo(t)
    }

    /// Forgets that a condemnation of just now counted as a flap: others went with it.
    pub fn pardon(&mut self, now: Instant, t: &Thresholds) {
        let span = t.silence_dead;
        let recent = |(at, _): &(Instant, u32)| now.saturating_duration_since(*at) <= span;
        if let Some((_, before)) = self.flapped.take_if(|flapped| recent(flapped)) {
            self.flaps = before;
        }
    }

    /// Echo only where it can tell something: STUN succeeds, and the relay does not say itself
    /// that it takes nobody.
    fn may_echo(&self, t: &Thresholds) -> bool {
        !self.is_out() && self.stun.last_ok().is_some() && self.stun.points() < t.points_suspect
    }

    /// Whether the relay says itself that it takes nobody.
    pub(super) fn is_out(&self) -> bool {
        self.claim.and_then(word_out).is_some()
    }

    pub(super) fn heard(&self) -> Instant {
        self.last
            .map_or(self.started, |(at, _)| at.max(self.started))
    }

    /// Whether the last that it said is that it drains.
    pub(crate) fn said_goodbye(&self) -> bool {
        self.claim == Some(Claim::Draining)
    }

    /// For how long it has not reported.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard())
    }

    /// A STUN success older than this is worth repeating.
    fn stun_horizon(&self, now: Instant, t: &Thresholds) -> Instant {
        now.checked_sub(t.stun_interval).unwrap_or(self.started)
    }
}
