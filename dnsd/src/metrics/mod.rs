//! What the daemon counts, under the names a Prometheus server scrapes.
//!
//! The UDP workers count into a plain [`Tally`] of their own and fold it in after each turn, so
//! that the query path takes no lock.

mod complaints;
mod connections;
pub mod dnssec;
mod geoip;
pub mod labels;
pub mod others;
mod overflows;
mod regions;
mod shares;
pub mod transfers;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use dnsd_core::answer::Steered;
use dnsd_core::health::{Outcome, ProbeKind, State};
use dnsd_core::paths::Path;
use dnsd_core::snapshot::Snapshot;
use dnsd_core::steer::Strain;
use liveness::RelayId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use crate::geoip::Geoip;

pub use complaints::Complaints;
pub use labels::{Code, Cookie, Drop, Kind, ReportOutcome, Shared, Transport, name};
use labels::{ProbeOutcome, Probed, STATES};
pub use shares::Shares;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryLabels {
    r#type: Kind,
    rcode: Code,
    transport: Transport,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabels {
    reason: Drop,
    transport: Transport,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CookieLabels {
    cookie: Cookie,
    transport: Transport,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReportLabels {
    outcome: ReportOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SharedLabels {
    outcome: Shared,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeLabels {
    kind: Probed,
    outcome: ProbeOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    relay: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PathLabels {
    relay: String,
    transport: &'static str,
    family: &'static str,
}

impl PathLabels {
    fn new(relay: RelayId, path: Path) -> Self {
        Self {
            relay: relay.to_string(),
            transport: path.transport.as_str(),
            family: path.family.as_str(),
        }
    }
}

/// One thread's counts since it last folded them in.
#[derive(Debug, Default)]
pub struct Tally {
    answers: [[u64; Code::ALL.len()]; Kind::ALL.len()],
    drops: [u64; Drop::ALL.len()],
    cookies: [u64; Cookie::ALL.len()],
    steered: shares::Counts,
}

impl Tally {
    /// Counts an answer.
    pub fn answer(&mut self, kind: Kind, code: Code) {
        self.answers[kind as usize][code as usize] += 1;
    }

    /// Counts the cookie of a query that is answered.
    pub fn cookie(&mut self, cookie: Cookie) {
        self.cookies[cookie as usize] += 1;
    }

    /// Counts for whom a steered name is answered, and which relay comes first; `shares` are those
    /// of the snapshot that has the answer.
    pub fn steered(&mut self, shares: &Arc<Shares>, steered: Steered) {
        self.steered.add(shares, steered);
    }

    /// Counts a query that is not answered.
    pub fn drop(&mut self, reason: Drop) {
        self.drops[reason as usize] += 1;
    }
}

/// The registry and everything in it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    queries: Family<QueryLabels, Counter>,
    drops: Family<DropLabels, Counter>,
    cookies: Family<CookieLabels, Counter>,
    overflows: overflows::Overflows,
    connections: connections::Connections,
    reports: Family<ReportLabels, Counter>,
    shared: Family<SharedLabels, Counter>,
    probes: Family<ProbeLabels, Counter>,
    verdicts: Family<VerdictLabels, Gauge>,
    regions: regions::Regions,
    shares: shares::Families,
    isolated: Gauge,
    clock_offset: Gauge,
    observers: Gauge,
    complaints: Complaints,
    others: others::Others,
    transfers: transfers::Transfers,
    paths: Family<PathLabels, Gauge>,
    certificates: Family<PathLabels, Gauge>,
    serial: Gauge,
    publications: Counter,
    generation: Gauge,
    newest_generation: Gauge,
    reload_ok: Gauge,
    signed: dnssec::Signed,
    geoip: geoip::Database,
    state_saved: Gauge,
}

/// A new metric of the registry.
fn registered<M: Metric + Default + Clone>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("turnfleet_dnsd");
        let regions = regions::Regions::default();
        regions.register(&mut registry);
        let complaints = Complaints::registered(&mut registry);
        let new = &mut registry;
        let metrics = Self {
            queries: registered(new, "queries", "Queries answered"),
            drops: registered(new, "drops", "Queries not answered"),
            cookies: registered(
                new,
                "cookies",
                "Queries answered, by the DNS cookie they came with",
            ),
            overflows: overflows::Overflows::registered(new),
            connections: connections::Connections::registered(new),
            reports: registered(new, "reports", "Liveness reports received"),
            shared: registered(new, "sharing_datagrams", "Datagrams between nameservers"),
            probes: registered(new, "probes", "Probes ended"),
            verdicts: registered(
                new,
                "relay_verdict",
                "1 for the verdict each relay has, 0 for the others",
            ),
            regions,
            shares: shares::Families::registered(new),
            isolated: registered(new, "isolated", "Whether this node distrusts itself"),
            clock_offset: registered(
                new,
                "clock_offset",
                "Seconds by which most relays' clocks are ahead of this node's, if a minute or more",
            ),
            observers: registered(
                new,
                "observers",
                "Other nameservers whose ballots are fresh",
            ),
            complaints,
            others: others::Others::registered(new),
            transfers: transfers::Transfers::registered(new),
            paths: registered(
                new,
                "relay_path_up",
                "Whether clients are sent to a relay by a transport and address family",
            ),
            certificates: registered(
                new,
                "relay_certificate_expiry_seconds",
                "When the certificate that a relay shows expires, seconds since 1970",
            ),
            serial: registered(
                new,
                "answer_serial",
                "Serial of the answers in force: their generation, which rises over restarts too",
            ),
            publications: registered(
                new,
                "answer_publications",
                "Times that answers were compiled and put in force since the start",
            ),
            generation: registered(
                new,
                "config_generation",
                "Generation of the configuration in force",
            ),
            newest_generation: registered(
                new,
                "config_newest_generation",
                "Highest generation that was ever in force here",
            ),
            reload_ok: registered(
                new,
                "config_reload_ok",
                "Whether the last configuration read is in force",
            ),
            signed: dnssec::Signed::registered(new),
            geoip: geoip::Database::registered(new),
            state_saved: registered(
                new,
                "state_save_ok",
                "Whether the last write of the state file succeeded",
            ),
            registry,
        };
        // From zero on: of a counter that begins at its first event a rate misses that one.
        for reason in Drop::ALL.iter().copied() {
            for transport in Transport::ALL.iter().copied() {
                let _ = metrics
                    .drops
                    .get_or_create(&DropLabels { reason, transport });
            }
        }
        metrics.reload_ok.set(1);
        metrics.state_saved.set(1);
        metrics
    }
}

impl Metrics {
    /// Adds a thread's counts and clears them.
    pub fn fold(&self, transport: Transport, tally: &mut Tally) {
        for (kind, codes) in Kind::ALL.iter().zip(&mut tally.answers) {
            for (code, count) in Code::ALL.iter().zip(codes).filter(|(_, count)| **count > 0) {
                let labels = QueryLabels {
                    r#type: *kind,
                    rcode: *code,
                    transport,
                };
                self.queries
                    .get_or_create(&labels)
                    .inc_by(std::mem::take(count));
            }
        }
        for (reason, count) in Drop::ALL
            .iter()
            .zip(&mut tally.drops)
            .filter(|(_, n)| **n > 0)
        {
            let labels = DropLabels {
                reason: *reason,
                transport,
            };
            self.drops
                .get_or_create(&labels)
                .inc_by(std::mem::take(count));
        }
        for (cookie, count) in Cookie::ALL
            .iter()
            .zip(&mut tally.cookies)
            .filter(|(_, n)| **n > 0)
        {
            let labels = CookieLabels {
                cookie: *cookie,
                transport,
            };
            self.cookies
                .get_or_create(&labels)
                .inc_by(std::mem::take(count));
        }
        tally.steered.fold();
    }

    /// Says at which addresses DNS is listened for over UDP.
    pub fn listens(&self, addresses: &[SocketAddr]) {
        self.overflows.of(addresses);
    }

    /// Counts a connection that was admitted.
    pub fn opened(&self, transport: Transport) {
        self.connections.opened(transport);
    }

    /// Counts that a connection ended.
    pub fn closed(&self, transport: Transport) {
        self.connections.closed(transport);
    }

    /// Shows when the certificate of encrypted transports expires, in seconds since 1970.
    pub fn own_certificate(&self, expires: u64) {
        let expires = i64::try_from(expires).unwrap_or(i64::MAX);
        self.connections.certificate.set(expires);
    }

    /// Counts a liveness report.
    pub fn report(&self, outcome: ReportOutcome) {
        self.reports.get_or_create(&ReportLabels { outcome }).inc();
    }

    /// Where complaints of clients are counted.
    pub fn complaints(&self) -> Complaints {
        self.complaints.clone()
    }

    /// Counts a datagram between nameservers.
    pub fn shared(&self, outcome: Shared) {
        self.shared.get_or_create(&SharedLabels { outcome }).inc();
    }

    /// Shows whether this node distrusts itself.
    pub fn isolated(&self, isolated: bool) {
        self.isolated.set(i64::from(isolated));
    }

    /// Shows by how many seconds most relays' clocks are ahead of this node's.
    pub fn clock_offset(&self, seconds: i64) {
        self.clock_offset.set(seconds);
    }

    /// Shows how many other nameservers' ballots are fresh.
    pub fn observers(&self, fresh: usize) {
        self.observers.set(i64::try_from(fresh).unwrap_or(i64::MAX));
    }

    /// Signatures and keys.
    pub fn signed(&self) -> &dnssec::Signed {
        &self.signed
    }

    /// What secondaries ask for and have.
    pub fn transfers(&self) -> &transfers::Transfers {
        &self.transfers
    }

    /// What other nodes have.
    pub fn others(&self) -> &others::Others {
        &self.others
    }

    /// Whether this node distrusts itself.
    pub fn is_isolated(&self) -> bool {
        self.isolated.get() != 0
    }

    /// Counts a probe.
    pub fn probe(&self, kind: ProbeKind, outcome: &Outcome) {
        let (kind, outcome) = (kind.into(), outcome.into());
        self.probes
            .get_or_create(&ProbeLabels { kind, outcome })
            .inc();
    }

    /// Shows a relay's verdict.
    pub fn verdict(&self, relay: RelayId, state: State) {
        for each in STATES {
            let labels = VerdictLabels {
                relay: relay.to_string(),
                state: name(each),
            };
            self.verdicts
                .get_or_create(&labels)
                .set(i64::from(each == state));
        }
    }

    /// Shows whether clients are sent to a relay by one path.
    pub fn path(&self, relay: RelayId, path: Path, up: bool) {
        let labels = PathLabels::new(relay, path);
        self.paths.get_or_create(&labels).set(i64::from(up));
    }

    /// Shows when a relay's certificate expires, in seconds since 1970.
    pub fn certificate(&self, relay: RelayId, path: Path, expires: u64) {
        let labels = PathLabels::new(relay, path);
        let expires = i64::try_from(expires).unwrap_or(i64::MAX);
        self.certificates.get_or_create(&labels).set(expires);
    }

    /// Forgets a relay that is no longer configured.
    pub fn forget(&self, relay: RelayId) {
        for path in Path::all() {
            let labels = PathLabels::new(relay, path);
            self.paths.remove(&labels);
            self.certificates.remove(&labels);
        }
        for each in STATES {
            self.verdicts.remove(&VerdictLabels {
                relay: relay.to_string(),
                state: name(each),
            });
        }
    }

    /// Shows how full each region is.
    pub fn strained(&self, strains: &[Strain]) {
        self.regions.show(strains);
    }

    /// The counters of a snapshot's regions and relays; `before` are those in force.
    pub fn shares(&self, snapshot: &Snapshot, before: Option<&Arc<Shares>>) -> Arc<Shares> {
        self.shares.of(snapshot, before)
    }

    /// Shows that answers were put in force, and their serials.
    pub fn published(&self, snapshot: &Snapshot) {
        self.serial.set(i64::from(snapshot.serial()));
        self.publications.inc();
        if let Some(release) = snapshot.release() {
            self.transfers.serial(release.edition().serial);
        }
    }

    /// Shows the generation of the configuration in force, and the highest there ever was here.
    pub fn configured(&self, generation: u64, newest: u64) {
        let shown = |generation: u64| i64::try_from(generation).unwrap_or(i64::MAX);
        self.generation.set(shown(generation));
        self.newest_generation.set(shown(newest));
    }

    /// Shows whether the last configuration read is in force.
    pub fn reloaded(&self, ok: bool) {
        self.reload_ok.set(i64::from(ok));
    }

    /// Shows the database of places, if one is configured.
    pub fn located(&self, geoip: Option<&Geoip>) {
        self.geoip.show(geoip);
    }

    /// Shows whether the state file could be written.
    pub fn saved(&self, ok: bool) {
        self.state_saved.set(i64::from(ok));
    }

    /// Everything in the `OpenMetrics` text format.
    pub fn text(&self) -> String {
        self.overflows.refresh();
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            let _ = writeln!(text, "# {error}");
        }
        text
    }
}
