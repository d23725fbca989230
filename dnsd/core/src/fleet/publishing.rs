//! From what is known to answers: when, and under which numbers.

use std::sync::Arc;
use std::time::Instant;

use credentials::UnixTime;

use super::Fleet;
use crate::dnssec::{Cache, Keys, Signing};
use crate::snapshot::{Snapshot, next_serial};
use crate::steer::Pause;

impl Fleet {
    /// Compiling answers takes milliseconds; has `pause` called after each small part of that.
    pub fn pausing(&mut self, pause: Pause) {
        self.pause = pause;
    }

    /// Compiles the answers that follow from what is known now, under a serial above the last.
    pub fn publish(&mut self, now: Instant, unix: UnixTime) -> Snapshot {
        self.publish_signed(now, unix, &Arc::default(), &mut Cache::default())
    }

    /// The same with everything signed in the zones that have keys, for secondaries too. `cache` is
    /// that of the time before. To be done again, even if nothing else changes, at
    /// [`dnssec::due`](crate::dnssec::due).
    pub fn publish_signed(
        &mut self,
        now: Instant,
        unix: UnixTime,
        keys: &Arc<Keys>,
        cache: &mut Cache,
    ) -> Snapshot {
        self.weigh(now);
        let view = self.view(now);
        self.serial = next_serial(self.serial, unix);
        self.cautious = view.cautious;
        self.publish_wanted = false;
        self.counters.published += 1;
        let recent = self.inventory.thresholds().recent;
        let mut signing = Signing {
            keys,
            cache: &mut *cache,
            now: unix,
        };
        let release = self
            .damper
            .follow(now, &self.inventory, &view, &mut signing);
        self.recheck = self
            .members
            .iter()
            .flat_map(|member| [Some(member.health.verdict().since), member.path_changed()])
            .flatten()
            .map(|since| since + recent)
            .chain(self.next_shares(now))
            .chain(
                view.cautious
                    .then(|| self.started + self.inventory.thresholds().settle),
            )
            .chain(self.damper.due())
            .filter(|at| *at > now)
            .min();
        let (inventory, serial) = (&self.inventory, self.serial);
        let mut snapshot = Snapshot::compile_pausing(inventory, &view, serial, self.pause);
        if let Some(release) = release {
            snapshot = snapshot.releasing(release);
        }
        if keys.zones().next().is_none() {
            return snapshot;
        }
        snapshot.signed(keys, cache, unix)
    }
}
