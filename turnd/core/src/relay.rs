//! One worker's TURN server: inputs in, actions out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::action::{Action, OpenError, ToClient, Verdict};
use crate::address::{AllocationId, FiveTuple, Now};
use crate::admission::Admission;
use crate::config::{Config, Drain};
use crate::counters::Counters;
use crate::headroom::Headroom;

/// The TURN server of one worker. See the crate's page for how to drive it.
pub struct Relay {
    config: Arc<Config>,
    admission: Arc<dyn Admission>,
    drain: Drain,
    counters: Counters,
    actions: VecDeque<Action>,
}

/// Sizes of everything that could grow, for tests and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Slots ever used for allocations.
    pub slots: usize,
    /// Five-tuples indexed.
    pub tuples: usize,
    /// Deadlines armed.
    pub deadlines: usize,
    /// Relayed ports in use.
    pub ports: usize,
    /// Entries of the table that limits replies to unverified senders.
    pub sources: usize,
    /// Actions waiting.
    pub actions: usize,
}

impl Relay {
    /// A relay without allocations. `seed` must come from the system's random source: ports,
    /// transaction ids and hash seeds follow from it.
    pub fn new(config: Arc<Config>, admission: Arc<dyn Admission>, seed: [u8; 32]) -> Self {
        let _ = seed;
        Self {
            config,
            admission,
            drain: Drain::default(),
            counters: Counters::default(),
            actions: VecDeque::new(),
        }
    }

    /// Replaces the configuration under running allocations. Permissions and channels to peers
    /// that are denied now are dropped before anything more is relayed to them.
    pub fn reconfigure(&mut self, config: Arc<Config>) {
        self.config = config;
    }

    /// Takes or refuses new work from now on.
    pub fn drain_mode(&mut self, drain: Drain) {
        self.drain = drain;
    }

    /// Takes one message of a client: a datagram, or one frame of a stream.
    pub fn handle_client(&mut self, _now: Now, _tuple: FiveTuple, _packet: &[u8]) -> Verdict {
        let _ = &self.admission;
        Verdict::Handled
    }

    /// Takes a datagram that arrived from `peer` on the socket of `relay`, and frames it in place.
    pub fn handle_peer(
        &mut self,
        _now: Now,
        _relay: AllocationId,
        _peer: SocketAddr,
        _packet: &mut Headroom<'_>,
    ) -> Option<ToClient> {
        None
    }

    /// Takes the answer to [`Action::OpenRelay`]: the address the socket is bound to.
    pub fn socket_opened(
        &mut self,
        _now: Now,
        _id: AllocationId,
        _result: Result<SocketAddr, OpenError>,
    ) {
    }

    /// Ends what is due at `now`.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// When [`Self::handle_timeout`] wants to be called, at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next thing the shell must do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Live allocations, with those whose socket is being opened.
    pub fn sessions(&self) -> usize {
        0
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}
