//! What records of one zone owe each other, whatever else the zone holds.

use std::collections::BTreeMap;

use hickory_proto::rr::{DNSClass, LowerName, Name, RecordType};

use super::text::Line;
use super::{RecordProblem, RrSet};
use crate::limits::{RECORD_TTL_MAX, RRSET_MAX};

/// The RRsets of the lines; what may not stand beside each other becomes problems.
pub(super) fn gather(
    lines: Vec<Line>,
    zone: &Name,
    problems: &mut Vec<RecordProblem>,
) -> Vec<RrSet> {
    let mut sets: Vec<RrSet> = Vec::new();
    let mut places: BTreeMap<(LowerName, RecordType), usize> = BTreeMap::new();
    for (line, record) in lines {
        let record_type = record.record_type();
        let wrong = if !zone.zone_of(&record.name) {
            Some("it lies in another zone".to_owned())
        } else if record.dns_class != DNSClass::IN {
            Some(format!("class {} is not served", record.dns_class))
        } else if record.ttl > RECORD_TTL_MAX {
            Some(format!("its TTL is above {RECORD_TTL_MAX} seconds"))
        } else {
            unfit(record_type, &record.name, zone).map(str::to_owned)
        };
        if let Some(wrong) = wrong {
            let message = format!("{} {record_type}: {wrong}", record.name);
            problems.push(RecordProblem { line, message });
            continue;
        }
        let key = (LowerName::from(&record.name), record_type);
        let place = *places.entry(key).or_insert(sets.len());
        if place == sets.len() {
            sets.push(RrSet {
                name: record.name,
                record_type,
                ttl: record.ttl,
                data: vec![record.data],
                line,
            });
            continue;
        }
        let set = &mut sets[place];
        let wrong = if set.data.contains(&record.data) {
            Some(format!("it is there already, from line {}", set.line))
        } else if set.ttl != record.ttl {
            // RFC 2181 section 5.2.
            Some(format!("its TTL is {} on line {}", set.ttl, set.line))
        } else if set.data.len() == RRSET_MAX {
            Some(format!("more than {RRSET_MAX} of one name and type"))
        } else {
            None
        };
        match wrong {
            None => set.data.push(record.data),
            Some(wrong) => {
                let message = format!("{} {record_type}: {wrong}", record.name);
                problems.push(RecordProblem { line, message });
            }
        }
    }
    aliases(&sets, problems);
    cuts(&sets, problems);
    sets
}

/// Why a record of this type may not have this owner.
fn unfit(record_type: RecordType, name: &Name, zone: &Name) -> Option<&'static str> {
    let apex = LowerName::from(name) == LowerName::from(zone);
    match record_type {
        RecordType::SOA => Some("the nameserver makes the SOA record itself"),
        RecordType::NS if apex => Some("the zone's nameservers stand in the configuration"),
        RecordType::NS if name.is_wildcard() => Some("a wildcard cannot be delegated"),
        RecordType::DS if apex => Some("it belongs into the zone above"),
        RecordType::CNAME if apex => Some("an apex cannot be an alias (RFC 1912 section 2.4)"),
        RecordType::ANAME => Some("no standard type"),
        _ => None,
    }
}

/// An alias is the only record of its name (RFC 1034 section 3.6.2), and one.
fn aliases(sets: &[RrSet], problems: &mut Vec<RecordProblem>) {
    let others = sets
        .iter()
        .filter(|set| set.record_type != RecordType::CNAME);
    // The first of each name is the last to be put in.
    let others = others.rev().map(|set| (LowerName::from(&set.name), set));
    let others: BTreeMap<LowerName, &RrSet> = others.collect();
    let aliases = sets
        .iter()
        .filter(|set| set.record_type == RecordType::CNAME);
    for alias in aliases {
        let wrong = if alias.data.len() > 1 {
            "an alias has one target".to_owned()
        } else if let Some(other) = others.get(&LowerName::from(&alias.name)) {
            format!(
                "an alias has no other records, and {} is on line {}",
                other.record_type, other.line
            )
        } else {
            continue;
        };
        problems.push(RecordProblem {
            line: alias.line,
            message: format!("{} CNAME: {wrong}", alias.name),
        });
    }
}

/// At and below a delegation nothing is served but the addresses of its nameservers, and at it what
/// says whether it is signed.
fn cuts(sets: &[RrSet], problems: &mut Vec<RecordProblem>) {
    let cuts = sets.iter().filter(|set| set.record_type == RecordType::NS);
    let cuts: BTreeMap<LowerName, &RrSet> =
        cuts.map(|cut| (LowerName::from(&cut.name), cut)).collect();
    let plain = |set: &&RrSet| !matches!(set.record_type, RecordType::A | RecordType::AAAA);
    for set in sets.iter().filter(plain) {
        let own = LowerName::from(&set.name);
        let at_cut = matches!(set.record_type, RecordType::NS | RecordType::DS);
        if set.record_type == RecordType::DS && !cuts.contains_key(&own) {
            problems.push(RecordProblem {
                line: set.line,
                message: format!(
                    "{} DS: nothing is delegated there (RFC 4035 section 2.4)",
                    set.name
                ),
            });
        }
        let above = std::iter::successors(Some(own.clone()), |name| {
            (!name.is_root()).then(|| name.base_name())
        });
        let hidden = above
            .filter(|name| *name != own || !at_cut)
            .find_map(|name| cuts.get(&name));
        if let Some(cut) = hidden {
            problems.push(RecordProblem {
                line: set.line,
                message: format!(
                    "{} {}: it lies in {}, which line {} delegates",
                    set.name, set.record_type, cut.name, cut.line
                ),
            });
        }
    }
}
