//! One kind of probe to one relay: when to send the next, and what the outcomes add up to.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Outcome, Probe, ProbeKind};
use crate::limits;
use crate::spread::mix;

/// What an explicit refusal or a wrong answer counts; a timeout counts 1.
const POINTS_EXPLICIT: u32 = 3;
/// Points stop rising here, far above every threshold.
const POINTS_CEILING: u32 = 1000;

/// What outcomes did to a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The success, or the failure, counts.
    Succeeded,
    Failed,
    /// Tells nothing: unsent, or older than a success.
    Nothing,
    /// No such probe is under way.
    Stray,
}

#[derive(Debug)]
pub(super) struct Track {
    kind: ProbeKind,
    seed: u64,
    /// When each probe under way was sent, oldest first.
    in_flight: VecDeque<Instant>,
    next: Instant,
    burst_until: Option<Instant>,
    ordered: u64,
    points: u32,
    refusals: u32,
    /// The last one could not even be sent.
    unsent: bool,
    last_ok: Option<Instant>,
    newest_ok_sent: Option<Instant>,
    last_failure: Option<String>,
    /// Smoothed round-trip time and its variation (RFC 6298 section 2).
    rtt: Option<(Duration, Duration)>,
}

impl Track {
    pub(super) fn new(kind: ProbeKind, seed: u64, now: Instant) -> Self {
        Self {
            kind,
            seed: mix(seed ^ salt(kind)),
            in_flight: VecDeque::new(),
            next: now,
            burst_until: None,
            ordered: 0,
            points: 0,
            refusals: 0,
            unsent: false,
            last_ok: None,
            newest_ok_sent: None,
            last_failure: None,
            rtt: None,
        }
    }

    /// Sends the first probe at some time within `interval`: connections to many relays are not
    /// made at one moment.
    pub(super) fn spread(&mut self, now: Instant, interval: Duration) {
        self.next = now + interval * (mix(self.seed) % 1000) as u32 / 1000;
    }

    /// Forgets the failures: they were about something else.
    pub(super) fn forgive(&mut self) {
        self.points = 0;
        self.refusals = 0;
        self.burst_until = None;
    }

    /// Failures in a row, weighed.
    pub(super) fn points(&self) -> u32 {
        self.points
    }

    /// Explicit refusals in a row.
    pub(super) fn refusals(&self) -> u32 {
        self.refusals
    }

    /// Whether the last probe brought no answer of any kind, be it that none could be sent.
    pub(super) fn is_unanswered(&self) -> bool {
        (self.points > 0 || self.unsent) && self.refusals == 0
    }

    pub(super) fn last_ok(&self) -> Option<Instant> {
        self.last_ok
    }

    /// Whether a probe succeeded at `since` or later.
    pub(super) fn ok_since(&self, since: Instant) -> bool {
        self.last_ok.is_some_and(|at| at >= since)
    }

    pub(super) fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|(smoothed, _)| smoothed)
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn in_burst(&self, now: Instant) -> bool {
        self.burst_until.is_some_and(|until| now < until)
    }

    /// Sends the next probe at once, and further ones in short order for `lasting`.
    pub(super) fn burst(&mut self, now: Instant, lasting: Duration) {
        self.burst_until = Some(now + lasting);
        self.hurry(now);
    }

    pub(super) fn calm(&mut self) {
        self.burst_until = None;
    }

    /// Sends the next probe at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next = self.next.min(now);
    }

    /// How long to wait for an answer, from the measured round-trip time (RFC 6298 section 2).
    pub(super) fn patience(&self, least: Duration, most: Duration) -> Duration {
        self.rtt.map_or(most, |(smoothed, variation)| {
            (smoothed + variation * 4).clamp(least, most)
        })
    }

    /// The probe that is due, if one is. The one after it follows in `spacing` during a burst,
    /// else in `interval` give or take a tenth.
    pub(super) fn due(
        &mut self,
        now: Instant,
        interval: Duration,
        spacing: Duration,
        timeout: Duration,
    ) -> Option<Probe> {
        if now < self.next {
            return None;
        }
        self.next = now
            + if self.in_burst(now) {
                spacing
            } else {
                self.jittered(interval)
            };
        self.ordered = self.ordered.wrapping_add(1);
        // The shell owes an outcome for each; one that never came makes room for newer ones.
        if self.in_flight.len() >= limits::PROBES_IN_FLIGHT_MAX {
            self.in_flight.pop_front();
        }
        self.in_flight.push_back(now);
        Some(Probe {
            kind: self.kind,
            sent: now,
            timeout,
        })
    }

    /// Between 9/10 and 11/10 of `interval`, so that probes of many relays drift apart.
    fn jittered(&self, interval: Duration) -> Duration {
        let per_mille = 900 + mix(self.seed ^ self.ordered) % 201;
        interval * per_mille as u32 / 1000
    }

    pub(super) fn outcome(&mut self, now: Instant, probe: Probe, outcome: &Outcome) -> Effect {
        let Some(place) = self.in_flight.iter().position(|sent| *sent == probe.sent) else {
            return Effect::Stray;
        };
        self.in_flight.remove(place);
        self.unsent = matches!(outcome, Outcome::Unsent(_));
        let (points, text) = match outcome {
            Outcome::Ok { rtt } => {
                self.succeed(now, probe.sent, *rtt);
                return Effect::Succeeded;
            }
            Outcome::Unsent(why) => {
                self.note(why);
                return Effect::Nothing;
            }
            Outcome::Timeout => (1, "timed out"),
            Outcome::Refused => (POINTS_EXPLICIT, "refused"),
            Outcome::Failed(how) => (POINTS_EXPLICIT, how.as_str()),
        };
        self.note(text);
        if self.newest_ok_sent.is_some_and(|ok| probe.sent < ok) {
            return Effect::Nothing;
        }
        self.points = (self.points + points).min(POINTS_CEILING);
        if matches!(outcome, Outcome::Refused) {
            self.refusals = (self.refusals + 1).min(POINTS_CEILING);
        } else {
            self.refusals = 0;
        }
        Effect::Failed
    }

    fn succeed(&mut self, now: Instant, sent: Instant, rtt: Duration) {
        self.points = 0;
        self.refusals = 0;
        self.last_ok = Some(now);
        self.newest_ok_sent = self.newest_ok_sent.max(Some(sent));
        self.rtt = Some(match self.rtt {
            None => (rtt, rtt / 2),
            Some((smoothed, variation)) => {
                let off = smoothed.abs_diff(rtt);
                (smoothed * 7 / 8 + rtt / 8, variation * 3 / 4 + off / 4)
            }
        });
    }

    fn note(&mut self, text: &str) {
        let mut end = text.len().min(limits::FAILURE_TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.last_failure = Some(text[..end].to_owned());
    }
}

