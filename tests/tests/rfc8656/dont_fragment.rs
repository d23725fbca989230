//! Sections 7.2, 11.2 and 14: DONT-FRAGMENT.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};

use cluster_tests::client::{Client, Peer, allocate, request};
use cluster_tests::link::PATIENCE;
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{attribute, kind};
use cluster_tests::subject::client_address;
use socket2::{Domain, Protocol, Socket, Type};

pub(crate) const RULES: &[Rule] = rules![
    an_allocation_may_ask_whether_it_is_understood,
    a_send_indication_with_it_is_relayed,
    the_header_of_the_datagram_says_what_the_indication_asked,
];

/// It is: no 420.
fn an_allocation_may_ask_whether_it_is_understood(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    client
        .ask(allocate().attribute(attribute::DONT_FRAGMENT, &[]))
        .must_succeed();
}

fn send(client: &mut Client, peer: SocketAddr, dont_fragment: bool) {
    let mut builder = request(kind::SEND).peer(peer);
    if dont_fragment {
        builder = builder.attribute(attribute::DONT_FRAGMENT, &[]);
    }
    client.send(&builder.attribute(attribute::DATA, b"payload").unsigned());
}

/// In a packet that needs no fragments it changes nothing.
fn a_send_indication_with_it_is_relayed(case: &Case<'_>) {
    let (mut client, relayed) = Client::allocated(case.subject);
    let peer = Peer::on(client_address());
    client.permit(peer.address().ip());
    send(&mut client, peer.address(), true);
    assert_eq!(peer.receive(), (b"payload".to_vec(), relayed));
}

/// The DF bit is set where DONT-FRAGMENT was, and nowhere else.
fn the_header_of_the_datagram_says_what_the_indication_asked(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let peer = Peer::on(client_address());
    let Ok(mut raw) = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)) else {
        return case.not_run("no right to see IP headers");
    };
    let ip: IpAddr = peer.address().ip();
    raw.bind(&SocketAddr::new(ip, 0).into()).unwrap();
    raw.set_read_timeout(Some(PATIENCE)).unwrap();
    client.permit(ip);
    for wanted in [true, false, true, false] {
        send(&mut client, peer.address(), wanted);
        peer.receive();
        let mut packet = [0; 256];
        let length = raw.read(&mut packet).unwrap();
        assert!(packet[..length].ends_with(b"payload"));
        let set = packet[6] & 0x40 != 0;
        assert_eq!(set, wanted, "the DF bit does not fit");
    }
}
