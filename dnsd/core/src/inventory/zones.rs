//! The zones that are served, each with all its names: what stands for relays, and what a file says.

use std::collections::BTreeSet;
use std::sync::Arc;

use credentials::label::Lane;
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{LowerName, Name, RData};

use super::{Inventory, Problem, Subject};
use crate::answer::fast::Index;
use crate::limits;
use crate::names::{Names, Owner};
use crate::paths::Transport;
use crate::records::Records;

/// A zone besides the first. It has the same nameservers.
#[derive(Clone, Debug)]
pub struct OtherZone {
    /// Its apex.
    pub name: Name,
    /// The responsible person's mailbox as a domain name (RFC 1035 section 3.3.13).
    pub contact: Name,
    /// Whether it has the steered names, and answers them as the first zone does. Else it holds
    /// its records and nothing more.
    pub steered: bool,
    /// What its file says.
    pub records: Records,
}

/// A zone with its names.
#[derive(Clone, Debug)]
pub(crate) struct ServedZone {
    /// Its place among all zones.
    pub(crate) number: usize,
    pub(crate) contact: Name,
    pub(crate) names: Names,
}

/// What the zones are made of, kept to make them anew when a relay joins or goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// Of the first zone.
    records: Arc<Records>,
    others: Arc<[OtherZone]>,
}

impl Inventory {
    /// The same with the records of the zone's file, and with more zones.
    ///
    /// # Errors
    /// Every record that stands where the nameserver answers by itself, and every zone that is not
    /// one of its own.
    pub fn with_zones(
        mut self,
        records: Records,
        mut others: Vec<OtherZone>,
    ) -> Result<Self, Vec<Problem>> {
        for other in &mut others {
            other.name.set_fqdn(true);
            other.contact.set_fqdn(true);
        }
        let mut problems = self.check_zones(&others);
        self.sources = Sources {
            records: Arc::new(records),
            others: others.into(),
        };
        problems.extend(self.compile_zones());
        if problems.is_empty() {
            Ok(self)
        } else {
            Err(problems)
        }
    }

    fn check_zones(&self, others: &[OtherZone]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |index: usize, message: String| {
            let subject = Subject::OtherZone(index);
            problems.push(Problem { subject, message });
        };
        let mut taken = BTreeSet::from([LowerName::from(&self.zone.name)]);
        for (index, zone) in others.iter().enumerate() {
            if !taken.insert(LowerName::from(&zone.name)) {
                add(index, format!("zone {} is served already", zone.name));
            }
            if zone.name.is_root() || zone.name.len() > limits::ZONE_NAME_MAX {
                let most = limits::ZONE_NAME_MAX;
                add(index, format!("a zone's name has 1 to {most} bytes"));
            }
            if index == limits::OTHER_ZONES_MAX {
                add(index, format!("more than {index} zones besides the first"));
            }
        }
        problems
    }

    /// The zones that are served, the first one first.
    pub(crate) fn zones(&self) -> &Arc<[ServedZone]> {
        &self.zones
    }

    /// Makes all names. Says what clashes with records from a file; such a record does not count.
    pub(super) fn compile_zones(&mut self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let Sources { records, others } = &self.sources;
        let mut first = Names::new(&self.zone.name);
        self.steer_names(&mut first);
        self.fill(&mut first, None, records, &mut problems);
        first.number();
        let mut zones = vec![ServedZone {
            number: 0,
            contact: self.zone.contact.clone(),
            names: first,
        }];
        for (index, zone) in others.iter().enumerate() {
            let mut names = Names::new(&zone.name);
            if zone.steered {
                self.steer_names(&mut names);
            }
            self.fill(&mut names, Some(index), &zone.records, &mut problems);
            names.number();
            zones.push(ServedZone {
                number: index + 1,
                contact: zone.contact.clone(),
                names,
            });
        }
        self.zones = zones.into();
        self.index = Arc::new(Index::new(&self.zones, self.policy.ttl_static, |owner| {
            self.addresses(owner)
        }));
        problems
    }

