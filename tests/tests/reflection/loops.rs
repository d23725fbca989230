//! Two servers that answer each other would never stop: whatever starts them, they fall silent.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use cluster_tests::netns::lab::{Lab, PEER, RELAY};
use cluster_tests::netns::watch::Watch;
use cluster_tests::rogue::{Client, Transport};
use cluster_tests::stun::{Builder, Message, attribute, kind};
use cluster_tests::timing::until;
use cluster_tests::turnd::{SECRET, Setup, TURN, credential};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::strangers::strangers;

/// Without a packet for so long it is silent.
const SILENCE: Duration = Duration::from_secs(1);

/// What no server may answer: everything but requests.
fn unanswerable() -> Vec<Vec<u8>> {
    let id = *b"not-an-asker";
    let methods = [1_u16, 2, 3, 4, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0x80, 0xfff];
    let spread = |method: u16| (method & 0xf) | (method & 0x70) << 1 | (method & 0xf80) << 2;
    let mut all = Vec::new();
    for method in methods {
        for class in [0x0010, kind::SUCCESS, kind::ERROR] {
            let bare = || Builder::new(spread(method) | class, id);
            all.push(bare().unsigned());
            all.push(
                bare()
                    .attribute(attribute::ERROR_CODE, &[0, 0, 4, 1])
                    .unsigned(),
            );
            all.push(
                bare()
                    .attribute(attribute::ERROR_CODE, &[0, 0, 4, 20])
                    .attribute(0x7f00, &[])
                    .unsigned(),
            );
            all.push(bare().attribute(attribute::DATA, b"data").signed(&[7; 16]));
            all.push(bare().attribute(0x7f00, b"unknown").unsigned());
        }
    }
    // ChannelData, of a channel and cut short; neither of both; DTLS other than a ClientHello:
    // alert, change cipher spec, application data, HelloVerifyRequest, ServerHello.
    all.extend([
        vec![0x40, 0, 0, 4, 1, 2, 3, 4],
        vec![0x40, 0, 0xff, 0xff],
        vec![0x7f, 0xff, 0, 0],
    ]);
    all.extend([
        vec![],
        vec![0],
        vec![0x80; 100],
        vec![0xff; 1400],
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
    ]);
    for (content, body) in [(21, 2), (20, 1), (23, 64), (22, 12), (22, 80)] {
        let mut record = vec![content, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, body];
        record.resize(13 + usize::from(body), 3);
        all.push(record);
    }
    all
}

#[test]
fn what_is_no_request_is_never_answered() {
    let turnd = Setup::loopback("reflection_no_request").start();
    let login = credential(SECRET, "ann");
    for (with_allocation, answer) in [(false, kind::ERROR), (true, kind::SUCCESS)] {
        let client = Client::open(Transport::Udp, turnd.turn(), Some(turnd.ip), login.clone());
        let mut client = client.expect("a socket");
        assert_eq!(client.refresh(600), 437);
        if with_allocation {
            client.allocated(turnd.ip);
        }
        for packet in unanswerable() {
            client.wire.send(&packet).expect("sent");
            // Of somebody known, so that answers to it are not limited.
            let question = client.build(kind::REFRESH);
            let question = client.sign(question);
            client.wire.send(&question).expect("sent");
            // The very next thing is the answer to it.
            let got = client.receive(Duration::from_secs(5));
            let got = got.expect("an answer");
            let [got, question] = [&got, &question].map(|m| Message::parse(m).expect("STUN"));
            assert_eq!(got.kind(), kind::REFRESH + answer, "to {packet:02x?}");
            assert_eq!(
                got.transaction(),
                question.transaction(),
                "to {packet:02x?}"
            );
        }
    }
    println!(
        "measured reflection, no request: {} kinds, 0 answers",
        unanswerable().len()
    );
}

#[test]
fn two_relays_pointed_at_each_other_fall_silent() {
    let Some(lab) = Lab::new("reflection_loop") else {
        return;
    };
    let (a, b) = (Setup::new("loop-a", &RELAY), Setup::new("loop-b", &PEER));
    let a = lab.relay.run(|| a.launch());
    let b = lab.rest.run(|| b.start());
    lab.clients.run(|| a.wait_ready());
    // Where they arrive: what leaves may be several in one.
    let rules = format!(
        "counter in {{}}
         chain in {{ type filter hook input priority 0;
            udp sport {TURN} udp dport {TURN} counter name in\n }}"
    );
    let watches = [&lab.relay, &lab.rest].map(|namespace| Watch::new(namespace, &rules));
    let passed = || -> u64 { watches.iter().map(|w| w.count("in").packets).sum() };
    // Refused, and with it each host knows the other's link address.
    let refused = lab.rest.run(|| TcpStream::connect((RELAY[0], 9)));
    assert_eq!(
        refused.expect_err("it is closed").kind(),
        ErrorKind::ConnectionRefused
    );

    let mut starts: Vec<_> = strangers()
        .into_iter()
        .map(|stranger| stranger.packet)
        .collect();
    starts.extend(unanswerable());
    let at = |ip: IpAddr| SocketAddr::new(ip, TURN);
    // Each as if the one had sent it to the other, from either side.
    let [one, other] = [at(PEER[0]), at(RELAY[0])];
    for (namespace, from, to) in [(&lab.rest, one, other), (&lab.relay, other, one)] {
        namespace.run(|| {
            for packet in &starts {
                forge(from, to, packet);
            }
        });
    }
    let mut last = (passed(), Instant::now());
    until("they fall silent", Duration::from_secs(10), || {
        let now = passed();
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() >= SILENCE).then_some(())
    });
    let (started, passed) = (2 * starts.len() as u64, passed());
    let answers = passed - started;
    println!(
        "measured reflection, two relays: {started} forged packets, {answers} answers, then silence"
    );
    let askers = strangers().len() as u64;
    assert!(
        (askers..=2 * askers).contains(&answers),
        "{askers} of each can be answered"
    );
    for (namespace, turnd) in [(&lab.clients, &a), (&lab.rest, &b)] {
        assert_eq!(namespace.run(|| turnd.metric("sessions")), 0);
    }
}

/// Sends an IPv4 packet (RFC 791) with a UDP datagram (RFC 768) whose source is a lie.
fn forge(from: SocketAddr, to: SocketAddr, payload: &[u8]) {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (from.ip(), to.ip()) else {
        panic!("IPv4 only")
    };
    let udp = (8 + payload.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp).to_be_bytes());
    // No identification, no fragments, 64 hops, UDP; the kernel writes the checksum.
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(udp.to_be_bytes());
    // A checksum of 0 is none.
    packet.extend([0, 0]);
    packet.extend(payload);
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).expect("root");
    let to = SockAddr::from(SocketAddr::new(to.ip(), 0));
    socket.send_to(&packet, &to).expect("sent");
}
