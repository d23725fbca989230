//! TCP allocations (RFC 6062), from the first byte to the last.
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for the world in real time"
)]

mod support;

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::SockRef;
use support::certificates::{Pair, ecdsa};
use support::turn_client::TurnClient;
use support::wire::{Stream, Wire, connect_from, ended};
use support::{Relay, SECRET, Setup, TURN, Tool, client, has_tool, lost, wait_for};

/// A megabyte, each way.
const MEGABYTE: usize = 1 << 20;

fn setup() -> Setup {
    let mut setup = Setup::default();
    let more = format!(
        "\nlisten_tcp = [\"{}:{TURN}\"]\ntcp_allocations = true",
        setup.ip
    );
    setup.relay.push_str(&more);
    setup
}

fn over_tls(pair: &Pair) -> Setup {
    let mut setup = setup();
    let tls = "[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n";
    setup.sections.push_str(tls);
    setup.files = vec![
        ("chain.pem".to_owned(), pair.chain.clone()),
        ("key.pem".to_owned(), pair.key.clone()),
    ];
    setup
}

fn patient(stream: TcpStream) -> TcpStream {
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).expect("a timeout");
    stream
}

fn tcp(relay: &Relay) -> TcpStream {
    patient(TcpStream::connect(relay.turn()).expect("connected"))
}

fn wire(stream: &TcpStream) -> Box<dyn Wire> {
    let stream = stream.try_clone().expect("cloned");
    Box::new(Stream(RefCell::new(stream)))
}

fn allocate(relay: &Relay) -> TurnClient {
    let (username, password) = relay.credential();
    TurnClient::relaying_tcp(wire(&tcp(relay)), &username, &password)
}

fn try_join(
    relay: &Relay,
    session: &TurnClient,
    id: &[u8],
    behind: &[u8],
) -> Result<TcpStream, u16> {
    let stream = tcp(relay);
    session.join(wire(&stream), id, behind)?;
    Ok(stream)
}

fn join(relay: &Relay, session: &TurnClient, id: &[u8], behind: &[u8]) -> TcpStream {
    try_join(relay, session, id, behind).expect("joined")
}

/// A listener at `ip`, and its address.
fn listener(ip: Ipv4Addr) -> (TcpListener, SocketAddrV4) {
    let listener = TcpListener::bind((ip, 0)).expect("a listener");
    let SocketAddr::V4(address) = listener.local_addr().expect("an address") else {
        panic!("not IPv4")
    };
    (listener, address)
}

fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let (stream, from) = listener.accept().expect("accepted");
    (patient(stream), from)
}

/// Bytes in an order that shows when one is missing.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32 / 4).flat_map(u32::to_be_bytes).collect()
}

/// Sends back what comes until it ends, slowly at first.
fn echo(mut stream: TcpStream) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let (mut buffer, mut total) = ([0; 8192], 0);
        loop {
            let count = stream.read(&mut buffer).expect("read");
            if count == 0 {
                stream.shutdown(Shutdown::Write).expect("ended");
                return total;
            }
            if total < 200_000 {
                thread::sleep(Duration::from_millis(2));
            }
            stream.write_all(&buffer[..count]).expect("echoed");
            total += count;
        }
    })
}

/// Sends `data` and ends, while the echo is read to its end.
fn exchange(stream: &TcpStream, data: &[u8]) -> Vec<u8> {
    let mut sender = stream.try_clone().expect("cloned");
    thread::scope(|scope| {
        scope.spawn(move || {
            sender.write_all(data).expect("sent");
            sender.shutdown(Shutdown::Write).expect("ended");
        });
        let (mut stream, mut got) = (stream, Vec::new());
        stream.read_to_end(&mut got).expect("received");
        got
    })
}

#[test]
fn a_megabyte_each_way_and_the_end_of_each() {
    let relay = setup().start();
    let mut session = allocate(&relay);
    let (peers, peer) = listener(relay.ip);
    let id = session.connect(peer).expect("connected");
    assert_eq!(session.connect(peer), Err(446));
    let (stream, from) = accept(&peers);
    assert_eq!(
        from,
        session.relayed.into(),
        "it comes from the relayed address"
    );
    let echo = echo(stream);
    let data = pattern(MEGABYTE);
    // The first bytes come with the request.
    let stream = join(&relay, &session, &id, &data[..1000]);
    let got = exchange(&stream, &data[1000..]);
    assert!(got == data, "{} bytes", got.len());
    assert_eq!(echo.join().expect("the peer"), MEGABYTE);
    // Both have said that they are done, so the peer may be connected to again.
    wait_for("the connection ends", || session.connect(peer).ok());
    let metric = |name| relay.metric(name).expect("a metric");
    wait_for("all bytes are counted", || {
        let both = metric("to_peer_bytes_total") + metric("to_client_bytes_total");
        (both == 2 * MEGABYTE as u64).then_some(())
    });
    session.release();
}

