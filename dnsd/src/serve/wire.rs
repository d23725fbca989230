//! What becomes of one DNS message: whether it is answered at all, with what, and EDNS.
//!
//! Pure over its arguments, and the same for UDP and TCP; the two differ in how much fits.

use std::net::{IpAddr, SocketAddr};

use credentials::UnixTime;
use dnsd_core::answer;
use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use ipnet::IpNet;

use super::Published;
use super::reply::Reply;
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
    let bare = Reply::bare(header);
    if bare.metadata.op_code != OpCode::Query {
        return bare.with(ResponseCode::NotImp);
    }
    // RFC 9619: one question. Counted before decoding, so that a count of 65535 costs nothing.
    if u16::from_be_bytes([header[4], header[5]]) != 1 {
        return bare.with(ResponseCode::FormErr);
    }
    let Ok(message) = Message::from_vec(message) else {
        return bare.with(ResponseCode::FormErr);
    };
    respond(
        message,
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
        edns: asked,
        ..
    } = message;
    let Some(question) = queries.pop() else {
        return bare.with(ResponseCode::FormErr);
    };
    let mut reply = bare;
    reply.question = Some(question.clone());
    reply.limit = match (transport, &asked) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_PAYLOAD, UDP_PAYLOAD),
        (Transport::Udp, None) => PLAIN_PAYLOAD,
    };
    let mut subnet = None;
    if let Some(asked) = &asked {
        reply.edns = Some(offered(asked));
        // RFC 6891 section 6.1.3.
        if asked.version() > 0 {
            return reply.with(ResponseCode::BADVERS);
        }
        if let Some(EdnsOption::Subnet(asked)) = asked.option(EdnsCode::Subnet) {
            match network(asked) {
                Some(network) => subnet = Some((*asked, network)),
                None => return reply.with(ResponseCode::FormErr),
            }
        }
    }
    let query = answer::Query {
        name: question.name(),
        record_type: question.query_type(),
        class: question.query_class(),
        client,
        // A source prefix of 0 says that the client is not to be told of (section 7.1.2).
        subnet: subnet
            .map(|(_, network)| network)
            .filter(|network| network.prefix_len() > 0),
    };
    let answer = answer::answer(&published.snapshot, &published.labels, now, &query);
    if let (Some(edns), Some((asked, network))) = (&mut reply.edns, subnet) {
        // RFC 7871 section 7.2.1: the option comes back with the scope the answer is good for,
        // which is never more than was told.
        let scope = answer.scope.min(asked.source_prefix());
        let echo = ClientSubnet::new(network.addr(), asked.source_prefix(), scope);
        edns.options_mut().insert(EdnsOption::Subnet(echo));
    }
    reply.fill(answer);
    Judged::Reply(Box::new(reply))
}

/// Our OPT record: own payload size, version 0, the DO bit as asked (RFC 3225 section 3).
fn offered(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD)
        .set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}

/// The network of a client subnet option, unless it breaks RFC 7871 section 6: bits beyond the
/// source prefix, or a scope in a query.
fn network(subnet: &ClientSubnet) -> Option<IpNet> {
    let network = IpNet::new(subnet.addr(), subnet.source_prefix()).ok()?;
    (network.trunc() == network && subnet.scope_prefix() == 0).then_some(network)
}
