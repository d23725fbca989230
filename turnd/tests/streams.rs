//! TURN over TCP, as clients use it and as they abuse it.

#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for the world in real time"
)]

mod support;

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use support::turn_client::TurnClient;
use support::wire::{Stream, Wire, answered, binding, connect_from, ended};
use support::{PEER, Relay, SECRET, Setup, TURN, Tool};
use support::{client, echo_peer, has_tool, lost, wait_for};

/// A relay that serves TCP beside UDP.
fn setup() -> Setup {
    let mut setup = Setup::default();
    let listen_tcp = format!("\nlisten_tcp = [\"{}:{TURN}\"]", setup.ip);
    setup.relay.push_str(&listen_tcp);
    setup
}

fn connect(relay: &Relay) -> TcpStream {
    let stream = TcpStream::connect(relay.turn()).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    stream
}

fn wire(stream: &TcpStream) -> Box<dyn Wire> {
    let stream = stream.try_clone().expect("cloned");
    Box::new(Stream(RefCell::new(stream)))
}

fn allocate(relay: &Relay, stream: &TcpStream) -> TurnClient {
    let (username, password) = relay.credential();
    TurnClient::over(wire(stream), &username, &password)
}

fn peer(relay: &Relay) -> (UdpSocket, SocketAddrV4) {
    let peer = UdpSocket::bind((relay.ip, 0)).expect("a peer");
    peer.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let SocketAddr::V4(address) = peer.local_addr().expect("an address") else {
        panic!("not IPv4")
    };
    (peer, address)
}

fn uclient(relay: &Relay, extra: &[&str]) -> String {
    let _peer = echo_peer(SocketAddr::from((relay.ip, PEER)));
    let (ip, peer, port) = (relay.ip.to_string(), PEER.to_string(), TURN.to_string());
    let mut arguments = vec!["-e", &ip, "-r", &peer, "-n", "200", "-m", "4", "-W", SECRET];
    arguments.extend_from_slice(extra);
    Tool::start("turnutils_uclient", &client(&arguments, &port, &ip)).finish()
}

fn tools(test: &str) -> bool {
    has_tool(test, "turnutils_uclient") && has_tool(test, "turnutils_peer")
}

#[test]
fn coturns_client_over_tcp() {
    if !tools("coturns_client_over_tcp") {
        return;
    }
    let relay = setup().start();
    for mode in [&["-t"][..], &["-t", "-s"], &["-t", "-l", "1003"]] {
        assert_eq!(lost(&uclient(&relay, mode)), (800, 0), "{mode:?}");
    }
    // Its connections take their sessions with them.
    wait_for("no session is left", || {
        (relay.metric("sessions") == Some(0)).then_some(())
    });
    assert_eq!(relay.metric("stream_late_total"), Some(0));
}

/// Sends byte by byte.
struct Slowly(TcpStream);
impl Read for Slowly {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}
impl Write for Slowly {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(1)])
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn messages_may_be_cut_anywhere() {
    let relay = setup().start();
    let stream = connect(&relay);
    stream.set_nodelay(true).expect("no delay");
    let answers = wire(&stream);
    for cut in 1..20 {
        let request = binding(cut as u32);
        (&stream).write_all(&request[..cut]).expect("sent");
        // Apart on the wire, too: the relay has read the first part when it answers the second.
        std::thread::sleep(Duration::from_millis(2));
        (&stream).write_all(&request[cut..]).expect("sent");
        assert_eq!(answered(&*answers), cut as u32);
    }
    // A whole session, byte by byte.
    let (username, password) = relay.credential();
    let slowly = Slowly(stream.try_clone().expect("cloned"));
    let slowly = Box::new(Stream(RefCell::new(slowly)));
    let mut session = TurnClient::over(slowly, &username, &password);
    let peer = UdpSocket::bind((relay.ip, 0)).expect("a peer");
    peer.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let SocketAddr::V4(peer_address) = peer.local_addr().expect("an address") else {
        panic!("not IPv4")
    };
    session.bind(0x4000, peer_address);
    for length in 0..9 {
        let data: Vec<u8> = (0..length).collect();
        let message = [&[0x40, 0, 0, length], &data[..]].concat();
        session.wire.send(&message);
        let mut buffer = [0; 100];
        let (count, relayed) = peer.recv_from(&mut buffer).expect("relayed");
        assert_eq!(buffer[..count], data);
        peer.send_to(&data, relayed).expect("sent");
        assert_eq!(session.wire.receive(), message);
    }
    session.release();
}