#[test]
fn a_bind_that_comes_to_another_worker_finds_its_connection() {
    let relay = setup().start();
    let mut session = allocate(&relay);
    let (peers, peer) = listener(relay.ip);
    let mut open = Vec::new();
    for port in 0..12 {
        let (more, other) = listener(relay.ip);
        let (peers, peer) = if port == 0 {
            (&peers, peer)
        } else {
            (&more, other)
        };
        let id = session.connect(peer).expect("connected");
        let (stream, _) = accept(peers);
        let echo = echo(stream);
        let data = pattern(40_000);
        let joined = join(&relay, &session, &id, &data[..400]);
        assert!(exchange(&joined, &data[400..]) == data);
        assert_eq!(echo.join().expect("the peer"), data.len());
        open.push(joined);
    }
    let moved = wait_for("some came to the other worker", || {
        relay
            .metric("clients_moved_total")
            .filter(|moved| *moved > 0)
    });
    assert!(moved < 12, "and some did not");
    wait_for("none is left behind", || {
        let name = "connections{transport=\"tcp\"}";
        (relay.metric(name) == Some(1)).then_some(())
    });
}

#[test]
fn nothing_is_lost_to_a_side_that_does_not_read_and_little_is_kept() {
    let relay = setup().start();
    let mut session = allocate(&relay);
    let (peers, peer) = listener(relay.ip);
    let id = session.connect(peer).expect("connected");
    let (peer, _) = accept(&peers);
    let client = join(&relay, &session, &id, &[]);
    let before = relay.resident();
    for (mut from, mut to) in [(&client, &peer), (&peer, &client)] {
        let limit = Some(Duration::from_millis(500));
        from.set_write_timeout(limit).expect("a timeout");
        let block = pattern(65_536);
        let mut sent = 0;
        let stuck = loop {
            match from.write(&block[sent % block.len()..]) {
                Ok(count) => sent += count,
                Err(error) => break error.kind(),
            }
            assert!(sent < 64 * MEGABYTE, "it takes all there is");
        };
        assert_eq!(stuck, ErrorKind::WouldBlock);
        assert!(sent > MEGABYTE, "only {sent}");
        let held = relay.resident().saturating_sub(before);
        assert!(held < 4 << 20, "{held} bytes of memory for {sent}");
        from.shutdown(Shutdown::Write).expect("ended");
        let mut got = Vec::new();
        to.read_to_end(&mut got).expect("received");
        assert_eq!(got.len(), sent);
        for part in got.chunks(block.len()) {
            assert!(block.starts_with(part));
        }
    }
}

#[test]
fn a_peer_comes_with_a_permission_and_is_reset_without() {
    let relay = setup().start();
    let mut session = allocate(&relay);
    let relayed = SocketAddr::from(session.relayed);
    let mut stranger = connect_from(relayed, relay.ip);
    assert!(ended(&mut stranger));
    session.permit(SocketAddrV4::new(relay.ip, 1));
    let peer = connect_from(relayed, relay.ip);
    // Before anybody has come for it.
    (&peer).write_all(b"first").expect("sent");
    let (id, from) = session.attempt();
    assert_eq!(
        SocketAddr::from(from),
        peer.local_addr().expect("an address")
    );
    assert_eq!(
        try_join(&relay, &session, &[1, 2, 3, 4], &[]).err(),
        Some(400)
    );
    let mut client = join(&relay, &session, &id, b"hello!!!");
    let mut first = [0; 5];
    client.read_exact(&mut first).expect("received");
    assert_eq!(&first, b"first");
    let mut hello = [0; 8];
    (&peer).read_exact(&mut hello).expect("received");
    assert_eq!(&hello, b"hello!!!");
    // All of it ends with the session.
    session.release();
    assert!(ended(&mut client) && ended(&mut { peer }));
    wait_for("the relayed port is closed", || {
        TcpStream::connect(relayed).is_err().then_some(())
    });
}

#[test]
fn a_closed_port_is_447_and_connections_end_with_the_control_connection() {
    let relay = setup().start();
    let (username, password) = relay.credential();
    let control = tcp(&relay);
    let mut session = TurnClient::relaying_tcp(wire(&control), &username, &password);
    let (peers, closed) = listener(relay.ip);
    drop(peers);
    assert_eq!(session.connect(closed), Err(447));
    let (peers, peer) = listener(relay.ip);
    let id = session.connect(peer).expect("connected");
    let (mut peer, _) = accept(&peers);
    let mut client = join(&relay, &session, &id, &[]);
    control.shutdown(Shutdown::Both).expect("ended");
    assert!(ended(&mut client) && ended(&mut peer));
}

#[test]
fn a_reset_ends_both_sides() {
    let relay = setup().start();
    let mut session = allocate(&relay);
    let (peers, address) = listener(relay.ip);
    // Open until the end: none of them says that it is done.
    let mut others = Vec::new();
    for is_client in [true, false] {
        let id = wait_for("it is free", || session.connect(address).ok());
        let (peer, _) = accept(&peers);
        let client = join(&relay, &session, &id, &[]);
        let (gone, mut other) = if is_client {
            (client, peer)
        } else {
            (peer, client)
        };
        let now = Some(Duration::ZERO);
        SockRef::from(&gone)
            .set_linger(now)
            .expect("a reset on close");
        drop(gone);
        assert!(ended(&mut other));
        others.push(other);
    }
    wait_for("both are gone", || {
        (relay.metric("peer_connections_ended_total") == Some(2)).then_some(())
    });
}

