//! Section 7.2: what a server checks in an Allocate request, and what it grants.

use cluster_tests::client::{Client, IPV4, IPV6, UDP, allocate, request};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{attribute, kind};

pub(crate) const RULES: &[Rule] = rules![
    a_success_tells_relayed_address_mapped_address_and_lifetime,
    a_second_allocate_on_a_five_tuple_is_437,
    without_requested_transport_it_is_400,
    a_requested_transport_of_another_size_is_400,
    any_transport_but_udp_is_442,
    an_unknown_address_family_is_440,
    without_an_address_family_the_relayed_address_is_ipv4,
    the_address_family_is_as_requested,
    an_unknown_required_attribute_is_420_and_named,
    a_lifetime_of_an_hour_is_granted,
    a_lifetime_beyond_an_hour_is_cut,
    a_lifetime_below_the_default_becomes_the_default,
    without_a_lifetime_the_default_is_granted,
];

/// The success response says where peers find the client, how the server sees the client, and for
/// how long.
fn a_success_tells_relayed_address_mapped_address_and_lifetime(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let reply = client.ask(allocate()).must_succeed();
    let mapped = reply.message().address(attribute::XOR_MAPPED_ADDRESS);
    assert_eq!(mapped, Some(client.link.local()));
    assert_eq!(reply.relayed().ip(), case.subject.v4().ip());
    assert!(reply.lifetime() >= 600);
}

/// There is at most one allocation for a five-tuple.
fn a_second_allocate_on_a_five_tuple_is_437(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    client.ask(allocate()).must_be(437);
}

/// REQUESTED-TRANSPORT is mandatory.
fn without_requested_transport_it_is_400(case: &Case<'_>) {
    Client::new(case.subject)
        .ask(request(kind::ALLOCATE))
        .must_be(400);
}

/// A REQUESTED-TRANSPORT that is not four bytes long is malformed.
fn a_requested_transport_of_another_size_is_400(case: &Case<'_>) {
    let builder = request(kind::ALLOCATE).attribute(attribute::REQUESTED_TRANSPORT, &[17]);
    Client::new(case.subject).ask(builder).must_be(400);
}

/// Transports the server does not relay are refused as such.
fn any_transport_but_udp_is_442(case: &Case<'_>) {
    case.coturn_deviates(
        "answered 400",
        "a transport it does not know is malformed to it",
    );
    for transport in [0, 1, 132, 255] {
        let value = [transport, 0, 0, 0];
        let builder = request(kind::ALLOCATE).attribute(attribute::REQUESTED_TRANSPORT, &value);
        Client::new(case.subject).ask(builder).must_be(442);
    }
}

/// A family the server cannot relay from is not supported.
fn an_unknown_address_family_is_440(case: &Case<'_>) {
    let builder = allocate().attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0]);
    Client::new(case.subject).ask(builder).must_be(440);
}

/// IPv4 is what a client gets that does not ask, also over IPv6.
fn without_an_address_family_the_relayed_address_is_ipv4(case: &Case<'_>) {
    for mut client in case.clients() {
        assert!(client.allocate().is_ipv4());
    }
}

/// REQUESTED-ADDRESS-FAMILY chooses, whatever the client's own family is.
fn the_address_family_is_as_requested(case: &Case<'_>) {
    for family in [IPV4, IPV6] {
        for mut client in case.clients() {
            let builder = allocate().attribute(attribute::REQUESTED_ADDRESS_FAMILY, &family);
            let relayed = client.ask(builder).must_succeed().relayed();
            assert_eq!(relayed.is_ipv6(), family == IPV6);
        }
    }
}

/// What a server must understand and does not, it names.
fn an_unknown_required_attribute_is_420_and_named(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let builder = allocate()
        .attribute(0x7001, &[1, 2, 3])
        .attribute(0x7002, &[])
        .attribute(0xc001, &[4]);
    let reply = client.ask(builder).must_be(420);
    let named = reply.message().get(attribute::UNKNOWN_ATTRIBUTES).unwrap();
    assert_eq!(named, [0x70, 0x01, 0x70, 0x02]);
    client.allocate();
}

fn granted(case: &Case<'_>, lifetime: u32) -> u32 {
    let builder = allocate().attribute(attribute::LIFETIME, &lifetime.to_be_bytes());
    let reply = Client::new(case.subject).ask(builder).must_succeed();
    reply.lifetime()
}

/// Firefox asks for an hour; a server that may grant it should.
fn a_lifetime_of_an_hour_is_granted(case: &Case<'_>) {
    assert_eq!(granted(case, 3600), 3600);
}

/// The server has a maximum, an hour unless it is told otherwise.
fn a_lifetime_beyond_an_hour_is_cut(case: &Case<'_>) {
    assert_eq!(granted(case, 3601), 3600);
    assert_eq!(granted(case, u32::MAX), 3600);
}

/// Less than the default is not granted: it would only cost refreshes.
fn a_lifetime_below_the_default_becomes_the_default(case: &Case<'_>) {
    assert_eq!(granted(case, 60), 600);
    assert_eq!(granted(case, 1), 600);
}

/// Ten minutes.
fn without_a_lifetime_the_default_is_granted(case: &Case<'_>) {
    let reply = Client::new(case.subject).ask(allocate()).must_succeed();
    assert_eq!(reply.lifetime(), 600);
    let builder = request(kind::ALLOCATE).attribute(attribute::REQUESTED_TRANSPORT, &UDP);
    Client::new(case.subject).ask(builder).must_succeed();
}
