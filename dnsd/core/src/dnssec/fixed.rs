//! What everybody is answered alike, whatever the relays' health: signed anew with the
//! configuration, with the keys, and by the hour.

use std::sync::Arc;

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::rr::rdata::NS;
use hickory_proto::rr::{RData, RecordType};

use super::chain::{Chain, Nsec};
use super::keys::{Key, Keys};
use super::pen::{Pen, Rrsig};
use super::{KEY_TTL, steered};
use crate::inventory::{Policy, ServedZone};
use crate::names::{Node, Owner};
use crate::snapshot::{Host, Snapshot};

/// The signatures of a node's RRsets, by type; several where several keys sign.
pub(super) type Sets = Box<[(RecordType, Box<[Rrsig]>)]>;

/// What it was made of, and what was made of each zone.
pub(super) type Kept = Option<(Basis, Vec<Option<Arc<Fixed>>>)>;

/// All that [`Fixed`] depends on.
#[derive(Debug)]
pub(super) struct Basis {
    pub(super) zones: Arc<[ServedZone]>,
    pub(super) keys: Arc<Keys>,
    /// Within this hour and this span between two changes of keys.
    pub(super) hour: u64,
    pub(super) until: Option<u64>,
    pub(super) policy: Policy,
    pub(super) hosts: [Vec<Host>; 2],
}

impl PartialEq for Basis {
    fn eq(&self, other: &Self) -> bool {
        let rest = |basis: &Self| (basis.hour, basis.until);
        Arc::ptr_eq(&self.zones, &other.zones)
            && Arc::ptr_eq(&self.keys, &other.keys)
            && rest(self) == rest(other)
            && self.policy == other.policy
            && self.hosts == other.hosts
    }
}

/// Of one zone, what everybody gets alike.
#[derive(Debug)]
pub(super) struct Fixed {
    /// By the number of the node.
    pub(super) sets: Box<[Sets]>,
    pub(super) chain: Chain,
    /// By the place of the link; none where the types depend on the relays' health.
    pub(super) nsecs: Box<[Option<Nsec>]>,
    /// The records of DNSSEC at the apex.
    pub(super) own: Vec<(RecordType, Vec<RData>)>,
}

impl Fixed {
    pub(super) fn new(snapshot: &Snapshot, zone: &ServedZone, pen: &mut Pen<'_>) -> Self {
        let chain = Chain::new(zone);
        let own = own(pen);
        let sets = zone.names.nodes().map(|node| {
            if chain.is_hidden(node) {
                return Sets::default();
            }
            let any = any(snapshot, node).filter(|_| !zone.names.is_cut(node));
            let records = records(snapshot, zone, node).into_iter().chain(any);
            let sign = |(kind, ttl, data): (_, u32, Vec<RData>)| {
                let rrsig = pen.sign_set(&node.name, kind, ttl, &data);
                (kind, rrsig.into_iter().collect())
            };
            let mut sets: Vec<_> = records.map(sign).collect();
            if zone.names.is_apex(node) {
                sets.extend(
                    own.iter()
                        .map(|(kind, data)| (*kind, shown(pen, *kind, data))),
                );
            }
            sets.into()
        });
        let sets: Box<[Sets]> = sets.collect();
        let ttl = snapshot.policy.ttl_negative;
        let nodes: Vec<&Node> = zone.names.nodes().collect();
        let nsecs = chain.links.iter().map(|link| {
            let node = nodes[link.node];
            let live = node.owner.is_some_and(|owner| owner.steering().is_some());
            (!live).then(|| Nsec::new(pen, link, &types(snapshot, zone, node, &own), None, ttl))
        });
        Self {
            sets,
            nsecs: nsecs.collect(),
            chain,
            own,
        }
    }
}

/// The types of a node whose records everybody gets alike.
pub(super) fn types(
    snapshot: &Snapshot,
    zone: &ServedZone,
    node: &Node,
    own: &[(RecordType, Vec<RData>)],
) -> Vec<RecordType> {
    let records = records(snapshot, zone, node).into_iter();
    let mut types: Vec<_> = records.map(|(kind, ..)| kind).collect();
    if zone.names.is_apex(node) {
        types.push(RecordType::SOA);
        types.extend(own.iter().map(|(kind, _)| *kind));
    } else if zone.names.is_cut(node) {
        types.push(RecordType::NS);
    }
    types
}

