//! What the control loop is told and asked.

use std::net::SocketAddr;

use dnsd_core::difference::Difference;
use dnsd_core::health::Probe;
use dnsd_core::inventory::Inventory;
use dnsd_core::overrides::Entry;
use dnsd_core::revocations;
use dnsd_core::steer::Strain;
use dnsd_core::votes::Ballot;
use liveness::{KeyId, RelayId, Report};
use serde_json::Value;
use tokio::sync::oneshot;

use super::hearsay::Datagram;
use crate::config::Config;
use crate::decisions::{Made, Unmade, Wish};
use crate::history::{Event, Span, Told};
use crate::probe::echo::Found;
use crate::revocations::Wish as Revoke;
use crate::share::entries::Digests;

/// What is known of relays.
#[derive(Debug, Default)]
pub struct Known {
    /// The serial of the answers in force.
    pub serial: u32,
    /// One JSON object per relay: the core's explanation, with the relay's name as `id`.
    pub relays: Vec<Value>,
    /// How full each region is.
    pub regions: Vec<Strain>,
    /// The other nameservers, whether this one distrusts itself, and who was refused; null where
    /// it stands alone.
    pub sharing: Value,
    /// The database of places; null where none is configured.
    pub geoip: Value,
}

/// What the control loop is told or asked.
#[derive(Debug)]
pub enum Input {
    /// An authentic report.
    Report {
        /// What it says.
        report: Box<Report>,
        /// The report as it came.
        datagram: Box<Datagram>,
        /// The key it is signed with.
        key: KeyId,
        /// Where the acknowledgement goes.
        from: SocketAddr,
    },
    /// A probe has ended.
    Probe {
        /// Whom it probed.
        relay: RelayId,
        /// The core's order.
        probe: Probe,
        /// What it found.
        found: Box<Found>,
    },
    /// What another nameserver sees.
    Ballot {
        /// It.
        ballot: Box<Ballot>,
        /// Where an answer to it goes.
        from: SocketAddr,
    },
    /// Another nameserver has seen a ballot of this one that was numbered higher.
    Outrun {
        /// Its number.
        generation: u64,
    },
    /// Another nameserver does not hear these relays.
    Unheard {
        /// They.
        relays: Vec<RelayId>,
        /// Where their reports go.
        from: SocketAddr,
    },
    /// Reports that another nameserver passes on.
    Hearsay {
        /// They, not verified yet.
        datagrams: Vec<Datagram>,
    },
    /// What would the answers lose under another configuration?
    Compare {
        /// Its inventory.
        inventory: Box<Inventory>,
        /// Where to.
        reply: oneshot::Sender<Difference>,
    },
    /// Decisions that another nameserver knows of.
    Overrides {
        /// They.
        entries: Vec<Entry>,
    },
    /// Another nameserver tells what it has alike with whoever knows of the same decisions.
    Digest {
        /// Of those it knows.
        digest: u64,
        /// Where those go that this one knows.
        from: SocketAddr,
    },
    /// Somebody decides.
    Decide {
        /// What is wanted.
        wish: Box<Wish>,
        /// What became of it, or why nothing did.
        reply: oneshot::Sender<Result<Made, Unmade>>,
    },
    /// Somebody asks what was decided.
    Decisions {
        /// Where to.
        reply: oneshot::Sender<Value>,
    },
    /// Revocations that another nameserver knows of.
    Revocations {
        /// They.
        entries: Vec<revocations::Entry>,
    },
    /// As `Digest`, of revocations and in parts.
    RevocationDigests {
        /// Of those it knows.
        digests: Box<Digests>,
        /// Where those go that this one knows.
        from: SocketAddr,
    },
    /// Somebody revokes.
    Revoke {
        /// Whom.
        wish: Box<Revoke>,
        /// What became of it, or why nothing did.
        reply: oneshot::Sender<Result<Value, String>>,
    },
    /// Somebody asks who is revoked.
    Revoked {
        /// Where to.
        reply: oneshot::Sender<Value>,
    },
    /// Take another configuration over.
    Reload {
        /// It.
        config: Box<Config>,
        /// Told when its answers are served.
        reply: oneshot::Sender<()>,
    },
    /// For the history: what became of a configuration.
    Note {
        /// It.
        event: Box<Event>,
    },
    /// End.
    Stop,
}

/// What somebody would like to know. Inputs have precedence.
#[derive(Debug)]
pub enum Question {
    /// All that is known of one relay, or of all.
    Relays {
        /// Which.
        relay: Option<RelayId>,
        /// Where to; empty for an unknown relay.
        reply: oneshot::Sender<Known>,
    },
    /// What changed.
    History {
        /// When, and about what.
        span: Span,
        /// Where to.
        reply: oneshot::Sender<Told>,
    },
}
