//! The real relay and a nameserver made of the test: reports, answers, orders.
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for the world in real time"
)]

mod support;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use liveness::{
    Ack, Key, KeyId, KeyRing, Neighbour, Order, REPORT_LEN, Reason, Report, Seen, State,
};
use nix::sys::signal::Signal;
use support::{REPORT_KEY, Relay, SECRET, Setup, TURN, Tool, client, has_tool, wait_for};

const KEY: KeyId = KeyId(7);

struct Nameserver {
    socket: UdpSocket,
    keys: KeyRing,
}

impl Nameserver {
    fn start(ip: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        let mut keys = KeyRing::new();
        keys.insert(KEY, key()).expect("there is room");
        Self { socket, keys }
    }

    fn section(&self) -> String {
        let to = self.socket.local_addr().expect("an address");
        format!(
            "[liveness]\nkey_id = {}\nkey = \"{REPORT_KEY}\"\ndnsd = [\"{to}\"]\n",
            KEY.0
        )
    }

    fn report(&self) -> (Report, SocketAddr) {
        let mut buffer = [0; 512];
        let (len, from) = self.socket.recv_from(&mut buffer).expect("a report");
        assert_eq!(len, REPORT_LEN);
        (
            Report::decode(&buffer[..len], &self.keys)
                .expect("it is signed")
                .0,
            from,
        )
    }

    /// Waits for a report that is as wanted.
    fn report_that(&self, what: &str, wanted: impl Fn(&Report) -> bool) -> (Report, SocketAddr) {
        wait_for(what, || {
            Some(self.report()).filter(|(report, _)| wanted(report))
        })
    }

    /// Answers a report, changed as wanted.
    fn answer(&self, report: &Report, to: SocketAddr, change: impl FnOnce(&mut Ack)) {
        let mut ack = Ack {
            relay: report.relay,
            boot: report.boot,
            sequence: report.sequence,
            node: "ns1".parse().expect("a node id"),
            sent_at_ms: report.sent_at_ms,
            boot_floor: 0,
            order: Order::None,
            seen: Seen::Up,
            revocations: 0,
            neighbours: [Neighbour::default(); liveness::NEIGHBOURS_MAX],
        };
        change(&mut ack);
        self.socket
            .send_to(&ack.encode(KEY, &key()), to)
            .expect("sent");
    }
}

fn key() -> Key {
    Key::new(REPORT_KEY.as_bytes().to_vec()).expect("long enough")
}

fn start() -> (Nameserver, Relay) {
    let mut setup = Setup::default();
    let nameserver = Nameserver::start(setup.ip);
    setup.sections = nameserver.section();
    let relay = setup.start();
    (nameserver, relay)
}

#[test]
fn two_a_second_and_rising() {
    let (nameserver, relay) = start();
    let (first, _) = nameserver.report_that("it serves", |report| report.state == State::Serving);
    assert_eq!(first.relay.as_str(), "test-1");
    assert_eq!(first.ipv4, Some(SocketAddrV4::new(relay.ip, TURN)));
    assert_eq!(first.workers, 2);
    // Past the copies of the change to serving.
    let (mut before, _) = nameserver.report_that("a later one", |report| {
        report.sequence >= first.sequence + 3
    });
    let start = Instant::now();
    for _ in 0..4 {
        let (next, _) = nameserver.report();
        assert_eq!(
            (next.boot, next.sequence),
            (before.boot, before.sequence + 1)
        );
        before = next;
    }
    let took = start.elapsed();
    assert!(
        took > Duration::from_millis(1500) && took < Duration::from_secs(4),
        "{took:?}"
    );
}

#[test]
fn a_drain_is_told_at_once_in_three_copies() {
    let (nameserver, mut relay) = start();
    nameserver.report_that("it serves", |report| report.state == State::Serving);
    relay.signal(Signal::SIGTERM);
    let start = Instant::now();
    nameserver.report_that("it drains", |report| report.state == State::Draining);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    for _ in 0..2 {
        assert_eq!(nameserver.report().0.state, State::Draining);
    }
    assert_eq!(relay.ended().code(), Some(0));
}

