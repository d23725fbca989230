//! The relay's word on itself: what the workers do goes in, reports and their answers go out and in.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use liveness::{Reason, RevocationTag, State};
use turnd_core::reporter::{Capacity, Identity, Reporter, WorkerSnapshot};

use crate::boot::Boot;
use crate::config::Config;
use crate::reports::{News, Reports};
use crate::status::{Status, View};
use crate::worker::Shared;
use crate::{clock, notify, transports};

/// The first configuration; every reload that is taken counts one up.
const FIRST_GENERATION: u64 = 1;

/// Builds, sends and counts reports.
#[derive(Debug)]
pub struct Liveliness {
    reporter: Reporter,
    /// Relayed sockets that may be open at a time.
    descriptors: u32,
    generation: u64,
    boot: Boot,
    /// Absent when no nameserver is configured: the state is worked out all the same.
    reports: Option<Reports>,
    counted: Counted,
    watchdog: Option<Duration>,
    patted: Option<Instant>,
}

#[derive(Debug, Default)]
struct Counted {
    sent: u64,
    failed: u64,
    acks: u64,
    refused: u64,
}

impl Liveliness {
    /// Opens the sockets for reports.
    ///
    /// # Errors
    /// When the system gives none.
    pub async fn open(config: &Config, descriptors: u32, boot: Boot) -> io::Result<Self> {
        let identity = Identity {
            relay: config.relay.id,
            boot: boot.id(),
            ipv4: config
                .relay
                .advertised(false)
                .and_then(|address| match address {
                    SocketAddr::V4(address) => Some(address),
                    SocketAddr::V6(_) => None,
                }),
            ipv6: config
                .relay
                .advertised(true)
                .and_then(|address| match address {
                    SocketAddr::V6(address) => Some(address),
                    SocketAddr::V4(_) => None,
                }),
            transports: transports::served(config),
        };
        let capacity = capacity(config, descriptors);
        let mut reporter = Reporter::new(identity, capacity, clock::instant());
        reporter.set_configuration(FIRST_GENERATION);
        let reports = match &config.liveness {
            Some(liveness) => Some(Reports::open(config.relay.id, liveness.clone()).await?),
            None => None,
        };
        Ok(Self {
            reporter,
            descriptors,
            generation: FIRST_GENERATION,
            boot,
            reports,
            counted: Counted::default(),
            watchdog: notify::watchdog(),
            patted: None,
        })
    }

    /// Every socket is open and every worker runs.
    pub fn ready(&mut self) {
        self.reporter.set_ready(true);
    }

    /// Whether new sessions are refused.
    pub fn draining(&mut self, draining: bool) {
        self.reporter.set_draining(draining);
    }

    /// Whether new sessions cannot be served, and why.
    pub fn failing(&mut self, reason: Option<Reason>) {
        self.reporter.set_failing(reason);
    }

    /// The boot id in the reports.
    pub fn boot(&self) -> u64 {
        self.boot.id()
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.reporter.state()
    }

    /// When [`Liveliness::send_due`] has something to do.
    pub fn poll_timeout(&self) -> Instant {
        self.reporter.poll_timeout()
    }

