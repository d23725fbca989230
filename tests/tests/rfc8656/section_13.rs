//! Section 13: relaying between IPv4 and IPv6.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use cluster_tests::client::{Client, FromPeer, IPV4, IPV6, Peer, allocate};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::attribute;
use cluster_tests::subject::client_address;

pub(crate) const RULES: &[Rule] = rules![
    indications_are_relayed_between_all_families,
    channel_data_is_relayed_between_all_families,
];

/// Every client family with every relayed family, and a peer of the latter.
fn pairs(case: &Case<'_>) -> Vec<(Client, SocketAddr, Peer)> {
    let mut pairs = Vec::new();
    for family in [IPV4, IPV6] {
        for mut client in case.clients() {
            let builder = allocate().attribute(attribute::REQUESTED_ADDRESS_FAMILY, &family);
            let relayed = client.ask(builder).must_succeed().relayed();
            let ip = match family {
                IPV4 => IpAddr::V4(client_address()),
                _ => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            pairs.push((client, relayed, Peer::on(ip)));
        }
    }
    pairs
}

/// Send and Data indications.
fn indications_are_relayed_between_all_families(case: &Case<'_>) {
    for (mut client, relayed, peer) in pairs(case) {
        client.permit(peer.address().ip());
        client.send_to(peer.address(), b"there");
        assert_eq!(peer.receive(), (b"there".to_vec(), relayed));
        peer.send(b"back", relayed);
        let got = client.from_peer();
        assert_eq!(got, FromPeer::Indication(peer.address(), b"back".into()));
    }
}

/// ChannelData.
fn channel_data_is_relayed_between_all_families(case: &Case<'_>) {
    for (mut client, relayed, peer) in pairs(case) {
        client.bind(0x4000, peer.address()).must_succeed();
        client.send_on(0x4000, b"there");
        assert_eq!(peer.receive(), (b"there".to_vec(), relayed));
        peer.send(b"back", relayed);
        assert_eq!(
            client.from_peer(),
            FromPeer::Channel(0x4000, b"back".into())
        );
    }
}
