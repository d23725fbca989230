//! What other nodes have, as metrics: nameservers their configuration, relays the revocations.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::registered;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabels {
    peer: String,
}

/// Gauges about other nodes.
#[derive(Debug)]
pub struct Others {
    generations: Family<PeerLabels, Gauge>,
    differ: Gauge,
    revocations: Gauge,
    behind: Gauge,
}

impl Others {
    pub(super) fn registered(new: &mut Registry) -> Self {
        Self {
            generations: registered(
                new,
                "peer_config_generation",
                "Generation of the configuration in force at each other nameserver that is heard",
            ),
            differ: registered(
                new,
                "config_differs",
                "Whether another nameserver has had a configuration of another generation for a minute",
            ),
            revocations: registered(new, "revocations", "Users and tenants that are revoked"),
            behind: registered(
                new,
                "revocations_relays_behind",
                "Relays that are heard and apply other revocations than these",
            ),
        }
    }

    /// Shows the generation of the configuration at another nameserver; `None` if that is not heard.
    pub fn configured(&self, peer: &str, generation: Option<u64>) {
        let peer = peer.to_owned();
        let labels = PeerLabels { peer };
        if let Some(generation) = generation {
            let shown = i64::try_from(generation).unwrap_or(i64::MAX);
            self.generations.get_or_create(&labels).set(shown);
        } else {
            self.generations.remove(&labels);
        }
    }

    /// Shows whether configurations have differed for too long.
    pub fn differ(&self, differ: bool) {
        self.differ.set(i64::from(differ));
    }

    /// Shows how many are revoked, and how many relays apply others.
    pub fn revocations(&self, revoked: usize, behind: usize) {
        let shown = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.revocations.set(shown(revoked));
        self.behind.set(shown(behind));
    }
}
