//! Section 6.3: what a server does with a message, by its class.

use cluster_tests::client::{Client, allocate, request};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{Builder, attribute, kind};

pub(crate) const RULES: &[Rule] = rules![
    a_binding_request_is_told_its_source_address,
    a_binding_success_has_no_more_than_it_needs,
    an_unknown_required_attribute_is_420_and_named,
    an_unknown_optional_attribute_is_ignored,
    a_request_of_an_unknown_method_is_not_answered,
    responses_are_never_answered,
    indications_are_never_answered,
    a_retransmitted_binding_gets_the_same_answer,
];

/// XOR-MAPPED-ADDRESS is what the server sees, over each family.
fn a_binding_request_is_told_its_source_address(case: &Case<'_>) {
    for mut client in case.clients() {
        let reply = client
            .exchange(&request(kind::BINDING).unsigned())
            .must_succeed();
        let mapped = reply.message().address(attribute::XOR_MAPPED_ADDRESS);
        assert_eq!(mapped, Some(client.link.local()));
    }
}

/// Strangers are told nothing else: whatever more there is serves whoever reflects it at others.
fn a_binding_success_has_no_more_than_it_needs(case: &Case<'_>) {
    case.coturn_deviates("more than it needs", "it adds RESPONSE-ORIGIN");
    let mut client = Client::new(case.subject);
    let reply = client
        .exchange(&request(kind::BINDING).unsigned())
        .must_succeed();
    let all: Vec<u16> = reply
        .message()
        .attributes()
        .map(|(number, _)| number)
        .collect();
    assert!(
        all == [attribute::XOR_MAPPED_ADDRESS],
        "more than it needs: {all:04x?}"
    );
}

/// All that are not understood, so that the client can leave them out.
fn an_unknown_required_attribute_is_420_and_named(case: &Case<'_>) {
    let bytes = request(kind::BINDING)
        .attribute(0x7001, b"a")
        .attribute(0xc001, b"b")
        .attribute(0x7002, b"")
        .unsigned();
    let reply = Client::new(case.subject).exchange(&bytes).must_be(420);
    let named = reply.message().get(attribute::UNKNOWN_ATTRIBUTES).unwrap();
    assert_eq!(named, [0x70, 1, 0x70, 2]);
}

/// Types from 0x8000 on.
fn an_unknown_optional_attribute_is_ignored(case: &Case<'_>) {
    let builder = request(kind::BINDING).attribute(0xc001, b"whatever");
    Client::new(case.subject)
        .exchange(&builder.unsigned())
        .must_succeed();
}

/// A method the server does not know is an error, and errors of that kind are discarded.
fn a_request_of_an_unknown_method_is_not_answered(case: &Case<'_>) {
    case.coturn_deviates(
        "answered with",
        "it authenticates before it looks at the method",
    );
    let mut client = Client::new(case.subject);
    client.challenged();
    for method in [0x0002, 0x0005, 0x000f, 0x3eef] {
        client.unanswered(&request(method).unsigned());
        let signed = client.sign(request(method));
        client.unanswered(&signed);
    }
}

/// The server has asked nothing, and an answer could be answered for ever.
fn responses_are_never_answered(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    client.challenged();
    let methods = [
        kind::BINDING,
        kind::ALLOCATE,
        kind::REFRESH,
        kind::CREATE_PERMISSION,
        kind::CHANNEL_BIND,
    ];
    for method in methods {
        for class in [kind::SUCCESS, kind::ERROR] {
            client.unanswered(&request(method + class).unsigned());
            let error = request(method + class).attribute(attribute::ERROR_CODE, &[0, 0, 4, 0]);
            client.unanswered(&error.unsigned());
            let signed = client.sign(request(method + class));
            client.unanswered(&signed);
        }
    }
}

/// Whatever is wrong with them.
fn indications_are_never_answered(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    client.allocate();
    let unknown = |builder: Builder| builder.attribute(0x7001, b"unknown").unsigned();
    for method in [kind::BINDING, kind::ALLOCATE, kind::REFRESH, 0x000f] {
        client.unanswered(&request(method + kind::INDICATION).unsigned());
        client.unanswered(&unknown(request(method + kind::INDICATION)));
    }
    client.unanswered(&unknown(request(kind::SEND)));
    client.unanswered(&request(kind::SEND).unsigned());
}

/// A server may forget what it answered, if it answers the same.
fn a_retransmitted_binding_gets_the_same_answer(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let bytes = request(kind::BINDING).unsigned();
    let first = client.exchange(&bytes);
    assert_eq!(client.exchange(&bytes), first);
    let mut other = Client::new(case.subject);
    other.exchange(&allocate().unsigned()).must_be(401);
}
