//! What the control loop logs and shows when something has changed.

use std::time::Duration;

use dnsd_core::health::{PathVerdict, State};
use dnsd_core::paths::Path;
use liveness::RelayId;
use tokio::time::Instant;

use super::Control;
use crate::clock;
use crate::courtesy::give_way;
use crate::history::{Event, short};
use crate::limits::CONFIGURATIONS_DIFFER;
use crate::metrics::name;
use crate::readable::evidence;

/// The days left of a certificate's life at which it is warned of.
const CERTIFICATE_DAYS: [u64; 3] = [7, 14, 21];

/// What was last logged of a path.
#[derive(Debug, Default, Clone, Copy)]
pub struct Told {
    withdrawn: bool,
    /// The days left of the certificate's life at which it was last warned of.
    certificate: Option<u64>,
}

impl Control {
    /// Takes what is left of a certificate's life; says so in good time before it ends.
    pub(super) fn certificate(&mut self, relay: RelayId, path: Path, left: Duration) {
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

    /// Shows who is heard, and says so when one of them has had another configuration for long.
    pub(super) fn look_at_observers(&mut self) {
        let observers = self.fleet.observers(clock::now());
        self.chronicle.observed(&observers);
        let metrics = &self.served.metrics;
        for other in &observers {
            let generation = other.fresh.then_some(other.configuration);
            metrics.others().configured(&other.observer, generation);
        }
        let fresh = observers.iter().filter(|other| other.fresh);
        metrics.observers(fresh.clone().count());
        let own = self.fleet.inventory().generation();
        let others: Vec<_> = fresh
            .map(|other| (other.observer.as_str(), other.configuration))
            .filter(|(_, theirs)| *theirs != own)
            .collect();
        if others.is_empty() {
            metrics.others().differ(false);
            if self.differing.take().is_some_and(|(_, told)| told) {
                tracing::info!(generation = own, "all nameservers have this configuration");
            }
            return;
        }
        let now = Instant::now();
        let (since, told) = self.differing.get_or_insert((now, false));
        if !*told && now.saturating_duration_since(*since) >= CONFIGURATIONS_DIFFER {
            *told = true;
            metrics.others().differ(true);
            tracing::warn!(
                generation = own,
                ?others,
                "other nameservers have a configuration of another generation"
            );
        }
    }

    /// Logs when this node begins or ceases to distrust itself.
    pub(super) fn reflect(&mut self) {
        let cause = self.fleet.isolation().map(|isolation| isolation.cause);
        if std::mem::replace(&mut self.isolated, cause) != cause {
            self.served.metrics.isolated(cause.is_some());
            if let Some(cause) = cause {
                tracing::warn!(
                    ?cause,
                    "this node distrusts itself: too much fell silent at once"
                );
                let cause = format!("{cause:?}").to_lowercase();
                self.chronicle.history.add(Event::DoubtBegan { cause });
            } else {
                tracing::info!("this node trusts itself again");
                self.chronicle.history.add(Event::DoubtEnded);
            }
        }
    }

    /// Has probe credentials expire by the relays' clocks where this node's is wrong, and says so.
    pub(super) fn set_clock(&mut self) {
        let offset = self.fleet.clock_offset(clock::now());
        self.served.metrics.clock_offset(offset / 1000);
        let before = self.prober.set_clock_offset(offset);
        if before == 0 && offset != 0 {
            tracing::error!(
                seconds = offset / 1000,
                "the relays' clocks are ahead of this node's: set it; meanwhile probe credentials \
                 expire by theirs"
            );
        } else if before != 0 && offset == 0 {
            tracing::info!("this node's clock agrees with the relays' again");
        }
    }

    /// Logs every verdict that changed, and shows them all.
    pub(super) fn tell(&mut self) {
        for relay in self.fleet.inventory().relays().iter().map(|relay| relay.id) {
            let Some(verdict) = self.fleet.verdict(relay) else {
                continue;
            };
            give_way();
            self.served.metrics.verdict(relay, verdict.state);
            let before = self.verdicts.insert(relay, verdict);
            // A relay is unknown before anything is known of it: that is no news.
            let was = before.map_or(State::Unknown, |before| before.state);
            if was != verdict.state {
                let known = self.known(relay, false).unwrap_or_default();
                let (evidence, reason) = (evidence(&known), known["reason"].as_str());
                if self.chronicle.begun {
                    let event = Event::Verdict {
                        relay: relay.to_string(),
                        from: name(was),
                        to: name(verdict.state),
                        reason: reason.unwrap_or_default().to_owned(),
                        evidence: short(&evidence),
                    };
                    let words = format!("{relay} is {}", name(verdict.state));
                    self.chronicle.cause(event, &words);
                }
                tracing::info!(
                    %relay,
                    verdict = name(verdict.state),
                    was = name(was),
                    reason,
                    evidence,
                    "verdict changed"
                );
            }
            for verdict in self.fleet.paths(relay) {
                self.served
                    .metrics
                    .path(relay, verdict.path, !verdict.withdrawn);
                let told = self.paths.entry((relay, verdict.path)).or_default();
                if let Some(event) = tell_path(relay, verdict, told) {
                    let (transport, family) = (verdict.path.transport, verdict.path.family);
                    let words =
                        format!("{} of {relay} over {}", transport.as_str(), family.as_str());
                    self.chronicle.cause(event, &words);
                }
            }
        }
    }
}

/// Logs it when clients are taken off a path, or let back; the event for the history.
fn tell_path(relay: RelayId, verdict: PathVerdict, told: &mut Told) -> Option<Event> {
    let withdrawn = verdict.withdrawn;
    if std::mem::replace(&mut told.withdrawn, withdrawn) == withdrawn {
        return None;
    }
    let (transport, family) = (
        verdict.path.transport.as_str(),
        verdict.path.family.as_str(),
    );
    let reason = verdict.reason.as_str();
    if withdrawn {
        tracing::warn!(%relay, transport, family, reason, "path withdrawn");
    } else {
        tracing::info!(%relay, transport, family, reason, "path serves again");
    }
    Some(Event::Path {
        relay: relay.to_string(),
        transport,
        family,
        withdrawn,
        reason,
    })
}
