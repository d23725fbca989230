//! What differs from client to client: every set of relays that a name can be answered with.

use std::sync::Arc;

use hickory_proto::rr::{RData, RecordType};

use super::pen::{Pen, Rrsig, canonical};
use crate::answer::service;
use crate::inventory::ServedZone;
use crate::limits::ANSWERS_MAX;
use crate::names::{Node, Owner};
use crate::paths::Transport;
use crate::snapshot::{Host, Snapshot};
use crate::steer::{Choice, RegionPlan, Variant};

/// Most relays of one answer: those of both families.
const MOST: usize = 2 * ANSWERS_MAX;

/// Relays as a key: filled up with a number that none has.
pub(super) type Place = [u16; MOST];

/// The types that differ from client to client, in the order of the groups.
pub(super) const KINDS: [RecordType; 3] = [RecordType::A, RecordType::AAAA, RecordType::SRV];

/// The signatures of one name and type, by the relays of the answer.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// In the order of the relays.
    signed: Box<[(Place, Rrsig)]>,
    /// Whether some clients are answered with no record.
    pub(super) gaps: bool,
}

impl Group {
    /// Whether some clients are answered with records.
    pub(super) fn answers(&self) -> bool {
        !self.signed.is_empty()
    }

    fn get(&self, place: &Place) -> Option<&Rrsig> {
        let found = self.signed.binary_search_by(|(key, _)| key.cmp(place));
        Some(&self.signed.get(found.ok()?)?.1)
    }

    /// That of address records: their order is not signed.
    pub(super) fn addresses(&self, relays: &[u16]) -> Option<&Rrsig> {
        self.get(&unordered(relays))
    }

    /// That of SRV records, which hold the order.
    pub(super) fn services(&self, choice: &Choice) -> Option<&Rrsig> {
        self.get(&ordered(choice))
    }
}

fn unordered(relays: &[u16]) -> Place {
    let mut place = [u16::MAX; MOST];
    for (slot, relay) in place.iter_mut().zip(relays) {
        *slot = *relay;
    }
    place.sort_unstable();
    place
}

fn ordered(choice: &Choice) -> Place {
    let mut place = [u16::MAX; MOST];
    let mut length = 0;
    for relay in choice.relays() {
        if length < MOST && !place[..length].contains(&relay) {
            place[length] = relay;
            length += 1;
        }
    }
    place
}

/// All groups of a steered node.
pub(super) fn groups(
    snapshot: &Snapshot,
    zone: &ServedZone,
    node: &Node,
    owner: Owner,
    pen: &mut Pen<'_>,
) -> [Group; 3] {
    let choices = choices(snapshot, owner, node.name.is_wildcard());
    KINDS.map(|kind| {
        pen.cache.pause();
        if !owner.steers(kind) || node.set(kind).is_some() {
            return Group::default();
        }
        let mut places: Vec<(Place, &Choice)> = choices
            .iter()
            .map(|choice| match kind {
                RecordType::A => (unordered(&choice.ipv4), *choice),
                RecordType::AAAA => (unordered(&choice.ipv6), *choice),
                _ => (ordered(choice), *choice),
            })
            .collect();
        places.sort_unstable_by_key(|(place, _)| *place);
        places.dedup_by_key(|(place, _)| *place);
        let before = places.len();
        places.retain(|(place, _)| place[0] != u16::MAX);
        let gaps = places.len() < before;
        Group {
            signed: sign(snapshot, zone, node, (owner, kind), &places, pen),
            gaps,
        }
    })
}

