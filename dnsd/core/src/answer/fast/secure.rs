//! What DNSSEC adds on the fast path: signatures, and proof of what is not there (RFC 4035
//! section 3.1). What appends records tells how many. The slow path's is `answer::secure`.

use hickory_proto::rr::RecordType;

use super::FastQuery;
use super::index::{Entry, IN, OWNER};
use crate::dnssec::{Proof, SignedZone};
use crate::inventory::ServedZone;
use crate::names::Key;
use crate::snapshot::Snapshot;

/// The number of a zone's apex, which is the first in canonical order.
const APEX: usize = 0;

/// A signed zone, and a question for a name in it.
#[derive(Clone, Copy)]
pub(super) struct Secure<'a> {
    zone: &'a ServedZone,
    signed: &'a SignedZone,
    query: &'a FastQuery<'a>,
    /// Length of the apex on the wire.
    apex: usize,
}

impl<'a> Secure<'a> {
    /// `None`: nothing is to be added.
    #[inline]
    pub(super) fn new(
        snapshot: &'a Snapshot,
        query: &'a FastQuery<'a>,
        entry: &Entry,
    ) -> Option<Self> {
        if !query.dnssec_ok {
            return None;
        }
        let zone = snapshot.zones.get(usize::from(entry.zone))?;
        Some(Self {
            zone,
            signed: snapshot.signatures.of(zone)?,
            query,
            apex: snapshot.index.apex_length(entry)?,
        })
    }

    /// Signs records that everybody gets alike, which have been appended from `begin` on.
    pub(super) fn sign_set(&self, entry: &Entry, begin: usize, out: &mut Vec<u8>) -> u16 {
        // Behind owner name, type and class.
        let Some(ttl) = out.get(begin + 6..begin + 10) else {
            return 0;
        };
        let ttl = ttl.try_into().map_or(0, u32::from_be_bytes);
        let mut added = 0;
        for rrsig in self.signed.set_of(entry.number, self.query.record_type) {
            rrsig_record(OWNER, ttl, rrsig, out);
            added += 1;
        }
        added
    }

    /// Signs the addresses of relays.
    pub(super) fn sign_addresses(
        &self,
        entry: &Entry,
        relays: &[u16],
        ttl: u32,
        out: &mut Vec<u8>,
    ) -> u16 {
        let kind = self.query.record_type;
        let Some(rrsig) = self.signed.addresses_of(entry.number, kind, relays) else {
            return 0;
        };
        rrsig_record(OWNER, ttl, rrsig, out);
        1
    }

    /// Signs the SOA record of an answer without records, whose owner name is at `apex`.
    pub(super) fn sign_soa(&self, apex: [u8; 2], ttl: u32, out: &mut Vec<u8>) -> u16 {
        let mut added = 0;
        for rrsig in self.signed.set_of(APEX, RecordType::SOA) {
            rrsig_record(apex, ttl, rrsig, out);
            added += 1;
        }
        added
    }

    /// Proves that a name has no record of the type that is asked for, and where a wildcard stands
    /// for it, and for `label` in it, that there is no other name. `None`: only the slow path can.
    pub(super) fn prove_lack(
        &self,
        entry: &Entry,
        label: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Option<u16> {
        let lack = self
            .signed
            .proof_of(entry.number, Some(self.query.record_type))?;
        let cover = match label {
            Some(label) => Some(self.cover_expanded(entry, label)?),
            None => None,
        };
        self.prove([Some(lack), cover], out)
    }

    /// Proves that nothing but a wildcard stands for the name, and for `label` in it.
    pub(super) fn prove_expanded(
        &self,
        wildcard: &Entry,
        label: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<u16> {
        let cover = self.cover_expanded(wildcard, label)?;
        self.prove([Some(cover), None], out)
    }

    /// Proves that the name is not there, and no wildcard below `above`, the nearest one that is.
    pub(super) fn prove_missing(&self, above: &[u8], out: &mut Vec<u8>) -> Option<u16> {
        let covers = [self.cover(None)?, self.cover(Some(above))?];
        self.prove(covers.map(Some), out)
    }

    /// The NSEC record before a name that a wildcard stands for. Labels are asked for as often as
    /// names: theirs is not searched for among all names.
    fn cover_expanded(&self, wildcard: &Entry, label: &[u8]) -> Option<Proof<'a>> {
        self.signed.proof_of(wildcard.before(label)?, None)
    }

    /// The NSEC record before the name asked for, or before the wildcard below another. `None`: only
    /// the slow path finds it, if there is one.
    fn cover(&self, wildcard_below: Option<&[u8]>) -> Option<Proof<'a>> {
        let name = wildcard_below.unwrap_or(self.query.name);
        let mut key = Key::new(name, self.apex)?;
        if wildcard_below.is_some() {
            key.push(b"*");
        }
        let before = self.zone.names.before(&key)?;
        self.signed.proof_of(before.number, None)
    }

    /// Appends proofs, each once.
    fn prove(&self, proofs: [Option<Proof<'a>>; 2], out: &mut Vec<u8>) -> Option<u16> {
        let [first, second] = proofs;
        let again = |other: &Proof<'_>| first.is_some_and(|first| first.owner == other.owner);
        let second = second.filter(|second| !again(second));
        let mut added = 0;
        for proof in [first, second].into_iter().flatten() {
            let (below, data) = (proof.below, proof.wire);
            let apex = super::apex_pointer(self.query.name, self.apex)?;
            out.extend_from_slice(below);
            let kind = u16::from(RecordType::NSEC);
            record(apex, kind, proof.ttl, data, out);
            added += 1;
            if let Some(rrsig) = proof.rrsig {
                out.extend_from_slice(below);
                rrsig_record(apex, proof.ttl, rrsig, out);
                added += 1;
            }
        }
        Some(added)
    }
}

fn rrsig_record(owner: [u8; 2], ttl: u32, rrsig: &[u8], out: &mut Vec<u8>) {
    record(owner, RecordType::RRSIG.into(), ttl, rrsig, out);
}

/// Appends a record. Its data has a few hundred bytes at the most.
fn record(owner: [u8; 2], kind: u16, ttl: u32, data: &[u8], out: &mut Vec<u8>) {
    let mut head = [0; 12];
    head[..2].copy_from_slice(&owner);
    head[2..4].copy_from_slice(&kind.to_be_bytes());
    head[4..6].copy_from_slice(&IN);
    head[6..10].copy_from_slice(&ttl.to_be_bytes());
    head[10..].copy_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(data);
}
