//! Section 12: channels.

use std::net::{Ipv6Addr, SocketAddr};

use cluster_tests::client::{Client, FromPeer, Peer, request};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{attribute, kind};
use cluster_tests::subject::{DENIED_PEER, client_address};

pub(crate) const RULES: &[Rule] = rules![
    a_channel_relays_in_both_directions,
    a_channel_permits_its_peer_at_every_port,
    without_a_channel_number_it_is_400,
    without_a_peer_it_is_400,
    a_number_outside_of_the_range_is_400,
    a_number_from_0x5000_on_is_400,
    a_number_bound_to_another_peer_is_400,
    a_peer_bound_to_another_number_is_400,
    the_same_binding_again_refreshes_it,
    one_address_may_have_a_channel_for_each_port,
    a_peer_of_another_family_is_443,
    a_denied_peer_is_403,
    data_on_an_unbound_channel_is_dropped,
    an_empty_payload_is_an_empty_datagram,
    bytes_after_the_payload_are_ignored_over_udp,
    a_payload_shorter_than_its_length_is_dropped,
    payloads_of_every_length_pass_unchanged,
    channel_data_is_not_padded_to_the_peer,
];

const CHANNEL: u16 = 0x4001;

fn bound(case: &Case<'_>) -> (Client, SocketAddr, Peer) {
    let (mut client, relayed) = Client::allocated(case.subject);
    let peer = Peer::on(client_address());
    client.bind(CHANNEL, peer.address()).must_succeed();
    (client, relayed, peer)
}

/// Four bytes in front of the payload, that is all.
fn a_channel_relays_in_both_directions(case: &Case<'_>) {
    let (mut client, relayed, peer) = bound(case);
    client.send_on(CHANNEL, b"there");
    assert_eq!(peer.receive(), (b"there".to_vec(), relayed));
    peer.send(b"and back", relayed);
    assert_eq!(
        client.from_peer(),
        FromPeer::Channel(CHANNEL, b"and back".into())
    );
}

/// A `ChannelBind` installs a permission, too.
fn a_channel_permits_its_peer_at_every_port(case: &Case<'_>) {
    let (mut client, relayed, peer) = bound(case);
    let other = Peer::on(peer.address().ip());
    other.send(b"another port", relayed);
    let got = client.from_peer();
    assert_eq!(
        got,
        FromPeer::Indication(other.address(), b"another port".into())
    );
    client.send_to(other.address(), b"back");
    assert_eq!(other.receive().0, b"back");
}

/// CHANNEL-NUMBER is mandatory.
fn without_a_channel_number_it_is_400(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let peer = SocketAddr::from((client_address(), 4000));
    client
        .ask(request(kind::CHANNEL_BIND).peer(peer))
        .must_be(400);
}

/// XOR-PEER-ADDRESS is mandatory.
fn without_a_peer_it_is_400(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let builder = request(kind::CHANNEL_BIND);
    let builder = builder.attribute(attribute::CHANNEL_NUMBER, &[0x40, 0, 0, 0]);
    client.ask(builder).must_be(400);
}

/// Numbers whose messages could not be told from STUN, and those that are reserved.
fn a_number_outside_of_the_range_is_400(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let peer = SocketAddr::from((client_address(), 4000));
    for number in [0, 0x3fff, 0x8000, 0xffff] {
        client.bind(number, peer).must_be(400);
    }
    client.bind(0x4000, peer).must_succeed();
}

/// RFC 8656 ends the range at 0x4FFF. RFC 5766 went on to 0x7FFF, and coturn's and pjnath's clients
/// draw from all of it: both servers take these numbers.
fn a_number_from_0x5000_on_is_400(case: &Case<'_>) {
    case.deviates("answered success", "clients of RFC 5766 use these numbers");
    let (mut client, _) = Client::allocated(case.subject);
    let peer = SocketAddr::from((client_address(), 4000));
    client.bind(0x5000, peer).must_be(400);
}

/// A number means one peer.
fn a_number_bound_to_another_peer_is_400(case: &Case<'_>) {
    let (mut client, _, peer) = bound(case);
    let other = Peer::on(client_address());
    client.bind(CHANNEL, other.address()).must_be(400);
    let port = Peer::on(peer.address().ip());
    client.bind(CHANNEL, port.address()).must_be(400);
}

