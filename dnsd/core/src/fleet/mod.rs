//! All relays together: judges them one by one, asks for probes, says when to publish.

mod clocks;
mod complaints;
mod council;
mod decisions;
mod hearsay;
mod interface;
mod joining;
mod load;
mod pace;
mod paths;
mod publishing;
mod replies;
mod revoked;
mod rounds;
mod saved;
mod twins;

use std::collections::VecDeque;
use std::time::Instant;

use credentials::UnixTime;
use liveness::{KeyId, RelayId, ReplayGuard, Replayed, Report, State as Claim};

pub use decisions::{Foresight, Reserve};
pub use interface::{Action, Counters, Reply, ReportOutcome};
pub use saved::Saved;
use saved::SavedRelay;
use twins::Twins;

use crate::difference::Difference;
use crate::explain::Explanation;
use crate::health::{Health, Outcome, PathHealth, Probe, ProbeKind, Reason, State, Verdict};
use crate::inventory::{Inventory, RelayEntry, Thresholds};
use crate::overrides::Overrides;
use crate::paths::Word;
use crate::revocations::Revocations;
use crate::steer::{Pause, Seat, Standing, Valves, View};
use crate::transfer::{Damper, Edition};
use crate::votes::{Peers, SelfDoubt};
use clocks::Shown;
use complaints::Voices;
use load::Load;
use pace::Pace;

/// All relays and what is known of them.
#[derive(Debug)]
pub struct Fleet {
    inventory: Inventory,
    /// The highest number of a configuration that was in force, in earlier lives too.
    configuration: u64,
    started: Instant,
    members: Vec<Member>,
    /// Per region: whether some clients that its relays may serve have no relay that is up.
    dark: Vec<bool>,
    /// Per region: until when relays come back unheld, because it was dark until lately.
    mending: Vec<Option<Instant>>,
    actions: VecDeque<Action>,
    publish_wanted: bool,
    serial: u32,
    /// What secondaries get.
    damper: Damper,
    /// Whether the published answers are those of a node that has just started.
    cautious: bool,
    /// When published answers change by the mere passing of time.
    recheck: Option<Instant>,
    counters: Counters,
    /// This node's own part in the votes; `None` while it stands alone.
    seat: Option<council::Seat>,
    peers: Peers,
    doubt: SelfDoubt,
    /// The number of its last ballot.
    generation: u64,
    vote_wanted: bool,
    /// When votes or self-doubt change by the mere passing of time.
    council_due: Option<Instant>,
    /// How many good relays have gone quiet.
    quiet: usize,
    /// When this node lately took relays out by itself because they were silent.
    removals: VecDeque<Instant>,
    /// What people decided.
    overrides: Overrides,
    revocations: Revocations,
    valves: Valves,
    /// When the loads are looked at next.
    load_due: Instant,
    /// Since when complaints have counted to the present half of their window.
    hearing_since: Instant,
    pace: Pace,
    pause: Pause,
}

#[derive(Debug)]
struct Member {
    health: Health,
    /// The paths that are judged apart from the relay.
    paths: Vec<PathHealth>,
    /// What it says of its transports.
    word: Word,
    /// The time by its clock.
    shown: Option<Shown>,
    guard: ReplayGuard,
    deadline: Instant,
    /// An order to drain has been lifted; the relay has yet to hear it.
    undrain: bool,
    twins: Twins,
    load: Load,
    voices: Voices,
    /// The generation of revocations that it last said it applies.
    revocations: u64,
    /// Boot id and sequence of the newest report that another nameserver passed on.
    hearsay: (u64, u64),
}

impl Member {
    fn new(health: Health, guard: ReplayGuard, now: Instant) -> Self {
        Self {
            health,
            paths: Vec::new(),
            word: Word::default(),
            shown: None,
            guard,
            deadline: now,
            undrain: false,
            twins: Twins::default(),
            load: Load::default(),
            voices: Voices::default(),
            revocations: 0,
            hearsay: (0, 0),
        }
    }

