//! Metrics in the Prometheus text format, folded from the workers' counters.
//!
//! No label names a user, a client or a peer.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use turnd_core::Counters;

use crate::net::dtls::counters::DtlsCounters;
use crate::net::stream::counters::StreamCounters;
use crate::status::{Status, word};
use crate::worker::{Shared, Stats};

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics(Registry);

impl Metrics {
    /// Metrics of these workers.
    pub fn new(workers: Vec<Arc<Shared>>, status: Arc<Status>) -> Self {
        let mut registry = Registry::with_prefix("turnfleet_turnd");
        registry.register_collector(Box::new(Relay { workers, status }));
        Self(registry)
    }

    /// The text of all metrics.
    ///
    /// # Errors
    /// Never in practice: it writes to memory.
    pub fn expose(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

/// Sums the counters of all workers, each at most a second old.
pub fn fold<'a>(workers: impl IntoIterator<Item = &'a Shared>) -> Vec<Stats> {
    workers.into_iter().map(Shared::stats).collect()
}

#[derive(Debug)]
struct Relay {
    workers: Vec<Arc<Shared>>,
    status: Arc<Status>,
}

/// One value of a counter that counts by reason.
type Reasons = Vec<(&'static str, u64)>;

impl Collector for Relay {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = fold(self.workers.iter().map(AsRef::as_ref));
        self.encode_shell(&mut encoder, &stats)?;
        self.encode_status(&mut encoder)?;
        let (plain, errors, dropped) = sort(&stats);
        for (name, value) in plain {
            counter(
                &mut encoder,
                name,
                "Relay core, see the counter of this name",
                value,
            )?;
        }
        let help = "Error replies by reason";
        by_reason(&mut encoder, "errors", help, &errors)?;
        by_reason(
            &mut encoder,
            "dropped",
            "Datagrams dropped by reason",
            &dropped,
        )
    }
}

impl Relay {
    fn encode_shell(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        stats: &[Stats],
    ) -> Result<(), fmt::Error> {
        let sum = |of: fn(&Stats) -> u64| stats.iter().map(of).sum::<u64>();
        let sessions: usize = stats.iter().map(|stats| stats.sessions).sum();
        gauge(encoder, "sessions", "Allocations now", sessions as u64)?;
        gauge(
            encoder,
            "workers",
            "Worker threads",
            self.workers.len() as u64,
        )?;
        encode_streams(encoder, stats)?;
        encode_dtls(encoder, stats)?;
        let counters: [(&str, &str, u64); 8] = [
            (
                "received_datagrams",
                "Received from clients and peers",
                sum(|s| s.received),
            ),
            (
                "handover_dropped",
                "Packets of other workers' clients dropped for want of room",
                sum(|s| s.handover_dropped),
            ),
            (
                "receive_errors",
                "Receives the kernel failed",
                sum(|s| s.receive_errors),
            ),
            (
                "sent_datagrams",
                "Taken by the kernel",
                sum(|s| s.sends.sent),
            ),
            (
                "send_calls",
                "System calls that sent them",
                sum(|s| s.sends.calls),
            ),
            (
                "send_full",
                "Dropped: send buffer full",
                sum(|s| s.sends.full),
            ),
            (
                "send_refused",
                "Refused by the kernel",
                sum(|s| s.sends.refused),
            ),
            (
                "sockets_exhausted",
                "Relayed sockets not opened: no descriptors or memory",
                sum(|s| s.exhausted),
            ),
        ];
        for (name, help, value) in counters {
            counter(encoder, name, help, value)?;
        }
        Ok(())
    }

