//! Section 3.1 and RFC 8489 section 6.2.2: clients over a byte stream, where messages follow each
//! other without gaps and ChannelData is padded (section 12.5).

use std::net::SocketAddr;
use std::time::Duration;

use cluster_tests::client::{Client, FromPeer, Peer, allocate, refresh, request};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{attribute, kind};
use cluster_tests::subject::{DEADLINE, client_address};
use cluster_tests::timing::until;

pub(crate) const RULES: &[Rule] = rules![
    a_session_works_as_over_udp,
    messages_may_come_in_pieces,
    messages_may_come_together,
    channel_data_is_padded_to_four_bytes_in_both_directions,
    the_allocation_ends_with_its_connection,
    a_second_connection_is_a_second_client,
    what_is_no_message_ends_the_connection,
    requests_are_answered_in_the_order_they_came,
];

const CHANNEL: u16 = 0x4001;

/// A client with a channel on each kind of stream, and its peer.
fn bound(case: &Case<'_>) -> Vec<(Client, SocketAddr, Peer)> {
    let all = case.streams().into_iter().map(|mut client| {
        let relayed = client.allocate();
        let peer = Peer::on(client_address());
        client.bind(CHANNEL, peer.address()).must_succeed();
        (client, relayed, peer)
    });
    all.collect()
}

/// The stream is the client's business only: peers are spoken to over UDP.
fn a_session_works_as_over_udp(case: &Case<'_>) {
    for (mut client, relayed, peer) in bound(case) {
        client.send_on(CHANNEL, b"there");
        assert_eq!(peer.receive(), (b"there".to_vec(), relayed));
        peer.send(b"back", relayed);
        assert_eq!(
            client.from_peer(),
            FromPeer::Channel(CHANNEL, b"back".into())
        );
        let other = Peer::on(client_address());
        client.permit(other.address().ip());
        client.send_to(other.address(), b"there");
        assert_eq!(other.receive(), (b"there".to_vec(), relayed));
        other.send(b"back", relayed);
        let got = client.from_peer();
        assert_eq!(got, FromPeer::Indication(other.address(), b"back".into()));
        let reply = client
            .exchange(&request(kind::BINDING).unsigned())
            .must_succeed();
        let mapped = reply.message().address(attribute::XOR_MAPPED_ADDRESS);
        assert_eq!(mapped, Some(client.link.local()));
        client.ask(refresh(0)).must_succeed();
    }
}

/// Segments mean nothing.
fn messages_may_come_in_pieces(case: &Case<'_>) {
    for mut client in case.streams() {
        client.challenged();
        let bytes = client.sign(allocate());
        for piece in bytes.chunks(7) {
            client.send(piece);
        }
        client.reply_to(&bytes).must_succeed();
    }
}

/// Nor where they end.
fn messages_may_come_together(case: &Case<'_>) {
    for (mut client, _, peer) in bound(case) {
        let refreshes = [client.sign(refresh(600)), client.sign(refresh(700))];
        let mut bytes = refreshes[0].clone();
        bytes.extend([0x40, 0x01, 0, 3, b'a', b'b', b'c', 0]);
        bytes.extend(&refreshes[1]);
        bytes.extend([0x40, 0x01, 0, 4, b'd', b'e', b'f', b'g']);
        client.send(&bytes);
        assert_eq!(peer.receive().0, b"abc");
        assert_eq!(peer.receive().0, b"defg");
        for (request, granted) in refreshes.iter().zip([600, 700]) {
            assert_eq!(client.reply_to(request).must_succeed().lifetime(), granted);
        }
    }
}

/// Padding is on the stream, and neither in the length nor in the payload.
fn channel_data_is_padded_to_four_bytes_in_both_directions(case: &Case<'_>) {
    for (mut client, relayed, peer) in bound(case) {
        for length in 0..9_u16 {
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            client.send_on(CHANNEL, &payload);
            assert_eq!(peer.receive().0, payload);
            peer.send(&payload, relayed);
            let bytes = client.message();
            assert_eq!(bytes[..2], CHANNEL.to_be_bytes());
            assert_eq!(bytes[2..4], length.to_be_bytes());
            assert_eq!(bytes.len(), 4 + payload.len().next_multiple_of(4));
            assert_eq!(bytes[4..4 + payload.len()], payload);
        }
    }
}

/// Nobody could use it any more: its port is closed at once and not at the end of its lifetime.
fn the_allocation_ends_with_its_connection(case: &Case<'_>) {
    for (client, relayed, peer) in bound(case) {
        peer.connect(relayed);
        drop(client);
        until("the relayed port is closed", DEADLINE, || {
            peer.is_refused(b"still there?").then_some(())
        });
    }
}

/// Of the same user or not.
fn a_second_connection_is_a_second_client(case: &Case<'_>) {
    for ((mut first, ..), mut second) in bound(case).into_iter().zip(case.streams()) {
        second.login = first.login.clone();
        second.ask(refresh(600)).must_be(437);
        second.allocate();
        second.ask(refresh(0)).must_succeed();
        first.ask(refresh(600)).must_succeed();
    }
}

/// Nobody knows where the next one would begin.
fn what_is_no_message_ends_the_connection(case: &Case<'_>) {
    case.coturn_deviates("still open", "it waits for something better");
    for mut client in case.streams() {
        client.challenged();
        // The end may overtake the last bytes.
        let _ = client.link.send(&[0xff; 64]);
        let ended = client.link.receive(Duration::from_secs(2)).unwrap_err();
        assert_ne!(ended.kind(), std::io::ErrorKind::TimedOut, "still open");
    }
}

/// Each may depend on those before.
fn requests_are_answered_in_the_order_they_came(case: &Case<'_>) {
    for (mut client, ..) in bound(case) {
        let all: Vec<_> = (600..620).map(|n| client.sign(refresh(n))).collect();
        client.send(&all.concat());
        for (number, request) in (600..).zip(&all) {
            let bytes = client.message();
            assert_eq!(bytes[8..20], request[8..20], "out of order");
            let reply = cluster_tests::client::Reply::new(bytes);
            assert_eq!(reply.must_succeed().lifetime(), number);
        }
    }
}