/// A peer has one number.
fn a_peer_bound_to_another_number_is_400(case: &Case<'_>) {
    let (mut client, _, peer) = bound(case);
    client.bind(CHANNEL + 1, peer.address()).must_be(400);
}

/// Asking again is how a binding is kept.
fn the_same_binding_again_refreshes_it(case: &Case<'_>) {
    let (mut client, _, peer) = bound(case);
    client.bind(CHANNEL, peer.address()).must_succeed();
    client.send_on(CHANNEL, b"still here");
    assert_eq!(peer.receive().0, b"still here");
}

/// A channel is bound to address and port.
fn one_address_may_have_a_channel_for_each_port(case: &Case<'_>) {
    let (mut client, relayed, peer) = bound(case);
    let other = Peer::on(peer.address().ip());
    client.bind(CHANNEL + 1, other.address()).must_succeed();
    for (channel, peer) in [(CHANNEL, &peer), (CHANNEL + 1, &other)] {
        client.send_on(channel, b"there");
        assert_eq!(peer.receive().0, b"there");
        peer.send(b"back", relayed);
        assert_eq!(
            client.from_peer(),
            FromPeer::Channel(channel, b"back".into())
        );
    }
}

/// A peer is of a family that the allocation relays from.
fn a_peer_of_another_family_is_443(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let peer = SocketAddr::from((Ipv6Addr::LOCALHOST, 4000));
    client.bind(CHANNEL, peer).must_be(443);
}

/// The server may restrict peers, and says so.
fn a_denied_peer_is_403(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    client
        .bind(CHANNEL, SocketAddr::from((DENIED_PEER, 4000)))
        .must_be(403);
}

/// There is nobody to relay it to.
fn data_on_an_unbound_channel_is_dropped(case: &Case<'_>) {
    let (mut client, _, peer) = bound(case);
    client.send_on(CHANNEL + 1, b"nowhere");
    assert!(client.drain().is_empty());
    client.send_on(CHANNEL, b"there");
    assert_eq!(peer.receive().0, b"there");
}

/// A length of zero is a datagram without payload.
fn an_empty_payload_is_an_empty_datagram(case: &Case<'_>) {
    let (mut client, relayed, peer) = bound(case);
    client.send_on(CHANNEL, b"");
    assert_eq!(peer.receive().0, b"");
    peer.send(b"", relayed);
    assert_eq!(client.from_peer(), FromPeer::Channel(CHANNEL, Vec::new()));
}

/// Padding is allowed over UDP and is not the peer's business.
fn bytes_after_the_payload_are_ignored_over_udp(case: &Case<'_>) {
    let (mut client, _, peer) = bound(case);
    client.send(&[0x40, 0x01, 0, 3, b'a', b'b', b'c', 0]);
    assert_eq!(peer.receive().0, b"abc");
}

/// A length that the datagram does not have.
fn a_payload_shorter_than_its_length_is_dropped(case: &Case<'_>) {
    let (mut client, _, peer) = bound(case);
    client.unanswered(&[0x40, 0x01, 0, 8, b'a', b'b', b'c', b'd']);
    client.unanswered(&[0x40, 0x01, 0]);
    client.send_on(CHANNEL, b"good");
    assert_eq!(peer.receive().0, b"good");
}

/// As they are.
fn payloads_of_every_length_pass_unchanged(case: &Case<'_>) {
    let (mut client, relayed, peer) = bound(case);
    for length in (1_u16..9).chain([1199, 1200, 1201, 1400]) {
        let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
        client.send_on(CHANNEL, &payload);
        assert_eq!(peer.receive().0, payload, "{length} bytes");
        peer.send(&payload, relayed);
        assert_eq!(
            client.from_peer(),
            FromPeer::Channel(CHANNEL, payload),
            "{length} bytes"
        );
    }
}

/// The datagram to the client need not be padded over UDP, and its length is the payload's.
fn channel_data_is_not_padded_to_the_peer(case: &Case<'_>) {
    let (mut client, relayed, peer) = bound(case);
    peer.send(b"abcde", relayed);
    let bytes = client.message();
    assert_eq!(bytes[..4], [0x40, 0x01, 0, 5]);
    assert_eq!(&bytes[4..9], b"abcde");
}
