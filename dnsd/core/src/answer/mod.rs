//! A question in, records out: the look-up that both UDP and TCP answer with.

mod resolve;
mod trace;

use std::net::IpAddr;

use credentials::UnixTime;
use credentials::label::{LabelKeys, Tag, TenantTag};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, HINFO, NS};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use ipnet::IpNet;

use crate::snapshot::{Host, Owner, Snapshot};
use crate::steer::Tier;
use resolve::{Found, Steering, find, steer};

pub use trace::trace;

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
    /// On behalf of which network, if the query says so (EDNS Client Subnet, RFC 7871). A prefix
    /// length of 0 says that it shall not matter and counts as none.
    pub subnet: Option<IpNet>,
}

/// Why an answer is less than it might be (RFC 8914 section 5.2); the values are those of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedError {
    /// The relays named are those that worked last: none in reach is known to work now.
    Stale = 3,
    /// What was asked for is not given out.
    Prohibited = 18,
    /// The name lies in no zone of this server.
    NotAuthoritative = 20,
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
    /// What the label it was asked with says against relays.
    pub complaint: Option<Complaint>,
    /// What is to be said besides the response code, to those who understand it.
    pub error: Option<ExtendedError>,
}

/// A client that is to be kept off relays, because they failed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The relays, by the tags of their addresses.
    pub relays: [Option<Tag>; 2],
    /// Whose client it is.
    pub tenant: Option<TenantTag>,
    /// The hash of its network (/24, /56): the one given by EDNS Client Subnet, else its resolver's.
    pub network: u64,
}

impl Answer {
    fn refused(error: ExtendedError) -> Self {
        Self {
            rcode: ResponseCode::Refused,
            authoritative: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            scope: 0,
            complaint: None,
            error: Some(error),
        }
    }

    fn found(answers: Vec<Record>) -> Self {
        Self {
            rcode: ResponseCode::NoError,
            authoritative: true,
            answers,
            authorities: Vec::new(),
            additionals: Vec::new(),
            scope: 0,
            complaint: None,
            error: None,
        }
    }

    /// A negative answer with the SOA that limits its life (RFC 2308 section 3).
    fn negative(snapshot: &Snapshot, rcode: ResponseCode) -> Self {
        let soa = snapshot.soa_record(snapshot.zone.clone());
        Self {
            rcode,
            authorities: vec![soa],
            ..Self::found(Vec::new())
        }
    }
}

/// Answers a question. Never fails, and computes no health: everything was compiled before.
///
/// * another zone, or a class other than IN → REFUSED;
/// * a name that is not there → NXDOMAIN with SOA; there, but without this type → NODATA with SOA;
/// * ANY → one HINFO record (RFC 8482 section 4.2); zone transfers → REFUSED;
/// * owner names keep the case of the question.
pub fn answer(snapshot: &Snapshot, keys: &LabelKeys, now: UnixTime, query: &Query<'_>) -> Answer {
    let transfer = matches!(query.record_type, RecordType::AXFR | RecordType::IXFR);
    if query.class != DNSClass::IN || transfer {
        return Answer::refused(ExtendedError::Prohibited);
    }
    let (owner, label) = match find(snapshot, query.name) {
        Found::Outside => return Answer::refused(ExtendedError::NotAuthoritative),
        Found::Missing => return Answer::negative(snapshot, ResponseCode::NXDomain),
        Found::Owner { owner, label } => (owner, label),
    };
    let steering = steer(snapshot, keys, now, query, owner, label);
    let answer = match query.record_type {
        RecordType::ANY => Answer::found(vec![snapshot.any_record(query.name.clone())]),
        RecordType::NS if owner == Owner::Apex => nameservers(snapshot, query.name),
        RecordType::SOA if owner == Owner::Apex => {
            Answer::found(vec![snapshot.soa_record(query.name.clone())])
        }
        RecordType::A | RecordType::AAAA => {
            Answer::found(addresses(snapshot, query, owner, steering.as_ref()))
        }
        _ => Answer::found(Vec::new()),
    };
    if answer.answers.is_empty() {
        return Answer::negative(snapshot, ResponseCode::NoError);
    }
    let steered = matches!(query.record_type, RecordType::A | RecordType::AAAA);
    let steering = steering.filter(|_| steered);
    let stale = |steering: &&Steering<'_>| steering.plan.tier >= Tier::LastKnownGood;
    Answer {
        scope: steering.as_ref().map_or(0, |steering| steering.scope),
        error: (steering.as_ref().filter(stale)).map(|_| ExtendedError::Stale),
        complaint: steering.and_then(|steering| steering.complaint),
        ..answer
    }
}

/// The address records of one family, best first.
fn addresses(
    snapshot: &Snapshot,
    query: &Query<'_>,
    owner: Owner,
    steering: Option<&Steering<'_>>,
) -> Vec<Record> {
    let wants_v6 = query.record_type == RecordType::AAAA;
    let record = |host: &Host, ttl: u32| host.record(query.name, ttl, wants_v6);
    if let Some(steering) = steering {
        let choice = steering.choice();
        let relays = if wants_v6 { &choice.ipv6 } else { &choice.ipv4 };
        let hosts = relays
            .iter()
            .filter_map(|relay| snapshot.relays.get(usize::from(*relay)));
        return hosts
            .filter_map(|host| record(host, steering.ttl))
            .collect();
    }
    let host = match owner {
        Owner::Relay(index) => snapshot.relays.get(index),
        Owner::Nameserver(index) => snapshot.nameservers.get(index),
        Owner::Apex | Owner::Transport(_) | Owner::Lane(..) | Owner::Api | Owner::Region(_) => None,
    };
    host.and_then(|host| record(host, snapshot.policy.ttl_static))
        .into_iter()
        .collect()
}

fn nameservers(snapshot: &Snapshot, name: &Name) -> Answer {
    let ttl = snapshot.policy.ttl_static;
    let servers = &snapshot.nameservers;
    let ns =
        |server: &Host| Record::from_rdata(name.clone(), ttl, RData::NS(NS(server.name.clone())));
    let glue = |server: &Host| {
        [false, true]
            .map(|v6| server.record(&server.name, ttl, v6))
            .into_iter()
            .flatten()
    };
    let inside = servers
        .iter()
        .filter(|server| snapshot.zone.zone_of(&server.name));
    Answer {
        additionals: inside.flat_map(glue).collect(),
        ..Answer::found(servers.iter().map(ns).collect())
    }
}

impl Host {
    fn record(&self, owner: &Name, ttl: u32, v6: bool) -> Option<Record> {
        let data = if v6 {
            RData::AAAA(AAAA(self.ipv6?))
        } else {
            RData::A(A(self.ipv4?))
        };
        Some(Record::from_rdata(owner.clone(), ttl, data))
    }
}

impl Snapshot {
    fn soa_record(&self, owner: Name) -> Record {
        Record::from_rdata(owner, self.policy.ttl_negative, self.soa.clone())
    }

    fn any_record(&self, owner: Name) -> Record {
        let data = RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()));
        Record::from_rdata(owner, self.policy.ttl_static, data)
    }
}