fn sign(
    snapshot: &Snapshot,
    zone: &ServedZone,
    node: &Node,
    (owner, kind): (Owner, RecordType),
    places: &[(Place, &Choice)],
    pen: &mut Pen<'_>,
) -> Box<[(Place, Rrsig)]> {
    let Some(key) = pen.keys.active(pen.now) else {
        return Box::default();
    };
    let ttl = snapshot.policy.ttl_max;
    let subject = pen.subject(key, &node.name, kind, ttl);
    let mut known = pen.take_relays(&subject);
    let signed = places.iter().filter_map(|(place, choice)| {
        if let Some(rrsig) = known.get(place) {
            return Some((*place, Arc::clone(rrsig)));
        }
        let relays = place.iter().take_while(|relay| **relay != u16::MAX);
        let mut hosts = relays.filter_map(|relay| snapshot.relays.get(usize::from(*relay)));
        let data: Vec<Vec<u8>> = match (kind, owner) {
            (RecordType::SRV, Owner::Service(transport, _)) => {
                let records = service::srv(snapshot, zone, &node.name, transport, choice, ttl);
                records
                    .iter()
                    .filter_map(|record| canonical(&record.data))
                    .collect()
            }
            _ => hosts
                .by_ref()
                .filter_map(|host| octets(host, kind))
                .collect(),
        };
        let rrsig = pen.sign(&subject, data)?;
        known.insert(*place, Arc::clone(&rrsig));
        Some((*place, rrsig))
    });
    let signed = signed.collect();
    pen.keep_relays(subject, known);
    signed
}

fn octets(host: &Host, kind: RecordType) -> Option<Vec<u8>> {
    if kind == RecordType::A {
        Some(host.ipv4?.octets().to_vec())
    } else {
        Some(host.ipv6?.octets().to_vec())
    }
}

/// Every choice of relays that a name can be answered with, some more than once.
fn choices(snapshot: &Snapshot, owner: Owner, labelled: bool) -> Vec<&Choice> {
    let Some((lane, transport)) = owner.steering() else {
        return Vec::new();
    };
    // What a label says of its client comes before what the name says, which is nothing then.
    let transports: Vec<Option<Transport>> = match (labelled, transport) {
        (true, None) => {
            let spoken = Transport::ALL.into_iter().map(Some);
            std::iter::once(None).chain(spoken).collect()
        }
        _ => vec![transport],
    };
    let home = |region: usize| snapshot.regions.get(region);
    let regions: Vec<usize> = match owner {
        Owner::Region(region) => {
            let plan = home(region).map(|home| home.plan(transport));
            let spill = plan.iter().flat_map(|plan| plan.spill.iter());
            std::iter::once(region)
                .chain(spill.map(|spill| spill.to))
                .collect()
        }
        _ => (0..snapshot.regions.len()).collect(),
    };
    let plans = regions.into_iter().filter_map(home);
    let plans = plans.flat_map(|home| transports.iter().map(|transport| home.plan(*transport)));
    // Regions with one pool share its answers.
    let mut plans: Vec<&RegionPlan> = plans.collect();
    let address = |plan: &RegionPlan| plan.variants.as_ptr() as usize;
    plans.sort_unstable_by_key(|plan| address(plan));
    plans.dedup_by_key(|plan| address(plan));
    let variants = plans.into_iter().flat_map(|plan| {
        // Only labels name relays to avoid.
        let detours: &[Variant] = if labelled { &plan.detours } else { &[] };
        plan.variants.iter().chain(detours)
    });
    variants.map(|variant| variant.choice(lane)).collect()
}

/// The NAPTR records of a node, whose transports are those that relays speak at the moment.
pub(super) fn naptr(snapshot: &Snapshot, node: &Node) -> Option<(RecordType, u32, Vec<RData>)> {
    let has = matches!(node.owner, Some(Owner::Apex | Owner::Lane(_, None)));
    if !has || node.name.is_wildcard() || node.set(RecordType::NAPTR).is_some() {
        return None;
    }
    let records = service::naptr(snapshot, &node.name, &node.name);
    let data: Vec<_> = records.into_iter().map(|record| record.data).collect();
    let ttl = snapshot.policy.ttl_static;
    (!data.is_empty()).then_some((RecordType::NAPTR, ttl, data))
}
