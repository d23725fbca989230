//! Section 10: `CreatePermission`.

use std::net::{Ipv6Addr, SocketAddr};

use cluster_tests::client::{Client, FromPeer, Peer, request};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{Builder, attribute, kind};
use cluster_tests::subject::{DENIED_PEER, client_address};

pub(crate) const RULES: &[Rule] = rules![
    without_a_peer_it_is_400,
    a_malformed_peer_is_400,
    a_peer_of_another_family_is_443,
    a_denied_peer_is_403,
    several_peers_are_all_permitted,
    one_denied_peer_of_several_permits_none,
    one_peer_of_another_family_permits_none,
    a_permission_may_be_refreshed,
];

fn denied() -> SocketAddr {
    SocketAddr::from((DENIED_PEER, 4000))
}

fn create(peers: &[SocketAddr]) -> Builder {
    peers
        .iter()
        .fold(request(kind::CREATE_PERMISSION), |builder, peer| {
            builder.peer(*peer)
        })
}

/// At least one peer has to be named.
fn without_a_peer_it_is_400(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    client.ask(create(&[])).must_be(400);
}

/// An address that cannot be read is malformed.
fn a_malformed_peer_is_400(case: &Case<'_>) {
    case.coturn_deviates(
        "answered success",
        "it permits whatever such bytes begin with",
    );
    let (mut client, _) = Client::allocated(case.subject);
    for value in [
        &[0, 1, 1][..],
        &[0, 7, 1, 1, 2, 2, 2, 2],
        &[0, 2, 1, 1, 2, 2, 2, 2],
    ] {
        let builder = request(kind::CREATE_PERMISSION);
        let builder = builder.attribute(attribute::XOR_PEER_ADDRESS, value);
        client.ask(builder).must_be(400);
    }
}

/// A peer is of a family that the allocation relays from.
fn a_peer_of_another_family_is_443(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let peer = SocketAddr::from((Ipv6Addr::LOCALHOST, 4000));
    client.ask(create(&[peer])).must_be(443);
}

/// The server may restrict peers, and says so.
fn a_denied_peer_is_403(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    client.ask(create(&[denied()])).must_be(403);
}

/// One request may name several.
fn several_peers_are_all_permitted(case: &Case<'_>) {
    let (mut client, relayed) = Client::allocated(case.subject);
    let peers = [client_address(), client_address(), client_address()].map(Peer::on);
    let addresses: Vec<_> = peers.iter().map(Peer::address).collect();
    client.ask(create(&addresses)).must_succeed();
    for peer in &peers {
        peer.send(b"here", relayed);
        let got = client.from_peer();
        assert_eq!(got, FromPeer::Indication(peer.address(), b"here".into()));
    }
}

fn permits_none(case: &Case<'_>, bad: SocketAddr, code: u16) {
    let (mut client, relayed) = Client::allocated(case.subject);
    let (before, after, friend) = (
        Peer::on(client_address()),
        Peer::on(client_address()),
        Peer::on(client_address()),
    );
    let peers = [before.address(), bad, after.address()];
    client.ask(create(&peers)).must_be(code);
    client.permit(friend.address().ip());
    before.send(b"before", relayed);
    after.send(b"after", relayed);
    friend.send(b"friend", relayed);
    let got = client.from_peer();
    assert_eq!(
        got,
        FromPeer::Indication(friend.address(), b"friend".into())
    );
}

/// All or none.
fn one_denied_peer_of_several_permits_none(case: &Case<'_>) {
    permits_none(case, denied(), 403);
}

/// All or none, whatever is wrong with one.
fn one_peer_of_another_family_permits_none(case: &Case<'_>) {
    permits_none(case, SocketAddr::from((Ipv6Addr::LOCALHOST, 1)), 443);
}

/// A permission is refreshed by asking for it again.
fn a_permission_may_be_refreshed(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let peer = client_address();
    client.permit(peer.into());
    client.permit(peer.into());
}
