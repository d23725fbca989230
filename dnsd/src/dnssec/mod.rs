//! Keys of signed zones as files, and the signing of each set of answers before it is in force.

pub mod file;
pub mod store;

use std::path::PathBuf;
use std::sync::Arc;

use credentials::UnixTime;
use dnsd_core::dnssec::{self, Cache, Keys};
use dnsd_core::fleet::Fleet;
use dnsd_core::snapshot::Snapshot;
use hickory_proto::rr::Name;

use crate::clock;
use crate::courtesy::give_way;

/// A clock that goes back by so many seconds has signatures made anew: resolvers would find them to
/// be of the future.
const CLOCK_BACK: u64 = 60;

/// `[dnssec]`: where the keys lie, and the keys.
#[derive(Clone, Debug, Default)]
pub struct Dnssec {
    /// The directory of the key files; `None`: no zone is signed.
    pub directory: Option<PathBuf>,
    /// The zones that are to be signed.
    pub zones: Vec<Name>,
    /// The keys of all zones that are signed.
    pub keys: Arc<Keys>,
}

/// Signs answers, and knows when that is due again.
#[derive(Debug, Default)]
pub struct Signing {
    keys: Arc<Keys>,
    cache: Cache,
    signed: UnixTime,
}

impl Signing {
    /// With these keys, and nothing signed yet.
    pub fn new(keys: Arc<Keys>) -> Self {
        Self {
            keys,
            cache: Cache::pausing(give_way),
            ..Self::default()
        }
    }

    /// Signs with other keys from now on; what the same keys signed stays of use.
    pub fn reload(&mut self, keys: Arc<Keys>) {
        self.keys = keys;
    }

    /// Has the answers compiled, with their signatures, and what secondaries get.
    pub fn publish(&mut self, fleet: &mut Fleet) -> Snapshot {
        let now = clock::unix();
        if self.keys.zones().next().is_some() {
            self.signed = now;
        }
        let failed = self.cache.failed();
        let snapshot = fleet.publish_signed(clock::now(), now, &self.keys, &mut self.cache);
        let failed = self.cache.failed() - failed;
        if failed > 0 {
            tracing::error!(failed, "signatures could not be made");
        }
        snapshot
    }

    /// Whether answers are to be signed anew although nothing else has changed.
    pub fn is_due(&self, now: UnixTime) -> bool {
        let back = now.0.saturating_add(CLOCK_BACK) < self.signed.0;
        let any = self.keys.zones().next().is_some();
        any && (back || dnssec::due(&self.keys, self.signed) <= now)
    }

    /// The keys in use.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Signatures made so far.
    pub fn made(&self) -> u64 {
        self.cache.made()
    }

    /// Seconds that the signature which runs out first is still good; 0 where nothing is signed.
    pub fn left(&self, now: UnixTime) -> u64 {
        dnssec::least_left(self.signed, now)
    }
}