#[test]
fn peers_that_are_not_allowed_are_never_connected_to() {
    let setup = setup();
    let text = setup.text();
    let allow = "allow = [\"127.0.0.0/8\", \"::1/128\"]\n";
    assert!(text.contains(allow));
    let relay = setup.start();
    let mut session = allocate(&relay);
    relay.reload(&text.replace(allow, ""));
    wait_for("loopback is refused", || {
        let (_peers, peer) = listener(relay.ip);
        (session.connect(peer) == Err(403)).then_some(())
    });
    let (peers, peer) = listener(relay.ip);
    peers.set_nonblocking(true).expect("not blocking");
    assert_eq!(session.connect(peer), Err(403));
    let private = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 80);
    assert_eq!(session.connect(private), Err(403));
    let own = SocketAddrV4::new(relay.ip, TURN);
    assert_eq!(session.connect(own), Err(403));
    assert_eq!(session.connect(session.relayed), Err(403));
    assert_eq!(
        peers.accept().map(drop).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn bandwidth_slows_down_and_drops_nothing() {
    let mut setup = setup();
    setup
        .sections
        .push_str("[limits]\nallocation_bandwidth = \"4 Mbit/s\"\n");
    let relay = setup.start();
    let mut session = allocate(&relay);
    let (peers, peer) = listener(relay.ip);
    let id = session.connect(peer).expect("connected");
    let echo = echo(accept(&peers).0);
    let data = pattern(MEGABYTE);
    let start = Instant::now();
    let stream = join(&relay, &session, &id, &[]);
    assert!(exchange(&stream, &data) == data);
    assert_eq!(echo.join().expect("the peer"), MEGABYTE);
    // Two megabytes at half a megabyte per second, the first second's at once.
    let took = start.elapsed();
    assert!(took > Duration::from_millis(2500), "{took:?}");
}

/// A TLS stream that is used from two places.
#[derive(Clone)]
struct Tls(Arc<Mutex<StreamOwned<ClientConnection, TcpStream>>>);

impl Tls {
    fn connect(relay: &Relay, pair: &Pair) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pair.chain.as_bytes()).skip(1) {
            roots.add(certificate.expect("PEM")).expect("an issuer");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("turn.example").expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a client");
        Self(Arc::new(Mutex::new(StreamOwned::new(session, tcp(relay)))))
    }

    fn wire(&self) -> Box<dyn Wire> {
        Box::new(Stream(RefCell::new(self.clone())))
    }
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").read(buffer)
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.lock().expect("no panic").flush()
    }
}

#[test]
fn under_tls_it_is_the_same() {
    let pair = ecdsa();
    let relay = over_tls(&pair).start();
    let (username, password) = relay.credential();
    let control = Tls::connect(&relay, &pair);
    let mut session = TurnClient::relaying_tcp(control.wire(), &username, &password);
    // More than once, so that it comes to each worker.
    for _ in 0..6 {
        let (peers, peer) = listener(relay.ip);
        let id = session.connect(peer).expect("connected");
        let echo = echo(accept(&peers).0);
        let mut stream = Tls::connect(&relay, &pair);
        // Bytes that look like messages, and like the beginning of one.
        let mut data = pattern(300_000);
        data[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        session
            .join(stream.wire(), &id, &data[..2000])
            .expect("joined");
        let mut got = Vec::new();
        let mut buffer = vec![0; 65_536];
        // Less than the kernel holds, so that neither waits for the other.
        for part in data[2000..].chunks(20_000) {
            stream.write_all(part).expect("sent");
            let count = stream.read(&mut buffer).expect("received");
            got.extend(&buffer[..count]);
        }
        let mut inner = stream.0.lock().expect("no panic");
        inner.conn.send_close_notify();
        inner.flush().expect("sent");
        drop(inner);
        stream.read_to_end(&mut got).expect("its end is proper");
        assert!(got == data, "{} bytes", got.len());
        assert_eq!(echo.join().expect("the peer"), data.len());
    }
}

#[test]
fn coturns_client_relays_tcp() {
    if !has_tool("coturns_client_relays_tcp", "turnutils_uclient") {
        return;
    }
    let relay = over_tls(&ecdsa()).start();
    let (ip, port) = (relay.ip.to_string(), TURN.to_string());
    for mode in [&["-T"][..], &["-T", "-S"]] {
        let mut arguments = vec!["-n", "100", "-m", "4", "-W", SECRET];
        arguments.extend_from_slice(mode);
        let said = Tool::start("turnutils_uclient", &client(&arguments, &port, &ip)).finish();
        let (sent, missing) = lost(&said);
        assert_eq!(missing, 0, "{mode:?} {sent}\n{said}");
        assert!(sent >= 400, "{mode:?}\n{said}");
    }
    wait_for("no session is left", || {
        (relay.metric("sessions") == Some(0)).then_some(())
    });
}
