//! Health from end to end: coturn relays with a heartbeat beside them, and answers that follow.

mod common;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use common::coturn::Coturn;
use common::dnsd::{Listed, SECRET, Server, listed};
use common::relay::{Heartbeat, key, report};
use common::wait_for;
use liveness::{KeyId, Order, Seen, State};

/// A relay that works: coturn and a heartbeat.
struct Relay {
    coturn: Coturn,
    heartbeat: Heartbeat,
}

fn relays(test: &str, host: u8) -> Option<(tempfile::TempDir, Vec<Coturn>, Vec<Listed>)> {
    if !(common::has(test, "dig") && common::has(test, "turnserver")) {
        return None;
    }
    let dir = tempfile::tempdir().expect("dir");
    let start = |n: u8| {
        Coturn::start(
            dir.path(),
            Ipv4Addr::new(127, 0, host, n),
            None,
            SECRET,
            &[],
        )
    };
    let coturns: Vec<_> = (1..=2).map(start).collect();
    let at = |listed: Listed, coturn: &Coturn| Listed {
        address: coturn.address,
        ..listed
    };
    let listed = vec![
        at(listed("fra-1", "eu-a", "alpha", 1), &coturns[0]),
        at(listed("ams-1", "eu-b", "beta", 2), &coturns[1]),
    ];
    Some((dir, coturns, listed))
}

fn hearts(server: &Server, coturns: Vec<Coturn>) -> Vec<Relay> {
    let reports = SocketAddr::from((server.ip, server.reports));
    let beat = |(listed, coturn): (&Listed, Coturn)| Relay {
        heartbeat: Heartbeat::start(listed.id, coturn.address, reports),
        coturn,
    };
    let relays = server.relays.iter().zip(coturns).map(beat).collect();
    for listed in &server.relays {
        server.wait_up(listed.id);
    }
    relays
}

fn ip(listed: &Listed) -> String {
    listed.address.ip().to_string()
}

#[test]
fn a_killed_relay_leaves_the_answers_in_seconds_and_comes_back() {
    let Some((dir, coturns, listed)) = relays("a_killed_relay_leaves", 31) else {
        return;
    };
    let server = Server::new(31, listed).start();
    let mut relays = hearts(&server, coturns);
    let all = |server: &Server| {
        let mut found = server.short("turn.example", "A");
        found.sort();
        found
    };
    assert_eq!(all(&server), [ip(&server.relays[0]), ip(&server.relays[1])]);

    let killed = relays.remove(0);
    let address = killed.coturn.address;
    let begun = Instant::now();
    drop(killed);
    wait_for(
        "answers without the dead relay",
        Duration::from_secs(5),
        || (all(&server) == [ip(&server.relays[1])]).then_some(()),
    );
    println!("out of the answers {:?} after its death", begun.elapsed());
    for lane in ["a.turn.example", "b.turn.example"] {
        assert_eq!(server.short(lane, "A"), [ip(&server.relays[1])]);
    }
    let told = server.log();
    assert!(
        told.contains("verdict changed relay=fra-1 verdict=\"down\""),
        "{told}"
    );
    assert_eq!(
        server.metric("turnfleet_dnsd_relay_verdict{relay=\"fra-1\",state=\"down\"}"),
        Some(1.0)
    );

    let Listed { id, .. } = server.relays[0];
    let SocketAddr::V4(v4) = address else {
        panic!("IPv4")
    };
    let coturn = Coturn::start(dir.path(), *v4.ip(), Some(v4.port()), SECRET, &[]);
    let reports = SocketAddr::from((server.ip, server.reports));
    relays.push(Relay {
        heartbeat: Heartbeat::start(id, address, reports),
        coturn,
    });
    wait_for("both in the answers again", Duration::from_secs(20), || {
        (all(&server).len() == 2).then_some(())
    });
}

