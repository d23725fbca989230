//! Carries out the probes that the core orders, no more at once than the machine can hold.

pub mod echo;
mod rounds;
mod signed;
mod stream;
pub mod stun;
mod tap;
mod targets;
pub mod tls;
mod trip;
pub mod way;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use credentials::{IssueError, PROBE_USER, SecretRing, UnixTime};
use dnsd_core::health::{Outcome, Probe, ProbeKind};
use dnsd_core::inventory::Inventory;
use liveness::RelayId;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::clock;
use crate::config::Config;
use crate::control::Input;
use crate::limits::{
    ECHO_CONCURRENCY, PATH_CONCURRENCY, PROBE_CREDENTIAL, PROBE_DRAIN, STUN_CONCURRENCY,
};
use echo::{Found, Route};
use rounds::{Round, echo_round, stun_round};
use targets::{Source, Target};

/// Probes relays when told to.
#[derive(Debug)]
pub struct Prober {
    /// Where probes are sent from.
    from: Source,
    targets: BTreeMap<RelayId, Target>,
    secrets: SecretRing,
    /// Added to this node's clock for the expiry of credentials, in milliseconds.
    clock_offset: i64,
    outcomes: mpsc::Sender<Input>,
    stun: Arc<Semaphore>,
    echo: Arc<Semaphore>,
    paths: Arc<Semaphore>,
}

impl Prober {
    /// A prober as `config` says, of no relay yet. Outcomes go to `outcomes`.
    pub fn new(config: &Config, outcomes: mpsc::Sender<Input>) -> Self {
        Self {
            from: Source::new(config),
            targets: BTreeMap::new(),
            secrets: config.secrets.clone(),
            clock_offset: 0,
            outcomes,
            stun: Arc::new(Semaphore::new(STUN_CONCURRENCY)),
            echo: Arc::new(Semaphore::new(ECHO_CONCURRENCY)),
            paths: Arc::new(Semaphore::new(PATH_CONCURRENCY)),
        }
    }

    /// Probes as another configuration says from now on.
    pub fn reload(&mut self, config: &Config) {
        self.from = Source::new(config);
        self.secrets = config.secrets.clone();
    }

    /// Has credentials expire by a clock that is so many milliseconds ahead of this node's; returns
    /// the milliseconds before.
    pub fn set_clock_offset(&mut self, offset: i64) -> i64 {
        std::mem::replace(&mut self.clock_offset, offset)
    }

    /// Probes these relays from now on.
    pub fn roster(&mut self, inventory: &Inventory) {
        self.targets = self.from.targets(inventory);
    }

    /// Starts one probe. Its outcome is handed in later; at once, if there is nothing to probe
    /// or no room for another probe.
    pub fn start(&self, relay: RelayId, probe: Probe) {
        let (target, outcomes) = (self.targets.get(&relay), self.outcomes.clone());
        let (patience, nothing) = (probe.timeout, Vec::new());
        let run = match probe.kind {
            ProbeKind::Stun => {
                let ways = target.map_or(&nothing, |target| &target.ways);
                self.run(&self.stun, ways.clone(), patience, stun_round)
            }
            ProbeKind::Echo => {
                let ways = target.map_or(&nothing, |target| &target.ways);
                self.run(&self.echo, ways.clone(), patience, echo_round)
            }
            ProbeKind::Path(path) => {
                let way = target.and_then(|target| target.paths.get(&path));
                let ways = way.into_iter().cloned().collect();
                self.run(&self.paths, ways, patience, echo_round)
            }
        };
        tokio::spawn(async move {
            let lost = Found::from(Outcome::Unsent("the probe was lost".into()));
            let found = Box::new(run.await.unwrap_or(lost));
            tracing::debug!(%relay, kind = ?probe.kind, outcome = ?found.outcome, "probe ended");
            // The control loop is gone only when the daemon ends.
            let _ = outcomes
                .send(Input::Probe {
                    relay,
                    probe,
                    found,
                })
                .await;
        });
    }

    /// Gives probes under way a moment to free their allocations.
    pub async fn stop(self) {
        let all = async {
            let _ = self.echo.acquire_many(ECHO_CONCURRENCY as u32).await;
            let _ = self.paths.acquire_many(PATH_CONCURRENCY as u32).await;
        };
        let _ = timeout(PROBE_DRAIN, all).await;
    }

    /// Spawns a round over `ways` if one of `permits` is free.
    fn run<R: Future<Output = ()> + Send + 'static>(
        &self,
        permits: &Arc<Semaphore>,
        ways: Vec<Route>,
        patience: Duration,
        round: fn(Round) -> R,
    ) -> oneshot::Receiver<Found> {
        let (told, found) = oneshot::channel();
        let credential = credentials::issue(
            &self.secrets,
            Some(PROBE_USER),
            PROBE_CREDENTIAL,
            UnixTime(
                clock::unix()
                    .0
                    .saturating_add_signed(self.clock_offset / 1000),
            ),
        );
        let permit = Arc::clone(permits).try_acquire_owned();
        let why = match (ways.is_empty(), credential, permit) {
            (false, Ok(credential), Ok(permit)) => {
                tokio::spawn(round(Round {
                    ways,
                    credential,
                    patience,
                    permit,
                    told,
                }));
                return found;
            }
            (true, ..) => "no address to probe".to_owned(),
            (_, Err(error), _) => no_credential(error),
            (.., Err(_)) => "too many probes are under way".to_owned(),
        };
        // The receiver is right here.
        let _ = told.send(Outcome::Unsent(why).into());
        found
    }
}

fn no_credential(error: IssueError) -> String {
    format!("no credential: {error}")
}
