//! What DNSSEC adds to an answer: signatures, and proof of what is not there (RFC 4035 section 3.1).

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::locate::{End, Located};
use super::{Answer, Asked};
use crate::dnssec::{KEY_TTL, Proof, SignedZone, rrsig_record};
use crate::inventory::ServedZone;
use crate::names::Node;
use crate::snapshot::Snapshot;
use crate::steer::Choice;

/// The records of DNSSEC itself at a node, as for any other type that is asked for; none where the
/// zone is not signed. Of signatures only that of the NSEC record is told (RFC 8482 section 4.1).
pub(super) fn records(snapshot: &Snapshot, asked: &Asked<'_>, kind: RecordType) -> Answer {
    let Some(signed) = snapshot.signatures.of(asked.zone) else {
        return Answer::found(Vec::new());
    };
    let Asked { zone, node, name } = *asked;
    let own = || {
        let proof = signed.has_proof(node).then(|| signed.proof(node, None));
        proof.flatten()
    };
    let records = match kind {
        RecordType::NSEC => own().map(|proof| nsec(&proof, name)).into_iter().collect(),
        RecordType::RRSIG => own()
            .and_then(|proof| rrsig_record(name, proof.ttl, proof.rrsig?))
            .into_iter()
            .collect(),
        _ if zone.names.is_apex(node) => {
            let record = |data: &RData| Record::from_rdata(name.clone(), KEY_TTL, data.clone());
            signed.own(kind).iter().map(record).collect()
        }
        _ => Vec::new(),
    };
    Answer::found(records)
}

/// Puts the aliases in front of an answer, and adds signatures and proofs.
pub(super) fn complete(
    snapshot: &Snapshot,
    record_type: RecordType,
    located: &Located<'_>,
    choice: Option<&Choice>,
    answer: &mut Answer,
) {
    let mut aliases = Vec::new();
    let mut proofs = Vec::new();
    // First, because of several NSEC records of one name only the one that this wants will do.
    end(snapshot, record_type, located, choice, answer, &mut proofs);
    for alias in &located.aliases {
        let (owner, ttl) = (&alias.record.name, alias.record.ttl);
        aliases.push(alias.record.clone());
        if let Some(signed) = snapshot.signatures.of(alias.zone) {
            let rrsigs = signatures(signed, alias.node, RecordType::CNAME, owner, ttl);
            aliases.extend(rrsigs);
            if alias.expanded {
                expanded(signed, alias.zone, owner, &mut proofs);
            }
        }
    }
    answer.answers.splice(0..0, aliases);
    answer.authorities.extend(proofs);
}

fn end(
    snapshot: &Snapshot,
    record_type: RecordType,
    located: &Located<'_>,
    choice: Option<&Choice>,
    answer: &mut Answer,
    proofs: &mut Vec<Record>,
) {
    let name = located.name;
    match located.end {
        End::Outside => {}
        End::Missing(zone) => {
            if let Some(signed) = snapshot.signatures.of(zone) {
                sign_soa(signed, zone, answer);
                // That the name is not there, and no wildcard that would stand for it.
                for node in zone.names.around(name).into_iter().flatten() {
                    prove(signed.proof(node, None), proofs);
                }
            }
        }
        End::Cut(zone, node) => {
            if let Some(signed) = snapshot.signatures.of(zone) {
                delegated(signed, node, proofs);
            }
        }
        End::Node { zone, node, label } => {
            let Some(signed) = snapshot.signatures.of(zone) else {
                return;
            };
            if label.is_some() && choice.is_some() {
                // A resolver that kept them would answer other labels with them (RFC 8198
                // section 5.3): what proves that it may do so comes with each label.
                answer.answers.iter_mut().for_each(|record| record.ttl = 0);
            }
            if let Some(first) = answer.answers.first() {
                let (kind, ttl) = (first.record_type(), first.ttl);
                let rrsigs = match choice {
                    Some(choice) => steered(signed, node, kind, choice),
                    None if kind == RecordType::NSEC => {
                        signed.proof(node, None).and_then(|proof| proof.rrsig)
                    }
                    None => None,
                };
                let one = rrsigs.and_then(|rrsig| rrsig_record(name, ttl, rrsig));
                let alike = signatures(signed, node, kind, name, ttl);
                answer.answers.extend(one.into_iter().chain(alike));
                sign_glue(snapshot, answer);
            } else {
                sign_soa(signed, zone, answer);
                prove(signed.proof(node, Some(record_type)), proofs);
            }
            if label.is_some() {
                expanded(signed, zone, name, proofs);
            }
        }
    }
}

