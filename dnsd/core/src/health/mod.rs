//! One relay's health: what is known of it, and the verdict that follows.

mod facts;
mod judge;
mod machine;
mod track;
mod words;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use machine::{Health, Remembered};

/// How a relay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No evidence yet: not answered while anything else is.
    Unknown,
    /// Healthy.
    Up,
    /// In doubt: answered last.
    Suspect,
    /// Taken for dead.
    Down,
    /// Takes no new clients, by its own signed word.
    Draining,
    /// A person decided that it counts as up.
    ForcedUp,
    /// A person decided that it counts as down.
    ForcedDown,
}

/// Why a relay stands as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Neither a report nor a probe has told anything yet.
    NoEvidence,
    /// As before this node's restart; nothing newer is known.
    Restored,
    /// Reports are fresh and probes succeed.
    Healthy,
    /// Reports are missing.
    Silent,
    /// Reports are missing and STUN probes fail.
    Unreachable,
    /// The host answers that nothing listens there.
    PortClosed,
    /// Reports arrive, STUN probes fail.
    StunFails,
    /// Reports and STUN are fine, nothing comes back through a relayed address.
    EchoFails,
    /// It was down and has not yet done well for long enough.
    Recovering,
    /// It says that it is starting.
    Starting,
    /// It says that it is full.
    Full,
    /// It says that it is draining.
    Draining,
    /// It says that a worker is stuck.
    WorkerStuck,
    /// It says that it cannot open relay sockets.
    RelaySockets,
    /// It says that it has no file descriptors left.
    Descriptors,
    /// It says that its configuration does not allow to serve.
    Configuration,
    /// It says that it is failing, and not why.
    FailingOtherwise,
    /// A person decided.
    Override,
}

/// What the judgement of one relay takes from how the others are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Some clients have, or had until just now, no other relay that is up: nothing is held back.
    pub alone: bool,
    /// Some clients would have no relay that is up without this one.
    pub last_up: bool,
    /// More than half of the relays that answer STUN fail at the echo: the fault is this node's.
    pub echo_doubtful: bool,
}

/// A relay's standing, why, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it stands.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// Since when it stands so.
    pub since: Instant,
}

/// The kinds of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// One STUN Binding request and its response (RFC 8489 section 3).
    Stun,
    /// A TURN allocation, a datagram out through it to this node, and one back.
    Echo,
}

/// An order to probe. The shell hands it back unchanged with the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What to do.
    pub kind: ProbeKind,
    /// When it was ordered: tells an old outcome from a new one.
    pub sent: Instant,
    /// After this long without success the outcome is [`Outcome::Timeout`].
    pub timeout: Duration,
}

/// How a probe went. One outcome per probe; none at all is tolerated and tells nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded.
    Ok {
        /// From request to response.
        rtt: Duration,
    },
    /// Nothing came in time.
    Timeout,
    /// The host refused (ICMP port unreachable, TCP reset).
    Refused,
    /// The relay answered, but wrongly; says how.
    Failed(String),
    /// This node could not even send; says why. No evidence against the relay.
    Unsent(String),
}

/// A person's decision about a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// It counts as up, whatever the evidence.
    Up,
    /// It counts as down, whatever the evidence.
    Down,
    /// It counts as down, and is told to drain.
    Drain,
}
