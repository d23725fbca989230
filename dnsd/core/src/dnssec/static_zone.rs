//! A zone as secondaries get it: each name with one answer for everybody, signed as it stands.

use std::collections::BTreeMap;

use credentials::UnixTime;
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::chain::lanes;
use super::fixed::{own, shown};
use super::keys::Keys;
use super::pen::{Cache, Pen, Rrsig};
use super::{KEY_TTL, rrsig_record};
use crate::snapshot::Snapshot;

/// The records of one name, by type.
type Sets = BTreeMap<RecordType, Vec<Record>>;

impl Snapshot {
    /// What makes a signed zone of records: DNSKEY, CDS and CDNSKEY, NSEC, and a signature for each
    /// RRset, whose Original TTL is that of its records. `records` are all that the zone is to hold,
    /// with glue and SOA, and RRsets of one TTL each. Nothing where the zone is not served here or has
    /// no keys.
    pub fn signing_records(
        &self,
        apex: &Name,
        records: &[Record],
        keys: &Keys,
        cache: &mut Cache,
        now: UnixTime,
    ) -> Vec<Record> {
        let mut zones = self.zones.iter();
        let zone = zones.find(|zone| zone.names.apex() == apex);
        let Some((zone, own_keys)) = zone.zip(keys.of(apex)) else {
            return Vec::new();
        };
        let mut pen = Pen {
            zone: zone.names.apex(),
            keys: own_keys,
            now,
            cache,
        };
        let mut names: BTreeMap<Name, Sets> = BTreeMap::new();
        for record in records {
            let sets = names.entry(record.name.to_lowercase()).or_default();
            let set = sets.entry(record.record_type()).or_default();
            set.push(record.clone());
        }
        let mut added = Vec::new();
        let own = own(&pen);
        for (kind, data) in &own {
            added.extend(
                data.iter()
                    .map(|data| Record::from_rdata(apex.clone(), KEY_TTL, data.clone())),
            );
            add(apex, KEY_TTL, &shown(&mut pen, *kind, data), &mut added);
        }
        let is_cut = |name: &Name, sets: &Sets| name != apex && sets.contains_key(&RecordType::NS);
        let cuts: Vec<Name> = names
            .iter()
            .filter(|(name, sets)| is_cut(name, sets))
            .map(|(name, _)| name.clone())
            .collect();
        // Neither what lies below a delegation is ours, nor what lies elsewhere.
        names.retain(|name, _| {
            apex.zone_of(name) && !cuts.iter().any(|cut| cut != name && cut.zone_of(name))
        });
        let lanes: Vec<Name> = lanes(zone);
        let owners: Vec<Name> = names.keys().cloned().collect();
        let nexts = owners.iter().cycle().skip(1);
        for ((name, sets), next) in names.into_iter().zip(nexts) {
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
            let ttl = if kept { self.policy.ttl_negative } else { 0 };
            let nsec = NSEC::new_cover_self(next.clone(), types);
            let nsec = RData::DNSSEC(DNSSECRData::NSEC(nsec));
            let rrsig = pen.sign_set(&name, RecordType::NSEC, ttl, std::slice::from_ref(&nsec));
            added.push(Record::from_rdata(name.clone(), ttl, nsec));
            add(&name, ttl, rrsig.as_slice(), &mut added);
        }
        added
    }
}

fn add(owner: &Name, ttl: u32, rrsigs: &[Rrsig], added: &mut Vec<Record>) {
    let records = rrsigs.iter();
    added.extend(records.filter_map(|rrsig| rrsig_record(owner, ttl, rrsig)));
}