    /// A relay of which nothing is known but what it may replay.
    fn fresh(entry: &RelayEntry, guard: ReplayGuard, now: Instant, t: &Thresholds) -> Self {
        let mut member = Self::new(Health::new(entry.id, now), guard, now);
        member.offer(now, entry, t);
        member
    }

    /// Whether it counts as good and has gone quiet.
    fn is_quiet(&self) -> bool {
        self.standing().is_healthy() && self.health.quiet().is_some()
    }

    /// Whether it serves although this node found that it does not relay.
    fn is_gray(&self) -> bool {
        self.standing() == Standing::Suspect && self.health.is_gray()
    }

    fn standing(&self) -> Standing {
        let verdict = self.health.verdict();
        match verdict.state {
            State::Unknown => Standing::Unknown,
            State::Up | State::ForcedUp => Standing::Up,
            State::Suspect => Standing::Suspect,
            State::Draining if verdict.reason == Reason::Full => Standing::Full,
            State::Draining => Standing::Leaving,
            State::Down | State::ForcedDown => Standing::Down,
        }
    }
}

impl Fleet {
    /// A fleet as it was saved, or one about which nothing is known. Either way it wants to
    /// publish at once.
    pub fn new(
        mut inventory: Inventory,
        restored: Option<&Saved>,
        now: Instant,
        unix: UnixTime,
    ) -> Self {
        let saved = restored.map_or(&[][..], |saved| &saved.relays);
        let overrides = restored.map_or_else(Overrides::default, |saved| saved.overrides(unix));
        let revocations =
            restored.map_or_else(Revocations::default, |saved| saved.revocations(unix));
        for applicant in saved.iter().filter_map(SavedRelay::joined) {
            // Unless the rules have changed.
            let _ = inventory.admit(&applicant);
        }
        let t = inventory.thresholds();
        let members = inventory
            .relays()
            .iter()
            .map(
                |entry| match saved.iter().find(|relay| relay.is(&entry.id)) {
                    Some(relay) => relay.member(entry, now, unix, t),
                    None => Member::fresh(entry, ReplayGuard::new(), now, t),
                },
            )
            .collect();
        let mut fleet = Self {
            dark: Vec::new(),
            mending: Vec::new(),
            members,
            configuration: restored
                .map_or(0, |saved| saved.configuration)
                .max(inventory.generation()),
            inventory,
            started: now,
            actions: VecDeque::new(),
            publish_wanted: true,
            serial: restored.map_or(0, |saved| saved.serial),
            damper: Damper::restored(restored.map_or_else(Edition::default, Saved::edition)),
            cautious: true,
            recheck: None,
            counters: Counters::default(),
            seat: None,
            peers: Peers::default(),
            doubt: SelfDoubt::default(),
            generation: restored.map_or(0, |saved| saved.generation),
            vote_wanted: false,
            council_due: None,
            quiet: 0,
            removals: VecDeque::new(),
            overrides,
            revocations,
            valves: Valves::default(),
            load_due: now,
            hearing_since: now,
            pace: Pace::default(),
            pause: || {},
        };
        let valves = restored.map_or(&[][..], |saved| &saved.valves);
        fleet.valves = Valves::restored(now, &fleet.inventory, valves);
        fleet.find_dark(now);
        fleet.quiet = fleet.members.iter().filter(|m| m.is_quiet()).count();
        fleet.obey(now);
        fleet
    }

