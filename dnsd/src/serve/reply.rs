//! An answer on its way out: its parts, how it is counted, how it is encoded and truncated.

use std::slice;

use dnsd_core::answer::{Answer, Complaint, Steered};
use hickory_proto::op::{
    Edns, MessageType, Metadata, OpCode, Query, ResponseCode, emit_message_parts,
};
use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::zone_handler::{MessageResponse, MessageResponseBuilder, Queries};

use super::Answered;
use super::transfer::tsig::Session;
use super::transfer::{Transfer, encoded};
use super::wire::Judged;
use crate::limits::{PADDING_BLOCK, PLAIN_PAYLOAD};
use crate::metrics::{Cookie, Kind};

/// Length of a DNS header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;

/// An answer before it is encoded.
#[derive(Debug)]
pub struct Reply {
    pub(super) metadata: Metadata,
    pub(super) question: Option<Query>,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
    pub(super) edns: Option<Edns>,
    /// The cookie that the query came with.
    pub(super) cookie: Cookie,
    /// Most bytes the requester can take.
    pub(super) limit: u16,
    complaint: Option<Complaint>,
    /// For whom it is, and which relay comes first, if its name is steered.
    steered: Option<Steered>,
    /// Whether it is to be padded, by whoever encodes it and knows its length.
    pub(super) padded: bool,
    /// How it is signed, if the query was.
    pub(super) tsig: Option<Session>,
    /// What becomes of a query for a whole zone.
    pub(super) transfer: Option<Transfer>,
}

/// A response as hickory-server takes it.
type Response<'a> = MessageResponse<
    'a,
    'a,
    slice::Iter<'a, Record>,
    slice::Iter<'a, Record>,
    slice::Iter<'a, Record>,
    slice::Iter<'a, Record>,
>;

impl Reply {
    /// A reply that repeats nothing of the query but its id, opcode and RD: who checks signatures is
    /// not asked of an authority (RFC 4035 section 3.1.6).
    pub(super) fn bare(header: &[u8; HEADER]) -> Self {
        let id = u16::from_be_bytes([header[0], header[1]]);
        let opcode = OpCode::from_u8((header[2] >> 3) & 0x0f);
        let mut metadata = Metadata::new(id, MessageType::Response, opcode);
        metadata.recursion_desired = header[2] & 0x01 != 0;
        Self {
            metadata,
            question: None,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            edns: None,
            cookie: Cookie::None,
            limit: PLAIN_PAYLOAD,
            complaint: None,
            steered: None,
            padded: false,
            tsig: None,
            transfer: None,
        }
    }

    pub(super) fn with(mut self, code: ResponseCode) -> Judged {
        self.metadata.response_code = code;
        Judged::Reply(Box::new(self))
    }

    pub(super) fn fill(&mut self, answer: Answer) {
        self.metadata.response_code = answer.rcode;
        self.metadata.authoritative = answer.authoritative;
        self.answers = answer.answers;
        self.authorities = answer.authorities;
        self.additionals = answer.additionals;
        self.complaint = answer.complaint;
        self.steered = answer.steered;
    }

    /// Pads it, which has so many bytes as it is, so that its length tells little of what it says
    /// (RFC 8467 section 4.1).
    pub(super) fn pad(&mut self, length: usize) {
        /// Code and length of an option (RFC 6891 section 6.1.2).
        const OPTION: usize = 4;
        let bare = length + OPTION;
        let whole = bare.next_multiple_of(PADDING_BLOCK);
        if whole > usize::from(self.limit) {
            return;
        }
        if let Some(edns) = &mut self.edns {
            let padding = EdnsOption::Unknown(EdnsCode::Padding.into(), vec![0; whole - bare]);
            edns.options_mut().insert(padding);
        }
    }

    /// Makes it the reply to a client that has used up its ration: nothing but what it needs to prove
    /// its address, be it over TCP or by the cookie that goes along (RFC 7873 section 5.2.3).
    pub(super) fn withhold(&mut self) {
        self.answers.clear();
        self.authorities.clear();
        self.additionals.clear();
        self.steered = None;
        self.complaint = None;
        self.metadata.authoritative = false;
        self.metadata.response_code = withheld(self.cookie);
        self.metadata.truncation = self.cookie == Cookie::None;
    }

    /// The cookie that the query came with.
    pub fn cookie(&self) -> Cookie {
        self.cookie
    }

    /// What is counted of it.
    pub fn answered(&self) -> Answered {
        let question = self.question.as_ref();
        Answered {
            kind: question.map_or(Kind::None, |question| question.query_type().into()),
            code: self.metadata.response_code.into(),
            cookie: self.cookie,
            complaint: self.complaint,
            steered: self.steered,
        }
    }

    /// The same answer as hickory-server sends it on a connection, which encodes it itself: all of
    /// it, for 64 KiB hold any answer. `questions` are the query's own bytes, or none.
    pub(super) fn response<'a>(&'a self, questions: &'a Queries) -> Response<'a> {
        let plain = || self.with_answers(questions, &self.answers);
        let mut response = plain();
        if let Some(session) = &self.tsig
            && let Some(signature) = encoded(plain()).and_then(|bytes| session.once(&bytes))
        {
            response.set_signature(signature);
        }
        response
    }

    /// The same with other records in the answer section, and not signed.
    pub(super) fn with_answers<'a>(
        &'a self,
        questions: &'a Queries,
        answers: &'a [Record],
    ) -> Response<'a> {
        MessageResponseBuilder::new(questions, self.edns.as_ref()).build(
            self.metadata,
            answers,
            &self.authorities,
            &[],
            &self.additionals,
        )
    }

    /// Makes it the reply to a client that there is no room for.
    pub(super) fn busy(mut self) -> Self {
        self.metadata.response_code = ResponseCode::ServFail;
        self.metadata.authoritative = false;
        self
    }

    /// Whether the question is repeated, which it is not where it was not understood.
    pub(super) fn has_question(&self) -> bool {
        self.question.is_some()
    }

    /// Encodes into `buffer`, which is cleared first. What does not fit is left out: additional
    /// records silently, anything else under TC with empty sections, so that nobody uses half an
    /// answer (RFC 2181 section 9). Returns false if even that cannot be encoded.
    pub fn encode(&self, buffer: &mut Vec<u8>) -> bool {
        let signed = |buffer| match &self.tsig {
            Some(session) => session.append(buffer),
            None => true,
        };
        let nothing: &[Record] = &[];
        let whole = [&*self.answers, &*self.authorities, &*self.additionals];
        let needed = [&*self.answers, &*self.authorities, nothing];
        let mut metadata = self.metadata;
        for sections in [whole, needed] {
            match self.emit(metadata, sections, buffer) {
                Some(truncated) if !truncated => return signed(buffer),
                Some(_) => {}
                None => return false,
            }
        }
        metadata.truncation = true;
        self.emit(metadata, [nothing; 3], buffer).is_some() && signed(buffer)
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
        let room = self.tsig.as_ref().map_or(0, Session::room);
        encoder.set_max_size(self.limit.saturating_sub(room));
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

/// The response code for a client that has used up its ration (RFC 7873 section 5.2.3).
pub(super) fn withheld(cookie: Cookie) -> ResponseCode {
    match cookie {
        Cookie::None => ResponseCode::NoError,
        Cookie::Client | Cookie::Good => ResponseCode::BADCOOKIE,
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Message;
    use hickory_proto::rr::{Name, RData, RecordType};

    use super::*;
    use crate::limits::UDP_PAYLOAD;

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
