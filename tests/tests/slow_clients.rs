//! Thousands of clients that begin and do not go on: an honest one is served within a second, and
//! memory and descriptors stay bounded.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::rogue::{Client, Transport};
use cluster_tests::stun::{Message, attribute};
use cluster_tests::timing::until;
use cluster_tests::turnd::{SECRET, Setup, Turnd, credential};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

/// Slow sockets held at a time.
const SLOW: usize = 2_000;
/// Clients that read nothing of what is sent to them.
const DEAF: usize = 20;
/// How long the attack lasts once it is complete.
const ATTACK: Duration = Duration::from_secs(15);
/// Between two bytes of a slow socket.
const PAUSE: Duration = Duration::from_secs(10);
/// Before one that was closed comes again.
const AGAIN: Duration = Duration::from_secs(2);
/// Within this an honest client has its first echo.
const SOON: Duration = Duration::from_secs(1);
/// What memory may grow by: what 2,020 connections may hold at most, and room for the allocator.
const GROWTH: u64 = 64 << 20;

/// How a slow socket begins.
const BEGINNINGS: [&[u8]; 3] = [
    // A TURN request, a byte at a time.
    &[
        0, 3, 0, 8, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ],
    // A TLS ClientHello (RFC 8446 section 4.1.2) of which more is to come.
    &[
        22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9,
    ],
    // ChannelData of 1200 bytes.
    &[
        0x40, 0, 4, 0xb0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
    ],
];

/// One connection that sends a byte now and then.
struct Slow {
    stream: TcpStream,
    from: IpAddr,
    index: usize,
    sent: usize,
    due: Instant,
    is_open: bool,
}

