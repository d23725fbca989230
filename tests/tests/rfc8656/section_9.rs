//! Section 9: permissions.

use cluster_tests::client::{Client, FromPeer, Peer};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::subject::client_address;

pub(crate) const RULES: &[Rule] = rules![
    without_a_permission_nothing_reaches_the_client,
    without_a_permission_nothing_reaches_a_peer,
    a_permission_is_for_an_address_and_all_its_ports,
    a_permission_is_of_one_allocation,
];

/// Whoever the client did not permit is dropped in silence.
fn without_a_permission_nothing_reaches_the_client(case: &Case<'_>) {
    let (mut client, relayed) = Client::allocated(case.subject);
    let (stranger, friend) = (Peer::on(client_address()), Peer::on(client_address()));
    client.permit(friend.address().ip());
    stranger.send(b"stranger", relayed);
    friend.send(b"friend", relayed);
    let first = client.from_peer();
    assert_eq!(
        first,
        FromPeer::Indication(friend.address(), b"friend".into())
    );
}

/// Nor does the client reach whom it did not permit.
fn without_a_permission_nothing_reaches_a_peer(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let (stranger, friend) = (Peer::on(client_address()), Peer::on(client_address()));
    client.permit(friend.address().ip());
    client.send_to(stranger.address(), b"stranger");
    client.send_to(friend.address(), b"friend");
    assert_eq!(friend.receive().0, b"friend");
    assert_eq!(stranger.arrived(), None);
}

/// The port of a permission does not matter, in both directions.
fn a_permission_is_for_an_address_and_all_its_ports(case: &Case<'_>) {
    let (mut client, relayed) = Client::allocated(case.subject);
    let ip = client_address();
    let (one, other) = (Peer::on(ip), Peer::on(ip));
    client.permit(ip.into());
    for peer in [&one, &other] {
        client.send_to(peer.address(), b"to a port");
        assert_eq!(peer.receive(), (b"to a port".to_vec(), relayed));
        peer.send(b"from a port", relayed);
        let got = client.from_peer();
        assert_eq!(
            got,
            FromPeer::Indication(peer.address(), b"from a port".into())
        );
    }
}

/// What one allocation permits does not open another, not even of the same user.
fn a_permission_is_of_one_allocation(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let (mut other, relayed) = Client::allocated(case.subject);
    let (peer, friend) = (Peer::on(client_address()), Peer::on(client_address()));
    client.permit(peer.address().ip());
    other.permit(friend.address().ip());
    peer.send(b"not permitted here", relayed);
    friend.send(b"permitted", relayed);
    let got = other.from_peer();
    assert_eq!(
        got,
        FromPeer::Indication(friend.address(), b"permitted".into())
    );
}
