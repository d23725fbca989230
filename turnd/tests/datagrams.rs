//! Datagrams that are out of the ordinary, through the real relay: merged ones, empty ones, those to
//! nobody, and those to a wildcard listener.

mod support;

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use support::turn_client::TurnClient;
use support::{Relay, Setup, wait_for};

fn peer(relay: &Relay) -> (UdpSocket, SocketAddrV4) {
    let socket = UdpSocket::bind((relay.ip, 0)).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let SocketAddr::V4(address) = socket.local_addr().expect("an address") else {
        panic!("it is an IPv4 address")
    };
    (socket, address)
}

fn client(relay: &Relay, server: SocketAddr) -> TurnClient {
    let (username, password) = relay.credential();
    TurnClient::allocate(server, &username, &password)
}

/// What each of the datagrams says: its number, over and over.
fn pattern(number: u8, len: usize) -> Vec<u8> {
    vec![number | 0x80; len]
}

#[test]
fn what_the_kernel_merged_comes_apart_again() {
    let relay = Setup::default().start();
    let mut client = client(&relay, relay.turn());
    let (socket, address) = peer(&relay);
    client.permit(address);
    let state = UdpSocketState::new(UdpSockRef::from(&socket)).expect("options");
    // Not a multiple of four: every one is padded where the next one begins.
    for len in [101, 999, 3] {
        let batch: Vec<u8> = (0..10).flat_map(|number| pattern(number, len)).collect();
        let transmit = Transmit {
            destination: client.relayed.into(),
            ecn: None,
            contents: &batch,
            segment_size: Some(len),
            src_ip: None,
        };
        state
            .try_send(UdpSockRef::from(&socket), &transmit)
            .expect("the kernel can segment");
        for number in 0..10 {
            assert_eq!(
                client.receive(),
                (address, pattern(number, len)),
                "{number} of {len}"
            );
        }
    }
}

#[test]
fn many_at_once_reach_the_peer_in_order_and_whole() {
    let relay = Setup::default().start();
    let mut client = client(&relay, relay.turn());
    let (socket, address) = peer(&relay);
    client.permit(address);
    for number in 0..100 {
        client.send(address, &pattern(number, usize::from(number % 7) * 50));
    }
    let mut buffer = [0; 2048];
    for number in 0..100 {
        let (len, from) = socket.recv_from(&mut buffer).expect("a datagram");
        assert_eq!(from, SocketAddr::V4(client.relayed));
        assert_eq!(
            buffer[..len],
            pattern(number, usize::from(number % 7) * 50),
            "{number}"
        );
    }
}

#[test]
fn an_empty_datagram_is_relayed_both_ways() {
    let relay = Setup::default().start();
    let mut client = client(&relay, relay.turn());
    let (socket, address) = peer(&relay);
    client.permit(address);
    client.send(address, b"");
    assert_eq!(socket.recv(&mut [0; 16]).expect("a datagram"), 0);
    socket.send_to(b"", client.relayed).expect("sent");
    assert_eq!(client.receive(), (address, Vec::new()));
}

#[test]
fn a_peer_that_is_not_there_disturbs_nobody() {
    let relay = Setup::default().start();
    let mut client = client(&relay, relay.turn());
    let (gone, nobody) = peer(&relay);
    drop(gone);
    let (socket, address) = peer(&relay);
    client.permit(nobody);
    let before = relay.cpu_ticks();
    for _ in 0..200 {
        client.send(nobody, b"is anybody there?");
    }
    client.send(address, b"you are");
    let mut buffer = [0; 64];
    let len = socket.recv(&mut buffer).expect("a datagram");
    assert_eq!(&buffer[..len], b"you are");
    socket.send_to(b"I am", client.relayed).expect("sent");
    assert_eq!(client.receive(), (address, b"I am".to_vec()));
    wait_for("the counters are published", || {
        (relay.metric("to_peer_packets_total") >= Some(201)).then_some(())
    });
    assert_eq!(relay.metric("receive_errors_total"), Some(0));
    // A loop that spins would have used all of the time since.
    assert!(relay.cpu_ticks() - before < 50);
}

#[test]
fn a_wildcard_listener_answers_from_the_address_it_was_asked_at() {
    let mut setup = Setup::default();
    let port = 30_000 + (std::process::id() % 2000) as u16;
    setup.relay = format!(
        "listen = [\"0.0.0.0:{port}\"]\nrelay_addresses = [\"{}\"]",
        setup.ip
    );
    let relay = setup.start();
    // The client's socket is connected: an answer from any other address would not reach it.
    let mut client = client(&relay, SocketAddr::from((support::loopback(), port)));
    let (socket, address) = peer(&relay);
    client.permit(address);
    socket.send_to(b"hello", client.relayed).expect("sent");
    assert_eq!(client.receive(), (address, b"hello".to_vec()));
}

#[test]
fn what_a_client_sends_before_it_deletes_its_allocation_arrives() {
    let relay = Setup::default().start();
    let (socket, address) = peer(&relay);
    for _ in 0..20 {
        let mut client = client(&relay, relay.turn());
        client.permit(address);
        // No two alike, so that none of them joins another.
        for length in 1..=10 {
            client.send(address, &vec![0; length]);
        }
        client.release();
        let mut buffer = [0; 64];
        for length in 1..=10 {
            assert_eq!(socket.recv(&mut buffer).expect("it arrives"), length);
        }
    }
}
