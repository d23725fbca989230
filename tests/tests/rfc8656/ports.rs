//! Section 7.2: EVEN-PORT and RESERVATION-TOKEN.

use cluster_tests::client::{Client, IPV4, IPV6, allocate};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{Builder, attribute};
use cluster_tests::subject::{Setup, Subject};

pub(crate) const RULES: &[Rule] = rules![
    an_even_port_is_even,
    the_next_port_is_reserved_for_who_has_the_token,
    a_token_serves_once,
    a_token_with_an_even_port_is_400,
    a_token_with_an_address_family_is_400,
    a_token_of_another_size_is_400,
    an_unknown_token_is_508,
    a_pair_of_ports_in_both_families_is_400,
    a_reserved_port_is_nobody_elses,
    relayed_ports_are_of_the_configured_range_and_not_in_a_row,
];

/// EVEN-PORT's R bit: the next port, too.
const PAIR: [u8; 1] = [0x80];

fn with_token(token: &[u8]) -> Builder {
    allocate().attribute(attribute::RESERVATION_TOKEN, token)
}

/// EVEN-PORT without a reservation is about one port.
fn an_even_port_is_even(case: &Case<'_>) {
    for _ in 0..8 {
        let builder = allocate().attribute(attribute::EVEN_PORT, &[0]);
        let reply = Client::new(case.subject).ask(builder).must_succeed();
        assert!(reply.relayed().port().is_multiple_of(2), "an odd port");
        let token = reply.message().get(attribute::RESERVATION_TOKEN);
        assert_eq!(token, None);
    }
}

/// An even port of its own, and a token.
fn pair(subject: &Subject) -> (Client, u16, Vec<u8>) {
    let mut client = Client::new(subject);
    let builder = allocate().attribute(attribute::EVEN_PORT, &PAIR);
    let reply = client.ask(builder).must_succeed();
    let port = reply.relayed().port();
    assert!(port.is_multiple_of(2), "an odd port");
    let token = reply.message().get(attribute::RESERVATION_TOKEN);
    let token = token.expect("a RESERVATION-TOKEN").to_vec();
    assert_eq!(token.len(), 8);
    (client, port, token)
}

/// Whichever port that client comes from: it may well be another worker's.
fn the_next_port_is_reserved_for_who_has_the_token(case: &Case<'_>) {
    for _ in 0..8 {
        let (client, port, token) = pair(case.subject);
        let mut other = Client::new(case.subject);
        other.login = client.login;
        let reply = other.ask(with_token(&token)).must_succeed();
        assert_eq!(reply.relayed().port(), port + 1);
        assert_eq!(reply.relayed().ip(), case.subject.v4().ip());
    }
}

/// Then it is used up.
fn a_token_serves_once(case: &Case<'_>) {
    case.coturn_deviates("answered 404", "it has a code of its own for it");
    let (client, _, token) = pair(case.subject);
    let mut other = Client::new(case.subject);
    other.login = client.login;
    other.ask(with_token(&token)).must_succeed();
    let mut third = Client::new(case.subject);
    third.login = other.login;
    third.ask(with_token(&token)).must_be(508);
}

/// A reserved port is what it is: it cannot be requested to be even.
fn a_token_with_an_even_port_is_400(case: &Case<'_>) {
    let builder = with_token(&[1; 8]).attribute(attribute::EVEN_PORT, &[0]);
    Client::new(case.subject).ask(builder).must_be(400);
}

/// A reserved address is of the family it is of.
fn a_token_with_an_address_family_is_400(case: &Case<'_>) {
    case.coturn_deviates("answered 404", "it looks for the token first");
    for (number, value) in [
        (attribute::REQUESTED_ADDRESS_FAMILY, IPV4),
        (attribute::ADDITIONAL_ADDRESS_FAMILY, IPV6),
    ] {
        let builder = with_token(&[1; 8]).attribute(number, &value);
        Client::new(case.subject).ask(builder).must_be(400);
    }
}

/// Eight bytes.
fn a_token_of_another_size_is_400(case: &Case<'_>) {
    for token in [&[][..], &[1; 7], &[1; 9]] {
        Client::new(case.subject)
            .ask(with_token(token))
            .must_be(400);
    }
}

/// A token that is not, or no more, in the range of reservations has no port.
fn an_unknown_token_is_508(case: &Case<'_>) {
    case.coturn_deviates("answered 404", "it has a code of its own for it");
    Client::new(case.subject)
        .ask(with_token(&[1; 8]))
        .must_be(508);
}

/// A token can name one address only.
fn a_pair_of_ports_in_both_families_is_400(case: &Case<'_>) {
    case.coturn_deviates(
        "answered success",
        "this version does not know the second attribute",
    );
    let builder = allocate()
        .attribute(attribute::EVEN_PORT, &PAIR)
        .attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &IPV6);
    Client::new(case.subject).ask(builder).must_be(400);
}

/// All other ports are taken, and this one is not given away.
fn a_reserved_port_is_nobody_elses(case: &Case<'_>) {
    let setup = Setup {
        relay_ports: (61_000, 61_031),
        workers: 1,
        ..Setup::default()
    };
    let subject = Subject::start(case.subject.kind, setup);
    let (_owner, port, _) = pair(&subject);
    let mut others = Vec::new();
    let refused = (0..40).find_map(|_| {
        let mut client = Client::new(&subject);
        let reply = client.ask(allocate());
        if reply.verdict() != "success" {
            return Some(reply);
        }
        assert_ne!(reply.relayed().port(), port + 1, "given away");
        others.push(client);
        None
    });
    refused.expect("the ports end").must_be(508);
    assert_eq!(others.len(), 30);
}

/// Ports are hard to guess.
fn relayed_ports_are_of_the_configured_range_and_not_in_a_row(case: &Case<'_>) {
    let (first, last) = case.subject.setup.relay_ports;
    let ports: Vec<_> = (0..8)
        .map(|_| Client::allocated(case.subject).1.port())
        .collect();
    assert!(ports.iter().all(|port| (first..=last).contains(port)));
    let in_a_row = ports.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(!in_a_row, "rising ports: {ports:?}");
}
