//! DNS over TCP: the same answers as over UDP, and what a client can hold is bounded.

mod common;

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use common::dnsd::{Server, listed};
use dnsd::limits::{
    TCP_BYTES, TCP_CONNECTIONS, TCP_DESCRIPTORS, TCP_IDLE, TCP_PER_NETWORK, TCP_SPARED,
};
use hickory_proto::op::Message;
use socket2::{Domain, SockRef, Socket, Type};

/// `turn.example A` with EDNS.
const QUERY: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x04turn\x07example\x00\
\x00\x01\x00\x01\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00";
/// What the daemon may open meanwhile for other reasons.
const OTHER_DESCRIPTORS: usize = 40;

fn server(host: u8) -> Server {
    Server::new(host, vec![listed("fra-1", "eu-a", "alpha", 1)]).start()
}

/// A connection from an address of this machine.
fn connect_from(source: Ipv4Addr, server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    socket
        .bind(&SocketAddr::from((source, 0)).into())
        .expect("bind");
    socket
        .connect(&SocketAddr::from((server.ip, server.dns)).into())
        .expect("connect");
    let stream = TcpStream::from(socket);
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).expect("timeout");
    stream
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("short");
    [&length.to_be_bytes(), message].concat()
}

fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn ask(stream: &mut TcpStream, message: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(&framed(message))?;
    read(stream)
}

/// Whether the daemon has closed the connection.
fn closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .expect("descriptors")
        .count()
}

#[test]
fn whatever_is_asked_the_answer_is_that_of_udp() {
    let server = server(54);
    let changed = |at: usize, byte: u8| {
        let mut message = QUERY.to_vec();
        message[at] = byte;
        message
    };
    // The source prefix is 24, with a bit set beyond it in the second.
    let subnet = |last: u8| {
        let mut message = changed(QUERY.len() - 1, 12);
        message.extend_from_slice(&[0, 8, 0, 8, 0, 1, 24, 0, 10, 1, 2, last]);
        message[QUERY.len() - 1] = 12;
        message
    };
    let mut narrow = changed(QUERY.len() - 1, 11);
    narrow.extend_from_slice(&[0, 8, 0, 7, 0, 1, 24, 0, 10, 1, 2]);
    let mut two = QUERY.to_vec();
    two[5] = 2;
    two.splice(30..30, QUERY[12..30].iter().copied());
    let messages = [
        QUERY.to_vec(),
        [&QUERY[..11], &[0], &QUERY[12..30]].concat(),
        changed(2, 0x28),
        changed(3, 0x10),
        changed(13, b'T'),
        changed(13, b'x'),
        changed(27, 6),
        changed(5, 2),
        changed(5, 0),
        two,
        QUERY[..20].to_vec(),
        changed(36, 1),
        narrow,
        subnet(0),
        subnet(9),
    ];
    let udp = UdpSocket::bind("127.0.0.1:0").expect("socket");
    udp.connect((server.ip, server.dns)).expect("connect");
    udp.set_read_timeout(Some(Duration::from_secs(5)))
        .expect("timeout");
    let mut tcp = connect_from(Ipv4Addr::LOCALHOST, &server);
    let mut codes = HashSet::new();
    for message in messages {
        let mut buffer = [0; 2048];
        udp.send(&message).expect("sent");
        let length = udp.recv(&mut buffer).expect("an answer over UDP");
        let over_tcp = ask(&mut tcp, &message).expect("an answer over TCP");
        codes.insert(over_tcp[3] & 0x0f);
        let [over_udp, over_tcp] = [&buffer[..length], &over_tcp].map(Message::from_vec);
        // What the bytes may differ in is the compression of names.
        let over_udp = over_udp.expect("a message");
        assert_eq!(over_udp, over_tcp.expect("a message"), "{message:02x?}");
    }
    // NOERROR, FORMERR, NXDOMAIN or REFUSED, NOTIMP: the comparison was of different things.
    assert!(
        [0, 1, 4, 5].iter().all(|code| codes.contains(code)),
        "{codes:?}"
    );
    let counted = |name: &str| {
        let labels = "{type=\"A\",rcode=\"NOERROR\",transport=\"tcp\"}";
        server.metric(&format!("{name}{labels}"))
    };
    assert!(counted("turnfleet_dnsd_queries_total").is_some_and(|count| count >= 4.0));
    assert!(!server.log().contains("hickory"), "{}", server.log());
}