fn steered<'a>(
    signed: &'a SignedZone,
    node: &Node,
    kind: RecordType,
    choice: &Choice,
) -> Option<&'a std::sync::Arc<[u8]>> {
    match kind {
        RecordType::A => signed.addresses(node, kind, &choice.ipv4),
        RecordType::AAAA => signed.addresses(node, kind, &choice.ipv6),
        _ => signed.services(node, choice),
    }
}

/// The signatures of records that everybody gets alike.
fn signatures<'a>(
    signed: &'a SignedZone,
    node: &Node,
    kind: RecordType,
    owner: &'a Name,
    ttl: u32,
) -> impl Iterator<Item = Record> + 'a {
    let rrsigs = signed.set(node, kind).iter();
    rrsigs.filter_map(move |rrsig| rrsig_record(owner, ttl, rrsig))
}

fn sign_soa(signed: &SignedZone, zone: &ServedZone, answer: &mut Answer) {
    let apex = zone.names.apex();
    let ttl = answer.authorities.first().map_or(0, |soa| soa.ttl);
    if let Some(node) = zone.names.get(apex) {
        let rrsigs = signatures(signed, node, RecordType::SOA, apex, ttl);
        answer.authorities.extend(rrsigs);
    }
}

/// The signatures of the nameservers' addresses, behind each.
fn sign_glue(snapshot: &Snapshot, answer: &mut Answer) {
    let glue = std::mem::take(&mut answer.additionals);
    for record in glue {
        let (kind, ttl) = (record.record_type(), record.ttl);
        let zone = snapshot.zone_of(&record.name);
        let signed = zone.and_then(|zone| snapshot.signatures.of(zone));
        let node = zone.and_then(|zone| zone.names.get(&record.name));
        let rrsigs = signed.zip(node).map(|(signed, node)| {
            signatures(signed, node, kind, &record.name, ttl).collect::<Vec<_>>()
        });
        answer.additionals.push(record);
        answer.additionals.extend(rrsigs.into_iter().flatten());
    }
}

/// Whether a delegated zone is signed: its DS records, or proof that it has none (RFC 4035
/// section 3.1.4).
fn delegated(signed: &SignedZone, cut: &Node, proofs: &mut Vec<Record>) {
    if let Some(set) = cut.set(RecordType::DS) {
        let record = |data: &RData| Record::from_rdata(set.name.clone(), set.ttl, data.clone());
        proofs.extend(set.data.iter().map(record));
        proofs.extend(signatures(signed, cut, RecordType::DS, &set.name, set.ttl));
    } else {
        prove(signed.proof(cut, None), proofs);
    }
}

/// Proof that nothing but the wildcard stands for a name (RFC 4035 section 3.1.3.3).
fn expanded(signed: &SignedZone, zone: &ServedZone, name: &Name, proofs: &mut Vec<Record>) {
    let [before, _] = zone.names.around(name);
    prove(before.and_then(|node| signed.proof(node, None)), proofs);
}

fn nsec(proof: &Proof<'_>, owner: &Name) -> Record {
    let data = RData::DNSSEC(DNSSECRData::NSEC(proof.data.clone()));
    Record::from_rdata(owner.clone(), proof.ttl, data)
}

/// Adds an NSEC record with its signature, unless there is one of its name already.
fn prove(proof: Option<Proof<'_>>, proofs: &mut Vec<Record>) {
    let Some(proof) = proof else { return };
    if !proofs.iter().any(|known| known.name == *proof.owner) {
        proofs.push(nsec(&proof, proof.owner));
        let rrsig = proof.rrsig;
        proofs.extend(rrsig.and_then(|rrsig| rrsig_record(proof.owner, proof.ttl, rrsig)));
    }
}