/// The records at a node that everybody gets alike and that a signature is for: type, TTL, data.
fn records(
    snapshot: &Snapshot,
    zone: &ServedZone,
    node: &Node,
) -> Vec<(RecordType, u32, Vec<RData>)> {
    let names = &zone.names;
    // Of a delegation only what says whether it is signed is ours (RFC 4035 section 2.2).
    let ours = |kind| !names.is_cut(node) || kind == RecordType::DS;
    let sets = node.sets.iter().filter(|set| ours(set.record_type));
    let mut records: Vec<_> = sets
        .map(|set| (set.record_type, set.ttl, set.data.clone()))
        .collect();
    let ttl = snapshot.policy.ttl_static;
    if names.is_apex(node) {
        let ns = |server: &Host| RData::NS(NS(server.name.clone()));
        let servers = snapshot.nameservers.iter().map(ns).collect();
        records.push((RecordType::NS, ttl, servers));
    }
    let host = match node.owner {
        Some(Owner::Relay(index)) => snapshot.relays.get(index),
        Some(Owner::Nameserver(index)) => snapshot.nameservers.get(index),
        _ => None,
    };
    for v6 in [false, true] {
        let record = host.and_then(|host| host.record(&node.name, ttl, v6));
        records.extend(record.map(|record| (record.record_type(), ttl, vec![record.data])));
    }
    records
}

/// What a question for everything is answered with (RFC 8482), unless the node has the like of it.
fn any(snapshot: &Snapshot, node: &Node) -> Option<(RecordType, u32, Vec<RData>)> {
    if node.set(RecordType::HINFO).is_some() {
        return None;
    }
    let record = snapshot.any_record(node.name.clone());
    Some((RecordType::HINFO, record.ttl, vec![record.data]))
}

/// The records of DNSSEC at the apex: the keys, and what the parent zone is asked for.
pub(super) fn own(pen: &Pen<'_>) -> Vec<(RecordType, Vec<RData>)> {
    let (keys, zone, now) = (pen.keys, pen.zone, pen.now);
    let dnskeys = keys.published(now);
    let dnskeys = dnskeys.map(|key| RData::DNSSEC(DNSSECRData::DNSKEY(key.dnskey())));
    let cds = keys.announced(now).map(|key| key.cds(zone));
    let cdnskeys = keys.announced(now).map(Key::cdnskey);
    let sets = [
        (RecordType::DNSKEY, dnskeys.collect::<Vec<_>>()),
        (RecordType::CDS, cds.collect()),
        (RecordType::CDNSKEY, cdnskeys.collect()),
    ];
    sets.into_iter()
        .filter(|(_, data)| !data.is_empty())
        .collect()
}

/// Their signatures: by all keys that are shown, for the parent's DS record may name any of them
/// (RFC 4035 section 2.2, RFC 7344 section 4.1).
pub(super) fn shown(pen: &mut Pen<'_>, kind: RecordType, data: &[RData]) -> Box<[Rrsig]> {
    let (keys, zone) = (pen.keys, pen.zone);
    let keys = keys.published(pen.now);
    keys.filter_map(|key| pen.sign_with(key, zone, kind, KEY_TTL, data))
        .collect()
}

/// What changes with every snapshot, or with the relays' health, at a node that everybody gets alike.
pub(super) fn live(
    snapshot: &Snapshot,
    zone: &ServedZone,
    node: &Node,
    pen: &mut Pen<'_>,
) -> Vec<(RecordType, Box<[Rrsig]>)> {
    let mut records = Vec::new();
    if zone.names.is_apex(node) {
        let soa = snapshot.soa_record(zone, node.name.clone());
        records.push((RecordType::SOA, soa.ttl, vec![soa.data]));
    }
    records.extend(steered::naptr(snapshot, node));
    let sign = |(kind, ttl, data): (_, u32, Vec<RData>)| {
        let rrsig = pen.sign_set(&node.name, kind, ttl, &data);
        (kind, rrsig.into_iter().collect())
    };
    records.into_iter().map(sign).collect()
}