#[test]
fn pipelined_queries_are_all_answered_also_after_the_clients_end() {
    let server = server(55);
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, &server);
    let mut sent = Vec::new();
    for id in 0..300_u16 {
        let message = [&id.to_be_bytes(), &QUERY[2..]].concat();
        sent.extend_from_slice(&framed(&message));
    }
    // In pieces that end within messages.
    for piece in sent.chunks(1001) {
        stream.write_all(piece).expect("sent");
    }
    stream.shutdown(Shutdown::Write).expect("half closed");
    let mut answered = HashSet::new();
    for _ in 0..300 {
        let answer = read(&mut stream).expect("an answer");
        answered.insert([answer[0], answer[1]]);
    }
    assert_eq!(answered.len(), 300);
    assert!(closed(&mut stream));
}

#[test]
fn one_network_cannot_take_every_connection() {
    let server = server(56);
    let before = descriptors(&server);
    let greedy = |i: u8| connect_from(Ipv4Addr::new(127, 0, 56, 1 + i), &server);
    let mut held: Vec<_> = (0..200).map(greedy).collect();
    let mut honest = connect_from(Ipv4Addr::new(127, 0, 57, 1), &server);
    assert_eq!(
        ask(&mut honest, QUERY).expect("served meanwhile")[..2],
        QUERY[..2]
    );
    // Those beyond the cap are accepted by the kernel and closed by the daemon.
    assert!(held[TCP_PER_NETWORK..].iter_mut().all(closed));
    let after = descriptors(&server);
    let most = before + (TCP_PER_NETWORK + 1) * TCP_DESCRIPTORS + OTHER_DESCRIPTORS;
    assert!(after <= most, "{before} → {after}");
    let dropped = "turnfleet_dnsd_drops_total{reason=\"connections\",transport=\"tcp\"}";
    assert_eq!(server.metric(dropped), Some(168.0));
    for stream in &mut held[..TCP_PER_NETWORK] {
        assert!(ask(stream, QUERY).is_ok(), "admitted, so answered");
    }
    drop(held);
    common::wait_for("room", Duration::from_secs(5), || {
        ask(&mut greedy(0), QUERY).ok().map(drop)
    });
}

#[test]
fn many_networks_cannot_take_every_descriptor_nor_keep_out_who_asks() {
    let server = server(58);
    let before = descriptors(&server);
    let begun = Instant::now();
    let mut held: Vec<_> = (0..640_u16)
        .map(|i| {
            let source = Ipv4Addr::new(127, 1, (i / 32) as u8, 1);
            let mut stream = connect_from(source, &server);
            // Half of them begin a query that never ends.
            if i % 2 == 0 {
                stream.write_all(&framed(QUERY)[..9]).expect("sent");
            }
            stream
        })
        .collect();
    let refused = held[TCP_CONNECTIONS..]
        .iter_mut()
        .filter_map(|stream| closed(stream).then_some(()));
    assert_eq!(refused.count(), 640 - TCP_CONNECTIONS);
    let after = descriptors(&server);
    let most = before + TCP_CONNECTIONS * TCP_DESCRIPTORS + OTHER_DESCRIPTORS;
    assert!(after <= most, "{before} → {after}");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("socket");
    udp.connect((server.ip, server.dns)).expect("connect");
    udp.set_read_timeout(Some(Duration::from_secs(5)))
        .expect("timeout");
    udp.send(QUERY).expect("sent");
    assert!(udp.recv(&mut [0; 2048]).is_ok(), "UDP is served meanwhile");
    common::wait_for("an honest client's turn", Duration::from_secs(6), || {
        let mut honest = connect_from(Ipv4Addr::new(127, 2, 0, 1), &server);
        ask(&mut honest, QUERY).ok().map(drop)
    });
    assert!(begun.elapsed() >= TCP_SPARED, "room came too early");
    let evicted = "turnfleet_dnsd_drops_total{reason=\"evicted\",transport=\"tcp\"}";
    assert_eq!(server.metric(evicted), Some(1.0));
    // A byte now and then does not count as asking.
    while begun.elapsed() < TCP_IDLE {
        std::thread::sleep(Duration::from_secs(1));
        for stream in held[..TCP_CONNECTIONS].iter_mut().step_by(2) {
            let _ = stream.write_all(b"\0");
        }
    }
    common::wait_for("the descriptors", Duration::from_secs(5), || {
        (descriptors(&server) <= before + OTHER_DESCRIPTORS).then_some(())
    });
}