    /// Takes in what the workers show.
    pub fn observe<'a>(&mut self, now: Instant, workers: impl Iterator<Item = &'a Shared>) {
        let snapshots: Vec<_> = workers.map(snapshot).collect();
        self.reporter.observe(now, &snapshots);
    }

    /// Reports what is due.
    pub fn send_due(&mut self, now: Instant) {
        while let Some(report) = self.reporter.due(now, clock::unix_millis()) {
            let Some(reports) = &mut self.reports else {
                continue;
            };
            let outcome = reports.send(&report);
            self.counted.sent += outcome.sent;
            self.counted.failed += outcome.failed;
        }
    }

    /// Waits for an answer of a nameserver; for ever when there are none.
    pub async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        loop {
            match &self.reports {
                Some(reports) => {
                    if let Some(answer) = reports.receive().await {
                        return answer;
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Takes an answer in, and returns what is news.
    pub fn acknowledged(
        &mut self,
        (bytes, from): (Vec<u8>, SocketAddr),
        now: Instant,
    ) -> Option<News> {
        let reports = self.reports.as_mut()?;
        match reports.take(&bytes, from, now) {
            Ok(news) => {
                if news.revocations {
                    self.reporter.set_revocations(reports.revoked().1);
                }
                self.counted.acks += 1;
                if news.boot_floor > 0 {
                    self.rise_above(news.boot_floor);
                }
                Some(news)
            }
            Err(error) => {
                self.counted.refused += 1;
                tracing::debug!(%error, "acknowledgement refused");
                None
            }
        }
    }

    /// Those whom nameservers revoke.
    pub fn revoked(&self) -> Vec<RevocationTag> {
        let revoked = self.reports.as_ref().map(Reports::revoked);
        revoked.map(|(tags, _)| tags).unwrap_or_default()
    }

    /// Healthy relays that the nameservers named lately.
    pub fn neighbours(&self, now: Instant) -> Vec<SocketAddr> {
        self.reports
            .as_ref()
            .map(|reports| reports.neighbours(now))
            .unwrap_or_default()
    }

    /// Other capacity, transports and nameservers from now on.
    pub fn reconfigure(&mut self, config: &Config) {
        let capacity = capacity(config, self.descriptors);
        self.generation += 1;
        self.reporter.set_capacity(capacity);
        self.reporter.set_transports(transports::served(config));
        self.reporter.set_configuration(self.generation);
        if let (Some(reports), Some(liveness)) = (&mut self.reports, &config.liveness) {
            reports.reconfigure(liveness.clone());
        }
    }

    /// Shows it to the other threads.
    pub fn show(&self, status: &Status, now: Instant) {
        status.update(|view| {
            *view = View {
                state: self.state(),
                seen: now,
                boot: self.boot.id(),
                reports_sent: self.counted.sent,
                report_errors: self.counted.failed,
                acks: self.counted.acks,
                acks_refused: self.counted.refused,
                ..*view
            };
        });
    }

    /// Tells the service manager, as often as it wants, that no worker is stuck.
    pub fn pat_watchdog(&mut self, now: Instant) {
        let Some(interval) = self.watchdog else {
            return;
        };
        if self
            .patted
            .is_none_or(|patted| now.duration_since(patted) >= interval)
        {
            self.patted = Some(now);
            notify::alive();
        }
    }

    /// A nameserver has seen a higher boot id than this run's, and believes nothing until it rises.
    fn rise_above(&mut self, floor: u64) {
        match self.boot.rise_above(floor) {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => tracing::error!(%error, "the boot id was not written down"),
        }
        tracing::warn!(
            floor,
            boot = self.boot.id(),
            "a nameserver knew a higher boot id"
        );
        self.reporter.set_boot(self.boot.id());
    }
}

fn snapshot(shared: &Shared) -> WorkerSnapshot {
    let stats = shared.stats();
    WorkerSnapshot {
        turns: shared.progress(),
        sessions: u32::try_from(stats.sessions).unwrap_or(u32::MAX),
        relayed_bytes: stats.relay.to_peer_bytes + stats.relay.to_client_bytes,
        cpu_permille: stats.cpu_permille,
    }
}

/// The least of what limits the relay.
fn capacity(config: &Config, descriptors: u32) -> Capacity {
    let ports = u32::try_from(config.relay.ports.ports().len()).unwrap_or(u32::MAX);
    let families = u32::try_from(config.relay.relay_ips().count()).unwrap_or(1);
    let sessions = config
        .limits
        .sessions
        .min(ports.saturating_mul(families))
        .min(descriptors);
    Capacity::new(sessions, config.limits.bandwidth.0)
}
