//! The control loop: the one owner of the fleet's health.
//!
//! Every input is handed to the core, then the core's actions are drained, then comes the next
//! input. Answers are compiled here and swapped under the listeners the moment health changes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use credentials::label::LabelKeys;
use dnsd_core::difference::Difference;
use dnsd_core::fleet::{Action, Fleet, ReportOutcome as Judged, Saved};
use dnsd_core::health::{PathVerdict, Probe, ProbeKind, State, Verdict};
use dnsd_core::inventory::{Inventory, Refusal};
use dnsd_core::overrides::Entry;
use dnsd_core::paths::Path;
use dnsd_core::steer::Strain;
use dnsd_core::votes::{Ballot, BallotOutcome, Cause};
use liveness::{KeyId, NodeId, RelayId, Report};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::clock;
use crate::config::Config;
use crate::decisions::{Made, Wish};
use crate::intake::Intake;
use crate::limits::{OVERRIDES_LOOK, REFUSAL_NOTICE, STATE_REFRESH};
use crate::metrics::{ReportOutcome, name};
use crate::probe::Prober;
use crate::probe::echo::Found;
use crate::readable::evidence;
use crate::serve::{Published, Served};
use crate::share::wire::Wire;

/// The days left of a certificate's life at which it is warned of.
const CERTIFICATE_DAYS: [u64; 3] = [7, 14, 21];

/// What is known of relays.
#[derive(Debug, Default)]
pub struct Known {
    /// The serial of the answers in force.
    pub serial: u32,
    /// One JSON object per relay: the core's explanation, with the relay's name as `id`.
    pub relays: Vec<Value>,
    /// How full each region is.
    pub regions: Vec<Strain>,
    /// The other nameservers, whether this one distrusts itself, and who was refused; null where
    /// it stands alone.
    pub sharing: Value,
}

/// What the control loop is told or asked.
#[derive(Debug)]
pub enum Input {
    /// An authentic report.
    Report {
        /// What it says.
        report: Box<Report>,
        /// The key it is signed with.
        key: KeyId,
        /// Where the acknowledgement goes.
        from: SocketAddr,
    },
    /// A probe has ended.
    Probe {
        /// Whom it probed.
        relay: RelayId,
        /// The core's order.
        probe: Probe,
        /// What it found.
        found: Box<Found>,
    },
    /// What another nameserver sees.
    Ballot {
        /// It.
        ballot: Box<Ballot>,
        /// Where an answer to it goes.
        from: SocketAddr,
    },
    /// Another nameserver has seen a ballot of this one that was numbered higher.
    Outrun {
        /// Its number.
        generation: u64,
    },
    /// What would the answers lose under another configuration?
    Compare {
        /// Its inventory.
        inventory: Box<Inventory>,
        /// Where to.
        reply: oneshot::Sender<Difference>,
    },
    /// Decisions that another nameserver knows of.
    Overrides {
        /// They.
        entries: Vec<Entry>,
    },
    /// Another nameserver tells what it has alike with whoever knows of the same decisions.
    Digest {
        /// Of those it knows.
        digest: u64,
        /// Where those go that this one knows.
        from: SocketAddr,
    },
    /// Somebody decides.
    Decide {
        /// What is wanted.
        wish: Box<Wish>,
        /// What became of it, or why nothing did.
        reply: oneshot::Sender<Result<Made, String>>,
    },
    /// Somebody asks what was decided.
    Decisions {
        /// Where to.
        reply: oneshot::Sender<Value>,
    },
    /// Take another configuration over.
    Reload {
        /// It.
        config: Box<Config>,
        /// Told when its answers are served.
        reply: oneshot::Sender<()>,
    },
    /// End.
    Stop,
}

/// All that is known of one relay, or of all, is asked for. Inputs have precedence.
#[derive(Debug)]
pub struct Question {
    /// Which.
    pub relay: Option<RelayId>,
    /// Where to; empty for an unknown relay.
    pub reply: oneshot::Sender<Known>,
}

/// What was last logged of a path.
#[derive(Debug, Default, Clone, Copy)]
pub struct Told {
    withdrawn: bool,
    /// The days left of the certificate's life at which it was last warned of.
    certificate: Option<u64>,
}

