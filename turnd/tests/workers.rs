//! Several workers, and requests that come to another one than they belong to.

mod support;

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use support::turn_client::TurnClient;
use support::{Setup, TURN, wait_for};

/// Enough that with four workers one of them is hit by chance alone.
const PAIRS: usize = 12;

#[test]
fn a_reserved_port_is_got_whatever_worker_is_asked() {
    let mut setup = Setup::default();
    let ip = setup.ip;
    setup.relay = format!("listen = [\"{ip}:{TURN}\"]\nrelay_addresses = [\"{ip}\"]\nworkers = 4");
    let relay = setup.start();
    let (username, password) = relay.credential();
    let peer = UdpSocket::bind((ip, 0)).expect("a socket");
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let SocketAddr::V4(address) = peer.local_addr().expect("an address") else {
        panic!("bound to IPv4");
    };
    let mut clients = Vec::new();
    for n in 0..PAIRS as u8 {
        let (first, token) = TurnClient::reserve(relay.turn(), &username, &password);
        let mut second = TurnClient::redeem(relay.turn(), &username, &password, &token);
        let above = SocketAddrV4::new(*first.relayed.ip(), first.relayed.port() + 1);
        assert_eq!(second.relayed, above);
        // It goes on as on any other: requests, data both ways.
        second.permit(address);
        second.send(address, &[n]);
        let mut buffer = [0; 8];
        let (len, from) = peer.recv_from(&mut buffer).expect("a datagram");
        assert_eq!((&buffer[..len], from), (&[n][..], above.into()));
        peer.send_to(b"back", from).expect("sent");
        assert_eq!(second.receive(), (address, b"back".to_vec()));
        clients.push((first, second));
    }
    wait_for("some came to another worker", || {
        (relay.metric("requests_forwarded_total") >= Some(1)).then_some(())
    });
    assert_eq!(relay.metric("handover_dropped_total"), Some(0));
    for (first, second) in clients {
        first.release();
        // The five-tuple is free, on whichever worker.
        let again = second.release_and_allocate();
        again.release();
    }
    wait_for("all are gone", || {
        (relay.metric("sessions") == Some(0)).then_some(())
    });
}