#[test]
fn a_relay_that_relays_nothing_is_found_though_its_heart_beats() {
    let Some((_dir, coturns, listed)) = relays("a_relay_that_relays_nothing", 32) else {
        return;
    };
    let mut server = Server::new(32, listed);
    // Of the second relay's coturn, everything works but sending to this nameserver.
    let address = coturns[1].address;
    let mut coturns = coturns;
    drop(coturns.pop());
    let SocketAddr::V4(v4) = address else {
        panic!("IPv4")
    };
    let denied = ["--denied-peer-ip", "127.0.9.0-127.0.9.255"];
    let gray = Coturn::start(
        server.dir.path(),
        *v4.ip(),
        Some(v4.port()),
        SECRET,
        &denied,
    );
    coturns.push(gray);
    server.relays[1].address = address;
    let server = server.start();
    let reports = SocketAddr::from((server.ip, server.reports));
    let _hearts: Vec<_> = server
        .relays
        .iter()
        .map(|listed| Heartbeat::start(listed.id, listed.address, reports))
        .collect();
    server.wait_up("fra-1");
    let known = wait_for("the gray relay down", Duration::from_secs(15), || {
        Some(server.json(&["explain", "ams-1"])).filter(|known| known["state"] == "down")
    });
    // By the time it is asked for, the reason may be that the relay is recovering.
    let told = server.log();
    let line = told
        .lines()
        .find(|line| line.contains("relay=ams-1 verdict=\"down\""));
    assert!(
        line.is_some_and(|line| line.contains("reason=\"echo_fails\"")),
        "{told}"
    );
    assert_eq!(known["report"]["state"], "serving", "{known}");
    let why = known["echo"]["last_failure"].as_str().expect("a failure");
    assert!(
        why.contains("CreatePermission was answered with error 403"),
        "{why}"
    );
    assert_eq!(server.short("turn.example", "A"), [ip(&server.relays[0])]);
}

#[test]
fn a_draining_relay_is_out_at_once_and_hears_how_it_is_seen() {
    let Some((_dir, coturns, listed)) = relays("a_draining_relay", 33) else {
        return;
    };
    let server = Server::new(33, listed).start();
    let relays = hearts(&server, coturns);
    let ack = || {
        relays[0]
            .heartbeat
            .last_ack
            .lock()
            .expect("ack")
            .expect("an acknowledgement")
    };
    // The acknowledgement at hand may be of a report before the relay was up.
    wait_for(
        "an acknowledgement that says up",
        Duration::from_secs(2),
        || (ack().seen == Seen::Up).then_some(()),
    );
    assert_eq!((ack().order, ack().boot_floor), (Order::None, 0));
    wait_for("a neighbour", Duration::from_secs(5), || {
        let neighbour = ack().neighbours[0].ipv4?;
        (SocketAddr::V4(neighbour) == server.relays[1].address).then_some(())
    });
    relays[0].heartbeat.say(State::Draining);
    wait_for(
        "answers without the draining relay",
        Duration::from_secs(2),
        || (server.short("turn.example", "A") == [ip(&server.relays[1])]).then_some(()),
    );
    wait_for(
        "an acknowledgement that says so",
        Duration::from_secs(2),
        || (ack().seen == Seen::Draining).then_some(()),
    );
}

#[test]
fn reports_that_are_not_authentic_are_counted_and_never_answered() {
    let server = Server::new(34, vec![listed("fra-1", "eu-a", "alpha", 1)]).start();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
    socket
        .connect((server.ip, server.reports))
        .expect("connect");
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("timeout");
    let address = server.relays[0].address;
    let genuine = |sequence: u64| report("fra-1", address, 5, sequence).encode(KeyId(1), &key());
    let mut flipped = genuine(1);
    flipped[100] ^= 1;
    let stranger = liveness::Key::new(vec![9; 32]).expect("key");
    let foreign = report("fra-1", address, 5, 1).encode(KeyId(1), &stranger);
    let unknown_key = report("fra-1", address, 5, 1).encode(KeyId(77), &key());
    let unknown_relay = report("lon-9", address, 5, 1).encode(KeyId(1), &key());
    let long = [genuine(1).as_slice(), &[0]].concat();
    let silent: [&[u8]; 6] = [
        &flipped,
        &foreign,
        &unknown_key,
        &unknown_relay,
        &long,
        b"not a report",
    ];
    let mut buffer = [0; 512];
    for datagram in silent {
        socket.send(datagram).expect("sent");
        assert!(socket.recv(&mut buffer).is_err(), "answered");
    }
    socket.send(&genuine(1)).expect("sent");
    assert_eq!(
        socket.recv(&mut buffer).expect("an acknowledgement"),
        liveness::ACK_LEN
    );
    socket.send(&genuine(1)).expect("sent");
    assert!(socket.recv(&mut buffer).is_err(), "a copy was answered");
    for (outcome, count) in [
        ("mac", 2.0),
        ("unknown_key", 1.0),
        ("format", 2.0),
        ("relay", 1.0),
        ("ok", 1.0),
        ("replay", 1.0),
    ] {
        let name = format!("turnfleet_dnsd_reports_total{{outcome=\"{outcome}\"}}");
        assert_eq!(server.metric(&name), Some(count), "{outcome}");
    }
}
