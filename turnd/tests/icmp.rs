//! What the kernel says of a peer reaches the client that permitted it, and costs nobody a datagram.

mod support;

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use support::turn_client::TurnClient;
use support::{Relay, Setup, wait_for};

fn client(relay: &Relay) -> TurnClient {
    let (username, password) = relay.credential();
    TurnClient::allocate(relay.turn(), &username, &password)
}

/// A peer that is there.
fn peer(relay: &Relay) -> (UdpSocket, SocketAddrV4) {
    let socket = UdpSocket::bind((relay.ip, 0)).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    match socket.local_addr().expect("an address") {
        SocketAddr::V4(address) => (socket, address),
        SocketAddr::V6(_) => unreachable!("bound to IPv4"),
    }
}

#[test]
fn a_closed_port_is_told_as_unreachable() {
    let relay = Setup::default().start();
    let mut client = client(&relay);
    // A port that was free a moment ago and belongs to nobody now.
    let (closed, address) = peer(&relay);
    drop(closed);
    client.permit(address);
    client.send(address, b"is anybody there?");
    // Type 3 is destination unreachable, code 3 its port.
    assert_eq!(
        client.receive_icmp(),
        (address, vec![0, 0, 3, 3, 0, 0, 0, 0])
    );
    wait_for("it is counted", || {
        (relay.metric("icmp_indications_total") == Some(1)).then_some(())
    });
}

#[test]
fn a_closed_port_beside_an_open_one_loses_nothing() {
    let relay = Setup::default().start();
    let mut client = client(&relay);
    let (open, address) = peer(&relay);
    let (closed, nobody) = peer(&relay);
    drop(closed);
    client.permit(address);
    let mut buffer = [0; 64];
    for n in 0..500_u32 {
        // Each datagram to nobody leaves an error behind, which must not hit the next one.
        client.send(nobody, b"x");
        client.send(address, &n.to_be_bytes());
        let (len, from) = open.recv_from(&mut buffer).expect("every datagram arrives");
        assert_eq!(buffer[..len], n.to_be_bytes());
        assert_eq!(from, SocketAddr::V4(client.relayed));
        // And the other way.
        open.send_to(&n.to_le_bytes(), from).expect("sent");
        assert_eq!(client.receive(), (address, n.to_le_bytes().to_vec()));
    }
    assert_eq!(relay.metric("send_refused_total"), Some(0));
    assert_eq!(relay.metric("receive_errors_total"), Some(0));
    // No more than a few of the 500 are told.
    wait_for("the rest is counted", || {
        let dropped = relay.metric("dropped_total{reason=\"icmp\"}");
        (dropped >= Some(400)).then_some(())
    });
    let before = relay.cpu_ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert!(relay.cpu_ticks() - before < 20, "the relay spins");
}