    /// All their names in one table.
    pub(crate) fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// The addresses of an owner that has the same for everybody.
    fn addresses(&self, owner: Owner) -> Vec<RData> {
        let (v4, v6) = match owner {
            Owner::Relay(index) => (self.relays.get(index))
                .map(|relay| (relay.ipv4.map(|a| *a.ip()), relay.ipv6.map(|a| *a.ip()))),
            Owner::Nameserver(index) => {
                (self.zone.nameservers.get(index)).map(|server| (server.ipv4, server.ipv6))
            }
            _ => None,
        }
        .unwrap_or_default();
        let v4 = v4.map(|address| RData::A(A(address)));
        let v6 = v6.map(|address| RData::AAAA(AAAA(address)));
        v4.into_iter().chain(v6).collect()
    }

    /// The names that stand for relays.
    fn steer_names(&self, names: &mut Names) {
        let apex = names.apex().clone();
        let mut set = |labels: &[&str], owner: Owner| {
            let name = labels.iter().rev().try_fold(apex.clone(), |name, label| {
                name.prepend_label(label.as_bytes())
            });
            // Zone names leave room for every label here.
            if let Ok(name) = name {
                names.node(&name).owner = Some(owner);
            }
        };
        set(&[], Owner::Apex);
        set(&["api"], Owner::Api);
        for transport in Transport::ALL {
            set(&[transport.as_str()], Owner::Transport(transport));
        }
        for (service, protocol, transport) in SERVICES {
            set(&[service, protocol], Owner::Service(*transport, None));
        }
        for lane in [Lane::A, Lane::B] {
            let label = lane.as_str();
            set(&[label], Owner::Lane(lane, None));
            set(&["*", label], Owner::Lane(lane, None));
            for transport in Transport::ALL {
                let owner = Owner::Lane(lane, Some(transport));
                set(&[transport.as_str(), label], owner);
            }
            for (service, protocol, transport) in SERVICES {
                let owner = Owner::Service(*transport, Some(lane));
                set(&[service, protocol, label], owner);
            }
        }
        for (index, region) in self.regions.iter().enumerate() {
            set(&[region.id.as_str()], Owner::Region(index));
        }
        for (index, relay) in self.relays.iter().enumerate() {
            set(&[relay.id.as_str()], Owner::Relay(index));
        }
    }

    /// The nameservers that lie in the zone, and the records of its file.
    fn fill(
        &self,
        names: &mut Names,
        zone: Option<usize>,
        records: &Records,
        problems: &mut Vec<Problem>,
    ) {
        for (index, server) in self.zone.nameservers.iter().enumerate() {
            if !names.apex().zone_of(&server.name) {
                continue;
            }
            let taken = names
                .node(&server.name)
                .owner
                .replace(Owner::Nameserver(index));
            if let Some((zone, _)) = zone.zip(taken) {
                problems.push(Problem {
                    subject: Subject::OtherZone(zone),
                    message: format!("nameserver {} has a name that is steered", server.name),
                });
            }
        }
        for set in records.sets() {
            let node = names.node(&set.name);
            if node.owner.is_some_and(|owner| owner.makes(set.record_type)) {
                let subject = Subject::Record {
                    zone,
                    line: set.line,
                };
                let message = format!(
                    "{} {}: the nameserver answers this by itself",
                    set.name, set.record_type
                );
                problems.push(Problem { subject, message });
            } else {
                node.sets.push(set.clone());
            }
        }
    }
}

/// Owner names of SRV records (RFC 5928 section 3, RFC 8489 section 8.1), and what is spoken there.
pub(crate) const SERVICES: &[(&str, &str, Transport)] = &[
    ("_turn", "_udp", Transport::Udp),
    ("_turn", "_tcp", Transport::Tcp),
    ("_turns", "_tcp", Transport::Tls),
    ("_stun", "_udp", Transport::Udp),
    ("_stun", "_tcp", Transport::Tcp),
    ("_stuns", "_tcp", Transport::Tls),
];
