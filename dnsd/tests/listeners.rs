//! The listeners under load and in odd places: floods, wildcards, what is no query.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use common::dnsd::{Server, listed};

/// `turn.example A` with EDNS, and what it needs to be one.
const QUERY: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x04turn\x07example\x00\
\x00\x01\x00\x01\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00";

fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .expect("a number")
}

#[test]
fn a_flood_over_udp_leaves_memory_flat() {
    let server = Server::new(51, vec![listed("fra-1", "eu-a", "alpha", 1)]).start();
    let address = SocketAddr::from((server.ip, server.dns));
    let flood = |length: Duration| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
        let begun = Instant::now();
        let mut sent = 0_u64;
        while begun.elapsed() < length {
            for _ in 0..64 {
                // Every third is no query at all, every fifth cut short.
                sent += 1;
                let datagram = match sent {
                    n if n.is_multiple_of(3) => &[0xff; 40][..],
                    n if n.is_multiple_of(5) => &QUERY[..17],
                    _ => QUERY,
                };
                let _ = socket.send_to(datagram, address);
            }
        }
        sent
    };
    flood(Duration::from_secs(1));
    let before = resident(server.pid());
    let sent = flood(Duration::from_secs(3));
    let after = resident(server.pid());
    println!("{sent} datagrams: {before} → {after} kB");
    assert!(after <= before + 4096, "{before} → {after} kB");
    let answered = server
        .metric("turnfleet_dnsd_queries_total{type=\"A\",rcode=\"NOERROR\",transport=\"udp\"}");
    assert!(answered.is_some_and(|count| count > 1000.0), "{answered:?}");
    assert!(
        server
            .metric("turnfleet_dnsd_drops_total{reason=\"response\",transport=\"udp\"}")
            .is_some()
    );
}

/// A port that nothing has at any address, not even a connection that has ended but lately.
fn free_everywhere() -> u16 {
    loop {
        let port = common::free_port(Ipv4Addr::UNSPECIFIED);
        let all = (Ipv6Addr::UNSPECIFIED, port);
        if UdpSocket::bind(all).is_ok() && TcpListener::bind(all).is_ok() {
            return port;
        }
    }
}

#[test]
fn replies_come_from_the_address_that_was_asked() {
    if !common::has("replies_come_from_the_address_that_was_asked", "dig") {
        return;
    }
    let mut server = Server::new(52, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    server.dns = free_everywhere();
    let exact = format!("listen = [\"{}:{}\"]", server.ip, server.dns);
    let wildcard = format!("listen = [\"0.0.0.0:{0}\", \"[::]:{0}\"]", server.dns);
    let text = server.config().replace(&exact, &wildcard);
    common::write(&server.path("dnsd.toml"), &text);
    server.spawn();
    server.wait_ready();
    for host in ["127.0.9.52", "127.0.99.1", "::1"] {
        let output = Command::new("dig")
            .args([&format!("@{host}"), "-p", &server.dns.to_string()])
            .args(["+short", "+time=2", "+tries=1", "turn.example", "A"])
            .output()
            .expect("dig");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.trim(), "127.0.77.1", "{host}");
    }
}

/// One worker has listeners of both families, bound to one address and to all, and reads them by turns.
#[test]
fn one_worker_answers_at_all_its_addresses() {
    let mut server = Server::new(54, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    server.node = "workers = 1\n".to_owned();
    let (one, all) = (server.dns, free_everywhere());
    let exact = format!("listen = [\"{}:{one}\"]", server.ip);
    let several = format!(
        "listen = [\"{}:{one}\", \"[::1]:{one}\", \"0.0.0.0:{all}\", \"[::]:{all}\"]",
        server.ip
    );
    let text = server.config().replace(&exact, &several);
    common::write(&server.path("dnsd.toml"), &text);
    server.spawn();
    server.wait_ready();
    for round in 0..4 {
        for (host, port) in [
            ("127.0.9.54", one),
            ("::1", one),
            ("127.0.99.2", all),
            ("::1", all),
        ] {
            let host: IpAddr = host.parse().expect("an address");
            let own: IpAddr = match host {
                IpAddr::V4(_) => [127, 0, 0, 1].into(),
                IpAddr::V6(_) => host,
            };
            let socket = UdpSocket::bind((own, 0)).expect("socket");
            let timeout = Some(Duration::from_secs(2));
            socket.set_read_timeout(timeout).expect("a timeout");
            // Only what comes from there is let through.
            socket.connect((host, port)).expect("connected");
            socket.send(QUERY).expect("sent");
            let mut reply = [0; 512];
            let length = socket.recv(&mut reply);
            assert!(length.is_ok(), "{host} {port}, round {round}: {length:?}");
            assert_eq!(reply[..2], QUERY[..2]);
        }
    }
}

#[test]
fn responses_are_never_answered() {
    let server = Server::new(53, vec![listed("fra-1", "eu-a", "alpha", 1)]).start();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
    socket.connect((server.ip, server.dns)).expect("connect");
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("timeout");
    let mut response = QUERY.to_vec();
    response[2] |= 0x80;
    let mut buffer = [0; 2048];
    for silent in [&response[..], &QUERY[..11], b"x"] {
        socket.send(silent).expect("sent");
        assert!(socket.recv(&mut buffer).is_err(), "answered {silent:?}");
    }
    let mut two = QUERY.to_vec();
    two[5] = 2;
    for formerr in [&two[..], &QUERY[..20]] {
        socket.send(formerr).expect("sent");
        let length = socket.recv(&mut buffer).expect("an answer");
        assert_eq!(
            (&buffer[..2], buffer[3] & 0x0f),
            (&b"\x12\x34"[..], 1),
            "{formerr:?}"
        );
        assert_eq!(length, 12, "nothing of it is repeated");
    }
}
