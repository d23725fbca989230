//! What secondaries get: the zones as if nothing were steered, signed where they have keys, and the
//! serial that says which.

mod damper;

use std::iter::once;
use std::sync::Arc;

use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinEncodable as _;

use crate::answer::service;
use crate::dnssec::Signing;
use crate::inventory::{Inventory, ServedZone};
use crate::names::{Node, Owner};
use crate::snapshot::Snapshot;
use crate::spread::{hash, mix};
use crate::steer::{Plans, View};

pub(crate) use damper::Damper;

/// Which state of the zones secondaries have: the SOA's serial, and what it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edition {
    /// The serial (RFC 1035 section 3.3.13); 0: there is none yet.
    pub serial: u32,
    /// A hash of all records but for the serial, and of what signatures are made by and for when:
    /// nameservers that say the same have the same.
    pub content: u64,
}

impl Edition {
    /// Whether secondaries that have `other` would fetch this one (RFC 1982 section 3.2).
    pub fn is_newer_than(self, other: Self) -> bool {
        let ahead = self.serial.wrapping_sub(other.serial);
        self.serial != 0 && (other.serial == 0 || (1..1 << 31).contains(&ahead))
    }
}

/// The zones as they are given out for transfer, until the next edition.
#[derive(Clone, Debug)]
pub struct Release {
    serial: u32,
    content: Arc<Content>,
    /// What signatures were made by and for when ([`Signing::mark`]).
    mark: u64,
    /// In the order of the zones: what makes a signed one of the other records. Made once, with the
    /// release: a transfer signs nothing.
    signing: Arc<[Vec<Record>]>,
}

/// All records but those of DNSSEC; the SOA has the release's serial.
#[derive(Debug)]
struct Content {
    /// Answers in which each steered name has one variant.
    snapshot: Snapshot,
    hash: u64,
}

impl Content {
    fn new(inventory: &Inventory, view: &View, plans: Vec<Plans>) -> Self {
        let snapshot = Snapshot::of(inventory, view, 0, plans);
        let zones = snapshot.zones.iter();
        let records =
            zones.flat_map(|zone| once(soa(&snapshot, zone, 0)).chain(records(&snapshot, zone)));
        // What cannot be encoded is never sent either.
        let hashes = records.map(|record| record.to_bytes().map_or(0, |bytes| hash(&bytes)));
        let hash = hashes.fold(0, |all, one| mix(all ^ one));
        Self { snapshot, hash }
    }

    /// What the edition of these records is known by, where they are signed so.
    fn marked(&self, mark: u64) -> u64 {
        if mark == 0 {
            self.hash
        } else {
            mix(self.hash ^ mark)
        }
    }
}

impl Release {
    /// Gives records a serial and has them signed; `None` if a signature could not be made.
    fn new(serial: u32, content: Arc<Content>, signing: &mut Signing<'_>) -> Option<Self> {
        let snapshot = &content.snapshot;
        let zones = snapshot.zones.iter().map(|zone| {
            let all = once(soa(snapshot, zone, serial)).chain(records(snapshot, zone));
            signing.records(snapshot, zone, all)
        });
        let added: Option<Vec<_>> = zones.collect();
        Some(Self {
            serial,
            mark: signing.mark(),
            signing: added?.into(),
            content,
        })
    }

    /// Which edition it is.
    pub fn edition(&self) -> Edition {
        Edition {
            serial: self.serial,
            content: self.content.marked(self.mark),
        }
    }

    /// The apexes of all zones, the first zone's first.
    pub fn zones(&self) -> impl Iterator<Item = &Name> {
        let zones = self.content.snapshot.zones.iter();
        zones.map(|zone| zone.names.apex())
    }

    /// The SOA record of the zone with this apex, whatever its case; `None` if there is no such
    /// zone.
    pub fn soa(&self, apex: &Name) -> Option<Record> {
        let zone = self.zone(apex)?;
        Some(soa(&self.content.snapshot, zone, self.serial))
    }

    /// All other records of that zone, in canonical order of their owners, and then what signs
    /// them all; empty if there is no such zone.
    pub fn records(&self, apex: &Name) -> impl Iterator<Item = Record> + use<'_> {
        let zones = self.zone(apex).into_iter();
        zones.flat_map(|zone| {
            let signing = self.signing.get(zone.number).into_iter().flatten();
            records(&self.content.snapshot, zone).chain(signing.cloned())
        })
    }

    fn zone(&self, apex: &Name) -> Option<&ServedZone> {
        let apex = LowerName::from(apex);
        let mut zones = self.content.snapshot.zones.iter();
        zones.find(|zone| LowerName::from(zone.names.apex()) == apex)
    }
}

/// A zone's SOA record with this serial.
fn soa(snapshot: &Snapshot, zone: &ServedZone, serial: u32) -> Record {
    snapshot.soa_numbered(zone, zone.names.apex().clone(), serial)
}

/// All records of a zone but its SOA and those of DNSSEC, in canonical order of their owners.
fn records<'a>(snapshot: &'a Snapshot, zone: &'a ServedZone) -> impl Iterator<Item = Record> {
    let written = |node: &Node| {
        let record = |ttl, data: &RData| Record::from_rdata(node.name.clone(), ttl, data.clone());
        let sets = node.sets.iter();
        let records = sets.flat_map(|set| set.data.iter().map(|data| record(set.ttl, data)));
        records.collect::<Vec<_>>()
    };
    zone.names
        .nodes()
        .flat_map(move |node| [written(node), made(snapshot, zone, node)].concat())
}

/// The records that the nameserver makes for a node.
fn made(snapshot: &Snapshot, zone: &ServedZone, node: &Node) -> Vec<Record> {
    let mut records = Vec::new();
    if zone.names.is_apex(node) {
        records.extend(snapshot.nameserver_records(&node.name));
    }
    let Some(owner) = node.owner else {
        return records;
    };
    let named = matches!(owner, Owner::Apex | Owner::Lane(_, None)) && !node.name.is_wildcard();
    if named && node.set(RecordType::NAPTR).is_none() {
        records.extend(service::naptr(snapshot, &node.name, &node.name));
    }
    records.extend(steered(snapshot, zone, node, owner).unwrap_or_default());
    records
}

/// The representative records of a name that stands for relays, or its fixed address.
fn steered(
    snapshot: &Snapshot,
    zone: &ServedZone,
    node: &Node,
    owner: Owner,
) -> Option<Vec<Record>> {
    let ttl = snapshot.policy.ttl_static;
    let fixed = match owner {
        Owner::Relay(index) => snapshot.relays.get(index),
        Owner::Nameserver(index) => snapshot.nameservers.get(index),
        _ => None,
    };
    if let Some(host) = fixed {
        let records = [false, true].map(|v6| host.record(&node.name, ttl, v6));
        return Some(records.into_iter().flatten().collect());
    }
    let (lane, transport) = owner.steering()?;
    let region = match owner {
        Owner::Region(index) => index,
        _ => snapshot.default_region,
    };
    let plan = snapshot.regions.get(region)?.plan(transport);
    let choice = plan.variants.first()?.choice(lane);
    if let Owner::Service(transport, _) = owner {
        let srv = service::srv(snapshot, zone, &node.name, transport, choice, plan.ttl);
        return Some(srv);
    }
    let lists = [(false, &choice.ipv4), (true, &choice.ipv6)];
    let records = lists.into_iter().flat_map(|(v6, relays)| {
        let hosts = relays
            .iter()
            .filter_map(|relay| snapshot.relays.get(usize::from(*relay)));
        hosts.filter_map(move |host| host.record(&node.name, plan.ttl, v6))
    });
    Some(records.collect())
}
