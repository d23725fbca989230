//! Somebody floods a relay in a name server's name: its probes go on being answered, and no relay is
//! condemned.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use cluster_tests::process::Cluster;
use local_cluster::event::Event;

/// Several rounds of echo probes long.
const FLOOD: Duration = Duration::from_secs(15);
/// Requests sent at once, once a millisecond: far beyond what strangers are answered.
const BURST: usize = 5;

/// The shortest Binding request. It earns less than its answer costs, so a flood of these leaves
/// less than the challenge of an echo probe needs.
const BINDING: [u8; 20] = [
    0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
];

#[test]
fn a_flood_in_a_name_servers_name_condemns_no_relay() {
    let cluster = Cluster::start("flood");
    let relay = &cluster.ready.relays[0];
    let from = IpAddr::V4(*cluster.ready.dns_servers[0].address.ip());
    let sockets: Vec<UdpSocket> = (0..16)
        .map(|_| {
            let socket =
                UdpSocket::bind((from, 0)).expect("the name server's address is ours, too");
            socket.connect(relay.address).expect("connected");
            socket.set_nonblocking(true).expect("set");
            socket
        })
        .collect();
    let (mut sent, mut answered) = (0_u32, 0_u32);
    let end = Instant::now() + FLOOD;
    let mut turn = sockets.iter().cycle();
    while Instant::now() < end {
        let socket = turn.next().expect("it has no end");
        for _ in 0..BURST {
            sent += u32::from(socket.send(&BINDING).is_ok());
        }
        while socket.recv(&mut [0; 512]).is_ok() {
            answered += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("measured flood: {sent} requests, {answered} answered");
    assert!(
        answered < sent / 10 * 9,
        "the relay's ration was never used up"
    );
    let doubts: Vec<_> = cluster
        .told()
        .into_iter()
        .filter(|event| matches!(event, Event::Verdict { state, .. } if state != "up"))
        .collect();
    assert!(doubts.is_empty(), "{doubts:#?}");
}
