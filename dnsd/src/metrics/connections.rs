//! Connections of DNS clients, and the certificate that they are shown, as metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Transport, registered};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransportLabels {
    transport: Transport,
}

/// What is counted of connections.
#[derive(Debug)]
pub(super) struct Connections {
    admitted: Family<TransportLabels, Counter>,
    open: Family<TransportLabels, Gauge>,
    /// Zero without a certificate.
    pub(super) certificate: Gauge,
}

impl Connections {
    pub(super) fn registered(new: &mut Registry) -> Self {
        Self {
            admitted: registered(new, "connections", "Connections of DNS clients admitted"),
            open: registered(
                new,
                "connections_open",
                "Connections of DNS clients open now",
            ),
            certificate: registered(
                new,
                "certificate_expiry_seconds",
                "When the certificate of DNS over TLS and QUIC expires, seconds since 1970",
            ),
        }
    }

    pub(super) fn opened(&self, transport: Transport) {
        let labels = TransportLabels { transport };
        self.admitted.get_or_create(&labels).inc();
        self.open.get_or_create(&labels).inc();
    }

    pub(super) fn closed(&self, transport: Transport) {
        self.open
            .get_or_create(&TransportLabels { transport })
            .dec();
    }
}
