//! The same answers on the fast path: a name in wire form in, records in wire form out, without an
//! allocation. What is out of the ordinary is left to [`answer`](super::answer()), whose
//! answers these are.

mod index;

use std::net::IpAddr;

use credentials::UnixTime;
use credentials::label::LabelKeys;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};
use ipnet::IpNet;

use super::client::Client;
use super::resolve::{Steering, steer};
use super::{Complaint, ExtendedError, Steered};
use crate::snapshot::Snapshot;

pub(crate) use index::Index;
use index::{Entry, Found, OWNER, encode_data};

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
pub fn fast(
    snapshot: &Snapshot,
    keys: &LabelKeys,
    now: UnixTime,
    query: &FastQuery<'_>,
    out: &mut Vec<u8>,
) -> Option<FastAnswer> {
    let found = snapshot.index.find(query.name)?;
    if query.dnssec_ok && snapshot.is_signed(found.zone()) {
        return None;
    }
    let (entry, label) = match found {
        Found::Name(entry) => (entry, None),
        Found::Wildcard(entry, label) => (entry, Some(label)),
        Found::Missing(above) => {
            let negative = negative(snapshot, above, query, out);
            return negative.map(|answer| FastAnswer {
                rcode: ResponseCode::NXDomain,
                ..answer
            });
        }
    };
    if entry.apart {
        return None;
    }
    if let Some((count, records)) = snapshot.index.set(entry, query.record_type) {
        out.extend_from_slice(records);
        return Some(FastAnswer::found(count));
    }
    let v6 = match query.record_type {
        RecordType::A => false,
        RecordType::AAAA => true,
        other if is_plain(other) => return negative(snapshot, entry, query, out),
        _ => return None,
    };
    let Some(owner) = entry.owner.filter(|owner| owner.steers(query.record_type)) else {
        return negative(snapshot, entry, query, out);
    };
    let client = Client::new(&snapshot.places, query.client, query.subnet);
    let steering = steer(snapshot, keys, now, &client, owner, label)?;
    let count = addresses(snapshot, &steering, v6, out);
    if count == 0 {
        let negative = negative(snapshot, entry, query, out);
        return negative.map(|answer| FastAnswer {
            scope: steering.scope,
            steered: steering.counted(query.record_type),
            ..answer
        });
    }
    Some(FastAnswer {
        scope: steering.scope,
        complaint: steering.complaint,
        steered: steering.counted(query.record_type),
        error: steering.is_stale().then_some(ExtendedError::Stale),
        ..FastAnswer::found(count)
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
fn addresses(snapshot: &Snapshot, steering: &Steering<'_>, v6: bool, out: &mut Vec<u8>) -> u16 {
    let choice = steering.choice();
    let relays = if v6 { &choice.ipv6 } else { &choice.ipv4 };
    let ttl = steering.ttl.to_be_bytes();
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

/// Appends the SOA record that limits the life of an answer without records (RFC 2308 section 3).
fn negative(
    snapshot: &Snapshot,
    entry: &Entry,
    query: &FastQuery<'_>,
    out: &mut Vec<u8>,
) -> Option<FastAnswer> {
    if entry.apart {
        return None;
    }
    let apex = snapshot.index.apex_length(entry)?;
    let soa = snapshot.soas.get(usize::from(entry.zone))?;
    // The apex is the end of the name that was asked for.
    let place = u16::try_from(query.name.len().checked_sub(apex)?).ok()?;
    let pointer = u16::from_be_bytes(OWNER) + place;
    out.extend_from_slice(&pointer.to_be_bytes());
    out.extend_from_slice(soa);
    Some(FastAnswer {
        authorities: 1,
        ..FastAnswer::found(0)
    })
}

/// The SOA record of a zone, without its owner name.
pub(crate) fn encode_soa(ttl: u32, data: &RData) -> Box<[u8]> {
    let mut record = Vec::new();
    // An SOA record made here can be encoded.
    let _ = encode_data(&mut record, ttl, data);
    record.into()
}
