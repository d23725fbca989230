//! Section 8: Refresh.

use cluster_tests::client::{Client, IPV4, IPV6, Peer, allocate, refresh, request};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{attribute, kind};
use cluster_tests::subject::client_address;

pub(crate) const RULES: &[Rule] = rules![
    a_lifetime_is_granted_as_in_an_allocate,
    without_a_lifetime_the_default_is_granted,
    a_lifetime_of_zero_deletes,
    a_deleted_allocation_relays_nothing,
    a_five_tuple_is_free_after_its_deletion,
    a_retransmitted_deletion_is_a_success,
    another_address_family_is_443,
];

const ITS_TICK: &str = "it ends what is deleted at its next tick";

/// The same rules as for a new allocation.
fn a_lifetime_is_granted_as_in_an_allocate(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    for (asked, granted) in [(3600, 3600), (601, 601), (u32::MAX, 3600), (1, 600)] {
        let reply = client.ask(refresh(asked)).must_succeed();
        let got = reply.lifetime();
        assert_eq!(got, granted, "granted {got} for {asked}");
    }
}

/// Ten minutes.
fn without_a_lifetime_the_default_is_granted(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let reply = client.ask(request(kind::REFRESH)).must_succeed();
    assert_eq!(reply.lifetime(), 600);
}

/// Zero ends it, and the answer says zero.
fn a_lifetime_of_zero_deletes(case: &Case<'_>) {
    case.coturn_may_deviate("answered success, not 437", ITS_TICK);
    let (mut client, _) = Client::allocated(case.subject);
    let reply = client.ask(refresh(0)).must_succeed();
    assert_eq!(reply.lifetime(), 0);
    client.ask(refresh(600)).must_be(437);
}

/// Permissions and channels end with their allocation.
fn a_deleted_allocation_relays_nothing(case: &Case<'_>) {
    case.coturn_may_deviate("still relayed", ITS_TICK);
    let (mut client, _) = Client::allocated(case.subject);
    let peer = Peer::on(client_address());
    client.bind(0x4000, peer.address()).must_succeed();
    client.send_on(0x4000, b"before");
    assert_eq!(peer.receive().0, b"before");
    client.ask(refresh(0)).must_succeed();
    client.send_on(0x4000, b"after");
    client.send_to(peer.address(), b"after");
    assert!(client.drain().is_empty());
    assert_eq!(peer.arrived(), None, "still relayed");
}

/// What is gone is not in the way of what comes next.
fn a_five_tuple_is_free_after_its_deletion(case: &Case<'_>) {
    case.coturn_may_deviate("answered 437", ITS_TICK);
    let (mut client, _) = Client::allocated(case.subject);
    client.ask(refresh(0)).must_succeed();
    client.ask(allocate()).must_succeed();
}

/// Its answer may have been lost.
fn a_retransmitted_deletion_is_a_success(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let bytes = client.sign(refresh(0));
    client.exchange(&bytes).must_succeed();
    client.exchange(&bytes).must_succeed();
}

/// An allocation without an address of that family cannot be refreshed for it.
fn another_address_family_is_443(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let of = |family: &[u8]| refresh(600).attribute(attribute::REQUESTED_ADDRESS_FAMILY, family);
    client.ask(of(&IPV6)).must_be(443);
    client.ask(of(&IPV4)).must_succeed();
}
