//! The choice: from inventory and verdicts to pools and answer variants, by pure functions.
//!
//! ```text
//!  inventory + view ─► pool (who may serve a region's clients)
//!                   ─► deal (which vendors go to which lane, per variant)
//!                   ─► pick (which addresses, in which order)
//!                   ─► balance (how many clients each variant gets)
//! ```

mod absence;
mod balance;
mod deal;
mod pick;
mod plan;
mod pool;
mod steady;
mod valve;

use std::time::Instant;

use credentials::UnixTime;
use serde::Serialize;

use crate::paths::{Path, PathSet};

pub use absence::Absence;
pub(crate) use absence::{Asked, absences};
pub(crate) use plan::plan_pausing;
pub use plan::{Choice, Plans, RegionPlan, Variant, plan};
pub(crate) use pool::serving;
pub(crate) use steady::steady;
pub(crate) use valve::{Carried, SavedValve, Valves};
pub use valve::{Flow, Spill, Strain};

/// What the shell does between two small parts of long work: it lets others on.
pub type Pause = fn();

/// How a relay counts in the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Healthy.
    Up,
    /// Healthy as far as anybody knows, but in doubt.
    Suspect,
    /// Alive, and takes no new clients for now.
    Full,
    /// Nothing is known of it.
    Unknown,
    /// Leaving, or failing by its own word.
    Leaving,
    /// Taken for dead, or put aside by a person.
    Down,
}

impl Standing {
    /// Whether clients are sent there while all is well.
    pub fn is_healthy(self) -> bool {
        matches!(self, Self::Up | Self::Suspect)
    }
}

/// One relay as the choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that the others do not imply"
)]
pub struct Seat {
    /// How it counts.
    pub standing: Standing,
    /// When it was last healthy.
    pub last_good: Option<Instant>,
    /// Whether it is suspect or has changed lately, so that answers around it may soon change.
    pub doubt: bool,
    /// Whether a report or a probe lately spoke for it, whatever it counts as.
    pub speaks: bool,
    /// Whether it was found not to relay, and is suspect only because this node alone may take out
    /// no more.
    pub gray: bool,
    /// Its share of clients of its configured weight, in thousandths: less than 1000 for a while
    /// after it was down.
    pub share: u32,
    /// How much of its capacity is free, in thousandths, in steps; 1000 where it is not known.
    pub free: u32,
    /// The paths that it serves.
    pub served: PathSet,
    /// Those of them that clients are kept off.
    pub withdrawn: PathSet,
    /// Whether it counts as a person decided.
    pub forced: bool,
    /// When a person's decision about it runs out, if one does: it may then count otherwise.
    pub ends: Option<UnixTime>,
}

impl Seat {
    /// One that counts as `standing`, of which nothing else is to be said: it has room, and serves
    /// every path.
    pub fn new(standing: Standing) -> Self {
        Self {
            standing,
            last_good: None,
            doubt: false,
            speaks: false,
            gray: false,
            share: 1000,
            free: 1000,
            served: PathSet::ALL,
            withdrawn: PathSet::NONE,
            forced: false,
            ends: None,
        }
    }

    /// Whether clients may be sent there on a path.
    pub fn works(&self, path: Path) -> bool {
        self.served.has(path) && !self.withdrawn.has(path)
    }
}

/// All relays as the choice sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// One seat per relay, in the inventory's order.
    pub seats: Vec<Seat>,
    /// Whether everything is in doubt: this node has just started.
    pub cautious: bool,
    /// Per region, in the inventory's order: what follows from how full its relays are. Empty:
    /// nothing does.
    pub flows: Vec<Flow>,
}

/// What kind of relays serve a pool, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Up, or suspect.
    Healthy,
    /// Alive but full.
    Full,
    /// Those that were healthy most recently.
    LastKnownGood,
    /// All that are configured.
    Configured,
}
