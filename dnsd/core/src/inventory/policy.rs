//! How to answer and how to judge, with the defaults that the timing promises rest on.

use std::time::Duration;

/// How answers are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Most addresses of one family in an answer, 1 to 8.
    pub answers: usize,
    /// Time to live of steered answers in doubt, seconds, at least 1.
    pub ttl_min: u32,
    /// Time to live of steered answers when all is well, seconds, not below `ttl_min`.
    pub ttl_max: u32,
    /// Time to live of NS records, nameserver and relay addresses, seconds.
    pub ttl_static: u32,
    /// Time to live of negative answers, seconds, at most 10 (RFC 2308 section 5).
    pub ttl_negative: u32,
    /// Answer variants compiled per region, 64 to 1024.
    pub variants: usize,
    /// Share of a region's capacity, percent, below 100, that is kept free: when less is, standby
    /// relays enter, then clients go to other regions. 0: neither happens.
    pub headroom_percent: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            answers: 2,
            ttl_min: 5,
            ttl_max: 30,
            ttl_static: 300,
            ttl_negative: 5,
            variants: 128,
            headroom_percent: 20,
        }
    }
}

/// How health is judged.
///
/// Probes are judged by points, so that loss is told from death: a probe that timed out is worth 1
/// point, an explicit refusal or wrong answer 3, a success clears them. `points_down` points in a
/// row condemn. With the default of 6, two refusals are enough, and so are six timeouts, which at
/// 10 % loss happen by chance about once in a million bursts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// How often relays report.
    pub report_interval: Duration,
    /// How much later than due a report may be before probes are sent in a burst.
    pub report_slack: Duration,
    /// Silence from which on failed STUN probes condemn.
    pub silence_down: Duration,
    /// Silence that makes a relay suspect although its probes succeed.
    pub silence_suspect: Duration,
    /// Silence that condemns when no probe has succeeded during it, whatever the points; raised
    /// where the STUN probes are too far apart for it.
    pub silence_dead: Duration,
    /// Time between STUN probes when all is well; jittered by a tenth.
    pub stun_interval: Duration,
    /// Time between STUN probes in a burst.
    pub stun_spacing: Duration,
    /// Shortest time to wait for an answer to a STUN probe; far relays get longer, by their
    /// measured round-trip time.
    pub stun_timeout: Duration,
    /// Longest time to wait for an answer to a STUN probe.
    pub stun_timeout_max: Duration,
    /// Time without a successful STUN probe that condemns although reports arrive; raised where
    /// the STUN probes are too far apart for it.
    pub stun_dead: Duration,
    /// Time between echo probes when all is well; jittered by a tenth. `None`: no echo probes.
    pub echo_interval: Option<Duration>,
    /// Time between echo probes in a burst.
    pub echo_spacing: Duration,
    /// Shortest time to wait for an echo probe as a whole; far relays get longer, by their measured
    /// round-trip time, up to four times `stun_timeout_max`.
    pub echo_timeout: Duration,
    /// Time between probes of one path when all is well; jittered by a tenth. `None`: no path is
    /// judged apart from its relay.
    pub path_interval: Option<Duration>,
    /// Time between probes of one path in a burst.
    pub path_spacing: Duration,
    /// Time to wait for a probe of a path as a whole.
    pub path_timeout: Duration,
    /// A path whose certificate expires within this time is withdrawn.
    pub certificate_margin: Duration,
    /// Points that condemn.
    pub points_down: u32,
    /// Points that make suspect.
    pub points_suspect: u32,
    /// Fresh reports that a condemned relay must send before it is believed again.
    pub recover_reports: u32,
    /// How long a relay must do well after its first condemnation; sixteen times as long after each
    /// further one.
    pub hold: Duration,
    /// Longest such time.
    pub hold_max: Duration,
    /// A relay that stayed healthy this long has its condemnations forgotten.
    pub flap_memory: Duration,
    /// How long a relay stays suspect after the last reason for it has gone.
    pub suspect_hold: Duration,
    /// How long a changed verdict keeps the answers' time to live at its minimum: what has just
    /// changed may change again.
    pub recent: Duration,
    /// Relays healthy within this time before the last moment any was are the last-known-good.
    pub last_known_good: Duration,
    /// How long after a start answers keep the minimum time to live at most.
    pub settle: Duration,
    /// How long a relay that was condemned and is up again takes to get its whole share of clients.
    pub ramp: Duration,
    /// How often it is looked whether the relays' loads call for other answers.
    pub load_interval: Duration,
    /// Over how long a relay's load is smoothed.
    pub load_memory: Duration,
    /// How long the clients of a relay that went down are expected at the others.
    pub orphans: Duration,
    /// Least time between two steps of a spill, or of standby, back to normal.
    pub ebb: Duration,
    /// Share of the relays in reach of any client that must stay up, percent, before this node's
    /// probes alone take out one whose reports arrive.
    pub floor_percent: usize,
    /// Share of all relays, percent, that one node alone may take out within `removal_window`
    /// because they are silent; at least two.
    pub removal_percent: usize,
    /// See `removal_percent`.
    pub removal_window: Duration,
    /// After so long without a word, a relay that has joined by itself and is down is forgotten.
    pub forget: Duration,
    /// The same for one that had said that it leaves.
    pub forget_leaving: Duration,
    /// Least time between two editions of the zones for secondaries.
    pub release_interval: Duration,
    /// A relay that is given out to them and has not served for so long makes another edition.
    pub release_hold: Duration,
    /// Percent of a set given out to them that may be gone, or missing from it, meanwhile.
    pub release_percent: usize,
    /// Longest time between two ballots of this node.
    pub ballot_interval: Duration,
    /// Shortest time between two ballots of this node.
    pub ballot_spacing: Duration,
    /// How long the votes of another observer count without a new ballot.
    pub ballot_life: Duration,
    /// How long observers that fell silent are counted with, and how long a node that still hears
    /// half of the relays distrusts itself.
    pub patience: Duration,
    /// Silences that begin within this time of each other began together.
    pub together: Duration,
    /// As many relays may fall silent together before a node distrusts itself.
    pub isolation_least: usize,
    /// As `isolation_least`, as a share of the good relays, percent; the higher of the two counts.
    pub isolation_percent: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        let ms = Duration::from_millis;
        let s = Duration::from_secs;
        Self {
            report_interval: ms(500),
            report_slack: ms(250),
            silence_down: s(1),
            silence_suspect: ms(1500),
            silence_dead: s(10),
            stun_interval: s(1),
            stun_spacing: ms(100),
            stun_timeout: ms(300),
            stun_timeout_max: s(1),
            stun_dead: s(3),
            echo_interval: Some(ms(2500)),
            echo_spacing: ms(300),
            echo_timeout: ms(1500),
            path_interval: Some(s(10)),
            path_spacing: ms(500),
            path_timeout: s(4),
            certificate_margin: Duration::from_hours(1),
            points_down: 6,
            points_suspect: 3,
            recover_reports: 3,
            hold: s(2),
            hold_max: s(300),
            flap_memory: s(600),
            suspect_hold: s(3),
            recent: s(120),
            last_known_good: s(300),
            settle: s(10),
            ramp: s(60),
            load_interval: s(5),
            load_memory: s(10),
            orphans: s(60),
            ebb: s(30),
            floor_percent: 50,
            removal_percent: 50,
            removal_window: s(60),
            forget: s(3600),
            forget_leaving: s(60),
            // A relay that restarts is back within this time; a secondary needs seconds to fetch.
            release_interval: s(10),
            release_hold: s(30),
            release_percent: 50,
            ballot_interval: s(1),
            ballot_spacing: ms(100),
            ballot_life: s(3),
            patience: s(30),
            together: s(5),
            isolation_least: 2,
            isolation_percent: 15,
        }
    }
}

impl Thresholds {
    /// With the times that judge the absence of STUN answers no shorter than the longest that two
    /// regular answers may lie apart, and a quarter for one that is lost and asked for again.
    pub(super) fn fitted(self) -> Self {
        let apart = self
            .stun_interval
            .saturating_mul(11)
            .saturating_add(self.stun_timeout_max.saturating_mul(10));
        let least = apart.saturating_mul(5) / 40;
        Self {
            stun_dead: self.stun_dead.max(least),
            silence_dead: self.silence_dead.max(least),
            ..self
        }
    }
}