impl Slow {
    fn open(server: SocketAddr, index: usize, from: IpAddr) -> Option<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).ok()?;
        socket.bind(&SocketAddr::new(from, 0).into()).ok()?;
        socket
            .connect_timeout(&server.into(), Duration::from_secs(5))
            .ok()?;
        let mut stream = TcpStream::from(socket);
        // Half of them have begun at once, up to the middle of their first message.
        let sent = if index.is_multiple_of(2) { 12 } else { 1 };
        stream
            .write_all(&BEGINNINGS[index % BEGINNINGS.len()][..sent])
            .ok()?;
        stream.set_nonblocking(true).ok()?;
        // Not all at once.
        let due = Instant::now() + PAUSE / 100 * (index % 100) as u32;
        Some(Self {
            stream,
            from,
            index,
            sent,
            due,
            is_open: true,
        })
    }

    /// Sends the next byte; false once the relay has closed.
    fn goes_on(&mut self) -> bool {
        let beginning = BEGINNINGS[self.index % BEGINNINGS.len()];
        let byte = beginning.get(self.sent).copied().unwrap_or(0);
        (self.sent, self.due) = (self.sent + 1, self.due + PAUSE);
        self.stream.write_all(&[byte]).is_ok() && !self.is_closed()
    }

    fn is_closed(&mut self) -> bool {
        let read = self.stream.read(&mut [0; 256]);
        !read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// Holds slow sockets from these sources until told to stop; those that are closed come again.
fn hold(
    server: SocketAddr,
    sources: &[IpAddr],
    stop: &AtomicBool,
    again: &AtomicU32,
    held: &AtomicU32,
) {
    let mut slow: Vec<Slow> = Vec::new();
    for (index, from) in sources.iter().enumerate() {
        slow.extend(Slow::open(server, index, *from));
        held.fetch_add(1, Ordering::Relaxed);
    }
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        for one in &mut slow {
            if one.is_open && (one.is_closed() || one.due <= now && !one.goes_on()) {
                (one.is_open, one.due) = (false, now + AGAIN);
            } else if !one.is_open && one.due <= now {
                again.fetch_add(1, Ordering::Relaxed);
                one.due = now + AGAIN;
                if let Some(next) = Slow::open(server, one.index, one.from) {
                    *one = next;
                }
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Sends half of a DTLS handshake after the other: greetings that no second one follows.
fn hello(server: SocketAddr, stop: &AtomicBool) {
    let mut packet = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 54];
    // A ClientHello (RFC 6347 section 4.2.2) of 42 bytes: version, random, no session, no cookie,
    // one cipher suite, no compression.
    packet.extend([1, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 42, 0xfe, 0xfd]);
    packet.extend([7; 32]);
    packet.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
    for source in (0..u32::MAX).take_while(|_| !stop.load(Ordering::Relaxed)) {
        let ip = Ipv4Addr::from_bits(0x7fa0_0001 + source % 2_000);
        let socket = UdpSocket::bind((ip, 0)).expect("a loopback address");
        let _ = socket.send_to(&packet, server);
        thread::sleep(Duration::from_micros(500));
    }
}

/// An honest client: how long from its first packet to its first echo.
fn honest(turnd: &Turnd, transport: Transport, peer: SocketAddr) -> Duration {
    let began = Instant::now();
    let login = credential(SECRET, "honest");
    let client = Client::open(transport, turnd.turn(), Some(turnd.ip), login);
    let mut client = client.expect("it connects");
    client.allocated(turnd.ip);
    assert_eq!(client.permit(&[peer.ip()]), 0);
    client.indicate(peer, b"echo");
    let got = client.receive(Duration::from_secs(10)).expect("an echo");
    let got = Message::parse(&got).expect("an indication");
    assert_eq!(got.get(attribute::DATA), Some(&b"echo"[..]));
    let took = began.elapsed();
    assert_eq!(client.refresh(0), 0);
    took
}

/// A client over TCP that has an allocation and reads no more, while its peer sends.
fn deaf(turnd: &Turnd, index: usize) -> Client {
    let login = credential(SECRET, &format!("deaf-{index}"));
    let client = Client::open(Transport::Tcp, turnd.turn(), Some(turnd.ip), login);
    let mut client = client.expect("it connects");
    let relayed = client.allocated(turnd.ip);
    let peer = UdpSocket::bind((turnd.ip, 0)).expect("a socket");
    let address = peer.local_addr().expect("it is bound");
    assert_eq!(client.bind(0x4000, address), 0);
    for _ in 0..4_000 {
        peer.send_to(&[0x55; 1200], relayed).expect("sent");
    }
    client
}

#[test]
fn an_honest_client_is_served_within_a_second() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
    let mut setup = Setup::loopback("slow_clients");
    setup.log.clear();
    let turnd = setup.start();
    let echo = UdpSocket::bind((turnd.ip, 0)).expect("a socket");
    let peer = echo.local_addr().expect("it is bound");
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = echo.recv_from(&mut buffer) {
            let _ = echo.send_to(&buffer[..length], from);
        }
    });
    for transport in Transport::ALL {
        honest(&turnd, transport, peer);
    }
    let before = (turnd.resident(), turnd.descriptors());
    let many: Vec<_> = (0..SLOW as u32)
        .map(|index| IpAddr::V4(Ipv4Addr::from_bits(0x7f90_0001 + index)))
        .collect();
    // And as many from a single address, of which only some may come in.
    let one = vec![IpAddr::from([127, 0x98, 0, 1]); SLOW];
    let (stop, again, held) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let server = turnd.turn();
    thread::scope(|scope| {
        for sources in many.chunks(SLOW / 4).chain([&one[..]]) {
            let (stop, again, held) = (&stop, &again, &held);
            scope.spawn(move || hold(server, sources, stop, again, held));
        }
        scope.spawn(|| hello(server, &stop));
        let stopped = Stop(&stop);
        until("all are there", Duration::from_mins(1), || {
            (held.load(Ordering::Relaxed) as usize >= 2 * SLOW).then_some(())
        });
        let deaf: Vec<_> = (0..DEAF).map(|index| deaf(&turnd, index)).collect();
        let (began, mut rounds) = (Instant::now(), 0);
        let (mut worst, mut largest) = ([Duration::ZERO; Transport::ALL.len()], (0, 0));
        while began.elapsed() < ATTACK {
            for (transport, worst) in Transport::ALL.into_iter().zip(&mut worst) {
                *worst = honest(&turnd, transport, peer).max(*worst);
            }
            largest.0 = turnd.resident().max(largest.0);
            largest.1 = turnd.descriptors().max(largest.1);
            rounds += 1;
        }
        drop(deaf);
        for (transport, worst) in Transport::ALL.into_iter().zip(worst) {
            println!(
                "measured slow clients, honest over {transport:?}: slowest of {rounds} {:.0} ms",
                worst.as_secs_f64() * 1000.0
            );
        }
        let strangers = turnd.metric("connections_strangers");
        println!(
            "measured slow clients: {} sockets tried ({} came again), {strangers} kept, memory {} KiB \
             before, {} KiB at most, descriptors {} before, {} at most",
            2 * SLOW,
            again.load(Ordering::Relaxed),
            before.0 / 1024,
            largest.0 / 1024,
            before.1,
            largest.1
        );
        assert!(strangers >= 1_000, "the attack did not come about");
        assert!(worst.iter().all(|worst| *worst < SOON), "{worst:?}");
        assert!(largest.0 < before.0 + GROWTH, "memory");
        // A quarter of the 10,000 connections may be strangers'.
        assert!(largest.1 < before.1 + 2_500 + 4 * DEAF, "descriptors");
        drop(stopped);
    });
    until("all that has gone", Duration::from_secs(30), || {
        (turnd.descriptors() <= before.1).then_some(())
    });
}

/// Lets the attackers stop, also when an assertion fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
