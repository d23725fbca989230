//! The database of places, as metrics.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::registered;
use crate::geoip::Geoip;

/// Whether it is in use, and how old it is.
#[derive(Debug)]
pub(super) struct Database {
    ok: Gauge,
    built: Gauge,
}

impl Database {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        Self {
            ok: registered(
                registry,
                "geoip_ok",
                "Whether the database of places that is configured is in use",
            ),
            built: registered(
                registry,
                "geoip_build_seconds",
                "When the database of places was made, seconds since 1970; 0 where there is none",
            ),
        }
    }

    /// Shows the database, if one is configured.
    pub(super) fn show(&self, geoip: Option<&Geoip>) {
        let facts = geoip.map(|geoip| geoip.found.as_ref());
        self.ok.set(i64::from(!matches!(facts, Some(Err(_)))));
        let built = facts.and_then(Result::ok).map_or(0, |facts| facts.built);
        self.built.set(i64::try_from(built).unwrap_or(i64::MAX));
    }
}
