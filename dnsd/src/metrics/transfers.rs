//! What secondaries ask for and have, as metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use super::labels::{Ended, Told};
use super::registered;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndedLabels {
    result: Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToldLabels {
    secondary: String,
    result: Told,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SecondaryLabels {
    secondary: String,
}

/// Metrics about transfers.
#[derive(Debug)]
pub struct Transfers {
    ended: Family<EndedLabels, Counter>,
    told: Family<ToldLabels, Counter>,
    pending: Family<SecondaryLabels, Gauge>,
    serials: Family<SecondaryLabels, Gauge>,
    serial: Gauge,
}

impl Transfers {
    pub(super) fn registered(new: &mut Registry) -> Self {
        let ended: Family<EndedLabels, Counter> =
            registered(new, "transfers", "Requests for whole zones");
        for result in Ended::ALL.iter().copied() {
            let _ = ended.get_or_create(&EndedLabels { result });
        }
        Self {
            ended,
            told: registered(
                new,
                "notifies",
                "Messages to secondaries that a zone has changed",
            ),
            pending: registered(
                new,
                "notify_pending",
                "Zones whose change a secondary has not acknowledged yet",
            ),
            serials: registered(
                new,
                "secondary_serial",
                "Serial of the zone that a secondary last fetched from here",
            ),
            serial: registered(new, "zone_serial", "Serial of the zones for secondaries"),
        }
    }

    /// Counts a request.
    pub fn ended(&self, result: Ended) {
        self.ended.get_or_create(&EndedLabels { result }).inc();
    }

    /// Shows what a secondary has fetched.
    pub fn fetched(&self, secondary: &str, serial: u32) {
        let secondary = secondary.to_owned();
        let labels = SecondaryLabels { secondary };
        self.serials.get_or_create(&labels).set(i64::from(serial));
    }

    /// Counts a message to a secondary.
    pub fn told(&self, secondary: &str, result: Told) {
        let secondary = secondary.to_owned();
        let labels = ToldLabels { secondary, result };
        self.told.get_or_create(&labels).inc();
    }

    /// Shows how many zones' changes a secondary has not acknowledged.
    pub fn pending(&self, secondary: &str, zones: usize) {
        let secondary = secondary.to_owned();
        let labels = SecondaryLabels { secondary };
        let shown = i64::try_from(zones).unwrap_or(i64::MAX);
        self.pending.get_or_create(&labels).set(shown);
    }

    /// Shows the serial that is given out.
    pub fn serial(&self, serial: u32) {
        self.serial.set(i64::from(serial));
    }

    /// Forgets who has to acknowledge what, before others are told.
    pub fn forget_pending(&self) {
        self.pending.clear();
    }
}
