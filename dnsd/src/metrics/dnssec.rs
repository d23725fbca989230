//! Signatures and keys, as metrics.

use std::collections::BTreeSet;
use std::sync::Mutex;

use credentials::UnixTime;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::registered;
use crate::dnssec::Signing;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct KeyLabels {
    zone: String,
    tag: u32,
}

/// How long signatures are good, and which keys make them.
#[derive(Debug)]
pub struct Signed {
    left: Gauge,
    made: Gauge,
    keys: Family<KeyLabels, Gauge>,
    shown: Mutex<BTreeSet<KeyLabels>>,
}

impl Signed {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        Self {
            left: registered(
                registry,
                "signatures_left_seconds",
                "How long the signature that runs out first is still good; 0 where nothing is signed",
            ),
            made: registered(
                registry,
                "signatures_made",
                "Signatures made since the start",
            ),
            keys: registered(
                registry,
                "zone_key_signs",
                "Per key among a zone's DNSKEY records: 1 for the one that signs the zone, 0 for others",
            ),
            shown: Mutex::default(),
        }
    }

    /// Shows how things stand.
    pub fn show(&self, signing: &Signing, now: UnixTime) {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.left.set(count(signing.left(now)));
        self.made.set(count(signing.made()));
        let mut present = BTreeSet::new();
        for (zone, keys) in signing.keys().zones() {
            let signs = keys.active(now).map(dnsd_core::dnssec::Key::tag);
            for key in keys.published(now) {
                let labels = KeyLabels {
                    zone: zone.to_string(),
                    tag: key.tag().into(),
                };
                let gauge = self.keys.get_or_create(&labels);
                gauge.set(i64::from(Some(key.tag()) == signs));
                drop(gauge);
                present.insert(labels);
            }
        }
        // Only a thread that has panicked leaves it poisoned, and then the process is gone.
        if let Ok(mut shown) = self.shown.lock() {
            for gone in shown.difference(&present) {
                self.keys.remove(gone);
            }
            *shown = present;
        }
    }
}
