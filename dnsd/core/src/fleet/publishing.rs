//! From what is known to answers: when, and under which numbers.

use std::time::Instant;

use credentials::UnixTime;

use super::Fleet;
use crate::snapshot::{Snapshot, next_serial};
use crate::steer::Pause;

impl Fleet {
    /// Compiling answers takes milliseconds; has `pause` called after each small part of that.
    pub fn pausing(&mut self, pause: Pause) {
        self.pause = pause;
    }

    /// Compiles the answers that follow from what is known now, under a serial above the last.
    pub fn publish(&mut self, now: Instant, unix: UnixTime) -> Snapshot {
        self.weigh(now);
        let view = self.view(now);
        self.serial = next_serial(self.serial, unix);
        self.cautious = view.cautious;
        self.publish_wanted = false;
        self.counters.published += 1;
        let recent = self.inventory.thresholds().recent;
        let release = self.damper.follow(now, unix, &self.inventory, &view);
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
        Snapshot::compile_pausing(inventory, &view, serial, self.pause).releasing(release)
    }
}