#[test]
fn a_client_that_does_not_read_is_let_go() {
    let server = server(59);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket
        .connect(&SocketAddr::from((server.ip, server.dns)).into())
        .expect("connect");
    let mut stream = TcpStream::from(socket);
    stream
        .set_write_timeout(Some(Duration::from_secs(1)))
        .expect("timeout");
    let queries = framed(QUERY).repeat(100);
    // Until nothing more is taken, for nothing more is answered.
    let begun = Instant::now();
    while stream.write_all(&queries).is_ok() && begun.elapsed() < Duration::from_secs(10) {}
    let dropped = "turnfleet_dnsd_drops_total{reason=\"send\",transport=\"tcp\"}";
    common::wait_for("the end", Duration::from_secs(15), || {
        server.metric(dropped).filter(|count| *count >= 1.0)
    });
}

#[test]
fn past_the_front_nothing_is_answered() {
    let server = server(60);
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", server.pid())).expect("sockets");
    let own: HashSet<_> = fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .expect("descriptors")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|link| link.display().to_string())
        .collect();
    // Listening (0A) on 127.0.0.1, which no listener of the configuration does.
    let private: Vec<_> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|field| field[3] == "0A" && own.contains(&format!("socket:[{}]", field[9])))
        .filter_map(|field| field[1].strip_prefix("0100007F:"))
        .filter_map(|port| u16::from_str_radix(port, 16).ok())
        .collect();
    let [port] = private[..] else {
        panic!("one private listener: {private:?}");
    };
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
    stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("timeout");
    assert!(ask(&mut stream, QUERY).is_err());
    let dropped = "turnfleet_dnsd_drops_total{reason=\"source\",transport=\"tcp\"}";
    assert_eq!(server.metric(dropped), Some(1.0));
    let mut honest = connect_from(Ipv4Addr::LOCALHOST, &server);
    assert!(ask(&mut honest, QUERY).is_ok());
}

#[test]
fn a_signal_ends_connections_and_the_daemon() {
    let mut server = server(61);
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, &server);
    assert!(ask(&mut stream, QUERY).is_ok());
    let begun = Instant::now();
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.ended(), Some(0));
    assert!(closed(&mut stream));
    assert!(begun.elapsed() < TCP_IDLE / 2, "{:?}", begun.elapsed());
}

#[test]
fn a_connection_carries_so_many_queries_and_ends() {
    let server = server(137);
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, &server);
    // The last answers still wait to be sent when the last query is answered.
    let room = SockRef::from(&stream).set_recv_buffer_size(32 * 1024);
    room.expect("a small buffer");
    let one = framed(QUERY);
    let whole = usize::try_from(TCP_BYTES).expect("fits") / one.len();
    let mut asking = stream.try_clone().expect("a handle");
    let asked = std::thread::spawn(move || {
        let some = one.repeat(64);
        // Until the daemon has closed it.
        let sent = (0..2 * whole / 64).take_while(|_| asking.write_all(&some).is_ok());
        sent.count() * 64
    });
    let answers = std::iter::from_fn(|| read(&mut stream).ok()).count();
    assert_eq!(answers, whole);
    drop(stream);
    assert!(asked.join().expect("sent") >= whole);
}
