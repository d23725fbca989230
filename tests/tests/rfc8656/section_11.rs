//! Section 11: Send and Data indications.

use cluster_tests::client::{Client, FromPeer, Peer, request};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{Message, attribute, kind};
use cluster_tests::subject::client_address;

pub(crate) const RULES: &[Rule] = rules![
    a_payload_goes_to_the_peer_from_the_relayed_address,
    a_payload_of_a_peer_comes_with_its_address,
    an_empty_payload_is_an_empty_datagram,
    an_empty_datagram_comes_as_an_empty_payload,
    payloads_of_every_length_pass_unchanged,
    without_a_peer_it_is_dropped,
    without_data_it_is_dropped,
    with_an_unknown_required_attribute_it_is_dropped,
    with_an_unknown_optional_attribute_it_is_relayed,
    without_an_allocation_it_is_dropped,
    a_data_indication_of_a_client_is_dropped,
];

/// A client that has permitted a peer, and that peer.
fn with_peer(case: &Case<'_>) -> (Client, std::net::SocketAddr, Peer) {
    let (mut client, relayed) = Client::allocated(case.subject);
    let peer = Peer::on(client_address());
    client.permit(peer.address().ip());
    (client, relayed, peer)
}

/// The peer sees the relayed transport address.
fn a_payload_goes_to_the_peer_from_the_relayed_address(case: &Case<'_>) {
    let (mut client, relayed, peer) = with_peer(case);
    client.send_to(peer.address(), b"hello");
    assert_eq!(peer.receive(), (b"hello".to_vec(), relayed));
}

/// A Data indication says who sent it, and is no more than that.
fn a_payload_of_a_peer_comes_with_its_address(case: &Case<'_>) {
    let (mut client, relayed, peer) = with_peer(case);
    peer.send(b"hello", relayed);
    let bytes = client.message();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.kind(), kind::DATA);
    assert_eq!(
        message.address(attribute::XOR_PEER_ADDRESS),
        Some(peer.address())
    );
    assert_eq!(message.get(attribute::DATA), Some(&b"hello"[..]));
}

/// DATA may be empty, as a datagram may.
fn an_empty_payload_is_an_empty_datagram(case: &Case<'_>) {
    let (mut client, _, peer) = with_peer(case);
    client.send_to(peer.address(), b"");
    assert_eq!(peer.receive().0, b"");
}

/// And back.
fn an_empty_datagram_comes_as_an_empty_payload(case: &Case<'_>) {
    let (mut client, relayed, peer) = with_peer(case);
    peer.send(b"", relayed);
    assert_eq!(
        client.from_peer(),
        FromPeer::Indication(peer.address(), Vec::new())
    );
}

/// Padding belongs to the message and not to the payload.
fn payloads_of_every_length_pass_unchanged(case: &Case<'_>) {
    let (mut client, relayed, peer) = with_peer(case);
    for length in (1_u16..9).chain([1199, 1200, 1201, 1400]) {
        let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
        client.send_to(peer.address(), &payload);
        assert_eq!(peer.receive().0, payload, "{length} bytes");
        peer.send(&payload, relayed);
        let wanted = FromPeer::Indication(peer.address(), payload);
        assert_eq!(client.from_peer(), wanted, "{length} bytes");
    }
}

/// Sends `bad`, then something good: only that arrives, and nothing is answered.
fn dropped(client: &mut Client, peer: &Peer, bad: &[u8]) {
    client.unanswered(bad);
    client.send_to(peer.address(), b"good");
    assert_eq!(peer.receive().0, b"good");
}

/// XOR-PEER-ADDRESS is mandatory.
fn without_a_peer_it_is_dropped(case: &Case<'_>) {
    let (mut client, _, peer) = with_peer(case);
    let bad = request(kind::SEND).attribute(attribute::DATA, b"bad");
    dropped(&mut client, &peer, &bad.unsigned());
}

/// DATA is mandatory.
fn without_data_it_is_dropped(case: &Case<'_>) {
    let (mut client, _, peer) = with_peer(case);
    let bad = request(kind::SEND).peer(peer.address());
    dropped(&mut client, &peer, &bad.unsigned());
}

/// An indication with an attribute that must be understood and is not is discarded.
fn with_an_unknown_required_attribute_it_is_dropped(case: &Case<'_>) {
    let (mut client, _, peer) = with_peer(case);
    let bad = request(kind::SEND)
        .peer(peer.address())
        .attribute(0x7001, b"what")
        .attribute(attribute::DATA, b"bad");
    dropped(&mut client, &peer, &bad.unsigned());
}

/// One that need not be understood is ignored.
fn with_an_unknown_optional_attribute_it_is_relayed(case: &Case<'_>) {
    let (mut client, _, peer) = with_peer(case);
    let good = request(kind::SEND)
        .peer(peer.address())
        .attribute(0xc001, b"what")
        .attribute(attribute::DATA, b"good");
    client.send(&good.unsigned());
    assert_eq!(peer.receive().0, b"good");
}

/// Nobody relays for strangers, and nobody answers them.
fn without_an_allocation_it_is_dropped(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let peer = Peer::on(client_address());
    let bad = request(kind::SEND).peer(peer.address());
    client.unanswered(&bad.attribute(attribute::DATA, b"bad").unsigned());
    assert_eq!(peer.arrived(), None);
}

/// Only servers send those.
fn a_data_indication_of_a_client_is_dropped(case: &Case<'_>) {
    let (mut client, _, peer) = with_peer(case);
    let bad = request(kind::DATA).peer(peer.address());
    let bad = bad.attribute(attribute::DATA, b"bad").unsigned();
    dropped(&mut client, &peer, &bad);
}
