//! DNS over QUIC: the same answers as in clear; who breaks its rules is told so in its codes; what
//! strangers can hold is bounded, for as long as over TCP and TLS.

mod common;

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::has;
use common::tls::{Client, Encrypted, NAME, QUERY, framed, trusting, with_options};
use dnsd::limits::{DOQ_QUERY, DOQ_STREAMS, TCP_IDLE, TCP_LIFETIME, TCP_PER_NETWORK, TCP_SPARED};
use hickory_proto::op::Message;
use nix::sys::signal::Signal;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, ReadError, TokioRuntime,
    VarInt,
};

const PROTOCOL_ERROR: u32 = 2;
const EXCESSIVE_LOAD: u32 = 4;
const UNSPECIFIED_ERROR: u32 = 5;

type Outcome = Result<Connection, ConnectionError>;

fn config(dns: &Encrypted, protocol: &[u8]) -> ClientConfig {
    let crypto = QuicClientConfig::try_from(trusting(&dns.certificate, protocol));
    ClientConfig::new(Arc::new(crypto.expect("TLS 1.3")))
}

async fn connect_to(dns: &Encrypted, from: Ipv4Addr, to: SocketAddr, protocol: &[u8]) -> Outcome {
    let config = config(dns, protocol);
    let endpoint = Endpoint::client((from, 0).into()).expect("a socket");
    let connecting = endpoint.connect_with(config, to, NAME);
    connecting.expect("an attempt").await
}

async fn connect(dns: &Encrypted) -> Connection {
    let connection = connect_to(dns, Ipv4Addr::LOCALHOST, dns.address(), b"doq");
    connection.await.expect("a connection")
}

/// What comes back on a stream that carries these bytes and then ends.
async fn exchange(connection: &Connection, bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(bytes).await.ok()?;
    send.finish().ok()?;
    receive.read_to_end(65_537).await.ok()
}

async fn ask(connection: &Connection, message: &[u8]) -> Option<Vec<u8>> {
    let answer = exchange(connection, &framed(message)).await?;
    let (length, message) = answer.split_first_chunk()?;
    assert_eq!(usize::from(u16::from_be_bytes(*length)), message.len());
    Some(message.to_vec())
}

/// The code that the server ends a connection with.
async fn ended(connection: &Connection) -> VarInt {
    let limit = TCP_IDLE + Duration::from_secs(5);
    let ended = tokio::time::timeout(limit, connection.closed()).await;
    match ended.expect("the end in time") {
        ConnectionError::ApplicationClosed(close) => close.error_code,
        other => panic!("ended otherwise: {other}"),
    }
}

