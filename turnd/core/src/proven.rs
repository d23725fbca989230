//! Transport addresses that a nameserver's probe has just proved to be its own.
//!
//! Replies to strangers are rationed by where they seem to come from, and anybody can send in a
//! nameserver's name. Whoever holds the fleet's secret is no stranger: its signed Binding request
//! is answered whatever the ration, and so is what follows it from the same address, which is the
//! first request of an echo probe, still without a credential.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;

use crate::limits::PROVEN;

/// How long a proof holds: an echo probe's first request comes right behind it.
const HOLDS: Duration = Duration::from_secs(2);

/// The latest proofs. Where two meet in one place, the newer stays. Only authentic requests write.
#[derive(Debug)]
pub(crate) struct Proven {
    places: Box<[Option<(SocketAddr, Instant)>]>,
    hasher: FixedState,
}

impl Proven {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            places: vec![None; PROVEN].into_boxed_slice(),
            hasher: FixedState::with_seed(seed),
        }
    }

    fn place(&self, address: SocketAddr) -> usize {
        self.hasher.hash_one(address) as usize % PROVEN
    }

    /// Notes a proof for `address`.
    pub(crate) fn note(&mut self, address: SocketAddr, now: Instant) {
        let place = self.place(address);
        self.places[place] = Some((address, now + HOLDS));
    }

    /// Whether there is one for `address` that still holds.
    pub(crate) fn has(&self, address: SocketAddr, now: Instant) -> bool {
        self.places[self.place(address)]
            .is_some_and(|(proven, until)| proven == address && now < until)
    }
}
