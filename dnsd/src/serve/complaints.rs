//! What clients' labels say against relays, on its way from the query path to the control loop.
//!
//! The query path neither waits nor allocates: each tenant has its ration, the queue its size, and
//! what is beyond either is counted and gone. Complaints say little one by one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use credentials::UnixTime;
use dnsd_core::answer::Complaint;

use crate::limits::{COMPLAINT_RATIONS, COMPLAINTS_PER_SECOND, COMPLAINTS_WAITING};
use crate::metrics::Complaints as Counted;

/// Takes complaints from all listeners.
#[derive(Debug)]
pub struct Complaints {
    queue: SyncSender<Complaint>,
    /// A second, and above its low 16 bits nothing else: how many complaints came in it. Of the
    /// tenants whose tags have the same low bits.
    rations: Box<[AtomicU64]>,
    counted: Counted,
}

impl Complaints {
    /// The end for the listeners, and that for the control loop.
    pub fn new(counted: Counted) -> (Self, Receiver<Complaint>) {
        let (queue, waiting) = sync_channel(COMPLAINTS_WAITING);
        let rations = (0..COMPLAINT_RATIONS).map(|_| AtomicU64::new(0)).collect();
        let complaints = Self {
            queue,
            rations,
            counted,
        };
        (complaints, waiting)
    }

    /// Passes a complaint on, or drops it.
    pub fn note(&self, complaint: Complaint, now: UnixTime) {
        let tenant = complaint.tenant.map_or(0, |tenant| usize::from(tenant.0));
        if !self.admits(tenant, now) {
            self.counted.rationed.inc();
        } else if self.queue.try_send(complaint).is_err() {
            self.counted.dropped.inc();
        } else {
            self.counted.noted.inc();
        }
    }

    /// Takes one from a tenant's ration of this second, so that one that floods crowds nobody out.
    fn admits(&self, tenant: usize, now: UnixTime) -> bool {
        let ration = &self.rations[tenant % self.rations.len()];
        let taken = |before: u64| {
            let left_over = before >> 16 == now.0;
            let taken = if left_over { before & 0xffff } else { 0 };
            (taken < COMPLAINTS_PER_SECOND).then_some(now.0 << 16 | (taken + 1))
        };
        let order = Ordering::Relaxed;
        ration.fetch_update(order, order, taken).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use credentials::label::{Tag, TenantTag};

    use super::*;

    fn complaint(tenant: u16) -> Complaint {
        Complaint {
            relays: [Some(Tag(1)), None],
            tenant: Some(TenantTag(tenant)),
            network: 1,
        }
    }

    #[test]
    fn one_tenant_has_its_ration_each_second_and_the_others_have_theirs() {
        let (complaints, waiting) = Complaints::new(Counted::default());
        let came = |tenant| {
            waiting
                .try_iter()
                .filter(|c| *c == complaint(tenant))
                .count() as u64
        };
        for second in [7, 8, 6] {
            for _ in 0..1000 {
                complaints.note(complaint(1), UnixTime(second));
            }
            assert_eq!(came(1), COMPLAINTS_PER_SECOND, "in second {second}");
            complaints.note(complaint(2), UnixTime(second));
            assert_eq!(came(2), 1);
        }
        assert_eq!(
            complaints.counted.rationed.get(),
            3 * (1000 - COMPLAINTS_PER_SECOND)
        );
    }

    #[test]
    fn what_nobody_takes_is_dropped_and_counted() {
        let (complaints, waiting) = Complaints::new(Counted::default());
        let all = COMPLAINTS_WAITING as u64 + 10;
        for number in 0..all {
            complaints.note(complaint(number as u16 % 256), UnixTime(number / 256));
        }
        assert_eq!(complaints.counted.dropped.get(), 10);
        assert_eq!(waiting.try_iter().count(), COMPLAINTS_WAITING);
    }
}
