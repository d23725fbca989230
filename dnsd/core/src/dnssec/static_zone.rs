//! A zone as secondaries get it: each name with one answer for everybody, signed as it stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use credentials::UnixTime;
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::chain::lanes;
use super::fixed::{own, shown};
use super::keys::Keys;
use super::pen::{Cache, Pen, Rrsig};
use super::{KEY_TTL, rrsig_record, window};
use crate::inventory::ServedZone;
use crate::snapshot::Snapshot;

/// The records of one name, by type.
type Sets = BTreeMap<RecordType, Vec<Record>>;

/// With what zones are signed, and when.
pub(crate) struct Signing<'a> {
    pub(crate) keys: &'a Arc<Keys>,
    pub(crate) cache: &'a mut Cache,
    pub(crate) now: UnixTime,
}

impl Signing<'_> {
    /// What signatures are made by and for when, as a number: those who say the same sign alike. 0
    /// where nothing is signed.
    pub(crate) fn mark(&self) -> u64 {
        window::mark(self.keys, self.now)
    }

    /// What makes a signed zone of records: DNSKEY, CDS and CDNSKEY, NSEC, and a signature for each
    /// RRset, whose Original TTL is that of its records. `records` are all that the zone is to hold,
    /// with glue and SOA, and RRsets of one TTL each. Nothing where the zone has no keys; `None` if
    /// a signature could not be made.
    pub(crate) fn records(
        &mut self,
        snapshot: &Snapshot,
        zone: &ServedZone,
        records: impl Iterator<Item = Record>,
    ) -> Option<Vec<Record>> {
        let apex = zone.names.apex();
        let Some(keys) = self.keys.of(apex) else {
            return Some(Vec::new());
        };
        let failed = self.cache.failed();
        let mut pen = Pen {
            zone: apex,
            keys,
            now: self.now,
            cache: self.cache,
        };
        let added = sign(snapshot, zone, names(records), &mut pen);
        (self.cache.failed() == failed).then_some(added)
    }
}

/// The RRsets of each name.
fn names(records: impl Iterator<Item = Record>) -> BTreeMap<Name, Sets> {
    let mut names: BTreeMap<Name, Sets> = BTreeMap::new();
    for record in records {
        let sets = names.entry(record.name.to_lowercase()).or_default();
        sets.entry(record.record_type()).or_default().push(record);
    }
    names
}

fn sign(
    snapshot: &Snapshot,
    zone: &ServedZone,
    mut names: BTreeMap<Name, Sets>,
    pen: &mut Pen<'_>,
) -> Vec<Record> {
    let apex = &zone.names.apex().to_lowercase();
    let mut added = Vec::new();
    let own = own(pen);
    for (kind, data) in &own {
        let record = |data: &RData| Record::from_rdata(apex.clone(), KEY_TTL, data.clone());
        added.extend(data.iter().map(record));
        add(apex, KEY_TTL, &shown(pen, *kind, data), &mut added);
    }
    let is_cut = |name: &Name, sets: &Sets| name != apex && sets.contains_key(&RecordType::NS);
    let mut cut: Option<Name> = None;
    // Neither what lies below a delegation is ours, nor what lies elsewhere. In canonical order
    // all that lies below a name comes right after it.
    names.retain(|name, sets| {
        let hidden = cut.as_ref().is_some_and(|cut| cut.zone_of(name));
        if !hidden {
            cut = is_cut(name, sets).then(|| name.clone());
        }
        !hidden && apex.zone_of(name)
    });
    let lanes: Vec<Name> = lanes(zone);
    let owners: Vec<Name> = names.keys().cloned().collect();
    let nexts = owners.iter().cycle().skip(1);
    for ((name, sets), next) in names.into_iter().zip(nexts) {
        pen.cache.pause();
        let cut = is_cut(&name, &sets);
        let mut types: Vec<RecordType> = sets
            .keys()
            .copied()
            .filter(|kind| !cut || matches!(kind, RecordType::NS | RecordType::DS))
            .collect();
        let ours = sets
            .iter()
            .filter(|(kind, _)| !cut || **kind == RecordType::DS);
        for (kind, set) in ours {
            let ttl = set.first().map_or(0, |record| record.ttl);
            let data: Vec<RData> = set.iter().map(|record| record.data.clone()).collect();
            let rrsig = pen.sign_set(&name, *kind, ttl, &data);
            add(&name, ttl, rrsig.as_slice(), &mut added);
        }
        if name == *apex {
            types.extend(own.iter().map(|(kind, _)| *kind));
        }
        let kept = !lanes.iter().any(|lane| lane.zone_of(&name));
        let ttl = if kept {
            snapshot.policy.ttl_negative
        } else {
            0
        };
        let nsec = NSEC::new_cover_self(next.clone(), types);
        let nsec = RData::DNSSEC(DNSSECRData::NSEC(nsec));
        let rrsig = pen.sign_set(&name, RecordType::NSEC, ttl, std::slice::from_ref(&nsec));
        added.push(Record::from_rdata(name.clone(), ttl, nsec));
        add(&name, ttl, rrsig.as_slice(), &mut added);
    }
    added
}

fn add(owner: &Name, ttl: u32, rrsigs: &[Rrsig], added: &mut Vec<Record>) {
    let records = rrsigs.iter();
    added.extend(records.filter_map(|rrsig| rrsig_record(owner, ttl, rrsig)));
}