#[test]
fn many_messages_may_come_at_once_and_the_last_before_a_half_close() {
    let relay = setup().start();
    let stream = connect(&relay);
    let answers = wire(&stream);
    let requests: Vec<u8> = (0..150).flat_map(binding).collect();
    (&stream).write_all(&requests).expect("sent");
    stream.shutdown(Shutdown::Write).expect("half closed");
    for number in 0..150 {
        assert_eq!(answered(&*answers), number);
    }
    let mut stream = stream;
    assert!(ended(&mut stream));
}

/// Stops the relay, so that what `act` does is all there when it goes on.
fn while_stopped(relay: &Relay, act: impl FnOnce()) {
    relay.signal(Signal::SIGSTOP);
    wait_for("the relay has stopped", || relay.is_stopped().then_some(()));
    act();
    relay.signal(Signal::SIGCONT);
}

#[test]
fn an_end_right_behind_the_last_message_is_seen() {
    let relay = setup().start();
    let mut stream = connect(&relay);
    let answers = wire(&stream);
    answers.send(&binding(1));
    assert_eq!(answered(&*answers), 1);
    while_stopped(&relay, || {
        answers.send(&binding(2));
        stream.shutdown(Shutdown::Write).expect("half closed");
    });
    assert_eq!(answered(&*answers), 2);
    assert!(ended(&mut stream));
}

#[test]
fn more_than_one_read_brings_is_read_at_once() {
    let relay = setup().start();
    let stream = connect(&relay);
    let mut session = allocate(&relay, &stream);
    let (peer, address) = peer(&relay);
    session.bind(0x4000, address);
    // No more than a window of TCP, or the rest would be another event.
    while_stopped(&relay, || {
        let message = [&[0x40, 0, 3, 0xe8][..], &[7; 1000]].concat();
        (&stream).write_all(&message.repeat(50)).expect("sent");
    });
    for _ in 0..50 {
        assert_eq!(peer.recv(&mut [0; 2000]).expect("relayed"), 1000);
    }
}

#[test]
fn what_was_sent_leaves_no_memory() {
    const CLIENTS: u64 = 100;
    let relay = setup().start();
    let (peer, address) = peer(&relay);
    let sessions: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let stream = connect(&relay);
            let mut session = allocate(&relay, &stream);
            session.bind(0x4000, address);
            session
        })
        .collect();
    let before = relay.resident();
    for session in &sessions {
        let relayed = SocketAddrV4::new(*session.relayed.ip(), session.relayed.port());
        peer.send_to(&vec![7; 60_000], relayed).expect("sent");
        assert_eq!(session.wire.receive().len(), 60_004);
    }
    let grown = relay.resident().saturating_sub(before);
    println!("{CLIENTS} clients that were sent 60,000 bytes each: {grown} bytes more");
    assert!(grown < CLIENTS * 60_000 / 2, "{grown} bytes");
}

#[test]
fn what_is_no_message_ends_the_connection() {
    let relay = setup().start();
    let cases: [(&[u8], &str); 4] = [
        (b"GET / HTTP/1.1\r\n\r\n", "too_long"),
        (&[0x80, 0, 0, 0], "garbage"),
        (&[0, 1, 0, 0, 1, 2, 3, 4], "garbage"),
        (&[0x40, 0, 0xff, 0xff], "too_long"),
    ];
    for (bytes, _) in cases {
        let mut stream = connect(&relay);
        stream.write_all(bytes).expect("sent");
        assert!(ended(&mut stream), "{bytes:?}");
    }
    for reason in ["too_long", "garbage"] {
        let name = format!("connections_ended_total{{reason=\"{reason}\"}}");
        wait_for("it is counted", || {
            (relay.metric(&name) == Some(2)).then_some(())
        });
    }
}