#[test]
fn kdig_is_answered_and_what_it_pads_is_padded() {
    if !has("over_quic", "kdig") {
        return;
    }
    let dns = Encrypted::start(160);
    // Its version in Debian ends badly where it is to check the certificate.
    let said = dns.kdig(&["+quic", "turn.example", "NS", "+norec", "+padding=64"]);
    assert!(said.contains("QUIC session"), "{said}");
    assert!(
        said.contains("status: NOERROR; id: 0") && said.contains("ns1.turn.example."),
        "{said}"
    );
    assert!(said.contains("Received 468 B"), "{said}");
    let answered = "type=\"NS\",rcode=\"NOERROR\",transport=\"quic\"";
    dns.wait_counted("queries_total", answered, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_udp_whatever_stands_still_beside() {
    let dns = Encrypted::start(161);
    let connection = connect(&dns).await;
    // Queries that never end take half of the streams.
    let mut unfinished = Vec::new();
    for _ in 0..DOQ_STREAMS / 2 {
        let (mut send, receive) = connection.open_bi().await.expect("a stream");
        send.write_all(&framed(QUERY)[..20]).await.expect("sent");
        unfinished.push((send, receive));
    }
    let udp = UdpSocket::bind("127.0.0.1:0").expect("socket");
    udp.connect((dns.server.ip, dns.server.dns))
        .expect("connect");
    for kind in [1_u8, 2, 6, 28, 255] {
        let mut message = QUERY.to_vec();
        message[27] = kind;
        let over_quic = ask(&connection, &message).await.expect("an answer");
        let mut buffer = [0; 2048];
        udp.send(&message).expect("sent");
        let length = udp.recv(&mut buffer).expect("an answer over UDP");
        let [over_udp, over_quic] = [&buffer[..length], &over_quic].map(Message::from_vec);
        assert_eq!(over_udp.expect("a message"), over_quic.expect("a message"));
    }
    let begun = Instant::now();
    let (_send, mut first) = unfinished.remove(0);
    let given_up = first.read(&mut [0; 8]).await;
    assert_eq!(
        given_up,
        Err(ReadError::Reset(VarInt::from_u32(UNSPECIFIED_ERROR)))
    );
    assert!(begun.elapsed() < TCP_IDLE);
    assert!(
        ask(&connection, QUERY).await.is_some(),
        "the connection stands"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_breaks_the_rules_is_told_by_the_codes() {
    let dns = Encrypted::start(162);
    let whole = framed(QUERY);
    let mut numbered = whole.clone();
    numbered[3] = 1;
    let mut response = whole.clone();
    response[4] |= 0x80;
    for (what, bytes) in [
        ("an id", numbered),
        ("a response", response),
        ("two queries", whole.repeat(2)),
        ("an early end", whole[..20].to_vec()),
        ("nothing", Vec::new()),
        ("no header", framed(&[0; 5])),
        ("edns-tcp-keepalive", framed(&with_options(&[(11, &[])]))),
    ] {
        let connection = connect(&dns).await;
        assert!(ask(&connection, QUERY).await.is_some());
        assert!(exchange(&connection, &bytes).await.is_none(), "{what}");
        assert_eq!(
            ended(&connection).await,
            VarInt::from_u32(PROTOCOL_ERROR),
            "{what}"
        );
    }
    // What is too long to be a query costs the stream alone.
    let connection = connect(&dns).await;
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    let _ = send.write_all(&framed(&vec![0; DOQ_QUERY + 1])).await;
    let _ = send.finish();
    let refused = receive.read(&mut [0; 8]).await;
    assert_eq!(
        refused,
        Err(ReadError::Reset(VarInt::from_u32(UNSPECIFIED_ERROR)))
    );
    assert!(ask(&connection, QUERY).await.is_some());
    // Streams of one direction are not offered, and what does not speak the protocol is refused.
    let uni = tokio::time::timeout(Duration::from_millis(300), connection.open_uni()).await;
    assert!(uni.is_err(), "a stream that nobody may open");
    let stranger = connect_to(&dns, Ipv4Addr::LOCALHOST, dns.address(), b"h3").await;
    assert!(stranger.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_nothing_is_let_go() {
    let dns = Encrypted::start(163);
    let connection = connect(&dns).await;
    let begun = Instant::now();
    assert!(ask(&connection, QUERY).await.is_some());
    assert_eq!(ended(&connection).await, VarInt::from_u32(0));
    assert!(begun.elapsed() >= TCP_IDLE.mul_f32(0.9));
    dns.wait_counted("connections_open", "transport=\"quic\"", 0);
}

fn ask_over_tcp(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&framed(QUERY))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes(length))])
}

/// The daemon's clock is five times as fast as ours, so that two minutes are soon over.
#[tokio::test(flavor = "multi_thread")]
async fn however_busy_a_connection_is_it_ends() {
    const SPEED: u32 = 5;
    let dir = tempfile::tempdir().expect("a directory");
    let offset = dir.path().join("offset");
    common::write(&offset, &format!("+0 x{SPEED}\n"));
    let Some(environment) = common::clock("however_busy_a_connection_is_it_ends", &offset) else {
        return;
    };
    let all_clocks = environment.into_iter();
    let all_clocks = all_clocks.filter(|(name, _)| !name.ends_with("MONOTONIC"));
    let dns = Encrypted::start_with(167, |server| server.environment = all_clocks.collect());
    let begun = Instant::now();
    let mut tcp = TcpStream::connect((dns.server.ip, dns.server.dns)).expect("connect");
    let limit = Some(Duration::from_secs(5));
    tcp.set_read_timeout(limit).expect("set");
    let tls = TcpStream::connect(dns.address()).expect("connect");
    let mut tls = Client::over(tls, &dns.certificate).expect("a handshake");
    let quic = connect(&dns).await;
    let mut ends = [None; 3];
    while ends.contains(&None) {
        assert!(begun.elapsed() < 2 * TCP_LIFETIME / SPEED, "{ends:?}");
        let answered = [
            ask_over_tcp(&mut tcp).is_ok(),
            tls.ask(QUERY).is_ok(),
            ask(&quic, QUERY).await.is_some(),
        ];
        for (end, answered) in ends.iter_mut().zip(answered) {
            if !answered {
                end.get_or_insert(begun.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let least = TCP_LIFETIME.mul_f32(0.9) / SPEED;
    assert!(ends.iter().all(|end| *end > Some(least)), "{ends:?}");
}

/// Its place is its network's: who comes from elsewhere with the same connection is not heard there.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_stays_with_the_address_that_it_came_from() {
    let dns = Encrypted::start(165);
    let socket = || UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let [first, other] = [socket(), socket()];
    let same = first.try_clone().expect("a socket");
    let runtime = Arc::new(TokioRuntime);
    let endpoint = Endpoint::new(EndpointConfig::default(), None, first, runtime);
    let endpoint = endpoint.expect("an endpoint");
    let connecting = endpoint.connect_with(config(&dns, b"doq"), dns.address(), NAME);
    let connection = connecting.expect("an attempt").await.expect("a connection");
    assert!(ask(&connection, QUERY).await.is_some());
    endpoint.rebind(other).expect("another address");
    let unheard = tokio::time::timeout(Duration::from_secs(1), ask(&connection, QUERY)).await;
    assert!(unheard.is_err(), "answered at another address");
    endpoint.rebind(same).expect("the first address");
    assert!(ask(&connection, QUERY).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_of_the_daemons_end() {
    let dns = Encrypted::start(166);
    let connection = connect(&dns).await;
    assert!(ask(&connection, QUERY).await.is_some());
    let asked = Instant::now();
    dns.server.signal(Signal::SIGTERM);
    assert_eq!(ended(&connection).await, VarInt::from_u32(0));
    assert!(asked.elapsed() < TCP_IDLE / 2, "not because it was idle");
}

/// Carries datagrams between one client and the server, and counts the server's Retry packets
/// (RFC 9000 section 17.2.5).
fn watched(to: SocketAddr, stop: &Arc<AtomicBool>) -> (SocketAddr, Arc<AtomicUsize>) {
    let inner = UdpSocket::bind("127.0.0.1:0").expect("socket");
    let outer = UdpSocket::bind("127.0.0.1:0").expect("socket");
    outer.connect(to).expect("connect");
    for socket in [&inner, &outer] {
        let limit = Some(Duration::from_millis(2));
        socket.set_read_timeout(limit).expect("timeout");
    }
    let address = inner.local_addr().expect("address");
    let retries = Arc::new(AtomicUsize::new(0));
    let (stop, counted) = (Arc::clone(stop), Arc::clone(&retries));
    std::thread::spawn(move || {
        let (mut buffer, mut client) = (vec![0; 65_535], None);
        while !stop.load(Ordering::Relaxed) {
            if let Ok((length, from)) = inner.recv_from(&mut buffer) {
                client = Some(from);
                let _ = outer.send(&buffer[..length]);
            }
            if let (Ok(length), Some(client)) = (outer.recv(&mut buffer), client) {
                if buffer[0] & 0xf0 == 0xf0 {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                let _ = inner.send_to(&buffer[..length], client);
            }
        }
    });
    (address, retries)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowded_network_makes_room_for_itself_and_only_for_proved_addresses() {
    let dns = Encrypted::start(164);
    let stop = Arc::new(AtomicBool::new(false));
    let (free, none) = watched(dns.address(), &stop);
    let first = connect_to(&dns, Ipv4Addr::LOCALHOST, free, b"doq").await;
    let first = first.expect("a connection");
    assert!(ask(&first, QUERY).await.is_some());
    assert_eq!(
        none.load(Ordering::Relaxed),
        0,
        "no Retry where there is room"
    );
    let mut crowd = Vec::new();
    for _ in 1..TCP_PER_NETWORK {
        crowd.push(connect(&dns).await);
    }
    for connection in &crowd {
        assert!(ask(connection, QUERY).await.is_some());
    }
    // All were answered just now: whoever comes too early is refused.
    let early = connect_to(&dns, Ipv4Addr::LOCALHOST, dns.address(), b"doq").await;
    assert!(early.is_err());
    let elsewhere = Ipv4Addr::new(127, 5, 0, 1);
    let other = connect_to(&dns, elsewhere, dns.address(), b"doq").await;
    assert!(
        ask(&other.expect("another network's place"), QUERY)
            .await
            .is_some()
    );
    tokio::time::sleep(TCP_SPARED).await;
    let (full, retried) = watched(dns.address(), &stop);
    let late = connect_to(&dns, Ipv4Addr::LOCALHOST, full, b"doq").await;
    assert!(ask(&late.expect("a place"), QUERY).await.is_some());
    assert_eq!(
        retried.load(Ordering::Relaxed),
        1,
        "its address was asked for"
    );
    assert_eq!(ended(&first).await, VarInt::from_u32(EXCESSIVE_LOAD));
    for connection in &crowd {
        assert!(ask(connection, QUERY).await.is_some(), "only one had to go");
    }
    stop.store(true, Ordering::Relaxed);
}
