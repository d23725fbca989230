//! Sections 7.2 and 19: what a server says that has no more to give.

use cluster_tests::client::{Client, allocate, refresh};
use cluster_tests::link::Link;
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::subject::{DEADLINE, Setup, Subject};
use cluster_tests::timing::until;

pub(crate) const RULES: &[Rule] = rules![
    a_user_beyond_its_quota_is_486,
    without_a_free_port_it_is_508,
];

/// The quota is the user's: others are served, and so is who gives something back.
fn a_user_beyond_its_quota_is_486(case: &Case<'_>) {
    let setup = Setup {
        user_quota: Some(2),
        ..Setup::default()
    };
    let subject = Subject::start(case.subject.kind, setup);
    let (mut first, _) = Client::allocated(&subject);
    let same_user = |first: &Client| {
        let mut client = Client::over(Link::udp(subject.v4()));
        client.login = first.login.clone();
        client
    };
    let mut second = same_user(&first);
    second.allocate();
    let mut third = same_user(&first);
    third.ask(allocate()).must_be(486);
    Client::allocated(&subject);
    first.ask(refresh(0)).must_succeed();
    until("the quota is free again", DEADLINE, || {
        (third.ask(allocate()).verdict() == "success").then_some(())
    });
}

/// Not the user's fault, and not for ever.
fn without_a_free_port_it_is_508(case: &Case<'_>) {
    let setup = Setup {
        relay_ports: (61_000, 61_031),
        workers: 1,
        ..Setup::default()
    };
    let subject = Subject::start(case.subject.kind, setup);
    let mut clients: Vec<_> = (0..32).map(|_| Client::allocated(&subject).0).collect();
    let mut late = Client::new(&subject);
    late.ask(allocate()).must_be(508);
    clients[7].ask(refresh(0)).must_succeed();
    until("a port is free again", DEADLINE, || {
        (late.ask(allocate()).verdict() == "success").then_some(())
    });
}
