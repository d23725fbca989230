//! The control loop: the one owner of the fleet's health.
//!
//! Every input is handed to the core, then the core's actions are drained, then comes the next
//! input. Answers are compiled here and swapped under the listeners the moment health changes.

pub(crate) mod chronicle;
mod hearsay;
mod input;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use credentials::label::LabelKeys;
use dnsd_core::answer::Complaint;
use dnsd_core::fleet::{Action, Fleet, ReportOutcome as Judged, Saved};
use dnsd_core::health::{ProbeKind, Verdict};
use dnsd_core::inventory::Refusal;
use dnsd_core::overrides::Scope;
use dnsd_core::paths::Path;
use dnsd_core::votes::{Ballot, BallotOutcome, Cause};
use liveness::{KeyId, NodeId, RelayId, Report};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::clock;
use crate::config::Config;
use crate::courtesy::give_way;
use crate::dnssec::Signing;
use crate::geoip::Geoip;
use crate::history::Event;
use crate::intake::Intake;
use crate::limits::{
    COMPLAINTS_PER_TURN, OVERRIDES_LOOK, PUBLISH_BURST, PUBLISH_SPACING, REFUSAL_NOTICE,
    STATE_REFRESH,
};
use crate::metrics::ReportOutcome;
use crate::notify::News;
use crate::probe::Prober;
use crate::revocations::Revoking;
use crate::serve::rules::Rules;
use crate::serve::udp::Pulse;
use crate::serve::{Published, Served};
use crate::share::wire::Wire;
use crate::systemd;

