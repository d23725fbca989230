//! Who was refused: told in the log now and then, and kept for whoever asks. One place per reason,
//! however many are refused.

use std::net::SocketAddr;
use std::time::Instant;

use serde::Serialize;

use crate::limits::REFUSAL_NOTICE;
use crate::metrics::Shared;

/// The last one that was refused for a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The reason, as it stands in the metrics.
    pub reason: &'static str,
    /// What that means.
    pub meaning: &'static str,
    /// From where the last such datagram came.
    pub from: SocketAddr,
    /// How long ago, milliseconds.
    pub ago_ms: u64,
    /// How many there have been since the start.
    pub count: u64,
}

/// What is remembered, by reason.
#[derive(Debug, Default)]
pub struct Refusals([Option<Entry>; Shared::ALL.len()]);

#[derive(Debug)]
struct Entry {
    from: SocketAddr,
    last: Instant,
    count: u64,
    told: Instant,
    told_count: u64,
}

impl Refusals {
    /// Counts what became of a datagram. A refusal is logged, at most once per
    /// [`REFUSAL_NOTICE`] and reason.
    pub fn count(&mut self, now: Instant, outcome: Shared, from: SocketAddr) {
        let Some(meaning) = meaning(outcome) else {
            return;
        };
        let place = &mut self.0[outcome as usize];
        let first = place.is_none();
        let entry = place.get_or_insert(Entry {
            from,
            last: now,
            count: 0,
            told: now,
            told_count: 0,
        });
        (entry.from, entry.last, entry.count) = (from, now, entry.count + 1);
        if first || now.saturating_duration_since(entry.told) >= REFUSAL_NOTICE {
            let datagrams = entry.count - entry.told_count;
            (entry.told, entry.told_count) = (now, entry.count);
            tracing::warn!(%from, reason = outcome.as_str(), datagrams, "sharing refused: {meaning}");
        }
    }

    /// What is remembered.
    pub fn list(&self, now: Instant) -> Vec<Refusal> {
        let entries = Shared::ALL.iter().zip(&self.0);
        let refusals = entries.filter_map(|(outcome, entry)| {
            let entry = entry.as_ref()?;
            let ago = now.saturating_duration_since(entry.last);
            Some(Refusal {
                reason: outcome.as_str(),
                meaning: meaning(*outcome)?,
                from: entry.from,
                ago_ms: u64::try_from(ago.as_millis()).unwrap_or(u64::MAX),
                count: entry.count,
            })
        });
        refusals.collect()
    }
}

/// What a refusal means to an operator; `None` for what is no refusal or nobody's mistake.
fn meaning(outcome: Shared) -> Option<&'static str> {
    Some(match outcome {
        Shared::Format => "not from a nameserver of this version",
        Shared::UnknownKey => "the key of that node is not one of sharing.current and previous",
        Shared::Forged => "not sealed with the key it names",
        Shared::Malformed => "sealed with a right key, but not readable by this version",
        Shared::Twin => "another node has this node's id",
        Shared::Crowded => "there are too many nameservers",
        Shared::Ok
        | Shared::Stranger
        | Shared::Replay
        | Shared::Echo
        | Shared::Overload
        | Shared::Unsent => return None,
    })
}
