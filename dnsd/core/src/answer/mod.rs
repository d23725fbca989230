//! A question in, records out: the look-up that both UDP and TCP answer with.

mod client;
pub(crate) mod fast;
mod locate;
mod resolve;
mod secure;
pub(crate) mod service;
mod trace;

use std::net::IpAddr;

use credentials::UnixTime;
use credentials::label::{LabelKeys, Tag, TenantTag};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, HINFO, NS};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use ipnet::IpNet;

use crate::inventory::ServedZone;
use crate::names::{Node, Owner};
use crate::records::RrSet;
use crate::snapshot::{Host, Snapshot};
use client::Client;
use locate::{End, locate};
use resolve::{Steering, steer};

pub use fast::{FastAnswer, FastQuery, fast};
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
    /// On behalf of which network, if the query says so (EDNS Client Subnet, RFC 7871). It counts
    /// from /8 or /16 on, and only where clients can be: else `client` does.
    pub subnet: Option<IpNet>,
    /// Whether signatures and proofs are wanted (the DO bit, RFC 3225).
    pub dnssec_ok: bool,
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
    /// How many bits of the client's network the answer depends on, at most 24 or 56; the SCOPE
    /// PREFIX-LENGTH to send with EDNS Client Subnet (RFC 7871 section 7.2.1). 0: the same for
    /// everybody.
    pub scope: u8,
    /// What the label it was asked with says against relays.
    pub complaint: Option<Complaint>,
    /// For whom the answer is and who comes first, where the name is steered.
    pub steered: Option<Steered>,
    /// What is to be said besides the response code, to those who understand it.
    pub error: Option<ExtendedError>,
}

/// How a steered name was answered, for counting: indices into [`Snapshot::region_ids`] and
/// [`Snapshot::relay_ids`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steered {
    /// The region that the client counts to, be it served by another.
    pub region: u16,
    /// The relay that stands first; `None` where there is none of the family asked for.
    pub first: Option<u16>,
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
            steered: None,
            error: Some(error),
        }
    }

    /// An answer of ours with these records, which everybody gets.
    pub fn found(answers: Vec<Record>) -> Self {
        Self {
            rcode: ResponseCode::NoError,
            authoritative: true,
            answers,
            authorities: Vec::new(),
            additionals: Vec::new(),
            scope: 0,
            complaint: None,
            steered: None,
            error: None,
        }
    }

    /// A negative answer with the SOA that limits its life (RFC 2308 section 3).
    fn negative(snapshot: &Snapshot, zone: &ServedZone, rcode: ResponseCode) -> Self {
        let soa = snapshot.soa_record(zone, zone.names.apex().clone());
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
/// * an alias → the alias, and what its target has, if that is ours;
/// * at or below a delegation → a referral;
/// * ANY → one HINFO record (RFC 8482 section 4.2); zone transfers → REFUSED;
/// * who wants DNSSEC gets, from a zone that is signed, the signature of each RRset, and proof of
///   what is not there (RFC 4035 section 3.1);
/// * owner names keep the case of the question.
pub fn answer(snapshot: &Snapshot, keys: &LabelKeys, now: UnixTime, query: &Query<'_>) -> Answer {
    let transfer = matches!(query.record_type, RecordType::AXFR | RecordType::IXFR);
    if query.class != DNSClass::IN || transfer {
        return Answer::refused(ExtendedError::Prohibited);
    }
    let located = locate(snapshot, query.name, query.record_type);
    let mut choice = None;
    let mut answer = match located.end {
        End::Outside if located.aliases.is_empty() => {
            return Answer::refused(ExtendedError::NotAuthoritative);
        }
        End::Outside => Answer::found(Vec::new()),
        End::Missing(zone) => Answer::negative(snapshot, zone, ResponseCode::NXDomain),
        End::Cut(zone, node) => Answer {
            authoritative: !located.aliases.is_empty(),
            ..referral(zone, node)
        },
        End::Node { zone, node, label } => {
            let asked = Asked {
                zone,
                node,
                name: located.name,
            };
            let steered = node.owner.filter(|owner| {
                owner.steers(query.record_type) && node.set(query.record_type).is_none()
            });
            let steering = steered.and_then(|owner| {
                let client = Client::new(&snapshot.places, query.client, query.subnet);
                steer(snapshot, keys, now, &client, owner, label)
            });
            let found = found(snapshot, query, &asked, steering.as_ref());
            choice = steering.map(|steering| steering.variant.choice(steering.lane));
            found.unwrap_or_else(|| Answer::negative(snapshot, zone, ResponseCode::NoError))
        }
    };
    if query.dnssec_ok {
        secure::complete(snapshot, query.record_type, &located, choice, &mut answer);
    } else {
        let aliases = located.aliases.into_iter().map(|alias| alias.record);
        answer.answers.splice(0..0, aliases);
    }
    answer
}

/// A name that is there.
struct Asked<'a> {
    zone: &'a ServedZone,
    node: &'a Node,
    /// As the question has it.
    name: &'a Name,
}

