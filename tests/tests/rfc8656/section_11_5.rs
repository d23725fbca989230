//! Section 11.5: what ICMP says of a peer reaches the client.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use cluster_tests::client::{Client, IPV4, IPV6, Peer, allocate};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{Message, attribute, kind};
use cluster_tests::subject::client_address;

pub(crate) const RULES: &[Rule] = rules![
    a_closed_port_of_a_peer_is_told,
    a_closed_port_behind_a_channel_is_told,
    a_closed_port_over_ipv6_is_told,
];

/// What this coturn does instead.
const SILENT: &str = "this version does not tell";

fn closed(ip: impl Into<IpAddr>) -> SocketAddr {
    Peer::on(ip).address()
}

/// Type and code as in the ICMP message, and the peer they are about; no payload.
fn told(client: &mut Client, peer: SocketAddr, kind_and_code: (u8, u8)) {
    let bytes = client
        .message_within(Duration::from_secs(1))
        .expect("no ICMP attribute");
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.kind(), kind::DATA);
    assert_eq!(message.address(attribute::XOR_PEER_ADDRESS), Some(peer));
    assert_eq!(message.get(attribute::DATA), None);
    let value = message.get(attribute::ICMP).expect("no ICMP attribute");
    // Eight bits each, as in ICMP itself; the figure of section 18.13 draws seven and nine.
    let (icmp, code) = kind_and_code;
    assert_eq!(value, [0, 0, icmp, code, 0, 0, 0, 0]);
}

/// Destination unreachable, port unreachable.
fn a_closed_port_of_a_peer_is_told(case: &Case<'_>) {
    case.coturn_deviates("no ICMP attribute", SILENT);
    let mut client = Client::new(case.subject);
    client
        .ask(allocate().attribute(attribute::REQUESTED_ADDRESS_FAMILY, &IPV4))
        .must_succeed();
    let peer = closed(client_address());
    client.permit(peer.ip());
    client.send_to(peer, b"anybody there?");
    told(&mut client, peer, (3, 3));
}

/// By an indication, too: ChannelData has no place for it.
fn a_closed_port_behind_a_channel_is_told(case: &Case<'_>) {
    case.coturn_deviates("no ICMP attribute", SILENT);
    let (mut client, _) = Client::allocated(case.subject);
    let peer = closed(client_address());
    client.bind(0x4000, peer).must_succeed();
    client.send_on(0x4000, b"anybody there?");
    told(&mut client, peer, (3, 3));
}

/// `ICMPv6` has numbers of its own.
fn a_closed_port_over_ipv6_is_told(case: &Case<'_>) {
    case.coturn_deviates("no ICMP attribute", SILENT);
    let mut client = Client::new(case.subject);
    client
        .ask(allocate().attribute(attribute::REQUESTED_ADDRESS_FAMILY, &IPV6))
        .must_succeed();
    let peer = closed(Ipv6Addr::LOCALHOST);
    client.permit(peer.ip());
    client.send_to(peer, b"anybody there?");
    told(&mut client, peer, (1, 4));
}
