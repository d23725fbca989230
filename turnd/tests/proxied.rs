//! Clients behind a proxy that speaks the PROXY protocol, version 2.
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for the world in real time"
)]

mod support;

use std::cell::RefCell;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use support::turn_client::TurnClient;
use support::wire::{Stream, Wire, binding, connect_from, ended};
use support::{Relay, Setup, TURN, wait_for};

const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 9);

fn relay(more: &str) -> Relay {
    let mut setup = Setup::default();
    let keys = format!(
        "\nlisten_tcp = [\"{}:{TURN}\"]\nproxy_protocol_from = [\"{PROXY}/32\"]\nworkers = 1",
        setup.ip
    );
    setup.relay.push_str(&keys);
    setup.sections.push_str(more);
    setup.start()
}

/// A header as haproxy.org/download/3.0/doc/proxy-protocol.txt section 2.2 lays it out, with an
/// addition that is skipped.
fn header(command: u8, client: SocketAddrV4, server: SocketAddrV4) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([0x20 | command, 0x11, 0, 12 + 5]);
    bytes.extend(client.ip().octets());
    bytes.extend(server.ip().octets());
    bytes.extend(client.port().to_be_bytes());
    bytes.extend(server.port().to_be_bytes());
    bytes.extend([0xea, 0, 2, 1, 2]);
    bytes
}

/// A connection of the proxy that begins with these bytes.
fn proxied(relay: &Relay, first: &[u8]) -> TcpStream {
    let mut stream = connect_from(relay.turn(), PROXY);
    stream.write_all(first).expect("sent");
    stream
}

fn client(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, number), 40_000)
}

fn server() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 443)
}

fn wire(stream: &TcpStream) -> Stream<TcpStream> {
    Stream(RefCell::new(stream.try_clone().expect("cloned")))
}

/// The address the relay sees, by the XOR-MAPPED-ADDRESS of a Binding answer.
fn mapped(stream: &TcpStream) -> SocketAddrV4 {
    let wire = wire(stream);
    wire.send(&binding(1));
    let answer = wire.receive();
    assert_eq!(answer[20..26], [0x00, 0x20, 0x00, 0x08, 0x00, 0x01]);
    let port = u16::from_be_bytes([answer[26], answer[27]]) ^ 0x2112;
    let ip = u32::from_be_bytes(answer[28..32].try_into().expect("four")) ^ 0x2112_a442;
    SocketAddrV4::new(Ipv4Addr::from_bits(ip), port)
}

#[test]
fn the_client_is_who_the_proxy_says() {
    let relay = relay("");
    let stream = proxied(&relay, &header(1, client(7), server()));
    assert_eq!(mapped(&stream), client(7));
    // In pieces, and with the first message right behind it.
    let bytes = [header(1, client(8), server()), binding(9)].concat();
    let pieces = proxied(&relay, &bytes[..5]);
    for piece in bytes[5..].chunks(7) {
        (&pieces).write_all(piece).expect("sent");
    }
    assert_eq!(wire(&pieces).receive()[16..20], 9u32.to_be_bytes());
    assert_eq!(mapped(&pieces), client(8));
    // The proxy looks whether the relay is well.
    let own = proxied(&relay, &header(0, client(7), server()));
    assert_eq!(*mapped(&own).ip(), PROXY);
}

#[test]
fn it_is_required_from_there_and_refused_from_elsewhere() {
    let relay = relay("");
    let mut without = proxied(&relay, &binding(1));
    assert!(ended(&mut without));
    let mut broken = header(1, client(7), server());
    broken[13] = 0x12;
    assert!(ended(&mut proxied(&relay, &broken)));
    let mut elsewhere = TcpStream::connect(relay.turn()).expect("connected");
    let forged = header(1, client(7), server());
    elsewhere.write_all(&forged).expect("sent");
    assert!(ended(&mut elsewhere));
    for (reason, count) in [("proxy", 2), ("garbage", 1)] {
        let name = format!("connections_ended_total{{reason=\"{reason}\"}}");
        wait_for("it is counted", || {
            (relay.metric(&name) == Some(count)).then_some(())
        });
    }
}

#[test]
fn the_client_is_counted_and_not_the_proxy() {
    let relay = relay("[limits]\nconnections_per_source = 2");
    let mut all: Vec<_> = (1..=5)
        .map(|number| proxied(&relay, &header(1, client(number), server())))
        .collect();
    for (stream, number) in all.iter().zip(1..) {
        assert_eq!(mapped(stream), client(number));
    }
    // One more of the first, and then one too many: its oldest makes room.
    let other_port = |port| SocketAddrV4::new(*client(1).ip(), port);
    let second = proxied(&relay, &header(1, other_port(2), server()));
    assert_eq!(mapped(&second), other_port(2));
    let third = proxied(&relay, &header(1, other_port(3), server()));
    assert_eq!(mapped(&third), other_port(3));
    assert!(ended(&mut all[0]));
    assert_eq!(mapped(&all[1]), client(2));
}

#[test]
fn a_five_tuple_that_comes_anew_is_a_new_client() {
    let relay = relay("");
    let (username, password) = relay.credential();
    let hello = header(1, client(7), server());
    let mut first = proxied(&relay, &hello);
    let _session = TurnClient::over(Box::new(wire(&first)), &username, &password);
    let second = proxied(&relay, &hello);
    let session = TurnClient::over(Box::new(wire(&second)), &username, &password);
    assert!(ended(&mut first));
    assert_eq!(mapped(&second), client(7));
    session.release();
    wait_for("it is counted", || {
        let name = "connections_ended_total{reason=\"replaced\"}";
        (relay.metric(name) == Some(1)).then_some(())
    });
}
