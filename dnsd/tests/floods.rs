//! Whoever asks too much, of whichever listener, takes nothing from the others.

mod common;

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::dnsd::{Server, listed};
use common::relay::{key, report};
use liveness::KeyId;

/// `turn.example A`.
const QUERY: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04turn\x07example\x00\x00\x01\x00\x01";

fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .expect("descriptors")
        .count()
}

#[test]
fn connections_to_the_admin_listener_are_bounded_in_number_and_time() {
    let server = Server::new(71, vec![listed("fra-1", "eu-a", "alpha", 1)]).start();
    let before = descriptors(&server);
    let mut held: Vec<_> = (0..300)
        .map(|_| TcpStream::connect((server.ip, server.admin)).expect("connect"))
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let after = descriptors(&server);
    assert!(after <= before + 100, "{before} → {after}");
    // Those that were accepted and said nothing are let go.
    let first = &mut held[0];
    let limit = Some(Duration::from_secs(9));
    first.set_read_timeout(limit).expect("timeout");
    assert!(first.read(&mut [0; 64]).is_ok(), "kept open");
    drop(held);
    server.wait_ready();
}

#[test]
fn a_crowd_asking_for_the_status_is_served_and_health_goes_on() {
    let server = Server::new(72, vec![listed("fra-1", "eu-a", "alpha", 1)]).start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let answer = server.http("/api/status").expect("an answer");
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                }
            });
        }
    });
}

#[test]
fn a_replayed_report_is_neither_queued_nor_reflected() {
    let relay = listed("fra-1", "eu-a", "alpha", 1);
    let server = Server::new(73, vec![relay.clone()]).start();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
    let target = SocketAddr::from((server.ip, server.reports));
    socket.connect(target).expect("connect");
    let wait = |ms| socket.set_read_timeout(Some(Duration::from_millis(ms)));
    wait(2000).expect("timeout");
    let send = |boot, sequence| {
        let report = report("fra-1", relay.address, boot, sequence);
        let _ = socket.send(&report.encode(KeyId(1), &key()));
    };
    let acks = || std::iter::from_fn(|| socket.recv(&mut [0; 512]).ok()).count();
    send(100, 1);
    assert!(socket.recv(&mut [0; 512]).is_ok(), "acknowledged");
    wait(300).expect("timeout");
    for round in 0..20 {
        for _ in 0..50 {
            send(50, 7);
            send(100, 1);
        }
        // Not faster than the daemon reads.
        std::thread::sleep(Duration::from_millis(5 * u64::from(round % 2 == 0)));
    }
    let reflected = acks();
    assert!((1..=2).contains(&reflected), "{reflected} acknowledgements");
    // One that lost its clock still learns what to exceed, and what is new is heard.
    std::thread::sleep(Duration::from_secs(1));
    send(51, 1);
    assert_eq!(acks(), 1, "told the floor");
    send(101, 1);
    assert_eq!(acks(), 1, "heard");
}

#[test]
fn a_signal_ends_the_daemon_also_under_a_flood() {
    let mut server = Server::new(74, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    server.node = "workers = 1".to_owned();
    let mut server = server.start();
    let address = SocketAddr::from((server.ip, server.dns));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("socket");
                let begun = Instant::now();
                while !over.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(8) {
                    for _ in 0..64 {
                        let _ = socket.send_to(QUERY, address);
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        let begun = Instant::now();
        server.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(server.ended(), Some(0));
        let took = begun.elapsed();
        over.store(true, Ordering::Relaxed);
        assert!(took < Duration::from_secs(4), "{took:?}");
    });
}
