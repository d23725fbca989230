//! The relay's own endpoints and the operator's, which clients must not reach through the relay;
//! relayed addresses, which they must.

use std::net::SocketAddr;
use std::time::Duration;

use cluster_tests::netns::lab::{NAME_SERVER, RELAY};
use cluster_tests::rogue::Transport;
use cluster_tests::stun::{Builder, Message, kind};
use cluster_tests::turnd::{ADMIN, REST, TURN};

use crate::site::{Site, nothing_left};

/// Administration, credentials, the listener itself: a loop (RFC 8656 section 21.1.6), or worse.
#[test]
fn coturn_pr_1946_own_control_ports() {
    let Some(site) = Site::new("coturn_pr_1946_own_control_ports") else {
        return;
    };
    let watch = site.watch();
    let open = [TURN, ADMIN, REST].map(|port| SocketAddr::new(RELAY[0], port));
    assert_eq!(site.roads(&watch, &open), open.len());
    let before = watch.count("strayed");
    for transport in Transport::ALL {
        for ip in RELAY {
            let (mut client, _) = site.allocated(transport, ip);
            // A permission names no port, and other clients' relayed addresses are at this address.
            assert_eq!(client.permit(&[ip]), 0);
            for (channel, port) in (0x4000..).zip([TURN, ADMIN, REST, 22, 53, 80, 443, 60_999]) {
                let target = SocketAddr::new(ip, port);
                assert_eq!(
                    client.bind(channel, target),
                    403,
                    "{target} over {transport:?}"
                );
                client.channel_data(channel, &binding());
                client.indicate(target, &binding());
            }
            client.settle();
            nothing_left(&watch, before);
        }
    }
    println!("measured coturn_pr_1946_own_control_ports: 0 packets to own ports");
}

/// The name servers' endpoints for reports, at an address where other ports may be reached.
#[test]
fn coturn_pr_1946_name_servers_endpoint() {
    let Some(site) = Site::new("coturn_pr_1946_name_servers_endpoint") else {
        return;
    };
    let watch = site.watch();
    let (mut client, _) = site.allocated(Transport::Udp, NAME_SERVER.ip());
    assert_eq!(client.permit(&[NAME_SERVER.ip()]), 0);
    assert_eq!(client.bind(0x4000, NAME_SERVER), 403);
    let before = watch.count("strayed");
    client.indicate(NAME_SERVER, b"a report of my own");
    client.channel_data(0x4000, b"a report of my own");
    client.settle();
    nothing_left(&watch, before);
    client.indicate(SocketAddr::new(NAME_SERVER.ip(), 5302), b"to its neighbour");
    client.settle();
    assert_eq!((watch.count("strayed") - before).packets, 1);
}

/// A filter that knows its own address and stops there breaks calls between two of its clients.
#[test]
fn coturn_issue_584_hairpin_between_two_clients() {
    let Some(site) = Site::new("coturn_issue_584_hairpin_between_two_clients") else {
        return;
    };
    for transport in Transport::ALL {
        for ip in RELAY {
            let (mut one, at_one) = site.allocated(transport, ip);
            let (mut two, at_two) = site.allocated(transport, ip);
            assert_eq!(one.permit(&[at_two.ip()]), 0);
            assert_eq!(two.bind(0x4001, at_one), 0);
            one.indicate(at_two, b"to the other");
            let got = two.receive(Duration::from_secs(5)).expect("it arrives");
            assert_eq!(got[..4], [0x40, 1, 0, 12]);
            assert_eq!(&got[4..], b"to the other");
            two.channel_data(0x4001, b"and back");
            let got = one.receive(Duration::from_secs(5)).expect("it arrives");
            assert_eq!(Message::parse(&got).expect("STUN").kind(), kind::DATA);
        }
    }
}

fn binding() -> Vec<u8> {
    Builder::new(kind::BINDING, *b"through-them").unsigned()
}
