//! A slow and obvious judge of signed answers, as a validating resolver is one; what was signed is
//! put together by the library and not by our own code.

use std::collections::BTreeMap;
use std::sync::Arc;

use credentials::UnixTime;
use dnsd_core::answer::Answer;
use dnsd_core::dnssec::{Key, Keys, Signer, Timing, ZoneKeys};
use hickory_proto::dnssec::TBS;
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC, RRSIG};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::name;

/// A signer whose signature is a hash, so that whoever knows its number can check it.
#[derive(Debug)]
pub struct Stamp(pub u8);

impl Signer for Stamp {
    fn public_key(&self) -> [u8; 64] {
        [self.0; 64]
    }

    fn sign(&self, data: &[u8]) -> Option<[u8; 64]> {
        Some(stamp(self.0, data))
    }
}

fn stamp(number: u8, data: &[u8]) -> [u8; 64] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(number);
    for byte in data {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let mut signature = [0; 64];
    for (at, byte) in signature.iter_mut().enumerate() {
        *byte = (hash.rotate_left(at as u32) & 0xff) as u8;
    }
    signature
}

/// A key that signs from `now` on.
pub fn key(number: u8, now: UnixTime) -> Key {
    Key::new(Arc::new(Stamp(number)), Timing::at_once(now))
}

/// One key for each zone, numbered from 1.
pub fn zone_keys(zones: &[&str], now: UnixTime) -> Arc<Keys> {
    let mut keys = Keys::default();
    for (number, zone) in (1..).zip(zones) {
        let own = ZoneKeys::new(vec![key(number, now)], now).unwrap();
        keys.insert(&name(zone), own);
    }
    Arc::new(keys)
}

/// Judges answers of zones whose only keys have these numbers.
pub struct Judge<'a> {
    /// Signed zones with the numbers of the keys that may sign.
    pub zones: &'a [(&'a str, &'a [u8])],
    /// Zones that are not signed.
    pub unsigned: &'a [&'a str],
    pub now: UnixTime,
}

type Sets<'a> = BTreeMap<(Name, RecordType), Vec<&'a Record>>;

fn sets(records: &[Record]) -> Sets<'_> {
    let mut sets = Sets::new();
    for record in records {
        let key = (record.name.to_lowercase(), record.record_type());
        if key.1 != RecordType::RRSIG {
            sets.entry(key).or_default().push(record);
        }
    }
    sets
}

fn rrsig(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig),
        _ => None,
    }
}

fn nsecs(answer: &Answer) -> Vec<(&Name, &NSEC)> {
    let authorities = answer.authorities.iter();
    authorities
        .filter_map(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::NSEC(nsec)) => Some((&record.name, nsec)),
            _ => None,
        })
        .collect()
}

fn covers((owner, nsec): &(&Name, &NSEC), name: &Name) -> bool {
    let next = nsec.next_domain_name();
    *owner < name && (name < next || next <= *owner)
}

