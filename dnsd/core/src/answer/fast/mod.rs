//! The same answers on the fast path: a name in wire form in, records in wire form out, without an
//! allocation. What is out of the ordinary is left to [`answer`](super::answer()), whose
//! answers these are.

mod index;
mod secure;

use std::net::IpAddr;

use credentials::UnixTime;
use credentials::label::LabelKeys;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};
use ipnet::IpNet;

use super::client::Client;
use super::resolve::steer;
use super::{Complaint, ExtendedError, Steered};
use crate::snapshot::Snapshot;

pub(crate) use index::Index;
use index::{Entry, Found, OWNER, encode_data};
use secure::Secure;

/// A question of class IN, as it came.
#[derive(Clone, Copy, Debug)]
pub struct FastQuery<'a> {
    /// The name asked for on the wire: labels without compression, in lower case, with the root.
    pub name: &'a [u8],
    /// The type asked for.
    pub record_type: RecordType,
    /// Who asked.
    pub client: IpAddr,
    /// On behalf of which network (RFC 7871).
    pub subnet: Option<IpNet>,
    /// Whether records of DNSSEC are wanted besides (RFC 3225).
    pub dnssec_ok: bool,
}

/// What there is to an answer besides its records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FastAnswer {
    /// The response code. The AA flag is set in every such answer.
    pub rcode: ResponseCode,
    /// How many records of the answer section come first.
    pub answers: u16,
    /// How many of the authority section come behind them.
    pub authorities: u16,
    /// As in [`Answer`](super::Answer).
    pub scope: u8,
    /// As in [`Answer`](super::Answer).
    pub complaint: Option<Complaint>,
    /// As in [`Answer`](super::Answer).
    pub steered: Option<Steered>,
    /// As in [`Answer`](super::Answer).
    pub error: Option<ExtendedError>,
}

impl FastAnswer {
    fn found(answers: u16) -> Self {
        Self {
            rcode: ResponseCode::NoError,
            answers,
            authorities: 0,
            scope: 0,
            complaint: None,
            steered: None,
            error: None,
        }
    }
}

/// Appends the records of an answer to `out`, for a message that has the question behind its
/// header: owner names are pointers to it (RFC 1035 section 4.1.4), and so keep its case. `None`,
/// with nothing appended: the slow path has to be taken.
#[inline]
pub fn fast(
    snapshot: &Snapshot,
    keys: &LabelKeys,
    now: UnixTime,
    query: &FastQuery<'_>,
    out: &mut Vec<u8>,
) -> Option<FastAnswer> {
    // Refused or sent whole, whatever the name.
    if matches!(query.record_type, RecordType::AXFR | RecordType::IXFR) {
        return None;
    }
    let (entry, label) = match snapshot.index.find(query.name)? {
        Found::Name(entry) => (entry, None),
        Found::Wildcard(entry, label) => (entry, Some(label)),
        Found::Missing(entry, above) => return missing(snapshot, entry, above, query, out),
    };
    if entry.apart {
        return None;
    }
    let asked = Asked {
        snapshot,
        entry,
        query,
        label,
        secure: Secure::new(snapshot, query, entry),
    };
    let begin = out.len();
    if let Some((count, records)) = snapshot.index.set(entry, query.record_type) {
        out.extend_from_slice(records);
        let secure = asked.secure.as_ref();
        let signatures = secure.map_or(0, |secure| secure.sign_set(entry, begin, out));
        return Some(FastAnswer {
            authorities: asked.prove_expanded(out)?,
            ..FastAnswer::found(count + signatures)
        });
    }
    let v6 = match query.record_type {
        RecordType::A => false,
        RecordType::AAAA => true,
        other if is_plain(other) => return asked.negative(out),
        _ => return None,
    };
    let Some(owner) = entry.owner.filter(|owner| owner.steers(query.record_type)) else {
        return asked.negative(out);
    };
    let client = Client::new(&snapshot.places, query.client, query.subnet);
    let steering = steer(snapshot, keys, now, &client, owner, label);
    let steering = steering.as_ref()?;
    let choice = steering.choice();
    let relays = if v6 { &choice.ipv6 } else { &choice.ipv4 };
    // Kept, they would be the answer to other labels (RFC 8198 section 5.3).
    let ttl = match (&asked.secure, label) {
        (Some(_), Some(_)) => 0,
        _ => steering.ttl,
    };
    let count = addresses(snapshot, relays, ttl, v6, out);
    let steered = steering.counted(query.record_type);
    if count == 0 {
        return asked.negative(out).map(|answer| FastAnswer {
            scope: steering.scope,
            steered,
            ..answer
        });
    }
    let secure = asked.secure.as_ref();
    let signatures = secure.map_or(0, |secure| secure.sign_addresses(entry, relays, ttl, out));
    Some(FastAnswer {
        authorities: asked.prove_expanded(out)?,
        scope: steering.scope,
        complaint: steering.complaint,
        steered,
        error: steering.is_stale().then_some(ExtendedError::Stale),
        ..FastAnswer::found(count + signatures)
    })
}

