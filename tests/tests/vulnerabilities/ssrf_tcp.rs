//! Connect (RFC 6062), as Slack's relay was abused in 2018: HTTP to whatever is inside.
//!
//! Without a connection there is nothing to send through: the answer is 403, and the kernel counts
//! that not even a SYN left.

use std::net::SocketAddr;

use cluster_tests::netns::lab::{NAME_SERVER, PEER, RELAY};
use cluster_tests::netns::watch::Watch;
use cluster_tests::rogue::{Client, Transport};
use cluster_tests::turnd::{ADMIN, REST, TURN};

use crate::site::{Site, nothing_left};

/// The transports that a TCP allocation can be asked for over (RFC 6062 section 4.1).
const STREAMS: [Transport; 2] = [Transport::Tcp, Transport::Tls];

/// Asks for a connection with each of `targets`; returns how often.
pub(crate) fn refused(site: &Site, watch: &Watch<'_>, targets: &[SocketAddr]) -> usize {
    let (before, mut attempts) = (watch.count("strayed"), 0);
    for transport in STREAMS {
        for good in PEER {
            let family = |target: &&SocketAddr| target.is_ipv6() == good.is_ipv6();
            let group: Vec<_> = targets.iter().filter(family).collect();
            if group.is_empty() {
                continue;
            }
            let mut client = site.relaying_tcp(transport, good);
            for target in &group {
                let answer = client.connect(**target);
                assert_eq!(answer, 403, "{target} over {transport:?}: Connect");
            }
            attempts += group.len();
            client.settle();
            nothing_left(watch, before);
            control(watch, &mut client, SocketAddr::new(good, 4000));
            nothing_left(watch, before);
        }
    }
    attempts
}

/// The proof that counting works: the same client tries a peer that is allowed. That one is not
/// there, so that nothing of the attempt is left to be counted later.
fn control(watch: &Watch<'_>, client: &mut Client, peer: SocketAddr) {
    let before = watch.count("allowed");
    assert_eq!(client.connect(peer), 447, "nobody listens at {peer}");
    assert_eq!((watch.count("allowed") - before).packets, 1, "a SYN");
}

/// What listens on the relay's own host, and what the operator has elsewhere.
#[test]
fn slack_ssrf_over_tcp_own_control_ports() {
    let Some(site) = Site::new("slack_ssrf_over_tcp_own_control_ports") else {
        return;
    };
    let watch = site.watch();
    let ports = [TURN, ADMIN, REST, 22, 53, 80, 443, 60_999];
    let own = RELAY.map(|ip| ports.map(|port| SocketAddr::new(ip, port)));
    let mut targets = own.concat();
    targets.push(NAME_SERVER);
    assert_eq!(site.roads(&watch, &targets), targets.len());
    let attempts = refused(&site, &watch, &targets);
    println!("measured slack_ssrf_over_tcp_own_control_ports: {attempts} attempts, 0 packets left");
}

/// Peers of the family that an allocation does not have (RFC 8656 section 10.2), denied or not.
#[test]
fn slack_ssrf_over_tcp_other_family() {
    let Some(site) = Site::new("slack_ssrf_over_tcp_other_family") else {
        return;
    };
    let watch = site.watch();
    let denied = ["10.0.0.1:80", "[fd00:ec2::254]:80"].map(|text| text.parse().expect("one"));
    assert_eq!(site.roads(&watch, &denied), denied.len());
    for transport in STREAMS {
        for (own, other) in [(0, 1), (1, 0)] {
            let mut client = site.relaying_tcp(transport, PEER[own]);
            let before = ["strayed", "allowed"].map(|name| watch.count(name));
            for target in [denied[other], SocketAddr::new(PEER[other], 4000)] {
                let answer = client.connect(target);
                assert_eq!(answer, 443, "{target} over {transport:?}");
            }
            client.settle();
            let after = ["strayed", "allowed"].map(|name| watch.count(name));
            assert_eq!(after, before, "packets left");
            control(&watch, &mut client, SocketAddr::new(PEER[own], 4000));
        }
    }
}
