//! Another configuration under traffic, or none of it: at SIGHUP, and as an operator orders.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dnsd_core::difference::{Difference, Objection};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::api::door::Door;
use crate::clock;
use crate::config::{Config, Tls};
use crate::control::Input;
use crate::history::{Event, short};
use crate::intake::Intake;
use crate::limits::CERTIFICATE_WARNING;
use crate::metrics::Metrics;
use crate::serve::certificate::Shown;
use crate::systemd;

/// What is to be done about the configuration.
#[derive(Debug)]
pub enum Task {
    /// Say what this one would change.
    Compare(Box<Config>),
    /// Say what the file would change as it stands now.
    Look,
    /// Read the file again and put it in force.
    Reload {
        /// However much it takes out of the answers.
        insisted: bool,
    },
}

/// An operator's order.
#[derive(Debug)]
pub struct Order {
    /// What is to be done.
    pub task: Task,
    /// What became of it, or why nothing did.
    pub reply: oneshot::Sender<Result<Judgement, String>>,
}

/// How a configuration compares with the one in force.
#[derive(Debug, Clone, Serialize)]
pub struct Judgement {
    /// Whether it is in force now, or would be if it were reloaded.
    pub taken: bool,
    /// What keeps it from being taken over unless somebody insists.
    pub objections: Vec<String>,
    /// What keeps it from being taken over in any case.
    pub refusals: Vec<String>,
    /// What it would change in the answers.
    pub difference: Difference,
}

impl Judgement {
    fn new(config: &Config, running: &Config, difference: Difference) -> Self {
        let found = difference.objections(running.removal_percent);
        let (refusals, objections): (Vec<_>, Vec<_>) =
            found.into_iter().partition(Objection::is_final);
        let texts = |all: Vec<Objection>| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut refusals = texts(refusals);
        let fixed = config.needs_restart(running);
        if !fixed.is_empty() {
            let fixed = fixed.join(", ");
            refusals.push(format!("changed, but fixed until a restart: {fixed}"));
        }
        let objections = texts(objections);
        Self {
            taken: refusals.is_empty() && objections.is_empty(),
            objections,
            refusals,
            difference,
        }
    }

    /// Why it is not taken over, for the log.
    fn why(&self) -> String {
        let mut why = [self.refusals.as_slice(), &self.objections]
            .concat()
            .join("\n");
        if !self.difference.removed.is_empty() {
            let _ = write!(why, "\nwould go: {}", self.difference.removed.join(", "));
        }
        if self.refusals.is_empty() {
            why += "\n`dnsd reload --yes-i-mean-it` takes it over all the same";
        }
        why
    }
}

/// Shows people when the certificate in force expires.
pub fn show(tls: &Tls, metrics: &Metrics) {
    let expires = tls.identity.expires();
    metrics.own_certificate(expires);
    let left = expires.saturating_sub(clock::unix().0);
    if left < CERTIFICATE_WARNING.as_secs() {
        let days = left / Duration::from_hours(24).as_secs();
        tracing::warn!(
            days,
            "the certificate of DNS over TLS and QUIC expires soon"
        );
    }
}

/// The configuration in force, and what puts another in its place.
#[derive(Debug)]
pub struct Reloader {
    /// The file.
    pub path: PathBuf,
    /// What it said when it was last taken over.
    pub running: Config,
    /// To the control loop.
    pub inputs: mpsc::Sender<Input>,
    /// Reads reports with the configured keys.
    pub intake: Arc<Intake>,
    /// Lets callers in to the HTTP API, if there is one.
    pub door: Option<Arc<Door>>,
    /// What clients of encrypted transports are shown, if there are any.
    pub shown: Option<Arc<Shown>>,
    /// Shows what became of it.
    pub metrics: Arc<Metrics>,
}

/// The control loop is gone.
const ENDING: &str = "the daemon is ending";

impl Reloader {
    /// Carries an order out.
    pub async fn obey(&mut self, Order { task, reply }: Order) {
        let answer = match task {
            Task::Compare(config) => self.judge(&config).await,
            Task::Look => match self.read().await {
                Ok(config) => self.judge(&config).await,
                Err(why) => Err(why),
            },
            Task::Reload { insisted } => self.reload(insisted).await,
        };
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    /// Reads the file again and puts it in force. Whatever is wrong with it, the running
    /// configuration stays; the log says why and the metric tells.
    ///
    /// # Errors
    /// What is wrong with the file itself.
    pub async fn reload(&mut self, insisted: bool) -> Result<Judgement, String> {
        systemd::reloading();
        let answer = self.take(insisted).await;
        systemd::ready();
        let path = self.path.display();
        let why = match &answer {
            Ok(judgement) if judgement.taken => None,
            Ok(judgement) => Some(judgement.why()),
            Err(why) => Some(why.clone()),
        };
        self.metrics.reloaded(why.is_none());
        let event = match (&answer, &why) {
            (Ok(Judgement { difference, .. }), None) => Event::Reloaded {
                generation: difference.generation,
                insisted,
                removed: difference.removed.clone(),
                added: difference.added.clone(),
            },
            (_, why) => Event::ReloadRefused {
                why: short(why.as_deref().unwrap_or_default()),
            },
        };
        let event = Box::new(event);
        // Gone only if the daemon ends.
        let _ = self.inputs.send(Input::Note { event }).await;
        match why {
            None => tracing::info!(
                %path,
                generation = self.running.inventory.generation(),
                insisted,
                "configuration reloaded"
            ),
            Some(why) => {
                tracing::error!(%path, "configuration not reloaded, the running one stays:\n{why}");
            }
        }
        answer
    }

    async fn take(&mut self, insisted: bool) -> Result<Judgement, String> {
        let config = self.read().await?;
        let mut judgement = self.judge(&config).await?;
        judgement.taken |= insisted && judgement.refusals.is_empty();
        if !judgement.taken {
            return Ok(judgement);
        }
        self.intake.reload(&config);
        if let (Some(door), Some(api)) = (&self.door, &config.api) {
            door.reload(api);
        }
        if let (Some(shown), Some(tls)) = (&self.shown, &config.tls) {
            show(tls, &self.metrics);
            shown.exchange(Arc::clone(&tls.identity.certified));
        }
        let (reply, taken) = oneshot::channel();
        let input = Input::Reload {
            config: Box::new(config.clone()),
            reply,
        };
        self.inputs.send(input).await.map_err(|_| ENDING)?;
        taken.await.map_err(|_| ENDING)?;
        self.running = config;
        Ok(judgement)
    }

    /// Not on a thread that health needs: a database of places takes its time.
    async fn read(&self) -> Result<Config, String> {
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || Config::read(&path));
        let config = reading.await.map_err(|_| ENDING)?;
        config.map_err(|errors| errors.to_string())
    }

    async fn judge(&self, config: &Config) -> Result<Judgement, String> {
        let (reply, compared) = oneshot::channel();
        let inventory = Box::new(config.inventory.clone());
        let input = Input::Compare { inventory, reply };
        self.inputs.send(input).await.map_err(|_| ENDING)?;
        let difference = compared.await.map_err(|_| ENDING)?;
        Ok(Judgement::new(config, &self.running, difference))
    }
}