#[test]
fn a_reset_in_the_middle_of_a_message_ends_the_session() {
    let relay = setup().start();
    let stream = connect(&relay);
    let session = allocate(&relay, &stream);
    wait_for("there is a session", || {
        (relay.metric("sessions") == Some(1)).then_some(())
    });
    (&stream).write_all(&binding(1)[..11]).expect("sent");
    let linger = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&stream, sockopt::Linger, &linger).expect("a reset on close");
    drop((session, stream));
    wait_for("the session ends", || {
        (relay.metric("sessions") == Some(0)).then_some(())
    });
    assert_eq!(relay.metric("allocations_disconnected_total"), Some(1));
    assert_eq!(relay.metric("connections{transport=\"tcp\"}"), Some(0));
}

#[test]
fn a_client_that_never_reads_costs_little_and_loses_its_media() {
    let relay = setup().start();
    let stream = connect(&relay);
    let mut session = allocate(&relay, &stream);
    let (peer, peer_address) = peer(&relay);
    session.bind(0x4000, peer_address);
    let before = relay.resident();
    let data = [7; 1200];
    let start = Instant::now();
    let mut sent = 0u64;
    let late = wait_for("media is dropped", || {
        for _ in 0..200 {
            let relayed = SocketAddrV4::new(*session.relayed.ip(), session.relayed.port());
            peer.send_to(&data, relayed).expect("sent");
            sent += 1;
        }
        let enough = start.elapsed() > Duration::from_secs(3);
        relay
            .metric("stream_late_total")
            .filter(|late| enough && *late > 1000)
    });
    // It asks and asks, and never reads: the relay stops reading, too.
    stream.set_nonblocking(true).expect("non-blocking");
    let requests: Vec<u8> = (0..1000).flat_map(binding).collect();
    let (mut asked, mut last) = (0, Instant::now());
    while last.elapsed() < Duration::from_secs(1) && asked < 64 << 20 {
        // Goes on in the middle of the message that was taken in part.
        match (&stream).write(&requests[asked % 20..]) {
            Ok(count) => (asked, last) = (asked + count, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("the relay gave up: {error}"),
        }
    }
    assert!(asked < 64 << 20, "it is read without end");
    let grown = relay.resident().saturating_sub(before);
    println!(
        "{sent} messages of {} bytes sent, {late} dropped as late; {asked} bytes of requests taken; \
         the relay grew by {} KiB",
        data.len(),
        grown >> 10
    );
    assert!(grown < 4 << 20, "grew by {grown} bytes");
    // Others are served meanwhile.
    let other = connect(&relay);
    let answers = wire(&other);
    answers.send(&binding(5));
    assert_eq!(answered(&*answers), 5);
}

#[test]
fn silence_and_a_byte_now_and_then_end_at_the_deadline() {
    let relay = setup().start();
    let start = Instant::now();
    let mut silent = connect(&relay);
    let dripping = connect(&relay);
    dripping.set_nonblocking(true).expect("non-blocking");
    let request = binding(1);
    let mut bytes = request.iter();
    let dripped = wait_for("the dripping client is put off", || {
        if bytes.len() > 1 {
            let _ = (&dripping).write(&[*bytes.next().expect("a byte")]);
        }
        std::thread::sleep(Duration::from_secs(1));
        match (&dripping).read(&mut [0; 16]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            _ => Some(start.elapsed()),
        }
    });
    assert!(ended(&mut silent));
    println!("closed after {dripped:?}");
    assert!(dripped >= Duration::from_secs(9) && dripped < Duration::from_secs(15));
    wait_for("both are counted", || {
        let name = "connections_ended_total{reason=\"handshake\"}";
        (relay.metric(name) == Some(2)).then_some(())
    });
}

#[test]
fn at_the_limit_of_a_source_strangers_make_room_and_sessions_do_not() {
    let mut setup = setup();
    setup.relay += "\nworkers = 1";
    setup.sections = "[limits]\nconnections = 100\nconnections_per_source = 3".to_owned();
    let relay = setup.start();
    let [first, second] = [connect(&relay), connect(&relay)];
    let _sessions = [allocate(&relay, &first), allocate(&relay, &second)];
    let mut stranger = connect(&relay);
    let third = connect(&relay);
    assert!(ended(&mut stranger), "the oldest stranger makes room");
    let _third = allocate(&relay, &third);
    let mut refused = connect(&relay);
    assert!(ended(&mut refused), "nobody is left to make room");
    let other = connect_from(relay.turn(), Ipv4Addr::new(127, 0, 0, 77));
    let answers = wire(&other);
    answers.send(&binding(9));
    assert_eq!(answered(&*answers), 9);
    wait_for("all is counted", || {
        (relay.metric("connections{transport=\"tcp\"}") == Some(4)).then_some(())
    });
    let metric = |name: &str| relay.metric(name);
    assert_eq!(
        metric("connections_refused_total{reason=\"source\"}"),
        Some(1)
    );
    assert_eq!(
        metric("connections_ended_total{reason=\"evicted\"}"),
        Some(1)
    );
}

#[test]
fn listeners_come_and_go_and_connections_stay() {
    let setup = setup();
    let relay = setup.start();
    let stream = connect(&relay);
    let mut session = allocate(&relay, &stream);
    let port = |port: u16| format!("listen_tcp = [\"{}:{port}\"]", setup.ip);
    let text = setup.text();
    relay.reload(&text.replace(&port(TURN), &port(5349)));
    wait_for("the file is taken", || {
        (relay.metric("config_reloads_total") == Some(1)).then_some(())
    });
    let new = SocketAddr::from((relay.ip, 5349));
    wait_for("the workers have acted", || {
        let gone = TcpStream::connect(relay.turn()).is_err();
        (gone && TcpStream::connect(new).is_ok()).then_some(())
    });
    let answers = wire(&TcpStream::connect(new).expect("connected"));
    answers.send(&binding(4));
    assert_eq!(answered(&*answers), 4);
    session.permit(SocketAddrV4::new(relay.ip, 9));
    session.release();
}

#[test]
fn two_thousand_slow_sockets_keep_nobody_waiting() {
    let mut setup = setup();
    setup.sections = "[limits]\nconnections = 4000\nconnections_per_source = 4000".to_owned();
    let relay = setup.start();
    let before = relay.resident();
    let slow: Vec<TcpStream> = (0..2000)
        .map(|number: u32| {
            let from = Ipv4Addr::new(127, 1, (number >> 8) as u8, number as u8 | 1);
            let stream = connect_from(relay.turn(), from);
            (&stream).write_all(&[0]).expect("sent");
            stream
        })
        .collect();
    let honest = Instant::now();
    let stream = connect(&relay);
    allocate(&relay, &stream).release();
    let waited = honest.elapsed();
    wait_for("they are counted", || {
        (relay.metric("connections_accepted_total") >= Some(2001)).then_some(())
    });
    let open = relay.metric("connections_strangers").expect("a number");
    let each = relay.resident().saturating_sub(before) / open.max(1);
    println!(
        "{} slow sockets, {open} of them kept, {each} bytes each; an honest client waited {waited:?}",
        slow.len()
    );
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    assert!(open <= 1001, "a quarter of all connections, and the newest");
    assert!(each < 8192);
    assert!(relay.metric("connections_ended_total{reason=\"evicted\"}") >= Some(999));
}
