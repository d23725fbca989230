//! Section 5: what holds for every request, whichever its method.

use std::net::SocketAddr;

use cluster_tests::client::{Client, Reply, allocate, channel_bind, refresh, request};
use cluster_tests::link::Link;
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{Builder, kind};
use cluster_tests::subject::Login;

pub(crate) const RULES: &[Rule] = rules![
    every_method_wants_the_long_term_mechanism,
    every_success_is_signed_with_the_clients_key,
    every_error_to_an_authentic_request_is_signed_with_the_clients_key,
    without_an_allocation_every_method_but_allocate_is_437,
    another_users_request_on_an_allocation_is_441,
    an_allocation_is_known_by_its_five_tuple,
    a_retransmitted_request_gets_the_same_answer,
    one_client_may_have_many_allocations_from_many_ports,
];

fn peer() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4000))
}

/// One well-formed request of every method that an allocation has.
fn every_method() -> Vec<Builder> {
    vec![
        refresh(600),
        request(kind::CREATE_PERMISSION).peer(peer()),
        channel_bind(0x4000, peer()),
    ]
}

/// Each TURN request is subject to the long-term credential mechanism.
fn every_method_wants_the_long_term_mechanism(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    for builder in every_method() {
        let reply = client.exchange(&builder.unsigned()).must_be(401);
        client.learn(&reply);
    }
    Client::new(case.subject)
        .exchange(&allocate().unsigned())
        .must_be(401);
}

/// With the mechanism in use, success responses carry an integrity the client can check.
fn every_success_is_signed_with_the_clients_key(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let all = std::iter::once(allocate()).chain(every_method());
    for builder in all {
        let reply = client.ask(builder).must_succeed();
        assert!(reply.message().signed_by(&client.key()), "unsigned success");
    }
}

/// So do errors, once the request was authentic: nobody else can make a client give up.
fn every_error_to_an_authentic_request_is_signed_with_the_clients_key(case: &Case<'_>) {
    case.coturn_deviates(
        "the error 437 is not signed",
        "it looks for the allocation before it authenticates",
    );
    let mut client = Client::new(case.subject);
    let signed = |client: &Client, reply: &Reply| {
        let code = reply.verdict();
        let good = reply.message().signed_by(&client.key());
        assert!(good, "the error {code} is not signed");
    };
    let reply = client.ask(refresh(600)).must_be(437);
    signed(&client, &reply);
    let reply = client.ask(request(kind::ALLOCATE)).must_be(400);
    signed(&client, &reply);
    client.allocate();
    let reply = client.ask(allocate()).must_be(437);
    signed(&client, &reply);
    let reply = client.ask(request(kind::CREATE_PERMISSION)).must_be(400);
    signed(&client, &reply);
    let reply = client.ask(channel_bind(0x3fff, peer())).must_be(400);
    signed(&client, &reply);
}

/// A request that is neither Allocate nor about an existing allocation is an allocation mismatch.
fn without_an_allocation_every_method_but_allocate_is_437(case: &Case<'_>) {
    case.coturn_deviates(
        "answered 400",
        "CreatePermission is a bad request to it then",
    );
    let mut client = Client::new(case.subject);
    for builder in every_method() {
        client.ask(builder).must_be(437);
    }
}

/// Only the user that made an allocation may change it: everybody else has wrong credentials.
fn another_users_request_on_an_allocation_is_441(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let owner = std::mem::replace(&mut client.login, Login::of("somebody-else"));
    for builder in every_method() {
        client.ask(builder).must_be(441);
    }
    client.login = owner;
    client.ask(refresh(600)).must_succeed();
}

/// Client address and port, server address and port, and transport name an allocation.
fn an_allocation_is_known_by_its_five_tuple(case: &Case<'_>) {
    let (client, relayed) = Client::allocated(case.subject);
    let mut other = Client::new(case.subject);
    other.login = client.login;
    other.ask(refresh(600)).must_be(437);
    assert_ne!(other.allocate(), relayed);
}

/// Over UDP a request may come twice; whoever asked must not be able to tell.
fn a_retransmitted_request_gets_the_same_answer(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let mut all = vec![allocate()];
    all.extend(every_method());
    all.push(refresh(0));
    for builder in all {
        let bytes = client.sign(builder);
        let first = client.exchange(&bytes).must_succeed();
        let again = client.exchange(&bytes).must_succeed();
        assert_eq!(first, again, "not the same answer");
    }
}

/// Each port of a client is a client.
fn one_client_may_have_many_allocations_from_many_ports(case: &Case<'_>) {
    let (first, relayed) = Client::allocated(case.subject);
    let mut all = vec![relayed];
    for _ in 0..4 {
        let mut other = Client::over(Link::udp_from(first.link.local().ip(), case.subject.v4()));
        other.login = first.login.clone();
        all.push(other.allocate());
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 5);
}