impl Judge<'_> {
    /// The deepest zone that a name lies in, with its keys; `None`: another's, or not signed.
    fn zone(&self, of: &Name) -> Option<(Name, &[u8])> {
        let signed = self
            .zones
            .iter()
            .map(|(zone, keys)| (name(zone), Some(*keys)));
        let unsigned = self.unsigned.iter().map(|zone| (name(zone), None));
        let all = signed.chain(unsigned).filter(|(zone, _)| zone.zone_of(of));
        let (zone, keys) = all.max_by_key(|(zone, _)| zone.num_labels())?;
        Some((zone, keys?))
    }

    /// Judges one RRset; tells whether a wildcard stood for its name.
    fn set(&self, set: &[&Record], section: &[Record]) -> Result<bool, String> {
        let (owner, kind) = (&set[0].name, set[0].record_type());
        // These stand above a delegation.
        let above = match &set[0].data {
            RData::DNSSEC(DNSSECRData::NSEC(nsec)) => {
                let has = |kind| nsec.type_set().iter().any(|one| one == kind);
                has(RecordType::NS) && !has(RecordType::SOA)
            }
            _ => kind == RecordType::DS,
        };
        let of = if above {
            owner.base_name()
        } else {
            owner.clone()
        };
        let Some((zone, keys)) = self.zone(&of) else {
            return Ok(false);
        };
        let mut signatures = section
            .iter()
            .filter(|record| record.name == *owner)
            .filter_map(|record| Some((record, rrsig(record)?)))
            .filter(|(_, rrsig)| rrsig.input().type_covered == kind)
            .peekable();
        if signatures.peek().is_none() {
            return Err(format!("{owner} {kind} has no signature"));
        }
        let mut expanded = false;
        for (record, rrsig) in signatures {
            let input = rrsig.input();
            let same = set.iter().all(|one| one.ttl == record.ttl);
            if !same || record.ttl > input.original_ttl {
                return Err(format!(
                    "{owner} {kind}: TTLs {} {}",
                    record.ttl, input.original_ttl
                ));
            }
            let now = u32::try_from(self.now.0).unwrap();
            if input.sig_inception.get() > now || input.sig_expiration.get() < now {
                return Err(format!("{owner} {kind}: not good now"));
            }
            if input.signer_name != zone {
                return Err(format!("{owner} {kind}: signed by {}", input.signer_name));
            }
            let records = set.iter().copied();
            let tbs = TBS::from_input(owner, DNSClass::IN, input, records).unwrap();
            let fits = |number: &&u8| rrsig.sig() == stamp(**number, tbs.as_ref());
            let by = keys.iter().find(fits);
            let by = by.ok_or_else(|| format!("{owner} {kind}: a wrong signature"))?;
            assert_eq!(key(*by, self.now).tag(), input.key_tag);
            expanded |= input.num_labels < owner.num_labels();
        }
        Ok(expanded)
    }

    /// Whether an answer to a question proves what it says.
    pub fn judge(&self, asked: &Name, kind: RecordType, answer: &Answer) -> Result<(), String> {
        let nsecs = nsecs(answer);
        for ((owner, kind), set) in sets(&answer.answers) {
            let expanded = self.set(&set, &answer.answers)?;
            if expanded && !nsecs.iter().any(|nsec| covers(nsec, &owner)) {
                return Err(format!(
                    "{owner} {kind}: nothing tells that it is not there itself"
                ));
            }
        }
        let referral = !answer.authoritative || {
            let mut authorities = answer.authorities.iter();
            authorities.any(|record| record.record_type() == RecordType::NS)
        };
        for ((owner, kind), set) in sets(&answer.authorities) {
            let delegates = kind == RecordType::NS && referral;
            if !delegates && self.set(&set, &answer.authorities)? {
                return Err(format!("{owner} {kind}: a wildcard's"));
            }
            if delegates && self.zone(&owner).is_some() {
                let signed = answer
                    .authorities
                    .iter()
                    .any(|record| record.record_type() == RecordType::DS && record.name == owner);
                let unsigned = nsecs.iter().any(|(name, nsec)| {
                    let has = |kind| nsec.type_set().iter().any(|one| one == kind);
                    **name == owner && has(RecordType::NS) && !has(RecordType::DS)
                });
                if signed == unsigned {
                    return Err(format!("{owner}: signed or not?"));
                }
            }
        }
        if !referral {
            for set in sets(&answer.additionals).into_values() {
                self.set(&set, &answer.additionals)?;
            }
        }
        let mut last = asked.clone();
        for record in &answer.answers {
            if let RData::CNAME(target) = &record.data
                && record.name == last
                && kind != RecordType::CNAME
            {
                last = target.0.clone();
            }
        }
        let has_soa = answer
            .authorities
            .iter()
            .any(|record| record.record_type() == RecordType::SOA);
        let of = if kind == RecordType::DS {
            last.base_name()
        } else {
            last.clone()
        };
        if has_soa && self.zone(&of).is_some() {
            nothing(&last, kind, answer.rcode, &nsecs)?;
        }
        Ok(())
    }
}

/// Whether NSEC records prove that a name, or a type of it, is not there.
fn nothing(
    name: &Name,
    kind: RecordType,
    rcode: ResponseCode,
    nsecs: &[(&Name, &NSEC)],
) -> Result<(), String> {
    let has = |nsec: &NSEC, kind| nsec.type_set().iter().any(|one| one == kind);
    let lacks = |nsec: &NSEC| !has(nsec, kind) && !has(nsec, RecordType::CNAME);
    let exact = nsecs.iter().find(|(owner, _)| *owner == name);
    if let Some((_, nsec)) = exact {
        let right = rcode == ResponseCode::NoError && lacks(nsec);
        return right
            .then_some(())
            .ok_or_else(|| format!("{name} {kind}: {nsec:?}"));
    }
    let cover = nsecs.iter().find(|nsec| covers(nsec, name));
    let (owner, nsec) = cover.ok_or_else(|| format!("{name}: not proved to be missing"))?;
    let next = nsec.next_domain_name();
    if name.zone_of(next) {
        // Others lie below it.
        let right = rcode == ResponseCode::NoError;
        return right
            .then_some(())
            .ok_or_else(|| format!("{name} is there"));
    }
    let above = std::iter::successors(Some(name.base_name()), |name| Some(name.base_name()));
    let mut above = above.take(usize::from(name.num_labels()) + 1);
    let encloser = above.find(|above| above.zone_of(owner) || above.zone_of(next));
    let star = Name::from_ascii("*")
        .unwrap()
        .append_domain(&encloser.unwrap())
        .unwrap();
    if rcode == ResponseCode::NXDomain {
        let gone = nsecs.iter().any(|nsec| covers(nsec, &star));
        return gone
            .then_some(())
            .ok_or_else(|| format!("{star}: not proved to be missing"));
    }
    let wild = nsecs
        .iter()
        .any(|(owner, nsec)| **owner == star && lacks(nsec));
    wild.then_some(())
        .ok_or_else(|| format!("{star} {kind}: not proved to be missing"))
}