    /// Takes a new inventory over; what is known of relays that stay as they were is kept.
    pub fn reconfigure(&mut self, now: Instant, inventory: Inventory) {
        self.configuration = self.configuration.max(inventory.generation());
        let inventory = self.with_joined(inventory);
        let old = std::mem::replace(&mut self.inventory, inventory);
        let mut known: Vec<Option<Member>> = self.members.drain(..).map(Some).collect();
        let t = self.inventory.thresholds();
        for entry in self.inventory.relays() {
            let before = old.relay_index(&entry.id);
            let same = before.is_some_and(|i| old.relays()[i].is_same_place(entry));
            let member = before.and_then(|index| known[index].take());
            self.members.push(match member {
                Some(mut member) if same => {
                    let was = before.map(|index| &old.relays()[index]);
                    let stays = |path| was.and_then(|was| was.address(path)) == entry.address(path);
                    member.paths.retain(|path| stays(path.verdict().path));
                    member.offer(now, entry, t);
                    member
                }
                // The relay has moved: what it may replay has not.
                Some(member) => Member::fresh(entry, member.guard, now, t),
                None => Member::fresh(entry, ReplayGuard::new(), now, t),
            });
        }
        self.actions.clear();
        self.publish_wanted = true;
        // Regions may have other places now.
        self.dark.clear();
        self.mending.clear();
        self.find_dark(now);
        let valves = self.valves.saved(&old);
        self.valves = Valves::restored(now, &self.inventory, &valves);
        self.quiet = self.members.iter().filter(|m| m.is_quiet()).count();
        self.obey(now);
        self.tell();
        self.wake_council(now);
    }

    /// The highest number that a configuration in force has had, before restarts too.
    pub fn newest_configuration(&self) -> u64 {
        self.configuration
    }

    /// The inventory in force.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Takes a report whose MAC has been verified with the key `key`.
    pub fn handle_report(&mut self, now: Instant, key: KeyId, report: &Report) -> ReportOutcome {
        let index = match self.place(now, key, report) {
            Ok(index) => index,
            Err(outcome) => return *outcome,
        };
        let agrees = self.inventory.relays()[index].agrees_with(report);
        let member = &mut self.members[index];
        let before = member.guard.boot();
        match member.guard.accept(report.boot, report.sequence) {
            Ok(()) if before > 0 && report.boot > before => member.twins.rises(now),
            Ok(()) => {}
            Err(Replayed::StaleBoot { floor }) => {
                self.counters.replayed += 1;
                member.twins.falls_behind();
                return ReportOutcome::StaleBoot(self.reply(index, floor));
            }
            Err(replayed @ Replayed::StaleSequence { .. }) => {
                self.counters.replayed += 1;
                return ReportOutcome::StaleSequence(replayed);
            }
        }
        if member.twins.are_there(now) {
            return self.twins(now, index);
        }
        self.counters.reports += 1;
        // The claim is ignored, the rest believed: addresses come from the configuration alone.
        self.counters.address_mismatch += u64::from(!agrees);
        if report.state == Claim::Serving {
            member.undrain = false;
        }
        let t = self.inventory.thresholds();
        member.load.observe(now, report, t);
        let entry = &self.inventory.relays()[index];
        self.publish_wanted |= member.report_transports(now, entry, report.transports, t);
        member.hear(now, report, t);
        self.step(now, index);
        ReportOutcome::Accepted(self.reply(index, 0))
    }

