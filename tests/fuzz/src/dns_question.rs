//! The fast path's reading of a query: what it takes, another decoder takes too and reads alike.

use dnsd::serve::fast::parse::{Options, Question, Room};
use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

/// Takes a datagram.
pub fn dns_question(datagram: &[u8]) {
    let mut room = Room::default();
    let Some(question) = Question::parse(datagram, &mut room) else {
        return;
    };
    let message = Message::from_vec(datagram).unwrap();
    let head = message.metadata;
    assert_eq!(
        (head.message_type, head.op_code),
        (MessageType::Query, OpCode::Query)
    );
    // They go into the answer as they came, or not at all.
    assert_eq!(question.bytes[..2], head.id.to_be_bytes());
    assert_eq!(question.bytes[2] & 1 == 1, head.recursion_desired);
    assert!(!head.truncation && !head.authoritative && !head.recursion_available);
    assert!(datagram.starts_with(question.bytes));
    let [query] = &message.queries[..] else {
        panic!("{} questions", message.queries.len());
    };
    assert_eq!(query.query_class(), DNSClass::IN);
    assert_eq!(query.query_type(), question.record_type);
    let labels = query.name().iter();
    let mut name: Vec<u8> = labels
        .flat_map(|label| [&[label.len() as u8], label].concat())
        .collect();
    name.push(0);
    let kind = u16::from(question.record_type).to_be_bytes();
    assert_eq!(question.bytes[12..], [&name[..], &kind, &[0, 1]].concat());
    name.make_ascii_lowercase();
    assert_eq!(question.name, name);
    // Nothing else is in it.
    assert!(message.answers.is_empty() && message.authorities.is_empty());
    assert!(message.additionals.is_empty() && message.signature().is_none());
    assert_eq!(question.edns.is_some(), message.edns.is_some());
    let behind = &datagram[question.bytes.len()..];
    let Some((ours, theirs)) = question.edns.zip(message.edns) else {
        assert!(behind.is_empty());
        return;
    };
    assert_eq!(ours.payload.max(512), theirs.max_payload().max(512));
    assert_eq!(ours.dnssec, theirs.flags().dnssec_ok);
    assert_eq!((theirs.version(), theirs.flags().z), (0, 0));
    options(&ours, &theirs.options().options);
    let lengths = [ours.cookie, ours.subnet_option].map(|option| option.map_or(0, |o| 4 + o.len()));
    assert_eq!(behind.len(), 11 + lengths[0] + lengths[1]);
}

/// The options are those that the other decoder finds.
fn options(ours: &Options<'_>, theirs: &[(EdnsCode, EdnsOption)]) {
    let (mut cookie, mut subnet) = (None, None);
    for (_, option) in theirs {
        match option {
            EdnsOption::Subnet(found) => {
                assert!(subnet.replace(found).is_none() && found.scope_prefix() == 0);
            }
            EdnsOption::Unknown(10, found) => assert!(cookie.replace(&found[..]).is_none()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ours.cookie, cookie);
    let network = |found| (ipnet::IpNet::addr(&found), found.prefix_len());
    let found = subnet.map(|found| (found.addr(), found.source_prefix()));
    assert_eq!(ours.subnet().map(network), found);
    assert_eq!(ours.subnet().is_some(), ours.subnet_option.is_some());
    // No bit is set beyond the prefix (RFC 7871 section 6).
    assert!(ours.subnet().is_none_or(|subnet| subnet == subnet.trunc()));
}