/// Keeps the jitters of one relay's probes apart.
fn salt(kind: ProbeKind) -> u64 {
    match kind {
        ProbeKind::Stun => 0,
        ProbeKind::Echo => 1,
        ProbeKind::Path(path) => 2 + path.transport as u64 * 2 + path.family as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[allow(
        clippy::disallowed_methods,
        reason = "tests need some instant to count from"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    fn sent(track: &mut Track, now: Instant) -> Probe {
        track.hurry(now);
        track.due(now, SECOND, SECOND / 10, SECOND / 3).unwrap()
    }

    #[test]
    fn a_failure_older_than_a_success_tells_nothing() {
        let start = start();
        let mut track = Track::new(ProbeKind::Stun, 1, start);
        let first = sent(&mut track, start);
        let second = sent(&mut track, start + SECOND);
        let ok = Outcome::Ok { rtt: SECOND / 100 };
        assert_eq!(
            track.outcome(start + SECOND, second, &ok),
            Effect::Succeeded
        );
        assert_eq!(
            track.outcome(start + SECOND, first, &Outcome::Timeout),
            Effect::Nothing
        );
        assert_eq!(track.points(), 0);
        assert_eq!(
            track.outcome(start + SECOND, first, &Outcome::Timeout),
            Effect::Stray
        );
    }

    #[test]
    fn patience_follows_the_round_trip_time() {
        let start = start();
        let (least, most) = (SECOND * 3 / 10, SECOND);
        let mut track = Track::new(ProbeKind::Stun, 1, start);
        assert_eq!(track.patience(least, most), most);
        for (rtt, expected) in [(10, least..=least), (400, SECOND * 2 / 5..=SECOND / 2)] {
            for i in 0..100 {
                let probe = sent(&mut track, start + SECOND * i);
                let rtt = Duration::from_millis(rtt);
                track.outcome(start + SECOND * i, probe, &Outcome::Ok { rtt });
            }
            assert!(expected.contains(&track.patience(least, most)), "{rtt}");
        }
    }

    #[test]
    fn probes_come_at_their_interval_give_or_take_a_tenth() {
        let start = start();
        let mut track = Track::new(ProbeKind::Stun, 7, start);
        let mut now = start;
        for _ in 0..100 {
            assert!(track.due(now, SECOND, SECOND / 10, SECOND).is_some());
            assert!(track.due(now, SECOND, SECOND / 10, SECOND).is_none());
            let wait = track.next() - now;
            assert!(
                (SECOND * 9 / 10..=SECOND * 11 / 10).contains(&wait),
                "{wait:?}"
            );
            now = track.next();
        }
        assert_eq!(track.in_flight.len(), limits::PROBES_IN_FLIGHT_MAX);
        track.burst(now, SECOND);
        assert!(track.due(now, SECOND, SECOND / 10, SECOND).is_some());
        assert_eq!(track.next() - now, SECOND / 10);
    }

    #[test]
    fn failure_texts_are_cut_between_characters() {
        let start = start();
        let mut track = Track::new(ProbeKind::Echo, 1, start);
        let probe = sent(&mut track, start);
        track.outcome(start, probe, &Outcome::Failed("ä".repeat(500)));
        assert_eq!(
            track.last_failure().unwrap().len(),
            limits::FAILURE_TEXT_MAX
        );
        assert_eq!(track.points(), POINTS_EXPLICIT);
    }
}
