//! The signatures of a snapshot, and how they are looked up: without allocation or lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use credentials::UnixTime;
use hickory_proto::dnssec::rdata::NSEC;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, Restrict};

use super::chain::Nsec;
use super::fixed::{self, Basis, Fixed, Sets};
use super::keys::Keys;
use super::pen::{Cache, Pen, Rrsig};
use super::steered::{self, Group, KINDS};
use super::window;
use crate::inventory::ServedZone;
use crate::names::Node;
use crate::snapshot::Snapshot;
use crate::steer::Choice;

/// The signatures of all that a snapshot's zones are answered with.
#[derive(Debug, Default)]
pub struct Signatures {
    /// In the order of the zones; none of one that is not signed.
    zones: Vec<Option<SignedZone>>,
}

/// The signatures of one zone.
#[derive(Debug)]
pub(crate) struct SignedZone {
    fixed: Arc<Fixed>,
    /// What changes with the snapshot, by the number of the node.
    live: BTreeMap<usize, Live>,
    negative_ttl: u32,
}

#[derive(Debug)]
struct Live {
    sets: Sets,
    /// Those of [`KINDS`], where they are steered.
    groups: [Group; 3],
    /// The whole one first; then those that lack a type. None of an apex that is not steered.
    nsecs: Vec<Nsec>,
}

/// An NSEC record that goes into an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proof<'a> {
    /// Whose it is.
    pub(crate) owner: &'a Name,
    /// Seconds that it may be kept; 0 where labels below a lane would stand behind it.
    pub(crate) ttl: u32,
    pub(crate) data: &'a NSEC,
    /// The same as it stands in messages.
    pub(crate) wire: &'a [u8],
    /// The owner's labels below the apex, on the wire.
    pub(crate) below: &'a [u8],
    pub(crate) rrsig: Option<&'a Rrsig>,
}

impl Signatures {
    /// Signs everything; what the cache knows costs a look-up.
    pub(crate) fn compile(
        snapshot: &Snapshot,
        keys: &Arc<Keys>,
        cache: &mut Cache,
        now: UnixTime,
    ) -> Self {
        cache.turn();
        let basis = Basis {
            zones: Arc::clone(&snapshot.zones),
            keys: Arc::clone(keys),
            hour: window::hour(now),
            until: keys.next_change(now).map(|at| at.0),
            policy: snapshot.policy.clone(),
            hosts: [snapshot.relays.clone(), snapshot.nameservers.clone()],
        };
        let kept = cache.fixed.take().filter(|(made_of, _)| *made_of == basis);
        let anew = kept.is_none();
        if anew {
            cache.begin_anew();
        }
        let (basis, fixed) = kept.unwrap_or_else(|| (basis, vec![None; snapshot.zones.len()]));
        let zones = snapshot.zones.iter().zip(fixed).map(|(zone, fixed)| {
            let apex = zone.names.apex();
            let mut pen = Pen {
                zone: apex,
                keys: keys.of(apex)?,
                now,
                cache: &mut *cache,
            };
            let fixed = fixed.unwrap_or_else(|| Arc::new(Fixed::new(snapshot, zone, &mut pen)));
            Some(SignedZone::new(snapshot, zone, fixed, &mut pen))
        });
        let zones: Vec<Option<SignedZone>> = zones.collect();
        let fixed = zones
            .iter()
            .map(|zone| Some(Arc::clone(&zone.as_ref()?.fixed)));
        cache.fixed = Some((basis, fixed.collect()));
        if anew {
            cache.sweep();
        }
        Self { zones }
    }

    /// Those of a zone; `None`: it is not signed.
    pub(crate) fn of(&self, zone: &ServedZone) -> Option<&SignedZone> {
        self.zones.get(zone.number)?.as_ref()
    }
}

impl SignedZone {
    fn new(snapshot: &Snapshot, zone: &ServedZone, fixed: Arc<Fixed>, pen: &mut Pen<'_>) -> Self {
        let ttl = snapshot.policy.ttl_negative;
        let mut live = BTreeMap::new();
        for node in zone.names.nodes() {
            let owner = node.owner.filter(|owner| owner.steering().is_some());
            let changes = owner.is_some() || zone.names.is_apex(node);
            let link = fixed.chain.at(node).map(|(_, link)| link);
            let Some(link) = link.filter(|link| changes && link.node == node.number) else {
                continue;
            };
            let sets = fixed::live(snapshot, zone, node, pen);
            let groups = owner.map(|owner| steered::groups(snapshot, zone, node, owner, pen));
            let groups = groups.unwrap_or_default();
            let mut nsecs = Vec::new();
            if owner.is_some() {
                let mut types = fixed::types(snapshot, zone, node, &fixed.own);
                types.extend(sets.iter().map(|(kind, _)| *kind));
                let kinds = KINDS.into_iter().zip(&groups);
                types.extend(
                    kinds
                        .clone()
                        .filter(|(_, group)| group.answers())
                        .map(|(kind, _)| kind),
                );
                let partial = kinds.filter(|(_, group)| group.answers() && group.gaps);
                let lacking = std::iter::once(None).chain(partial.map(|(kind, _)| Some(kind)));
                nsecs.extend(lacking.map(|lacks| Nsec::new(pen, link, &types, lacks, ttl)));
            }
            live.insert(
                link.node,
                Live {
                    sets: sets.into(),
                    groups,
                    nsecs,
                },
            );
        }
        Self {
            fixed,
            live,
            negative_ttl: ttl,
        }
    }