    fn encode_status(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let view = self.status.view();
        let name = word(view.state).split(':').next().unwrap_or_default();
        let mut states =
            encoder.encode_descriptor("state", "State as reported", None, MetricType::Gauge)?;
        for state in ["starting", "serving", "full", "draining", "failing"] {
            let labels = [("state", state)];
            let now = ConstGauge::new(i64::from(state == name));
            now.encode(states.encode_family(&labels)?)?;
        }
        let ok = u64::from(view.reload_ok);
        gauge(
            encoder,
            "config_reload_ok",
            "Whether the last reload took the file",
            ok,
        )?;
        if let Some(expires) = view.certificate_expires {
            gauge(
                encoder,
                "certificate_expiry_timestamp_seconds",
                "When the certificate of TLS and DTLS expires, in seconds since 1970",
                expires.0,
            )?;
        }
        gauge(encoder, "boot_id", "Boot id in the reports", view.boot)?;
        let counters: [(&str, &str, u64); 6] = [
            ("config_reloads", "Reloads taken", view.reloads),
            (
                "config_reloads_refused",
                "Reloads refused",
                view.reloads_refused,
            ),
            (
                "reports_sent",
                "Liveness reports sent, per nameserver",
                view.reports_sent,
            ),
            (
                "report_errors",
                "Liveness reports the kernel refused",
                view.report_errors,
            ),
            ("acks_received", "Acknowledgements taken", view.acks),
            (
                "acks_refused",
                "Acknowledgements refused",
                view.acks_refused,
            ),
        ];
        for (name, help, value) in counters {
            counter(encoder, name, help, value)?;
        }
        Ok(())
    }
}

fn encode_streams(encoder: &mut DescriptorEncoder<'_>, stats: &[Stats]) -> Result<(), fmt::Error> {
    let sum = |of: fn(&StreamCounters) -> u64| stats.iter().map(|s| of(&s.streams)).sum::<u64>();
    let help = "Connections of clients now";
    let mut open = encoder.encode_descriptor("connections", help, None, MetricType::Gauge)?;
    let transports: Reasons = vec![
        ("tcp", sum(|s| s.tcp as u64)),
        ("tls", sum(|s| s.tls as u64)),
    ];
    for (transport, count) in transports {
        let labels = [("transport", transport)];
        let now = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        now.encode(open.encode_family(&labels)?)?;
    }
    let help = "Connections of clients without an allocation now";
    gauge(
        encoder,
        "connections_strangers",
        help,
        sum(|s| s.strangers as u64),
    )?;
    let counters: [(&str, &str, u64); 3] = [
        (
            "connections_accepted",
            "Connections accepted",
            sum(|s| s.accepted),
        ),
        (
            "accept_errors",
            "Connections the kernel failed to accept",
            sum(|s| s.accept_errors),
        ),
        (
            "stream_late",
            "Relayed messages dropped: the client does not keep up with its connection",
            sum(|s| s.late),
        ),
    ];
    for (name, help, value) in counters {
        counter(encoder, name, help, value)?;
    }
    let refused: Reasons = vec![
        ("source", sum(|s| s.refused_source)),
        ("total", sum(|s| s.refused_total)),
    ];
    let help = "Connections closed at once by reason";
    by_reason(encoder, "connections_refused", help, &refused)?;
    let none = StreamCounters::default();
    let ended = none.ended().map(|(reason, _)| {
        let of_all = stats.iter().flat_map(|stats| stats.streams.ended());
        let count = of_all.filter(|(other, _)| *other == reason).map(|(_, n)| n);
        (reason, count.sum())
    });
    let help = "Connections ended by reason";
    by_reason(encoder, "connections_ended", help, &ended.collect())
}

fn encode_dtls(encoder: &mut DescriptorEncoder<'_>, stats: &[Stats]) -> Result<(), fmt::Error> {
    let sum = |of: fn(&DtlsCounters) -> u64| stats.iter().map(|s| of(&s.dtls)).sum::<u64>();
    let sessions = sum(|s| s.sessions as u64);
    gauge(encoder, "dtls_sessions", "DTLS sessions now", sessions)?;
    let handshakes = sum(|s| s.handshakes as u64);
    gauge(
        encoder,
        "dtls_handshakes",
        "DTLS handshakes now",
        handshakes,
    )?;
    let counters: [(&str, &str, u64); 9] = [
        (
            "dtls_hellos",
            "First DTLS hellos answered with a cookie, nothing kept",
            sum(|s| s.hellos),
        ),
        (
            "dtls_cookies_refused",
            "DTLS hellos with a cookie that is forged, expired or another's",
            sum(|s| s.cookies_refused),
        ),
        (
            "dtls_outdated",
            "DTLS hellos of a version that is not served",
            sum(|s| s.outdated),
        ),
        (
            "dtls_begun",
            "DTLS handshakes begun with the right cookie",
            sum(|s| s.begun),
        ),
        (
            "dtls_established",
            "DTLS handshakes completed",
            sum(|s| s.established),
        ),
        (
            "dtls_refused",
            "DTLS sessions refused for their number",
            sum(|s| s.refused),
        ),
        (
            "dtls_strange",
            "DTLS datagrams of strangers that are no hello",
            sum(|s| s.strange),
        ),
        (
            "dtls_invalid",
            "Datagrams of DTLS sessions that were not valid",
            sum(|s| s.invalid),
        ),
        (
            "dtls_unsent",
            "Messages to DTLS clients not sent: too long, or no session",
            sum(|s| s.unsent),
        ),
    ];
    for (name, help, value) in counters {
        counter(encoder, name, help, value)?;
    }
    let none = DtlsCounters::default();
    let ended = none.ended().map(|(reason, _)| {
        let of_all = stats.iter().flat_map(|stats| stats.dtls.ended());
        let count = of_all.filter(|(other, _)| *other == reason).map(|(_, n)| n);
        (reason, count.sum())
    });
    let help = "DTLS sessions ended by reason";
    by_reason(encoder, "dtls_ended", help, &ended.collect())
}

/// The core's counters, summed: plain ones, errors by reason, drops by reason.
fn sort(stats: &[Stats]) -> (Reasons, Reasons, Reasons) {
    let (mut plain, mut errors, mut dropped) = (Reasons::new(), Reasons::new(), Reasons::new());
    let rows: Vec<Vec<_>> = stats
        .iter()
        .map(|stats| stats.relay.each().collect())
        .collect();
    for (column, (name, _)) in Counters::default().each().enumerate() {
        let total = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|(_, value)| value)
            .sum();
        if let Some(reason) = name.strip_prefix("errors_") {
            errors.push((reason, total));
        } else if let Some(reason) = name.strip_prefix("dropped_") {
            dropped.push((reason, total));
        } else {
            plain.push((name, total));
        }
    }
    (plain, errors, dropped)
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), fmt::Error> {
    let counter = ConstCounter::new(value);
    counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn by_reason(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    reasons: &Reasons,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (reason, value) in reasons {
        let labels = [("reason", *reason)];
        ConstCounter::new(*value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
