//! A question in, records out: the look-up that both UDP and TCP answer with.

use std::net::IpAddr;

use credentials::UnixTime;
use credentials::label::LabelKeys;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use ipnet::IpNet;

use crate::explain::AnswerTrace;
use crate::snapshot::Snapshot;

/// A question with what is known of who asks. The shell has checked that the message is a standard
/// query with exactly one question.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The name asked for, in the case it was asked in.
    pub name: &'a Name,
    /// The type asked for.
    pub record_type: RecordType,
    /// The class asked for.
    pub class: DNSClass,
    /// Who asked: usually a resolver.
    pub client: IpAddr,
    /// On behalf of which network, if the query says so (EDNS Client Subnet, RFC 7871).
    pub subnet: Option<IpNet>,
}

/// The three sections of a response and its flags.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The response code.
    pub rcode: ResponseCode,
    /// The AA flag (RFC 1035 section 4.1.1).
    pub authoritative: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section.
    pub authorities: Vec<Record>,
    /// The additional section, without OPT.
    pub additionals: Vec<Record>,
    /// How many bits of the client's network the answer depends on; the SCOPE PREFIX-LENGTH to
    /// send with EDNS Client Subnet (RFC 7871 section 7.2.1). 0: the same for everybody.
    pub scope: u8,
}

/// Answers a question.
pub fn answer(snapshot: &Snapshot, keys: &LabelKeys, now: UnixTime, query: &Query<'_>) -> Answer {
    let _ = (snapshot, keys, now, query);
    todo!()
}

/// Says how [`answer`] comes to its answer.
pub fn trace(
    snapshot: &Snapshot,
    keys: &LabelKeys,
    now: UnixTime,
    query: &Query<'_>,
) -> AnswerTrace {
    let _ = (snapshot, keys, now, query);
    todo!()
}
