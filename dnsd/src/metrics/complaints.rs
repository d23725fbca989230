//! Clients' complaints about relays, as metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ComplaintLabels {
    outcome: &'static str,
}

/// What became of clients' complaints; counted without a look-up, on the query path.
#[derive(Debug, Clone, Default)]
pub struct Complaints {
    /// Passed on to the control loop.
    pub noted: Counter,
    /// Beyond their tenant's ration.
    pub rationed: Counter,
    /// Beyond what may wait.
    pub dropped: Counter,
}

impl Complaints {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let family = Family::<ComplaintLabels, Counter>::default();
        let help = "Queries whose labels complain about relays";
        registry.register("complaints", help, family.clone());
        let of = |outcome| family.get_or_create(&ComplaintLabels { outcome }).clone();
        Self {
            noted: of("noted"),
            rationed: of("rationed"),
            dropped: of("dropped"),
        }
    }
}
