//! Section 5: what makes a datagram a STUN message. Anything else gets no answer.

use cluster_tests::client::{Client, request};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::kind;

pub(crate) const RULES: &[Rule] = rules![
    without_the_magic_cookie_it_is_no_message,
    with_one_of_the_first_two_bits_it_is_no_message,
    a_length_that_is_no_multiple_of_four_is_no_message,
    a_length_beyond_the_datagram_is_no_message,
    a_length_short_of_the_datagram_is_no_message,
    a_datagram_shorter_than_a_header_is_no_message,
    an_answer_has_the_transaction_id_of_its_request,
];

fn binding() -> Vec<u8> {
    request(kind::BINDING).unsigned()
}

/// The cookie is fixed.
fn without_the_magic_cookie_it_is_no_message(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    for byte in 4..8 {
        let mut bytes = binding();
        bytes[byte] ^= 1;
        client.unanswered(&bytes);
    }
}

/// They tell STUN from what shares its port.
fn with_one_of_the_first_two_bits_it_is_no_message(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    for bits in [0x40, 0x80, 0xc0] {
        let mut bytes = binding();
        bytes[0] |= bits;
        client.unanswered(&bytes);
    }
}

/// Attributes are padded to four bytes, so lengths are multiples of four.
fn a_length_that_is_no_multiple_of_four_is_no_message(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    for more in 1..4 {
        let mut bytes = binding();
        bytes[3] = more;
        bytes.extend(std::iter::repeat_n(0, more.into()));
        client.unanswered(&bytes);
    }
}

/// Part of the message is missing.
fn a_length_beyond_the_datagram_is_no_message(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let mut bytes = binding();
    bytes[3] = 8;
    client.unanswered(&bytes);
    bytes[2] = 0xff;
    client.unanswered(&bytes);
}

/// A datagram is one message.
fn a_length_short_of_the_datagram_is_no_message(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let mut bytes = binding();
    bytes.extend([0; 4]);
    client.unanswered(&bytes);
    let mut bytes = binding();
    bytes.extend([0xc0, 1, 0, 0]);
    client.unanswered(&bytes);
}

/// Not even an empty one.
fn a_datagram_shorter_than_a_header_is_no_message(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    for length in 0..20 {
        client.unanswered(&binding()[..length]);
    }
}

/// That is how a client knows it.
fn an_answer_has_the_transaction_id_of_its_request(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    for fill in [0, 0xff, 0x21] {
        let mut bytes = binding();
        bytes[8..20].fill(fill);
        let reply = client.exchange(&bytes).must_succeed();
        assert_eq!(reply.message().transaction(), [fill; 12]);
    }
}
