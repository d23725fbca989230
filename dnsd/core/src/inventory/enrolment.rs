//! Relays that nobody listed: rules by which a machine with the right key may join by itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};

use ipnet::IpNet;
use liveness::{KeyId, RelayId, Report};

use super::check;
use super::problem::{Problem, Subject};
use super::{Inventory, Region, RegionId, RelayEntry};
use crate::limits;

/// Who may join with a key. What a relay says of itself counts only within this: the rule, not the
/// report, says where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The key that reports are signed with; one rule per key.
    pub key: KeyId,
    /// Where relays of this rule may have their addresses.
    pub networks: Vec<IpNet>,
    /// Where they stand.
    pub region: RegionId,
    /// Their availability zone.
    pub zone: String,
    /// Who runs the machines.
    pub vendor: String,
    /// The share of clients of each, 1 to [`limits::WEIGHT_MAX`].
    pub weight: u32,
    /// Whether they are kept in reserve.
    pub standby: bool,
    /// As many may join, 1 to [`limits::RELAYS_MAX`].
    pub most: usize,
}

/// A relay that wants to join: what it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// The key that it signs with.
    pub key: KeyId,
    /// Its name.
    pub id: RelayId,
    /// Where clients reach it over IPv4.
    pub ipv4: Option<SocketAddrV4>,
    /// Where clients reach it over IPv6.
    pub ipv6: Option<SocketAddrV6>,
}

/// Why a relay that is not listed does not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No rule has its key.
    #[error("no relay of this name is configured, nor a rule for its key")]
    NoRule,
    /// It says no address, or one outside the rule's networks.
    #[error("it says no address within the networks that its key may join from")]
    Network,
    /// As many have joined by this rule as may.
    #[error("as many relays have joined with this key as may")]
    Full,
    /// Its name or address is another's.
    #[error("{0}")]
    Clash(String),
}

impl Applicant {
    /// What an authentic report says of its sender.
    pub fn new(key: KeyId, report: &Report) -> Self {
        Self {
            key,
            id: report.relay,
            ipv4: report.ipv4,
            ipv6: report.ipv6,
        }
    }

    /// What is known of a relay that joined before.
    pub(crate) fn again(entry: &RelayEntry) -> Option<Self> {
        Some(Self {
            key: *entry.keys.first()?,
            id: entry.id,
            ipv4: entry.ipv4,
            ipv6: entry.ipv6,
        })
    }
}

impl Enrolment {
    fn takes(&self, applicant: &Applicant) -> Option<RelayEntry> {
        let within = |ip: IpAddr| self.networks.iter().any(|network| network.contains(&ip));
        let v4 = applicant.ipv4.filter(|a| !a.ip().is_unspecified());
        let v6 = applicant.ipv6.filter(|a| !a.ip().is_unspecified());
        let entry = RelayEntry {
            id: applicant.id,
            region: self.region.clone(),
            zone: self.zone.clone(),
            vendor: self.vendor.clone(),
            ipv4: v4,
            ipv6: v6,
            weight: self.weight,
            standby: self.standby,
            keys: vec![self.key],
            transports: None,
            tcp_port: None,
            tls_port: None,
        };
        // Never half of what it says: it would be judged by one address and used by the other.
        let fits = entry.addresses().all(within) && entry.addresses().next().is_some();
        fits.then_some(entry)
    }
}

impl Inventory {
    /// The same with rules by which relays may join that are not listed.
    ///
    /// # Errors
    /// Every problem of the rules.
    pub fn with_enrolments(mut self, rules: Vec<Enrolment>) -> Result<Self, Vec<Problem>> {
        check_rules(&self.regions, &rules)?;
        self.enrolments = rules;
        Ok(self)
    }

    /// The rules by which relays may join.
    pub fn enrolments(&self) -> &[Enrolment] {
        &self.enrolments
    }

    /// Whether the relay at this place is not listed and has joined by a rule. Those come last.
    pub fn has_joined(&self, index: usize) -> bool {
        index >= self.listed
    }

    /// Takes a relay in by the rule for its key. Its place is the last.
    ///
    /// # Errors
    /// Why it may not join; then nothing has changed.
    pub fn admit(&mut self, applicant: &Applicant) -> Result<(), Refusal> {
        let mut rules = self.enrolments.iter();
        let rule = rules.find(|rule| rule.key == applicant.key);
        let rule = rule.ok_or(Refusal::NoRule)?;
        let joined = self.relays[self.listed..].iter();
        let same = |relay: &&RelayEntry| relay.keys.contains(&rule.key);
        if joined.filter(same).count() >= rule.most || self.relays.len() >= limits::RELAYS_MAX {
            return Err(Refusal::Full);
        }
        let entry = rule.takes(applicant).ok_or(Refusal::Network)?;
        let place = self.relays.len();
        self.relays.push(entry);
        match check::check_joined(&self.zone, &self.regions, &self.relays) {
            Ok(()) => {
                self.relay_index.insert(applicant.id, place);
                self.homes.push(self.find_home(place));
                if let Some(problem) = self.compile_zones().into_iter().next() {
                    self.dismiss(place);
                    return Err(Refusal::Clash(problem.message));
                }
                Ok(())
            }
            Err(problem) => {
                self.relays.pop();
                Err(Refusal::Clash(problem.message))
            }
        }
    }

    /// Takes a relay out that has joined.
    pub(crate) fn dismiss(&mut self, index: usize) {
        debug_assert!(self.has_joined(index), "listed relays stay");
        self.relay_index.remove(&self.relays[index].id);
        self.relays.remove(index);
        self.homes.remove(index);
        for place in self.relay_index.values_mut() {
            *place -= usize::from(*place > index);
        }
        self.compile_zones();
    }

    fn find_home(&self, relay: usize) -> usize {
        let region = &self.relays[relay].region;
        let own = self.regions.iter().position(|other| other.id == *region);
        // Rules are checked: their regions exist.
        own.unwrap_or(self.default_region)
    }
}

/// Finds everything that is wrong with the rules.
fn check_rules(regions: &[Region], rules: &[Enrolment]) -> Result<(), Vec<Problem>> {
    let mut keys = BTreeSet::new();
    let mut problems = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let places = [&rule.zone, &rule.vendor];
        let holds = [
            (keys.insert(rule.key), "a key has at most one rule"),
            (!rule.networks.is_empty(), "a rule needs a network"),
            (
                regions.iter().any(|region| region.id == rule.region),
                "the rule's region is not configured",
            ),
            (
                places
                    .iter()
                    .all(|place| (1..=limits::PLACE_MAX).contains(&place.len())),
                "availability zone and vendor need 1 to 64 bytes",
            ),
            (
                (1..=limits::WEIGHT_MAX).contains(&rule.weight),
                "the weight is out of range",
            ),
            (
                (1..=limits::RELAYS_MAX).contains(&rule.most),
                "the number of relays is out of range",
            ),
        ];
        let wrong = holds.into_iter().filter(|(holds, _)| !holds);
        problems.extend(wrong.map(|(_, what)| Problem {
            subject: Subject::Enrolment(index),
            message: what.to_owned(),
        }));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}