    /// Takes the outcome of a probe.
    pub fn handle_probe(&mut self, now: Instant, relay: RelayId, probe: Probe, outcome: &Outcome) {
        let Some(index) = self.inventory.relay_index(&relay) else {
            self.counters.stray_outcomes += 1;
            return;
        };
        let t = self.inventory.thresholds();
        let taken = match probe.kind {
            ProbeKind::Path(path) => self.handle_path_probe(now, index, path, (probe, outcome)),
            ProbeKind::Stun | ProbeKind::Echo => self.members[index]
                .health
                .handle_probe(now, probe, outcome, t),
        };
        if taken {
            self.step(now, index);
        } else {
            self.counters.stray_outcomes += 1;
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        for index in 0..self.members.len() {
            if self.members[index].deadline <= now {
                self.step(now, index);
            }
        }
        self.forget(now);
        self.pass_council(now);
        self.pass_load(now);
        if self.recheck.is_some_and(|at| at <= now) {
            self.recheck = None;
            self.publish_wanted = true;
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.members
            .iter()
            .map(|member| member.deadline)
            .chain(self.recheck)
            .chain(self.council_due)
            .chain([self.load_due])
            .chain(self.ballot_due().filter(|_| !self.vote_wanted))
            .min()
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        // Publishing comes last, so that it covers all that one input changed.
        self.actions
            .pop_front()
            .or_else(|| std::mem::take(&mut self.vote_wanted).then_some(Action::Vote))
            .or_else(|| std::mem::take(&mut self.publish_wanted).then_some(Action::Publish))
    }

    /// The verdict on a relay.
    pub fn verdict(&self, relay: RelayId) -> Option<Verdict> {
        let index = self.inventory.relay_index(&relay)?;
        Some(self.members[index].health.verdict())
    }

    /// Everything known about a relay, in words.
    pub fn explain(&self, now: Instant, relay: RelayId) -> Option<Explanation> {
        let index = self.inventory.relay_index(&relay)?;
        let (entry, t) = (&self.inventory.relays()[index], self.inventory.thresholds());
        Some(Explanation {
            votes: self.tally(now, index),
            ballots: self.peers.facts(now, &relay, t),
            isolated: self.isolation().map(|isolation| isolation.cause),
            joined: self.inventory.has_joined(index),
            twins: self.members[index].twins.are_there(now),
            free_permille: self.members[index].load.free(),
            complaints: self.members[index].voices.facts(now),
            paths: self.members[index]
                .paths
                .iter()
                .map(|path| path.facts(now))
                .collect(),
            ..self.members[index].health.explain(now, entry, t)
        })
    }

    /// What to store so that a restart forgets nothing.
    pub fn saved(&self, now: Instant, unix: UnixTime) -> Saved {
        let relays = self.inventory.relays().iter().zip(&self.members);
        Saved {
            serial: self.serial,
            edition: self.damper.edition().into(),
            generation: self.generation,
            configuration: self.configuration,
            overrides: self.overrides.entries().cloned().collect(),
            journal: self.overrides.journal().cloned().collect(),
            valves: self.valves.saved(&self.inventory),
            revocations: self.revocations.entries().cloned().collect(),
            relays: relays
                .enumerate()
                .map(|(index, (entry, member))| {
                    let saved = SavedRelay::new(entry, member, now, unix);
                    saved.by_rule(entry, self.inventory.has_joined(index))
                })
                .collect(),
        }
    }

    /// The counts so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// When each relay on its way back next gets more clients.
    fn next_shares(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let t = self.inventory.thresholds();
        let up = self.members.iter().filter(|m| m.standing().is_healthy());
        up.filter_map(move |member| member.health.next_share(now, t))
    }

    /// All relays as the choice of answers sees them.
    pub fn view(&self, now: Instant) -> View {
        let t = self.inventory.thresholds();
        let relays = self.inventory.relays().iter();
        let seats = relays.zip(&self.members).map(|(entry, member)| {
            let standing = member.standing();
            let verdict = member.health.verdict();
            let recent = |since: Instant| now.saturating_duration_since(since) < t.recent;
            let lately = recent(verdict.since) || member.path_changed().is_some_and(recent);
            let forced = member.health.decision().is_some();
            let put_aside = verdict.state == State::ForcedDown;
            Seat {
                standing,
                last_good: member.health.last_good(now).filter(|_| !put_aside),
                doubt: standing == Standing::Suspect || lately,
                speaks: member.health.speaks(),
                gray: member.is_gray(),
                share: member.health.share(now, t),
                free: member.load.free(),
                served: entry.paths(member.word),
                withdrawn: member.withdrawn(),
                forced,
                ends: self
                    .overrides
                    .holding(entry)
                    .and_then(|held| held.until)
                    .map(UnixTime),
            }
        });
        View {
            seats: seats.collect(),
            cautious: !self.is_settled(now),
            flows: self.valves.flows(&self.inventory),
        }
    }

    /// What the answers would lose if [`reconfigure`](Self::reconfigure) were given `inventory` now.
    pub fn difference(&self, now: Instant, inventory: &Inventory) -> Difference {
        let inventory = &self.with_joined(inventory.clone());
        Difference {
            newest: self.configuration,
            ..Difference::new(&self.inventory, &self.view(now), inventory)
        }
    }
}
