//! One DNS message in, one out: what is answered at all, EDNS, truncation.
//!
//! Pure over its arguments, and the same for UDP and TCP; the two differ in how much fits.

use std::net::{IpAddr, SocketAddr};

use credentials::UnixTime;
use dnsd_core::answer::{self, Answer};
use hickory_proto::op::{
    Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode, emit_message_parts,
};
use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::serialize::binary::BinEncoder;
use ipnet::IpNet;

use super::Published;
use crate::limits::{PLAIN_PAYLOAD, UDP_PAYLOAD};
use crate::metrics::{Code, Drop, Kind, Transport};

/// Length of a DNS header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
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

/// An answer before it is encoded.
#[derive(Debug)]
pub struct Reply {
    metadata: Metadata,
    question: Option<Query>,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
    edns: Option<Edns>,
    /// Most bytes the requester can take.
    limit: u16,
}

/// Judges one message and works out its answer.
pub fn judge(
    message: &[u8],
    client: SocketAddr,
    transport: Transport,
    published: &Published,
    now: UnixTime,
) -> Judged {
    let Some(header) = message.first_chunk::<HEADER>() else {
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
    let mut reply = Reply {
        question: Some(question.clone()),
        ..bare
    };
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

impl Reply {
    /// A reply that repeats nothing of the query but its id, opcode, RD and CD.
    fn bare(header: &[u8; HEADER]) -> Self {
        let id = u16::from_be_bytes([header[0], header[1]]);
        let opcode = OpCode::from_u8((header[2] >> 3) & 0x0f);
        let mut metadata = Metadata::new(id, MessageType::Response, opcode);
        metadata.recursion_desired = header[2] & 0x01 != 0;
        metadata.checking_disabled = header[3] & 0x10 != 0;
        Self {
            metadata,
            question: None,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            edns: None,
            limit: PLAIN_PAYLOAD,
        }
    }

    fn with(mut self, code: ResponseCode) -> Judged {
        self.metadata.response_code = code;
        Judged::Reply(Box::new(self))
    }

    fn fill(&mut self, answer: Answer) {
        self.metadata.response_code = answer.rcode;
        self.metadata.authoritative = answer.authoritative;
        self.answers = answer.answers;
        self.authorities = answer.authorities;
        self.additionals = answer.additionals;
    }

    /// The question's type, for counting.
    pub fn kind(&self) -> Kind {
        self.question
            .as_ref()
            .map_or(Kind::None, |question| question.query_type().into())
    }

    /// The response code, for counting.
    pub fn code(&self) -> Code {
        self.metadata.response_code.into()
    }

    /// Encodes into `buffer`, which is cleared first. What does not fit is left out: additional
    /// records silently, anything else under TC with empty sections, so that nobody uses half an
    /// answer (RFC 2181 section 9). Returns false if even that cannot be encoded.
    pub fn encode(&self, buffer: &mut Vec<u8>) -> bool {
        let nothing: &[Record] = &[];
        let whole = [&*self.answers, &*self.authorities, &*self.additionals];
        let needed = [&*self.answers, &*self.authorities, nothing];
        let mut metadata = self.metadata;
        for sections in [whole, needed] {
            match self.emit(metadata, sections, buffer) {
                Some(truncated) if !truncated => return true,
                Some(_) => {}
                None => return false,
            }
        }
        metadata.truncation = true;
        self.emit(metadata, [nothing; 3], buffer).is_some()
    }

    /// Encodes and tells whether something was left out.
    fn emit(
        &self,
        metadata: Metadata,
        [answers, authorities, additionals]: [&[Record]; 3],
        buffer: &mut Vec<u8>,
    ) -> Option<bool> {
        buffer.clear();
        let mut encoder = BinEncoder::new(buffer);
        encoder.set_max_size(self.limit);
        let header = emit_message_parts(
            &metadata,
            &mut self.question.iter(),
            &mut answers.iter(),
            &mut authorities.iter(),
            &mut additionals.iter(),
            self.edns.as_ref(),
            None,
            &mut encoder,
        );
        match header {
            Ok(header) => Some(header.metadata.truncation),
            Err(error) => {
                tracing::trace!(%error, "reply could not be encoded");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{Name, RData, RecordType};

    use super::*;

    /// A reply to a question for a name of 14 bytes, with so many records of 16 bytes.
    fn reply(answers: usize, additionals: usize, limit: u16) -> Reply {
        let name = Name::from_ascii("turn.example.").expect("name");
        let record = Record::from_rdata(
            name.clone(),
            5,
            RData::A(std::net::Ipv4Addr::new(192, 0, 2, 1).into()),
        );
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD);
        Reply {
            question: Some(Query::query(name, RecordType::A)),
            answers: vec![record.clone(); answers],
            additionals: vec![record; additionals],
            edns: Some(edns),
            limit,
            ..Reply::bare(&[0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 1])
        }
    }

    /// Length, TC, answers and additional records of the encoded reply, and whether it has OPT.
    fn encoded(reply: &Reply) -> (usize, bool, usize, usize, bool) {
        let mut buffer = vec![0xff; 7];
        assert!(reply.encode(&mut buffer));
        let message = Message::from_vec(&buffer).expect("a message");
        let (answers, additionals) = (message.answers.len(), message.additionals.len());
        let truncated = message.metadata.truncation;
        (
            buffer.len(),
            truncated,
            answers,
            additionals,
            message.edns.is_some(),
        )
    }

    #[test]
    fn what_fits_is_sent_whole() {
        // 12 header, 18 question, 16 per record, 11 OPT.
        assert_eq!(
            encoded(&reply(3, 2, 512)),
            (12 + 18 + 5 * 16 + 11, false, 3, 2, true)
        );
        assert_eq!(encoded(&reply(29, 0, 505)), (505, false, 29, 0, true));
    }

    #[test]
    fn additional_records_give_way_before_answers_do() {
        let (length, truncated, answers, additionals, edns) = encoded(&reply(25, 20, 512));
        assert_eq!(
            (truncated, answers, additionals, edns),
            (false, 25, 0, true)
        );
        assert!(length <= 512);
    }

    #[test]
    fn what_does_not_fit_is_marked_and_left_out_but_for_edns() {
        let nothing = (12 + 18 + 11, true, 0, 0, true);
        assert_eq!(encoded(&reply(30, 0, 505)), nothing);
        assert_eq!(encoded(&reply(100, 4, UDP_PAYLOAD)), nothing);
        assert_eq!(encoded(&reply(100, 4, u16::MAX)).2, 100);
    }
}
