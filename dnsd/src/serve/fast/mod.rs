//! The fast path of a UDP query: read by hand, answered from what is compiled, encoded in place.
//!
//! It takes what resolvers ask all day and nothing else; all the rest, and whatever is malformed, is
//! left to [`wire::judge`](super::wire::judge), with which it agrees. Nothing is allocated.
//!
//! Its steps are inlined into one: to hand on through memory what they find costs as much as to find
//! it.

pub mod parse;

use std::net::{IpAddr, SocketAddr};

use credentials::UnixTime;
use dnsd_core::answer::{ExtendedError, FastQuery, fast};
use hickory_proto::op::ResponseCode;

use super::cookie::{SERVER, Shown};
use super::reply::withheld;
use super::rules::Rules;
use super::{Answered, Published};
use crate::limits::{PLAIN_PAYLOAD, UDP_PAYLOAD};
use crate::metrics::Cookie;
use parse::{Options, Question, Room};

/// Length of an OPT record without options (RFC 6891 section 6.1.2).
const OPT: usize = 11;
/// Option codes: client subnet (RFC 7871), cookie (RFC 7873), extended error (RFC 8914).
const SUBNET: u16 = 8;
const COOKIE: u16 = 10;
const ERROR: u16 = 15;

/// A query that can be answered the fast path.
#[derive(Debug)]
pub struct Query<'m> {
    question: Question<'m>,
    client: IpAddr,
    shown: Option<Shown>,
}

impl<'m> Query<'m> {
    /// Reads a message; `None`: only the slow path knows what to make of it.
    #[inline]
    pub fn read(
        message: &'m [u8],
        client: SocketAddr,
        rules: &Rules,
        now: UnixTime,
        room: &'m mut Room,
    ) -> Option<Self> {
        if client.port() == 0 {
            return None;
        }
        let client = client.ip().to_canonical();
        let question = Question::parse(message, room)?;
        let option = question.edns.as_ref().and_then(|edns| edns.cookie);
        let shown = option.map(|option| rules.cookies.judge(option, client, now));
        if shown == Some(Shown::Malformed) {
            return None;
        }
        Some(Self {
            question,
            client,
            shown,
        })
    }

    /// The cookie that it came with.
    pub fn cookie(&self) -> Cookie {
        self.shown.into()
    }

    /// Writes the answer into `out`, which is cleared first; `None`: the slow path has to be taken.
    #[inline]
    pub fn answer(
        &self,
        published: &Published,
        now: UnixTime,
        out: &mut Vec<u8>,
    ) -> Option<Answered> {
        let question = &self.question;
        let edns = question.edns.as_ref();
        self.begin(out);
        let query = FastQuery {
            name: question.name,
            record_type: question.record_type,
            client: self.client,
            // A prefix of 0 says that the client is not to be told of (RFC 7871 section 7.1.2).
            subnet: (edns.and_then(Options::subnet)).filter(|subnet| subnet.prefix_len() > 0),
            dnssec_ok: edns.is_some_and(|edns| edns.dnssec),
        };
        let answer = fast(&published.snapshot, &published.labels, now, &query, out)?;
        self.count(answer.answers, answer.authorities, out);
        mark(answer.rcode, true, false, out);
        self.options(
            answer.rcode,
            answer.scope,
            answer.error,
            &published.rules,
            now,
            out,
        );
        let limit = edns.map_or(PLAIN_PAYLOAD, |edns| {
            edns.payload.clamp(PLAIN_PAYLOAD, UDP_PAYLOAD)
        });
        (out.len() <= usize::from(limit)).then_some(Answered {
            kind: question.record_type.into(),
            code: answer.rcode.into(),
            cookie: self.cookie(),
            complaint: answer.complaint,
            steered: answer.steered,
        })
    }

    /// Writes what a client gets that has used up its ration (see
    /// [`Reply::withhold`](super::reply::Reply::withhold)).
    pub(super) fn withhold(&self, rules: &Rules, now: UnixTime, out: &mut Vec<u8>) -> Answered {
        let code = withheld(self.cookie());
        self.begin(out);
        self.count(0, 0, out);
        mark(code, false, self.shown.is_none(), out);
        self.options(code, 0, None, rules, now, out);
        Answered {
            kind: self.question.record_type.into(),
            code: code.into(),
            cookie: self.cookie(),
            complaint: None,
            steered: None,
        }
    }

    /// Header and question.
    fn begin(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.question.bytes);
    }

    fn count(&self, answers: u16, authorities: u16, out: &mut [u8]) {
        let additionals = u16::from(self.question.edns.is_some());
        out[6..8].copy_from_slice(&answers.to_be_bytes());
        out[8..10].copy_from_slice(&authorities.to_be_bytes());
        out[10..12].copy_from_slice(&additionals.to_be_bytes());
    }

    /// Our OPT record, if the query has one.
    fn options(
        &self,
        code: ResponseCode,
        scope: u8,
        error: Option<ExtendedError>,
        rules: &Rules,
        now: UnixTime,
        out: &mut Vec<u8>,
    ) {
        let Some(edns) = &self.question.edns else {
            return;
        };
        let [high, low] = UDP_PAYLOAD.to_be_bytes();
        let dnssec = u8::from(edns.dnssec) << 7;
        out.extend_from_slice(&[0, 0, 41, high, low, code.high(), 0, dnssec, 0, 0, 0]);
        let begin = out.len();
        if let Some(subnet) = edns.subnet_option {
            // The option comes back with the scope that the answer is good for, which is never
            // more than was told (RFC 7871 section 7.2.1).
            option(SUBNET, subnet.len(), out);
            out.extend_from_slice(subnet);
            let at = out.len() - subnet.len() + 3;
            out[at] = scope.min(subnet[2]);
        }
        if let Some(Shown::Client(own) | Shown::Good(own)) = self.shown {
            option(COOKIE, own.len() + SERVER, out);
            out.extend_from_slice(&own);
            out.extend_from_slice(&rules.cookies.make(own, self.client, now));
        }
        if let Some(error) = error {
            option(ERROR, 2, out);
            out.extend_from_slice(&(error as u16).to_be_bytes());
        }
        // A few dozen bytes.
        let length = (out.len() - begin) as u16;
        out[begin - 2..begin].copy_from_slice(&length.to_be_bytes());
    }
}

/// The flags of a reply (RFC 1035 section 4.1.1): RD is as it came.
fn mark(code: ResponseCode, authoritative: bool, truncated: bool, out: &mut [u8]) {
    const QR: u8 = 0x80;
    const RD: u8 = 0x01;
    out[2] = QR | u8::from(authoritative) << 2 | u8::from(truncated) << 1 | out[2] & RD;
    out[3] = code.low();
}

fn option(code: u16, length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&(length as u16).to_be_bytes());
}