#[test]
fn a_stopped_process_reports_nothing() {
    let (nameserver, relay) = start();
    nameserver.report_that("it serves", |report| report.state == State::Serving);
    relay.signal(Signal::SIGSTOP);
    nameserver
        .socket
        .set_read_timeout(Some(Duration::from_millis(1200)))
        .expect("a timeout");
    let mut buffer = [0; 512];
    // What was on its way may still arrive; then there is silence.
    let silent = (0..8).any(|_| nameserver.socket.recv(&mut buffer).is_err());
    relay.signal(Signal::SIGCONT);
    assert!(silent);
    // It was not the workers' fault: no report says that they are stuck for long.
    nameserver.report_that("it serves again", |report| report.state == State::Serving);
    assert_ne!(relay.get("/healthz").0, 0);
    assert_ne!(
        nameserver.report().0.state,
        State::Failing(Reason::WorkerStuck)
    );
}

#[test]
fn an_operator_drains_and_takes_it_back() {
    if !has_tool("an_operator_drains_and_takes_it_back", "turnutils_uclient") {
        return;
    }
    let (nameserver, mut relay) = start();
    let neighbour = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 77), 3478);
    let (report, from) = nameserver.report_that("it serves", |r| r.state == State::Serving);
    nameserver.answer(&report, from, |ack| {
        ack.order = Order::Drain;
        ack.neighbours[0].ipv4 = Some(neighbour);
    });
    let (report, from) = nameserver.report_that("it drains", |r| r.state == State::Draining);
    assert_eq!(relay.get("/readyz").0, 503);
    // New clients are sent to the neighbour.
    let (ip, port) = (relay.ip.to_string(), TURN.to_string());
    let arguments = ["-e", &ip, "-r", "9", "-n", "1", "-W", SECRET];
    let said = Tool::start("turnutils_uclient", &client(&arguments, &port, &ip)).finish();
    assert!(!said.contains("Total lost packets"), "{said}");
    wait_for("a 300 is counted", || {
        (relay.metric("errors_total{reason=\"try_alternate\"}") >= Some(1)).then_some(())
    });
    nameserver.answer(&report, from, |ack| ack.order = Order::Undrain);
    nameserver.report_that("it serves again", |r| r.state == State::Serving);
    assert!(relay.runs());
}

#[test]
fn forged_and_replayed_answers_order_nothing() {
    let (nameserver, relay) = start();
    let (report, from) = nameserver.report_that("it serves", |r| r.state == State::Serving);
    let drain = |ack: &mut Ack| ack.order = Order::Drain;
    nameserver.answer(&report, from, |ack| {
        drain(ack);
        ack.boot -= 1;
    });
    nameserver.answer(&report, from, |ack| {
        drain(ack);
        ack.sequence += 1000;
    });
    nameserver.answer(&report, from, |ack| {
        drain(ack);
        ack.relay = "test-2".parse().expect("a relay id");
    });
    nameserver.socket.send_to(&[0; 300], from).expect("sent");
    let other = Nameserver::start(relay.ip);
    let (next, _) = nameserver.report();
    let mut ack = [0; liveness::ACK_LEN];
    nameserver.answer(&next, other.socket.local_addr().expect("an address"), drain);
    other.socket.recv(&mut ack).expect("the answer");
    let end = ack.len() - 1;
    ack[end] ^= 1;
    other.socket.send_to(&ack, from).expect("sent");
    wait_for("all are refused", || {
        (relay.metric("acks_refused_total") == Some(5)).then_some(())
    });
    assert_eq!(nameserver.report().0.state, State::Serving);
    assert_eq!(relay.metric("acks_received_total"), Some(0));
}

#[test]
fn the_boot_id_rises_above_what_a_nameserver_knows() {
    let setup_directory = tempfile::tempdir().expect("a directory");
    let state = setup_directory.path().join("boot");
    let mut setup = Setup::default();
    let nameserver = Nameserver::start(setup.ip);
    setup.sections = format!(
        "{}state_file = \"{}\"\n",
        nameserver.section(),
        state.display()
    );
    let relay = setup.start();
    let (report, from) = nameserver.report_that("it serves", |r| r.state == State::Serving);
    let floor = report.boot + 1_000_000;
    nameserver.answer(&report, from, |ack| ack.boot_floor = floor);
    let (risen, _) = nameserver.report_that("it rises", |r| r.boot > floor);
    assert_eq!(risen.state, State::Serving);
    wait_for("it is written down", || {
        let kept = std::fs::read_to_string(&state).ok()?;
        (kept.trim() == risen.boot.to_string()).then_some(())
    });
    drop(relay);
    let _again = setup.start();
    nameserver.report_that("a new run is above the last", |r| r.boot > risen.boot);
}
