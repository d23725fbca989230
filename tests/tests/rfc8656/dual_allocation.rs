//! Sections 7.2 and 8.2: allocations with a relayed transport address of each family.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use cluster_tests::client::{Client, FromPeer, IPV4, IPV6, Peer, allocate, refresh};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{Builder, attribute};
use cluster_tests::subject::{Setup, Subject, client_address};

pub(crate) const RULES: &[Rule] = rules![
    an_additional_ipv6_address_is_given,
    peers_of_both_families_are_relayed_to_and_from,
    both_family_attributes_are_400,
    an_additional_ipv4_address_is_400,
    an_additional_address_that_cannot_be_had_is_told_with_the_other,
    a_requested_family_that_cannot_be_had_is_440,
    one_of_two_addresses_can_be_given_back,
    the_other_of_two_addresses_can_be_given_back,
    without_a_family_both_addresses_are_deleted,
];

/// What this coturn does instead.
const UNKNOWN: &str = "this version knows the attribute by the number of a draft";

fn dual() -> Builder {
    allocate().attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &IPV6)
}

/// A client with both, and a peer for each.
fn allocated(case: &Case<'_>) -> (Client, [(SocketAddr, Peer); 2]) {
    let mut client = Client::new(case.subject);
    let reply = client.ask(dual()).must_succeed();
    let relayed: Vec<_> = reply
        .message()
        .addresses(attribute::XOR_RELAYED_ADDRESS)
        .collect();
    let find = |v6| {
        relayed
            .iter()
            .copied()
            .find(|address| address.is_ipv6() == v6)
    };
    let v4 = find(false).expect("one IPv4 address");
    let v6 = find(true).expect("one IPv6 address");
    assert_eq!(relayed.len(), 2);
    let on = |ip: IpAddr| Peer::on(ip);
    let peers = [
        (v4, on(client_address().into())),
        (v6, on(Ipv6Addr::LOCALHOST.into())),
    ];
    for (_, peer) in &peers {
        client.permit(peer.address().ip());
    }
    (client, peers)
}

fn relays(client: &mut Client, relayed: SocketAddr, peer: &Peer) {
    client.send_to(peer.address(), b"there");
    assert_eq!(peer.receive(), (b"there".to_vec(), relayed));
    peer.send(b"back", relayed);
    let got = client.from_peer();
    assert_eq!(got, FromPeer::Indication(peer.address(), b"back".into()));
}

/// The answer has both addresses.
fn an_additional_ipv6_address_is_given(case: &Case<'_>) {
    case.coturn_deviates("one IPv6 address", UNKNOWN);
    allocated(case);
}

/// Each from its own address, by indications and by channels.
fn peers_of_both_families_are_relayed_to_and_from(case: &Case<'_>) {
    case.coturn_deviates("one IPv6 address", UNKNOWN);
    let (mut client, peers) = allocated(case);
    for (relayed, peer) in &peers {
        relays(&mut client, *relayed, peer);
    }
    for (channel, (relayed, peer)) in (0x4000..).zip(&peers) {
        client.bind(channel, peer.address()).must_succeed();
        client.send_on(channel, b"there");
        assert_eq!(peer.receive(), (b"there".to_vec(), *relayed));
        peer.send(b"back", *relayed);
        let got = client.from_peer();
        assert_eq!(got, FromPeer::Channel(channel, b"back".into()));
    }
}

/// One family is requested, or one more than IPv4, not both.
fn both_family_attributes_are_400(case: &Case<'_>) {
    case.coturn_deviates("answered success", UNKNOWN);
    let builder = dual().attribute(attribute::REQUESTED_ADDRESS_FAMILY, &IPV6);
    Client::new(case.subject).ask(builder).must_be(400);
}

/// Only IPv6 can be additional.
fn an_additional_ipv4_address_is_400(case: &Case<'_>) {
    case.coturn_deviates("answered success", UNKNOWN);
    let builder = allocate().attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &IPV4);
    Client::new(case.subject).ask(builder).must_be(400);
}

fn ipv4_only(case: &Case<'_>) -> Subject {
    let setup = Setup {
        relays_ipv6: false,
        ..Setup::default()
    };
    Subject::start(case.subject.kind, setup)
}

/// ADDRESS-ERROR-CODE says which, and why.
fn an_additional_address_that_cannot_be_had_is_told_with_the_other(case: &Case<'_>) {
    case.coturn_deviates("no ADDRESS-ERROR-CODE", UNKNOWN);
    let subject = ipv4_only(case);
    let reply = Client::new(&subject).ask(dual()).must_succeed();
    assert!(reply.relayed().is_ipv4());
    let value = reply.message().get(attribute::ADDRESS_ERROR_CODE);
    let value = value.expect("no ADDRESS-ERROR-CODE");
    assert_eq!(value[..4], [2, 0, 4, 40]);
}

/// The server does not relay from it.
fn a_requested_family_that_cannot_be_had_is_440(case: &Case<'_>) {
    let subject = ipv4_only(case);
    let builder = allocate().attribute(attribute::REQUESTED_ADDRESS_FAMILY, &IPV6);
    Client::new(&subject).ask(builder).must_be(440);
}

fn delete(family: [u8; 4]) -> Builder {
    refresh(0).attribute(attribute::REQUESTED_ADDRESS_FAMILY, &family)
}

/// A Refresh may be about one family, and leaves the other alone.
fn one_of_two_addresses_can_be_given_back(case: &Case<'_>) {
    case.coturn_deviates("one IPv6 address", UNKNOWN);
    let (mut client, [(v4, peer), (_, other)]) = allocated(case);
    let reply = client.ask(delete(IPV6)).must_succeed();
    assert_eq!(reply.lifetime(), 0);
    client.send_to(other.address(), b"gone");
    relays(&mut client, v4, &peer);
    assert_eq!(other.arrived(), None);
    client.ask(delete(IPV6)).must_be(443);
    client.ask(refresh(600)).must_succeed();
}

/// It need not be the additional one.
fn the_other_of_two_addresses_can_be_given_back(case: &Case<'_>) {
    case.coturn_deviates("one IPv6 address", UNKNOWN);
    let (mut client, [(_, other), (v6, peer)]) = allocated(case);
    client.ask(delete(IPV4)).must_succeed();
    client.send_to(other.address(), b"gone");
    relays(&mut client, v6, &peer);
    assert_eq!(other.arrived(), None);
}

/// And what is left of it, is nothing.
fn without_a_family_both_addresses_are_deleted(case: &Case<'_>) {
    case.coturn_deviates("one IPv6 address", UNKNOWN);
    let (mut client, peers) = allocated(case);
    client.ask(refresh(0)).must_succeed();
    for (_, peer) in &peers {
        client.send_to(peer.address(), b"gone");
    }
    client.ask(refresh(600)).must_be(437);
    for (_, peer) in &peers {
        assert_eq!(peer.arrived(), None, "still relayed");
    }
}
