//! Section 10: ALTERNATE-SERVER.

use std::net::SocketAddr;

use cluster_tests::client::{Client, allocate, request};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{attribute, kind};
use cluster_tests::subject::{Setup, Subject};

pub(crate) const RULES: &[Rule] = rules![a_server_that_takes_no_more_sends_clients_elsewhere,];

/// 300 names a server of the client's own family, and whoever is told to go there can check who
/// said so.
fn a_server_that_takes_no_more_sends_clients_elsewhere(case: &Case<'_>) {
    case.coturn_deviates(
        "nobody can tell who said so",
        "it redirects before it authenticates",
    );
    let alternate = SocketAddr::from(([127, 9, 9, 9], 3478));
    let setup = Setup {
        alternate: Some(alternate),
        ..Setup::default()
    };
    let subject = Subject::start(case.subject.kind, setup);
    let mut client = Client::new(&subject);
    let first = client.exchange(&allocate().unsigned());
    assert_eq!(first.verdict(), "401", "nobody can tell who said so");
    let reply = client.ask(allocate()).must_be(300);
    assert!(reply.message().signed_by(&client.key()));
    let value = reply.message().get(attribute::ALTERNATE_SERVER).unwrap();
    let port = alternate.port().to_be_bytes();
    assert_eq!(value, [0, 1, port[0], port[1], 127, 9, 9, 9]);
    // Whoever only asks for an address is answered here.
    client
        .exchange(&request(kind::BINDING).unsigned())
        .must_succeed();
}
