//! One relay's health: what is known of it, and the verdict that follows.

mod evidence;
mod facts;
mod finding;
mod judge;
mod machine;
mod path;
mod track;
mod words;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use evidence::{Evidence, Probed, Spared};
pub use machine::{Health, Remembered};
pub use path::{PathHealth, PathReason, PathVerdict, Unwithdrawn};

use crate::paths::Path;
use crate::votes::Tally;

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
    /// The other observers condemn it, and this node has nothing to say for it.
    Voted,
    /// The other observers condemn it, and this node sees nothing wrong with it.
    Disputed,
    /// Clients of several tenants complain, and not about others.
    Complaints,
    /// It has joined by itself and has yet to show that it relays.
    Joining,
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

/// What the judgement of one relay takes from how the other relays are, and the other observers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, in any combination"
)]
pub struct Around {
    /// Some clients have, or had until just now, no other relay that is up: nothing is held back.
    pub alone: bool,
    /// More than half of the relays that answer STUN fail at the echo: the fault is this node's.
    pub echo_doubtful: bool,
    /// This node takes part in votes and has not yet waited for the first of others.
    pub expecting: bool,
    /// What forbids this node to take it out by itself.
    pub guards: Guards,
    /// This node distrusts itself because of what began at this time: silence changes nothing.
    pub frozen: Option<Instant>,
    /// Clients' complaints cast doubt on it.
    pub complained: bool,
    /// The votes on it, this node's own among them.
    pub tally: Tally,
}

/// What would go wrong if this node took one relay out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    /// Some clients would have no relay that is up.
    pub last_up: bool,
    /// Some clients would have fewer relays that are up than probes alone may leave them.
    pub at_floor: bool,
    /// It has taken out as many lately as it may by itself.
    pub rationed: bool,
}

/// A relay's standing, why, since when, and what that rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it stands.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// Since when it stands so.
    pub since: Instant,
    /// The evidence at the time it was drawn; `None` before there was any.
    pub evidence: Option<Evidence>,
}

/// The kinds of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// One STUN Binding request and its response (RFC 8489 section 3).
    Stun,
    /// A TURN allocation, a datagram out through it to this node, and one back.
    Echo,
    /// All of that on one path, its connection and its certificate included.
    Path(Path),
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
