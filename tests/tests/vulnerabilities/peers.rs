//! A client and its peers, next to a relay on a loopback address.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use cluster_tests::rogue::{Client, Transport};
use cluster_tests::turnd::{SECRET, Turnd, credential};

/// Nothing that arrives takes longer.
const SOON: Duration = Duration::from_secs(5);

/// A client over UDP from the relay's own address.
pub(crate) fn client(turnd: &Turnd, user: &str) -> Client {
    let login = credential(SECRET, user);
    Client::open(Transport::Udp, turnd.turn(), Some(turnd.ip), login).expect("it connects")
}

/// A peer on an address of its own next to the relay's.
pub(crate) fn peer(turnd: &Turnd, host: u8) -> (UdpSocket, SocketAddr) {
    let IpAddr::V4(ip) = turnd.ip else {
        panic!("a relay on IPv4")
    };
    let [a, b, c, _] = ip.octets();
    let socket =
        UdpSocket::bind(SocketAddr::from(([a, b, c, host], 0))).expect("a loopback address");
    socket.set_read_timeout(Some(SOON)).expect("a timeout");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

/// What arrives at `peer` next.
pub(crate) fn hears(peer: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    loop {
        match peer.recv(&mut buffer) {
            Ok(length) => return buffer[..length].to_vec(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("nothing arrives: {error}"),
        }
    }
}

/// Asserts that nothing has arrived; everything sent must have been dealt with.
pub(crate) fn hears_nothing(peer: &UdpSocket) {
    peer.set_nonblocking(true).expect("a flag");
    let heard = peer.recv(&mut [0; 2048]);
    assert_eq!(heard.expect_err("nothing").kind(), ErrorKind::WouldBlock);
    peer.set_nonblocking(false).expect("a flag");
}
