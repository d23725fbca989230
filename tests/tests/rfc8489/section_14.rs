//! Section 14: attributes, and FINGERPRINT and MESSAGE-INTEGRITY among them.

use cluster_tests::client::{Client, UDP, allocate, refresh, request};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{Builder, attribute, fingerprint, kind};

pub(crate) const RULES: &[Rule] = rules![
    padding_may_be_anything,
    an_attribute_beyond_the_message_makes_it_no_message,
    of_two_attributes_of_a_type_the_first_counts,
    attributes_after_message_integrity_are_ignored,
    unknown_attributes_after_message_integrity_are_ignored,
    a_fingerprint_is_answered_with_a_fingerprint,
    a_wrong_fingerprint_makes_it_no_message,
    a_fingerprint_that_is_not_last_makes_it_no_message,
    an_error_code_has_its_class_and_number_apart,
];

/// Its bytes mean nothing.
fn padding_may_be_anything(case: &Case<'_>) {
    let mut bytes = request(kind::BINDING).attribute(0xc001, b"abc").unsigned();
    *bytes.last_mut().unwrap() = 0xff;
    Client::new(case.subject).exchange(&bytes).must_succeed();
}

/// Its length is longer than what is left.
fn an_attribute_beyond_the_message_makes_it_no_message(case: &Case<'_>) {
    case.coturn_deviates(
        "answered with",
        "it stops reading there and goes by what it has",
    );
    let mut client = Client::new(case.subject);
    for length in [5, 8, 0xfc, 0xff] {
        let mut bytes = request(kind::BINDING).attribute(0xc001, b"abcd").unsigned();
        bytes[23] = length;
        client.unanswered(&bytes);
    }
}

/// And the others are ignored.
fn of_two_attributes_of_a_type_the_first_counts(case: &Case<'_>) {
    case.coturn_deviates("the last one counted", "it keeps what it reads last");
    let lifetime = |builder: Builder, seconds: u32| {
        builder.attribute(attribute::LIFETIME, &seconds.to_be_bytes())
    };
    let builder = lifetime(lifetime(allocate(), 1200), 0);
    let mut client = Client::new(case.subject);
    let reply = client.ask(builder).must_succeed();
    assert_eq!(reply.lifetime(), 1200, "the last one counted");
    let reply = client.ask(lifetime(refresh(700), 0)).must_succeed();
    assert_eq!(reply.lifetime(), 700);
}

/// They are not covered, so anybody may have added them.
fn attributes_after_message_integrity_are_ignored(case: &Case<'_>) {
    case.coturn_deviates(
        "answered success",
        "this version obeys them; later ones do not",
    );
    let mut client = Client::new(case.subject);
    client.challenged();
    let key = client.key();
    let added = |client: &Client, builder: Builder, number: u16, value: &[u8]| {
        let signed = client.identify(builder).integrity(&key);
        signed.attribute(number, value).unsigned()
    };
    let bytes = added(
        &client,
        request(kind::ALLOCATE),
        attribute::REQUESTED_TRANSPORT,
        &UDP,
    );
    client.exchange(&bytes).must_be(400);
    client.allocate();
    let bytes = added(
        &client,
        request(kind::REFRESH),
        attribute::LIFETIME,
        &[0; 4],
    );
    let reply = client.exchange(&bytes).must_succeed();
    assert_eq!(reply.lifetime(), 600);
}

/// Also those that would have to be understood.
fn unknown_attributes_after_message_integrity_are_ignored(case: &Case<'_>) {
    case.coturn_deviates(
        "answered 420",
        "this version looks at them; later ones do not",
    );
    let mut client = Client::new(case.subject);
    client.challenged();
    let signed = client.identify(allocate()).integrity(&client.key());
    let bytes = signed.attribute(0x7001, b"added").unsigned();
    client.exchange(&bytes).must_succeed();
}

/// Whoever sends one wants one.
fn a_fingerprint_is_answered_with_a_fingerprint(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let bytes = request(kind::BINDING).fingerprint().unsigned();
    let reply = client.exchange(&bytes).must_succeed();
    assert!(
        reply.message().has_fingerprint(),
        "no FINGERPRINT in the answer"
    );
    client.challenged();
    let signed = client.identify(allocate()).integrity(&client.key());
    let reply = client
        .exchange(&signed.fingerprint().unsigned())
        .must_succeed();
    assert!(
        reply.message().has_fingerprint(),
        "no FINGERPRINT in the answer"
    );
    assert!(reply.message().signed_by(&client.key()));
}

/// It was something else, or was damaged.
fn a_wrong_fingerprint_makes_it_no_message(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let mut bytes = request(kind::BINDING).fingerprint().unsigned();
    *bytes.last_mut().unwrap() ^= 1;
    client.unanswered(&bytes);
}

/// It covers everything before it, and nothing comes after it.
fn a_fingerprint_that_is_not_last_makes_it_no_message(case: &Case<'_>) {
    case.coturn_deviates("answered with", "it does not mind where it stands");
    let mut client = Client::new(case.subject);
    let mut bytes = request(kind::BINDING)
        .attribute(attribute::FINGERPRINT, &[0; 4])
        .attribute(0xc001, b"abcd")
        .unsigned();
    // Right but for its place, with the length as it is and as it would be without the rest.
    for length in [16, 8] {
        let mut covered = bytes[..20].to_vec();
        covered[3] = length;
        bytes[24..28].copy_from_slice(&fingerprint(&covered));
        client.unanswered(&bytes);
    }
}

/// Hundreds in one byte, the rest in another, and zeros before.
fn an_error_code_has_its_class_and_number_apart(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let reply = client.exchange(&allocate().unsigned()).must_be(401);
    let value = reply.message().get(attribute::ERROR_CODE).unwrap();
    assert_eq!(value[..4], [0, 0, 4, 1]);
    assert!(std::str::from_utf8(&value[4..]).is_ok());
    client.learn(&reply);
    let reply = client.ask(refresh(600)).must_be(437);
    let value = reply.message().get(attribute::ERROR_CODE).unwrap();
    assert_eq!(value[..4], [0, 0, 4, 37]);
}