/// The fleet with everything its actions need.
#[derive(Debug)]
pub struct Control {
    /// What is known of the relays.
    pub fleet: Fleet,
    /// Carries out probes.
    pub prober: Prober,
    /// Sends acknowledgements.
    pub intake: Arc<Intake>,
    /// The other nameservers; `None` where this one stands alone.
    pub wire: Option<Arc<Wire>>,
    /// Whether it distrusts itself, as last logged.
    pub isolated: Option<Cause>,
    /// What the listeners answer from.
    pub served: Arc<Served>,
    /// Opens labels.
    pub labels: LabelKeys,
    /// What the state file should hold.
    pub states: watch::Sender<Arc<Saved>>,
    /// This daemon's name.
    pub node: NodeId,
    /// The verdicts last logged.
    pub verdicts: BTreeMap<RelayId, Verdict>,
    /// When it was last logged that a relay may not join.
    pub refused: Option<Instant>,
    /// What was last logged of relays' paths.
    pub paths: BTreeMap<(RelayId, Path), Told>,
}

impl Control {
    /// Runs until [`Input::Stop`]; returns the state to save and the prober to stop.
    pub async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut questions: mpsc::Receiver<Question>,
    ) -> (Saved, Prober) {
        let mut refresh = Instant::now() + STATE_REFRESH;
        let mut look = Instant::now() + OVERRIDES_LOOK;
        self.roster();
        self.tell();
        self.drain();
        loop {
            let due = self
                .fleet
                .poll_timeout()
                .map_or(refresh, |due| refresh.min(due.into()))
                .min(look);
            tokio::select! {
                // Deadlines pass whatever comes in, and nobody's curiosity holds health up.
                biased;
                () = sleep_until(due) => self.fleet.handle_timeout(clock::now()),
                input = inputs.recv() => match input {
                    Some(Input::Stop) | None => break,
                    Some(input) => self.take(input),
                },
                Some(question) = questions.recv() => self.answer(question),
            }
            self.drain();
            self.reflect();
            if Instant::now() >= look {
                look = Instant::now() + OVERRIDES_LOOK;
                self.expire();
                self.compare();
                self.drain();
            }
            if Instant::now() >= refresh {
                // What rises with every report, the replay floors, is kept to within this time.
                refresh = Instant::now() + STATE_REFRESH;
                self.keep();
                self.served.metrics.strained(&self.fleet.strains());
            }
        }
        (self.fleet.saved(clock::now(), clock::unix()), self.prober)
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Report { report, key, from } => self.report(&report, key, from),
            Input::Probe {
                relay,
                probe,
                found,
            } => {
                self.served.metrics.probe(probe.kind, &found.outcome);
                if let Some((path, left)) = path_of(probe.kind).zip(found.certificate_left) {
                    self.certificate(relay, path, left);
                }
                self.fleet
                    .handle_probe(clock::now(), relay, probe, &found.outcome);
            }
            Input::Ballot { ballot, from } => self.ballot(&ballot, from),
            Input::Outrun { generation } => self.fleet.outrun(generation),
            Input::Overrides { entries } => entries.iter().for_each(|entry| self.hear(entry)),
            Input::Digest { digest, from } => self.compared(digest, from),
            Input::Decide { wish, reply } => {
                let _ = reply.send(self.decide(*wish));
            }
            Input::Decisions { reply } => {
                let _ = reply.send(self.decisions());
            }
            Input::Compare { inventory, reply } => {
                // Whoever asked may have gone.
                let _ = reply.send(self.fleet.difference(clock::now(), &inventory));
            }
            Input::Reload { config, reply } => {
                self.reload(*config);
                let _ = reply.send(());
            }
            Input::Stop => {}
        }
    }

    /// Takes what is left of a certificate's life; says so in good time before it ends.
    fn certificate(&mut self, relay: RelayId, path: Path, left: Duration) {
        self.fleet
            .handle_certificate(clock::now(), relay, path, left);
        let expires = clock::unix().0.saturating_add(left.as_secs());
        self.served.metrics.certificate(relay, path, expires);
        let days = left.as_secs() / 86_400;
        let told = self.paths.entry((relay, path)).or_default();
        let step = CERTIFICATE_DAYS
            .into_iter()
            .filter(|step| days < *step)
            .min();
        if told.certificate != step {
            told.certificate = step;
            if step.is_some() {
                let (transport, family) = (path.transport.as_str(), path.family.as_str());
                tracing::warn!(%relay, transport, family, days, "its certificate expires soon");
            }
        }
    }

    fn report(&mut self, report: &Report, key: KeyId, from: SocketAddr) {
        let (counted, reply) = match self.fleet.handle_report(clock::now(), key, report) {
            Judged::Accepted(reply) => (ReportOutcome::Ok, Some(reply)),
            Judged::StaleBoot(reply) => (ReportOutcome::Replay, Some(reply)),
            Judged::StaleSequence(_) => (ReportOutcome::Replay, None),
            Judged::Twin(reply) => (ReportOutcome::Twin, Some(reply)),
            Judged::WrongKey(_) => (ReportOutcome::Relay, None),
            Judged::UnknownRelay(refusal) => {
                self.refuse(report.relay, from, &refusal);
                (ReportOutcome::Relay, None)
            }
        };
        self.served.metrics.report(counted);
        if let Some(reply) = reply {
            let revocations = 0;
            let ack = reply.ack(report, self.node, clock::unix_millis(), revocations);
            self.intake.acknowledge(&ack, key, from);
        }
    }

    /// Logs that a relay may not join, now and then.
    fn refuse(&mut self, relay: RelayId, from: SocketAddr, refusal: &Refusal) {
        let now = Instant::now();
        if self.refused.is_none_or(|at| now - at >= REFUSAL_NOTICE) {
            self.refused = Some(now);
            tracing::warn!(%relay, %from, %refusal, "a relay may not join");
        }
    }

    fn ballot(&mut self, ballot: &Ballot, from: SocketAddr) {
        let outcome = self.fleet.handle_ballot(clock::now(), ballot);
        if let (BallotOutcome::Stale { newest }, Some(wire)) = (outcome, &self.wire) {
            wire.outrun(from, newest);
        }
    }

    fn answer(&self, Question { relay, reply }: Question) {
        // Whoever asked may have gone.
        if !reply.is_closed() {
            let _ = reply.send(self.explain(relay));
        }
    }

    fn explain(&self, relay: Option<RelayId>) -> Known {
        let every = self.fleet.inventory().relays().iter().map(|relay| relay.id);
        let relays = every.filter(|id| relay.is_none_or(|relay| relay == *id));
        Known {
            serial: self.served.published.load().snapshot.serial(),
            relays: relays
                .filter_map(|id| self.known(id, relay.is_some()))
                .collect(),
            regions: self.fleet.strains(),
            sharing: self.sharing(),
        }
    }

    fn sharing(&self) -> Value {
        self.wire.as_ref().map_or(Value::Null, |wire| {
            json!({
                "isolated": self.isolated,
                "observers": self.fleet.observers(clock::now()),
                "refused": wire.refusals(),
            })
        })
    }

    /// All that is known of a relay; what earlier verdicts rested on only if `whole`.
    fn known(&self, relay: RelayId, whole: bool) -> Option<Value> {
        let mut explanation = self.fleet.explain(clock::now(), relay)?;
        if !whole {
            let history = explanation.history.iter_mut();
            history.for_each(|past| past.evidence = None);
        }
        let mut value = serde_json::to_value(&explanation).ok()?;
        value["id"] = relay.as_str().into();
        let entry = self.fleet.inventory().relay_index(&relay);
        let entry = entry.map(|index| &self.fleet.inventory().relays()[index]);
        let holding = entry.and_then(|entry| self.fleet.overrides().holding(entry));
        value["override"] = serde_json::to_value(holding).unwrap_or_default();
        Some(value)
    }

    fn reload(&mut self, config: Config) {
        self.prober.reload(&config);
        if let (Some(wire), Some(sharing)) = (&self.wire, &config.sharing) {
            wire.reload(sharing);
        }
        self.labels = config.labels;
        self.fleet.reconfigure(clock::now(), config.inventory);
        self.roster();
        self.publish();
    }

    /// Has those told who need to know which relays there are.
    fn roster(&mut self) {
        let inventory = self.fleet.inventory();
        self.prober.roster(inventory);
        self.intake.roster(inventory);
        self.verdicts.retain(|relay, _| {
            let stays = inventory.relay_index(relay).is_some();
            if !stays {
                self.served.metrics.forget(*relay);
                tracing::info!(%relay, "relay is none of the fleet any more");
            }
            stays
        });
        self.paths
            .retain(|(relay, _), _| inventory.relay_index(relay).is_some());
        let relays = inventory.relays().iter().enumerate();
        for (_, entry) in relays.filter(|(index, _)| inventory.has_joined(*index)) {
            if !self.verdicts.contains_key(&entry.id) {
                let relay = entry.id;
                let addresses: Vec<_> = entry.addresses().collect();
                tracing::info!(%relay, ?addresses, "relay has joined");
            }
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.fleet.poll_action() {
            match action {
                Action::ProbeNow { relay, probe } => self.prober.start(relay, probe),
                Action::Roster => self.roster(),
                Action::Publish => self.publish(),
                Action::Vote => self.vote(),
            }
        }
    }

    fn vote(&mut self) {
        let ballot = self.fleet.ballot(clock::now());
        if let (Some(ballot), Some(wire)) = (ballot, &self.wire) {
            wire.cast(&ballot);
        }
        let observers = self.fleet.observers(clock::now());
        let fresh = observers.iter().filter(|other| other.fresh).count();
        self.served.metrics.observers(fresh);
    }

    /// Logs when this node begins or ceases to distrust itself.
    fn reflect(&mut self) {
        let cause = self.fleet.isolation().map(|isolation| isolation.cause);
        if std::mem::replace(&mut self.isolated, cause) != cause {
            self.served.metrics.isolated(cause.is_some());
            if let Some(cause) = cause {
                tracing::warn!(
                    ?cause,
                    "this node distrusts itself: too much fell silent at once"
                );
            } else {
                tracing::info!("this node trusts itself again");
            }
        }
    }

    /// Compiles the answers and puts them in force.
    fn publish(&mut self) {
        let generation = self.fleet.inventory().generation();
        let newest = self.fleet.newest_configuration();
        self.served.metrics.configured(generation, newest);
        let snapshot = self.fleet.publish(clock::now(), clock::unix());
        let serial = snapshot.serial();
        let labels = self.labels.clone();
        self.served
            .published
            .store(Arc::new(Published { snapshot, labels }));
        self.served.metrics.published(serial);
        self.served.metrics.strained(&self.fleet.strains());
        self.tell();
        self.keep();
    }

    /// Logs every verdict that changed, and shows them all.
    fn tell(&mut self) {
        for relay in self.fleet.inventory().relays().iter().map(|relay| relay.id) {
            let Some(verdict) = self.fleet.verdict(relay) else {
                continue;
            };
            self.served.metrics.verdict(relay, verdict.state);
            let before = self.verdicts.insert(relay, verdict);
            // A relay is unknown before anything is known of it: that is no news.
            let was = before.map_or(State::Unknown, |before| before.state);
            if was != verdict.state {
                let known = self.known(relay, false).unwrap_or_default();
                tracing::info!(
                    %relay,
                    verdict = name(verdict.state),
                    was = name(was),
                    reason = known["reason"].as_str(),
                    evidence = evidence(&known),
                    "verdict changed"
                );
            }
            for verdict in self.fleet.paths(relay) {
                self.served
                    .metrics
                    .path(relay, verdict.path, !verdict.withdrawn);
                let told = self.paths.entry((relay, verdict.path)).or_default();
                tell_path(relay, verdict, told);
            }
        }
    }

    pub(crate) fn keep(&self) {
        self.states
            .send_replace(Arc::new(self.fleet.saved(clock::now(), clock::unix())));
    }
}

fn path_of(kind: ProbeKind) -> Option<Path> {
    match kind {
        ProbeKind::Path(path) => Some(path),
        ProbeKind::Stun | ProbeKind::Echo => None,
    }
}

/// Logs it when clients are taken off a path, or let back.
fn tell_path(relay: RelayId, verdict: PathVerdict, told: &mut Told) {
    if std::mem::replace(&mut told.withdrawn, verdict.withdrawn) == verdict.withdrawn {
        return;
    }
    let (transport, family) = (
        verdict.path.transport.as_str(),
        verdict.path.family.as_str(),
    );
    let reason = verdict.reason.as_str();
    if verdict.withdrawn {
        tracing::warn!(%relay, transport, family, reason, "path withdrawn");
    } else {
        tracing::info!(%relay, transport, family, reason, "path serves again");
    }
}
