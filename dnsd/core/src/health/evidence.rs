//! What a verdict rests on, as it was when the verdict was drawn.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::machine::Health;
use super::track::Track;
use super::words::word_out;
use super::{Around, Reason};
use crate::votes::{Tally, Vote};

/// Why a relay that is accused is not taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spared {
    /// The other observers have not been heard yet.
    Expecting,
    /// This node distrusts itself.
    Isolated,
    /// The votes do not condemn it.
    NotAgreed,
    /// It is the last that is up for some clients.
    LastUp,
    /// Probes alone may not leave fewer up.
    Floor,
    /// This node has taken out as many lately as it may by itself.
    Rationed,
}

/// The evidence behind one verdict: of fixed size, whatever happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// How long it had been silent, milliseconds; since this node's start if never heard.
    pub silent_ms: u64,
    /// Why it took nobody by its own word.
    pub says: Option<Reason>,
    /// What STUN probes had found.
    pub stun: Probed,
    /// What echo probes had found.
    pub echo: Probed,
    /// This node's own vote.
    pub finding: Vote,
    /// What this node's own evidence accused it of.
    pub accused: Option<Reason>,
    /// The votes of all observers that counted.
    pub votes: Tally,
    /// Why an accusation did not take it out.
    pub spared: Option<Spared>,
}

/// What one kind of probe had found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Probed {
    /// How long ago one succeeded, milliseconds.
    pub last_ok_ms: Option<u64>,
    /// Failures in a row, weighed.
    pub points: u32,
    /// Explicit refusals in a row.
    pub refusals: u32,
}

impl Health {
    pub(super) fn evidence(&self, now: Instant, around: Around) -> Evidence {
        Evidence {
            silent_ms: ms(self.silence(now)),
            says: self.claim.and_then(word_out),
            stun: probed(now, &self.stun),
            echo: probed(now, &self.echo),
            finding: self.finding,
            accused: self.accused,
            votes: around.tally,
            spared: self.spared,
        }
    }
}

fn probed(now: Instant, track: &Track) -> Probed {
    let ago = |at| ms(now.saturating_duration_since(at));
    Probed {
        last_ok_ms: track.last_ok().map(ago),
        points: track.points(),
        refusals: track.refusals(),
    }
}

/// Whole milliseconds.
pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
