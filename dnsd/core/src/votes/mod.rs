//! What several observers say of the same relays: ballots in and out, and whose votes count.

mod isolation;
mod peers;
mod tally;

use liveness::{NodeId, RelayId};
use serde::Serialize;

use crate::transfer::Edition;

pub use isolation::{Cause, Isolation};
pub(crate) use isolation::{Glimpse, SelfDoubt, Sight};
pub(crate) use peers::Peers;
pub use tally::Tally;

/// What one observer says of one relay, by its own evidence alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    /// It hears fresh reports, and its probes succeed.
    Up,
    /// Its evidence would condemn the relay.
    Down,
    /// Neither, or the relay itself says that it takes nobody.
    #[default]
    Abstain,
}

/// What observers lose together: those with both texts alike count as one witness.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain {
    /// Who runs the machine.
    pub vendor: String,
    /// Where it stands.
    pub region: String,
}

/// One that watches the relays and tells others what it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observer {
    /// Its id, unique among the observers.
    pub id: NodeId,
    /// What it shares its fate with.
    pub domain: Domain,
}

/// All that one observer says at one time. The transport vouches for who says it; the time that
/// counts is the receiver's, when it is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    /// Who.
    pub observer: Observer,
    /// Rises with every ballot of this observer, across its restarts too.
    pub generation: u64,
    /// The number of the configuration that is in force at this observer; 0 if it has none.
    pub configuration: u64,
    /// What it gives out to secondaries; without a serial if that is not told.
    pub zones: Edition,
    /// Whether it distrusts itself: then its votes do not count, and are sent so that others in
    /// the same position can tell an outage from their own blindness.
    pub isolated: bool,
    /// Its votes; it abstains from relays not named. At most
    /// [`limits::RELAYS_MAX`](crate::limits::RELAYS_MAX).
    pub votes: Vec<(RelayId, Vote)>,
}

/// What became of a ballot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BallotOutcome {
    /// It replaces what this observer said before.
    Counted,
    /// Not newer than what this observer said before. An observer that has lost its count is told
    /// `newest`, for its [`Fleet::outrun`](crate::fleet::Fleet::outrun).
    Stale {
        /// The generation last taken.
        newest: u64,
    },
    /// Under this node's own id: its echo, or two nodes with one name.
    Own,
    /// This node takes no part in the votes.
    NotJoined,
    /// There are [`limits::OBSERVERS_MAX`](crate::limits::OBSERVERS_MAX) other observers already.
    Crowded,
    /// More votes than there may be relays, or a longer name of a place than
    /// [`limits::PLACE_MAX`](crate::limits::PLACE_MAX).
    TooLong,
}