    /// The data of the RRSIG records of an RRset that everybody gets alike; more than one only of
    /// DNSKEY, CDS and CDNSKEY.
    pub(crate) fn set(&self, node: &Node, record_type: RecordType) -> &[Rrsig] {
        self.set_of(node.number, record_type)
    }

    /// The same by the number of the node.
    pub(crate) fn set_of(&self, number: usize, record_type: RecordType) -> &[Rrsig] {
        let live = self.live.get(&number).map(|live| &live.sets);
        let fixed = self.fixed.sets.get(number);
        let sets = [live, fixed].into_iter().flatten();
        let mut sets = sets.flat_map(|sets| sets.iter());
        let found = sets.find(|(kind, _)| *kind == record_type);
        found.map_or(&[], |(_, rrsigs)| rrsigs)
    }

    /// That of the address records (A, AAAA) of a steered name, for relays in any order; a wildcard's
    /// holds for each name that it stands for.
    pub(crate) fn addresses(
        &self,
        node: &Node,
        record_type: RecordType,
        relays: &[u16],
    ) -> Option<&Rrsig> {
        self.addresses_of(node.number, record_type, relays)
    }

    /// The same by the number of the node.
    pub(crate) fn addresses_of(
        &self,
        number: usize,
        record_type: RecordType,
        relays: &[u16],
    ) -> Option<&Rrsig> {
        let groups = &self.live.get(&number)?.groups;
        groups[usize::from(record_type == RecordType::AAAA)].addresses(relays)
    }

    /// That of the SRV records of a service, for relays in this order.
    pub(crate) fn services(&self, node: &Node, choice: &Choice) -> Option<&Rrsig> {
        self.live.get(&node.number)?.groups[2].services(choice)
    }

    /// The NSEC record that begins at a node or, where it has none, before it. Of several that a
    /// node has, the one that says nothing of `lacking`.
    pub(crate) fn proof(&self, node: &Node, lacking: Option<RecordType>) -> Option<Proof<'_>> {
        self.proof_of(node.number, lacking)
    }

    /// The same by the number of the node.
    pub(crate) fn proof_of(&self, number: usize, lacking: Option<RecordType>) -> Option<Proof<'_>> {
        let (place, link) = self.fixed.chain.at_number(number)?;
        let own = link.node == number;
        let live = self.live.get(&link.node).map(|live| &live.nsecs[..]);
        let fitting = live.and_then(|nsecs| {
            let fits = |nsec: &&Nsec| own && lacking.is_some() && nsec.lacks == lacking;
            nsecs.iter().find(fits).or_else(|| nsecs.first())
        });
        let nsec = fitting.or_else(|| self.fixed.nsecs.get(place)?.as_ref())?;
        Some(Proof {
            owner: &link.owner,
            ttl: if link.steered { 0 } else { self.negative_ttl },
            data: &nsec.data,
            wire: &nsec.wire,
            below: &link.below,
            rrsig: nsec.rrsig.as_ref(),
        })
    }

    /// Whether the NSEC record that [`Self::proof`] finds is the node's own.
    pub(crate) fn has_proof(&self, node: &Node) -> bool {
        let link = self.fixed.chain.at(node);
        link.is_some_and(|(_, link)| link.node == node.number)
    }

    /// The zone's DNSKEY, CDS or CDNSKEY records.
    pub(crate) fn own(&self, record_type: RecordType) -> &[RData] {
        let mut own = self.fixed.own.iter();
        let found = own.find(|(kind, _)| *kind == record_type);
        found.map_or(&[], |(_, data)| data)
    }
}

/// An RRSIG record as the answer has it, from its data.
pub(crate) fn record(owner: &Name, ttl: u32, rrsig: &Rrsig) -> Option<Record> {
    let length = Restrict::new(u16::try_from(rrsig.len()).ok()?);
    let data = RData::read(&mut BinDecoder::new(rrsig), RecordType::RRSIG, length).ok()?;
    Some(Record::from_rdata(owner.clone(), ttl, data))
}
