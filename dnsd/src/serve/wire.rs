//! What becomes of one DNS message: whether it is answered at all, and with what.
//!
//! Pure over its arguments, and the same for all transports; they differ in how much fits.

use std::net::{IpAddr, SocketAddr};

use credentials::UnixTime;
use dnsd_core::answer::{self, Answer};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::opt::EdnsCode;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

use super::Published;
use super::edns::{self, Asked};
use super::reply::Reply;
use super::rules::Rules;
use super::transfer::{self, tsig::Session};
use crate::limits::{PLAIN_PAYLOAD, UDP_PAYLOAD};
use crate::metrics::{Drop, Transport};

/// QR, in the header's third byte.
const RESPONSE: u8 = 0x80;

/// What becomes of a message.
#[derive(Debug)]
pub enum Judged {
    /// It is answered.
    Reply(Box<Reply>),
    /// It is not, and this is why.
    Dropped(Drop),
}

/// Judges one message and works out its answer.
pub fn judge(
    message: &[u8],
    client: SocketAddr,
    transport: Transport,
    published: &Published,
    now: UnixTime,
) -> Judged {
    let Some(header) = message.first_chunk() else {
        return Judged::Dropped(Drop::Short);
    };
    if header[2] & RESPONSE != 0 {
        return Judged::Dropped(Drop::Response);
    }
    if client.port() == 0 {
        return Judged::Dropped(Drop::Source);
    }
    let mut bare = Reply::bare(header);
    if bare.metadata.op_code != OpCode::Query {
        return bare.with(ResponseCode::NotImp);
    }
    // RFC 9619: one question. Counted before decoding, so that a count of 65535 costs nothing.
    if u16::from_be_bytes([header[4], header[5]]) != 1 {
        return bare.with(ResponseCode::FormErr);
    }
    let Ok(parsed) = Message::from_vec(message) else {
        return bare.with(ResponseCode::FormErr);
    };
    let keys = &published.rules.secondaries.keys;
    match Session::check(message, &parsed, keys, now) {
        Ok(tsig) => bare.tsig = tsig,
        Err(tsig) => {
            bare.tsig = Some(*tsig);
            bare.question = parsed.queries.into_iter().next();
            return bare.with(ResponseCode::NotAuth);
        }
    }
    respond(
        parsed,
        bare,
        client.ip().to_canonical(),
        transport,
        published,
        now,
    )
}

fn respond(
    message: Message,
    bare: Reply,
    client: IpAddr,
    transport: Transport,
    published: &Published,
    now: UnixTime,
) -> Judged {
    let Message {
        mut queries,
        authorities,
        edns: asked,
        ..
    } = message;
    let Some(question) = queries.pop() else {
        return bare.with(ResponseCode::FormErr);
    };
    let rules = &*published.rules;
    let mut reply = bare;
    reply.question = Some(question.clone());
    reply.limit = match (transport, &asked) {
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_PAYLOAD, UDP_PAYLOAD),
        (Transport::Udp, None) => PLAIN_PAYLOAD,
        (Transport::Tcp | Transport::Tls | Transport::Quic, _) => u16::MAX,
    };
    let mut options = Asked::default();
    if let Some(asked) = &asked {
        // RFC 9250 section 5.5.2: QUIC has its own, and whoever sends this does not speak it.
        if transport == Transport::Quic && asked.option(EdnsCode::Keepalive).is_some() {
            return Judged::Dropped(Drop::Protocol);
        }
        reply.edns = Some(edns::offered(asked));
        // RFC 6891 section 6.1.3.
        if asked.version() > 0 {
            return reply.with(ResponseCode::BADVERS);
        }
        match Asked::read(asked, rules, (client, transport), now) {
            Ok(asked) => options = asked,
            Err(code) => return reply.with(code),
        }
    }
    reply.cookie = options.cookie();
    let query = answer::Query {
        name: question.name(),
        record_type: question.query_type(),
        class: question.query_class(),
        client,
        subnet: options.network(),
        dnssec_ok: asked.is_some_and(|asked| asked.flags().dnssec_ok),
    };
    let asked = transfer::Asked {
        question: &question,
        authorities: &authorities,
        client,
        key: reply.tsig.as_ref().and_then(Session::key),
        transport,
    };
    let wanted = transfer::judge(&rules.secondaries, published.snapshot.release(), &asked);
    let (transfer, answer) = wanted.map_or((None, None), |(what, answer)| (Some(what), answer));
    reply.transfer = transfer;
    let answer = answer
        .or_else(|| chaos(rules, &query))
        .unwrap_or_else(|| answer::answer(&published.snapshot, &published.labels, now, &query));
    if let Some(edns) = &mut reply.edns {
        options.answer(edns, rules, (client, now), answer.scope);
        if let Some(error) = answer.error {
            edns::explain(edns, error);
        }
    }
    reply.fill(answer);
    reply.padded = options.is_padded() && transport.is_encrypted();
    Judged::Reply(Box::new(reply))
}

/// What this server says of itself (RFC 4892): `None` for what is no question about that, or one
/// that is not answered here.
fn chaos(rules: &Rules, query: &answer::Query<'_>) -> Option<Answer> {
    let asked = query.class == DNSClass::CH
        && matches!(query.record_type, RecordType::TXT | RecordType::ANY);
    if !asked {
        return None;
    }
    let text = rules.chaos(&query.name.to_ascii())?;
    let data = RData::TXT(TXT::new(vec![text.to_owned()]));
    let mut record = Record::from_rdata(query.name.clone(), 0, data);
    record.dns_class = DNSClass::CH;
    Some(Answer::found(vec![record]))
}