pub use chronicle::Chronicle;
pub use hearsay::Datagram;
pub use input::{Input, Known, Question};
pub use telling::Told;

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
    /// Whether those for UDP turn.
    pub pulse: Pulse,
    /// Opens labels.
    pub labels: LabelKeys,
    /// How queries are treated.
    pub rules: Arc<Rules>,
    /// Signs the answers.
    pub signing: Signing,
    /// The database of places, if one is configured.
    pub geoip: Option<Geoip>,
    /// What the state file should hold.
    pub states: watch::Sender<Arc<Saved>>,
    /// This daemon's name.
    pub node: NodeId,
    /// The verdicts last logged.
    pub verdicts: BTreeMap<RelayId, Verdict>,
    /// When it was last logged that a relay may not join.
    pub refused: Option<Instant>,
    /// What clients say of relays.
    pub complaints: Receiver<Complaint>,
    /// Whether answers should be compiled.
    pub publish_wanted: bool,
    /// The answers before those in force. Whoever was at a query still had them then, and is not to be
    /// the one who frees them.
    pub retired: Option<Arc<Published>>,
    /// Until when the compilations so far would have taken at their regular spacing.
    pub spent: Instant,
    /// Since when another nameserver's configuration is of another generation, and whether that
    /// was told.
    pub differing: Option<(Instant, bool)>,
    /// The newest report of each relay as it came, and when.
    pub newest: BTreeMap<RelayId, (std::time::Instant, Box<Datagram>)>,
    /// The nameservers that were answered since this one last asked.
    pub answered: BTreeSet<SocketAddr>,
    /// What is remembered of revocations.
    pub revoking: Revoking,
    /// What was last logged of relays' paths.
    pub paths: BTreeMap<(RelayId, Path), Told>,
    /// What changed.
    pub chronicle: Chronicle,
    /// What secondaries are to be told.
    pub news: watch::Sender<News>,
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
        self.revocations_changed();
        self.tell();
        self.drain();
        // As things stood at the start is no news.
        self.strained();
        self.chronicle
            .published(&self.served.published.load().snapshot);
        self.chronicle.begun = true;
        loop {
            let due = self
                .fleet
                .poll_timeout()
                .map_or(refresh, |due| refresh.min(due.into()))
                .min(look);
            let due = self.publish_due().map_or(due, |from| due.min(from));
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
            self.hear_clients();
            self.drain();
            self.reflect();
            if Instant::now() >= look {
                look = Instant::now() + OVERRIDES_LOOK;
                self.expire();
                self.compare();
                self.look_at_revocations();
                self.set_clock();
                self.publish_wanted |= self.signing.is_due(clock::unix());
                self.ask_around();
                self.drain();
                let signed = self.served.metrics.signed();
                signed.show(&self.signing, clock::unix());
                if self.pulse.beats() {
                    systemd::alive();
                }
            }
            if Instant::now() >= refresh {
                // What rises with every report, the replay floors, is kept to within this time.
                refresh = Instant::now() + STATE_REFRESH;
                self.keep();
                self.strained();
            }
        }
        (self.fleet.saved(clock::now(), clock::unix()), self.prober)
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Report {
                report,
                datagram,
                key,
                from,
            } => self.report(&report, datagram, key, from),
            Input::Unheard { relays, from } => self.pass_on(&relays, from),
            Input::Hearsay { datagrams } => self.hearsay(&datagrams),
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
            Input::Revocations { entries } => self.hear_revocations(entries),
            Input::RevocationDigests { digests, from } => self.compared_revocations(&digests, from),
            Input::Revoke { wish, reply } => {
                let _ = reply.send(self.revoke(*wish));
            }
            Input::Revoked { reply } => {
                let _ = reply.send(self.revocations());
            }
            Input::Compare { inventory, reply } => {
                // Whoever asked may have gone.
                let _ = reply.send(self.fleet.difference(clock::now(), &inventory));
            }
            Input::Reload { config, reply } => {
                self.reload(*config);
                let _ = reply.send(());
            }
            Input::Note { event } => self.chronicle.history.add(*event),
            Input::Stop => {}
        }
    }

    /// Takes what clients have said since the last turn; they wake nobody.
    fn hear_clients(&mut self) {
        let published = self.served.published.load();
        for complaint in self.complaints.try_iter().take(COMPLAINTS_PER_TURN) {
            let tags = complaint.relays.into_iter().flatten();
            for relay in tags.filter_map(|tag| published.snapshot.relay_tagged(tag)) {
                let Complaint {
                    tenant, network, ..
                } = complaint;
                self.fleet.handle_complaint(relay, tenant, network);
            }
        }
    }

    fn report(&mut self, report: &Report, datagram: Box<Datagram>, key: KeyId, from: SocketAddr) {
        let (counted, reply) = match self.fleet.handle_report(clock::now(), key, report) {
            Judged::Accepted(reply) => {
                self.newest.insert(report.relay, (clock::now(), datagram));
                (ReportOutcome::Ok, Some(reply))
            }
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
        if counted == ReportOutcome::Ok {
            let (theirs, own) = (report.sent_at_ms, clock::unix_millis());
            self.fleet
                .handle_clock(clock::now(), report.relay, theirs, own);
        }
        if matches!(counted, ReportOutcome::Ok | ReportOutcome::Twin) {
            let twins = counted == ReportOutcome::Twin;
            self.chronicle.reported(report.relay, twins);
        }
        if let Some(reply) = reply {
            let revocations = self.fleet.revocations().generation();
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

    fn answer(&self, question: Question) {
        // Whoever asked may have gone.
        match question {
            Question::Relays { relay, reply } if !reply.is_closed() => {
                let _ = reply.send(self.explain(relay));
            }
            Question::History { span, reply } if !reply.is_closed() => {
                let inventory = self.fleet.inventory();
                let asked = span.relay.as_deref().and_then(|relay| relay.parse().ok());
                let index = asked.and_then(|relay| inventory.relay_index(&relay));
                let entry = index.map(|index| &inventory.relays()[index]);
                let of = |scope: &str| {
                    let scope = scope.parse::<Scope>().ok();
                    scope
                        .zip(entry)
                        .is_some_and(|(scope, entry)| scope.covers(entry))
                };
                let _ = reply.send(self.chronicle.history.told(&span, of));
            }
            Question::Relays { .. } | Question::History { .. } => {}
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
            geoip: self
                .geoip
                .as_ref()
                .map_or(Value::Null, |geoip| geoip.view(clock::unix().0)),
        }
    }

    fn sharing(&self) -> Value {
        self.wire.as_ref().map_or(Value::Null, |wire| {
            json!({
                "isolated": self.isolated,
                "configuration": self.fleet.inventory().generation(),
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
        self.revoking.lasting = config.revocations_lasting;
        self.labels = config.labels;
        self.rules = config.rules;
        self.signing.reload(config.dnssec.keys);
        self.geoip = config.geoip;
        self.served.metrics.located(self.geoip.as_ref());
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
                self.chronicle.forget(*relay);
                tracing::info!(%relay, "relay is none of the fleet any more");
            }
            stays
        });
        self.paths
            .retain(|(relay, _), _| inventory.relay_index(relay).is_some());
        self.newest
            .retain(|relay, _| inventory.relay_index(relay).is_some());
        let relays = inventory.relays().iter().enumerate();
        for (_, entry) in relays.filter(|(index, _)| inventory.has_joined(*index)) {
            if !self.verdicts.contains_key(&entry.id) {
                let relay = entry.id;
                let addresses: Vec<_> = entry.addresses().collect();
                tracing::info!(%relay, ?addresses, "relay has joined");
                if self.chronicle.begun {
                    let event = Event::Joined {
                        relay: relay.to_string(),
                        addresses: addresses.iter().map(ToString::to_string).collect(),
                    };
                    self.chronicle.cause(event, &format!("{relay} joined"));
                }
            }
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.fleet.poll_action() {
            match action {
                Action::ProbeNow { relay, probe } => self.prober.start(relay, probe),
                Action::Roster => self.roster(),
                Action::Publish => self.publish_wanted = true,
                Action::Vote => self.vote(),
            }
        }
        // Many that go at once are one change of the answers, or a few.
        if self.publish_due().is_some_and(|at| at <= Instant::now()) {
            self.publish();
        }
    }

    /// When answers are to be compiled, if they are.
    fn publish_due(&self) -> Option<Instant> {
        let ahead = PUBLISH_SPACING * (PUBLISH_BURST - 1);
        self.publish_wanted
            .then(|| self.spent.checked_sub(ahead).unwrap_or(self.spent))
    }

    fn vote(&mut self) {
        let ballot = self.fleet.ballot(clock::now());
        if let (Some(ballot), Some(wire)) = (ballot, &self.wire) {
            wire.cast(&ballot);
        }
        self.look_at_observers();
    }

    /// Compiles the answers and puts them in force.
    fn publish(&mut self) {
        self.publish_wanted = false;
        self.spent = self.spent.max(Instant::now()) + PUBLISH_SPACING;
        let generation = self.fleet.inventory().generation();
        let newest = self.fleet.newest_configuration();
        self.served.metrics.configured(generation, newest);
        let snapshot = self.signing.publish(&mut self.fleet);
        let metrics = &self.served.metrics;
        let shares = metrics.shares(&snapshot, Some(&self.served.published.load().shares));
        metrics.published(&snapshot);
        let published = Published {
            shares,
            snapshot,
            labels: self.labels.clone(),
            rules: Arc::clone(&self.rules),
        };
        let before = self.served.published.swap(Arc::new(published));
        give_way();
        self.retired = Some(before);
        self.tell_secondaries();
        self.strained();
        self.tell();
        give_way();
        self.chronicle
            .published(&self.served.published.load().snapshot);
        self.keep();
    }

    /// Has secondaries told of another edition of the zones.
    fn tell_secondaries(&self) {
        self.news.send_if_modified(|news| {
            let newer = News::of(&self.served, &news.from);
            let differs = newer.differs(news);
            if differs {
                *news = newer;
            }
            differs
        });
    }

    /// Shows how full each region is, and what it does about that.
    fn strained(&mut self) {
        let strains = self.fleet.strains();
        self.served.metrics.strained(&strains);
        self.chronicle.strained(&strains);
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
