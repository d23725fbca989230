//! Queries that show a cookie wait in sockets of their own, with however many workers, and whichever
//! daemon it is that reads them.

mod common;

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use common::dnsd::{Server, listed};
use common::tls::{QUERY, with_options};
use common::wait_for;
use dnsd::config::Config;
use nix::sys::signal::Signal;

/// Datagrams of each kind: with three workers none of the sockets goes without, but once in 10^10
/// times. With more of those that show a wrong cookie they would be a crowd.
const EACH: usize = 60;

/// The sockets at an address, by their inodes, and those of them where something waits, as the
/// kernel tells it.
fn sockets(address: SocketAddr) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let SocketAddr::V4(v4) = address else {
        panic!("{address}");
    };
    let ip = u32::from_ne_bytes(v4.ip().octets());
    let local = format!("{ip:08X}:{:04X}", v4.port());
    let table = std::fs::read_to_string("/proc/net/udp").expect("the kernel's table");
    let (mut all, mut waiting) = (BTreeSet::new(), BTreeSet::new());
    for line in table.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        if fields[1] != local {
            continue;
        }
        let inode = fields[9].parse().expect("an inode");
        all.insert(inode);
        if !fields[4].ends_with(":00000000") {
            waiting.insert(inode);
        }
    }
    (all, waiting)
}

/// That queries with and without cookies wait in sockets of their own, one of each for every worker,
/// while the daemon is held, and that all are answered when it goes on.
fn kept_apart(server: &Server, workers: usize) {
    let address = SocketAddr::from((server.ip, server.dns));
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.connect(address).expect("connected");
    let limit = Some(Duration::from_secs(5));
    client.set_read_timeout(limit).expect("a timeout");
    let idle = || sockets(address).1.is_empty().then_some(());
    wait_for("what came before", Duration::from_secs(5), idle);
    server.signal(Signal::SIGSTOP);
    let stat = format!("/proc/{}/stat", server.pid());
    wait_for("its rest", Duration::from_secs(5), || {
        let stat = std::fs::read_to_string(&stat).expect("it runs");
        stat.contains(") T ").then_some(())
    });
    let came_to = |query: &[u8]| {
        let before = sockets(address).1;
        for _ in 0..EACH {
            client.send(query).expect("sent");
        }
        &sockets(address).1 - &before
    };
    let plain = came_to(QUERY);
    let shown = came_to(&with_options(&[(10, &[7; 24])]));
    server.signal(Signal::SIGCONT);
    assert_eq!(plain.len(), workers, "{plain:?} {shown:?}");
    assert_eq!(shown.len(), workers, "{plain:?} {shown:?}");
    for _ in 0..2 * EACH {
        client.recv(&mut [0; 1232]).expect("an answer to each");
    }
}

fn server(host: u8) -> Server {
    let mut server = Server::new(host, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    "workers = 2".clone_into(&mut server.node);
    server.start()
}

#[test]
fn who_shows_a_cookie_waits_apart_also_after_upgrades_to_other_numbers_of_workers() {
    let mut server = server(97);
    let address = SocketAddr::from((server.ip, server.dns));
    kept_apart(&server, 2);
    // Sockets are added and never closed.
    for (workers, there) in [(2, 4), (3, 6), (1, 6), (2, 6)] {
        server.node = format!("workers = {workers}");
        server.configure();
        let new = server.take_over();
        server.replaced(new);
        assert_eq!(sockets(address).0.len(), there);
        kept_apart(&server, workers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_to_take_over_leaves_cookies_apart() {
    let server = server(98);
    let address = SocketAddr::from((server.ip, server.dns));
    // Another daemon would have more workers, or fewer.
    for (gone, workers) in (1..).zip([4, 1]) {
        let text = server.config();
        let text = text.replace("workers = 2", &format!("workers = {workers}"));
        let path = server.path("other.toml");
        common::write(&path, &text);
        let config = Config::at_start(&path).expect("a configuration");
        // As a process leaves it that is killed before its word, and after.
        for word in [false, true] {
            let offered = dnsd::handover::ask(&server.path("control")).await;
            let mut offered = offered.expect("an offer").expect("a daemon");
            let bound = dnsd::listen::dns(&mut offered.sockets, &config.node);
            let bound = bound.expect("sockets");
            assert_eq!(sockets(address).0.len(), 2 * workers.max(2));
            kept_apart(&server, 2);
            if word {
                offered.taking.serving().await.expect("what it knew");
                for group in &bound.groups {
                    group.deal().expect("a program");
                }
            }
            drop((bound, offered));
            if word {
                wait_for("the first one, going on", Duration::from_secs(10), || {
                    (server.log().matches("dnsd is serving").count() > gone).then_some(())
                });
                server.wait_ready();
            }
            let closed = || (sockets(address).0.len() == 4).then_some(());
            wait_for("its sockets' end", Duration::from_secs(5), closed);
            kept_apart(&server, 2);
        }
    }
}
