//! How full each region is, as metrics.

use std::sync::atomic::AtomicU64;

use dnsd_core::steer::Strain;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RegionLabels {
    pub(super) region: String,
}

type Ratios = Family<RegionLabels, Gauge<f64, AtomicU64>>;
type Numbers = Family<RegionLabels, Gauge>;

/// One gauge of each kind per region.
#[derive(Debug, Default)]
pub(super) struct Regions {
    headroom: Ratios,
    spilled: Ratios,
    reserve: Numbers,
    wanted: Numbers,
}

impl Regions {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "region_headroom_ratio",
            "Free capacity of the relays that serve in the region, of theirs",
            self.headroom.clone(),
        );
        registry.register(
            "region_spilled_ratio",
            "Share of the region's clients that other regions take for lack of headroom",
            self.spilled.clone(),
        );
        registry.register(
            "region_reserve_serving",
            "Whether the region's standby relays serve",
            self.reserve.clone(),
        );
        registry.register(
            "region_relays_wanted",
            "Relays of the region's usual weight that would bring its headroom back",
            self.wanted.clone(),
        );
    }

    /// Shows these regions and no others.
    pub(super) fn show(&self, strains: &[Strain]) {
        self.headroom.clear();
        self.spilled.clear();
        self.reserve.clear();
        self.wanted.clear();
        for strain in strains {
            let labels = RegionLabels {
                region: strain.region.clone(),
            };
            let ratio = |permille: u32| f64::from(permille) / 1000.0;
            self.headroom
                .get_or_create(&labels)
                .set(ratio(strain.free_permille));
            self.spilled
                .get_or_create(&labels)
                .set(ratio(strain.spilled_permille));
            self.reserve
                .get_or_create(&labels)
                .set(strain.reserve.into());
            self.wanted
                .get_or_create(&labels)
                .set(strain.relays_wanted.into());
        }
    }
}