/// The records of one type at a node; `None`: there are none.
fn found(
    snapshot: &Snapshot,
    query: &Query<'_>,
    asked: &Asked<'_>,
    steering: Option<&Steering<'_>>,
) -> Option<Answer> {
    let Asked { zone, node, name } = *asked;
    let apex = zone.names.is_apex(node);
    // Of all that a name has one RRset is enough (RFC 8482 section 4.1).
    let kind = match query.record_type {
        RecordType::ANY => RecordType::HINFO,
        other => other,
    };
    if let Some(set) = node.set(kind) {
        let record = |data: &RData| Record::from_rdata(name.clone(), set.ttl, data.clone());
        return Some(Answer::found(set.data.iter().map(record).collect()));
    }
    match (query.record_type, node.owner) {
        (RecordType::ANY, _) => Some(Answer::found(vec![snapshot.any_record(name.clone())])),
        (RecordType::NS, _) if apex => Some(nameservers(snapshot, zone, name)),
        (RecordType::SOA, _) if apex => {
            let soa = snapshot.soa_record(zone, name.clone());
            Some(Answer::found(vec![soa]))
        }
        (RecordType::NAPTR, Some(Owner::Apex | Owner::Lane(_, None)))
            if !node.name.is_wildcard() =>
        {
            Some(Answer::found(service::naptr(snapshot, name, &node.name)))
        }
        (RecordType::A | RecordType::AAAA | RecordType::SRV, Some(owner)) => {
            steered(snapshot, query, asked, owner, steering)
        }
        (kind, _) if kind.is_dnssec() => Some(secure::records(snapshot, asked, kind)),
        _ => None,
    }
    .filter(|answer| !(answer.answers.is_empty() && answer.authorities.is_empty()))
}

/// The records of a name that stands for relays.
fn steered(
    snapshot: &Snapshot,
    query: &Query<'_>,
    asked: &Asked<'_>,
    owner: Owner,
    steering: Option<&Steering<'_>>,
) -> Option<Answer> {
    let records = match (query.record_type, owner, steering) {
        (RecordType::SRV, Owner::Service(transport, _), Some(steering)) => {
            let (choice, ttl) = (steering.choice(), steering.ttl);
            service::srv(snapshot, asked.zone, asked.name, transport, choice, ttl)
        }
        (RecordType::SRV, ..) | (_, Owner::Service(..), _) => return None,
        _ => addresses(snapshot, query, asked.name, owner, steering),
    };
    let scope = steering.map_or(0, |steering| steering.scope);
    let steered = steering.and_then(|steering| steering.counted(query.record_type));
    if records.is_empty() {
        let negative = Answer::negative(snapshot, asked.zone, ResponseCode::NoError);
        return Some(Answer {
            scope,
            steered,
            ..negative
        });
    }
    Some(Answer {
        scope,
        steered,
        error: (steering.filter(|steering| steering.is_stale())).map(|_| ExtendedError::Stale),
        complaint: steering.and_then(|steering| steering.complaint),
        ..Answer::found(records)
    })
}

/// The address records of one family, best first.
fn addresses(
    snapshot: &Snapshot,
    query: &Query<'_>,
    name: &Name,
    owner: Owner,
    steering: Option<&Steering<'_>>,
) -> Vec<Record> {
    let wants_v6 = query.record_type == RecordType::AAAA;
    let record = |host: &Host, ttl: u32| host.record(name, ttl, wants_v6);
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
        _ => None,
    };
    host.and_then(|host| record(host, snapshot.policy.ttl_static))
        .into_iter()
        .collect()
}

fn nameservers(snapshot: &Snapshot, zone: &ServedZone, name: &Name) -> Answer {
    let ttl = snapshot.policy.ttl_static;
    let servers = &snapshot.nameservers;
    let glue = |server: &Host| {
        [false, true]
            .map(|v6| server.record(&server.name, ttl, v6))
            .into_iter()
            .flatten()
    };
    let inside = servers
        .iter()
        .filter(|server| zone.names.apex().zone_of(&server.name));
    Answer {
        additionals: inside.flat_map(glue).collect(),
        ..Answer::found(snapshot.nameserver_records(name).collect())
    }
}

/// Who knows more: the nameservers of a delegation, with the addresses that lie in our zone
/// (RFC 1034 section 4.3.2).
fn referral(zone: &ServedZone, cut: &Node) -> Answer {
    let records = |set: &RrSet| {
        let record = |data: &RData| Record::from_rdata(set.name.clone(), set.ttl, data.clone());
        set.data.iter().map(record).collect::<Vec<_>>()
    };
    let servers = cut.set(RecordType::NS).map(records).unwrap_or_default();
    let glue = servers.iter().filter_map(|server| match &server.data {
        RData::NS(ns) => zone.names.get(&ns.0),
        _ => None,
    });
    let addresses = [RecordType::A, RecordType::AAAA];
    let sets = glue.flat_map(|node| addresses.map(|family| node.set(family)));
    Answer {
        authoritative: false,
        additionals: sets.flatten().flat_map(records).collect(),
        authorities: servers,
        ..Answer::found(Vec::new())
    }
}

impl Host {
    pub(crate) fn record(&self, owner: &Name, ttl: u32, v6: bool) -> Option<Record> {
        let data = if v6 {
            RData::AAAA(AAAA(self.ipv6?))
        } else {
            RData::A(A(self.ipv4?))
        };
        Some(Record::from_rdata(owner.clone(), ttl, data))
    }
}

impl Snapshot {
    /// The zone's own NS records.
    pub(crate) fn nameserver_records(&self, apex: &Name) -> impl Iterator<Item = Record> {
        let ttl = self.policy.ttl_static;
        self.nameservers.iter().map(move |server| {
            let data = RData::NS(NS(server.name.clone()));
            Record::from_rdata(apex.clone(), ttl, data)
        })
    }

    pub(crate) fn soa_record(&self, zone: &ServedZone, owner: Name) -> Record {
        Record::from_rdata(owner, self.policy.ttl_negative, self.soa(zone))
    }

    pub(crate) fn any_record(&self, owner: Name) -> Record {
        let data = RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()));
        Record::from_rdata(owner, self.policy.ttl_static, data)
    }
}