/// A name that is there, and what is asked about it.
struct Asked<'a> {
    snapshot: &'a Snapshot,
    entry: &'a Entry,
    query: &'a FastQuery<'a>,
    /// What a wildcard stands for, if one does.
    label: Option<&'a [u8]>,
    /// What has to be added, if anything has.
    secure: Option<Secure<'a>>,
}

impl Asked<'_> {
    /// Adds to an answer with records what there is to prove, and tells how many records that is.
    fn prove_expanded(&self, out: &mut Vec<u8>) -> Option<u16> {
        match (&self.secure, self.label) {
            (Some(secure), Some(label)) => secure.prove_expanded(self.entry, label, out),
            _ => Some(0),
        }
    }

    /// An answer that there is no record of the type.
    fn negative(&self, out: &mut Vec<u8>) -> Option<FastAnswer> {
        let mut answer = soa(
            self.snapshot,
            self.entry,
            self.query,
            self.secure.as_ref(),
            out,
        )?;
        if let Some(secure) = &self.secure {
            answer.authorities += secure.prove_lack(self.entry, self.label, out)?;
        }
        Some(answer)
    }
}

/// An answer that there is no such name: `entry`, whose name on the wire is `above`, is the nearest.
fn missing(
    snapshot: &Snapshot,
    entry: &Entry,
    above: &[u8],
    query: &FastQuery<'_>,
    out: &mut Vec<u8>,
) -> Option<FastAnswer> {
    if entry.apart {
        return None;
    }
    let secure = Secure::new(snapshot, query, entry);
    let mut answer = soa(snapshot, entry, query, secure.as_ref(), out)?;
    if let Some(secure) = &secure {
        answer.authorities += secure.prove_missing(above, out)?;
    }
    Some(FastAnswer {
        rcode: ResponseCode::NXDomain,
        ..answer
    })
}

/// Whether a type has no rules of its own and is in no name but by the zone's file.
fn is_plain(record_type: RecordType) -> bool {
    matches!(
        record_type,
        RecordType::TXT
            | RecordType::MX
            | RecordType::CAA
            | RecordType::HTTPS
            | RecordType::SVCB
            | RecordType::TLSA
            | RecordType::PTR
    )
}

/// Appends the addresses of one family, best first, and tells how many.
fn addresses(snapshot: &Snapshot, relays: &[u16], ttl: u32, v6: bool, out: &mut Vec<u8>) -> u16 {
    let ttl = ttl.to_be_bytes();
    let hosts = relays
        .iter()
        .filter_map(|relay| snapshot.relays.get(usize::from(*relay)));
    let mut count = 0;
    for host in hosts {
        match (v6, host.ipv4, host.ipv6) {
            (false, Some(address), _) => {
                let mut record = [0; 16];
                record[..6].copy_from_slice(&[OWNER[0], OWNER[1], 0, 1, 0, 1]);
                record[6..10].copy_from_slice(&ttl);
                record[10..12].copy_from_slice(&[0, 4]);
                record[12..].copy_from_slice(&address.octets());
                out.extend_from_slice(&record);
            }
            (true, _, Some(address)) => {
                let mut record = [0; 28];
                record[..6].copy_from_slice(&[OWNER[0], OWNER[1], 0, 28, 0, 1]);
                record[6..10].copy_from_slice(&ttl);
                record[10..12].copy_from_slice(&[0, 16]);
                record[12..].copy_from_slice(&address.octets());
                out.extend_from_slice(&record);
            }
            _ => continue,
        }
        count += 1;
    }
    count
}

/// Appends the SOA record that limits the life of an answer without records (RFC 2308 section 3),
/// with its signature where that is wanted.
fn soa(
    snapshot: &Snapshot,
    entry: &Entry,
    query: &FastQuery<'_>,
    secure: Option<&Secure<'_>>,
    out: &mut Vec<u8>,
) -> Option<FastAnswer> {
    let soa = snapshot.soas.get(usize::from(entry.zone))?;
    let pointer = apex_pointer(query.name, snapshot.index.apex_length(entry)?)?;
    out.extend_from_slice(&pointer);
    out.extend_from_slice(soa);
    let mut answer = FastAnswer {
        authorities: 1,
        ..FastAnswer::found(0)
    };
    if let Some(secure) = secure {
        answer.authorities += secure.sign_soa(pointer, snapshot.policy.ttl_negative, out);
    }
    Some(answer)
}

/// A pointer to the apex, which is the end of the name asked for.
fn apex_pointer(name: &[u8], apex: usize) -> Option<[u8; 2]> {
    let place = u16::try_from(name.len().checked_sub(apex)?).ok()?;
    Some((u16::from_be_bytes(OWNER) + place).to_be_bytes())
}

/// The SOA record of a zone, without its owner name.
pub(crate) fn encode_soa(ttl: u32, data: &RData) -> Box<[u8]> {
    let mut record = Vec::new();
    // An SOA record made here can be encoded.
    let _ = encode_data(&mut record, ttl, data);
    record.into()
}
