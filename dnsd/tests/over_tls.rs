//! DNS over TLS: the same answers as in clear, for clients that others wrote; what a crowd can hold
//! is bounded; a renewed certificate is shown under traffic.

mod common;

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::tls::{Client, Encrypted, NAME, QUERY, renew, with_options};
use common::{has, wait_for};
use dnsd::limits::{
    TCP_CONNECTIONS, TCP_DESCRIPTORS, TCP_PER_NETWORK, TLS_HANDSHAKE, TLS_HANDSHAKES,
};
use hickory_proto::op::Message;
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

fn connect_from(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    let source = SocketAddr::from((source, 0));
    socket.bind(&source.into()).expect("bind");
    socket.connect(&to.into()).expect("connect");
    socket.into()
}

fn client(dns: &Encrypted) -> Client {
    let stream = TcpStream::connect(dns.address()).expect("connect");
    Client::over(stream, &dns.certificate).expect("a handshake")
}

/// The records that a tool of Knot DNS prints.
fn records(said: &str) -> HashSet<String> {
    let records = said
        .lines()
        .filter(|line| !line.starts_with(';') && !line.is_empty());
    records.map(str::to_owned).collect()
}

#[test]
fn kdig_and_openssl_are_served_and_see_the_certificate() {
    if !has("over_tls", "kdig") || !has("over_tls", "openssl") {
        return;
    }
    let dns = Encrypted::start(150);
    let question = ["turn.example", "NS", "+norec"];
    let trusted = format!("+tls-ca={}", dns.server.path("cert.pem").display());
    let name = format!("+tls-hostname={NAME}");
    let said = dns.kdig(&[&["+tls", &trusted, &name], &question[..]].concat());
    assert!(
        said.contains("status: NOERROR") && said.contains("Flags: qr aa"),
        "{said}"
    );
    assert!(said.contains("TLS session"), "{said}");
    let in_clear = dns.server.kdig(&question);
    assert_eq!(records(&said), records(&in_clear));
    assert!(!records(&said).is_empty());
    dns.wait_counted("connections_total", "transport=\"tls\"", 1);
    let answered = "type=\"NS\",rcode=\"NOERROR\",transport=\"tls\"";
    dns.wait_counted("queries_total", answered, 1);

    let authority = dns.server.path("cert.pem");
    let mut openssl = Command::new("openssl");
    openssl
        .args(["s_client", "-verify_return_error", "-alpn", "dot"])
        .args([
            "-verify_hostname",
            NAME,
            "-connect",
            &dns.address().to_string(),
        ])
        .arg("-CAfile")
        .arg(authority)
        .stdin(Stdio::null());
    let output = openssl.output().expect("openssl runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("ALPN protocol: dot"), "{said}");
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    // A client of something else is told so.
    openssl.args(["-alpn", "h2"]);
    let output = openssl.output().expect("openssl runs");
    assert!(!output.status.success());
}

#[test]
fn answers_are_padded_for_those_who_pad_and_only_over_tls() {
    let dns = Encrypted::start(151);
    let mut over_tls = client(&dns);
    let padded = with_options(&[(12, &[0; 17]), (11, &[])]);
    let answer = over_tls.ask(&padded).expect("an answer");
    assert_eq!(answer.len(), 468, "the block of RFC 8467");
    // edns-tcp-keepalive: ten seconds in units of 100 ms.
    let keepalive = [0, 11, 0, 2, 0, 100];
    assert!(answer.windows(6).any(|at| at == keepalive), "{answer:02x?}");
    let bare = over_tls.ask(QUERY).expect("an answer");
    assert!(bare.len() < 468 && !bare.windows(6).any(|at| at == keepalive));
    let [padded_one, bare] = [&answer, &bare].map(|one| Message::from_vec(one).expect("a message"));
    assert_eq!(padded_one.answers, bare.answers);
    let mut in_clear = TcpStream::connect((dns.server.ip, dns.server.dns)).expect("connect");
    in_clear
        .write_all(&common::tls::framed(&padded))
        .expect("sent");
    let mut length = [0; 2];
    std::io::Read::read_exact(&mut in_clear, &mut length).expect("an answer");
    assert!(u16::from_be_bytes(length) < 468);
}

#[test]
fn pipelined_queries_are_all_answered() {
    let dns = Encrypted::start(152);
    let mut client = client(&dns);
    let mut sent = Vec::new();
    for id in 0..300_u16 {
        let message = [&id.to_be_bytes(), &QUERY[2..]].concat();
        sent.extend_from_slice(&common::tls::framed(&message));
    }
    for piece in sent.chunks(1001) {
        client.0.write_all(piece).expect("sent");
    }
    let ids = (0..300).map(|_| client.read().expect("an answer")[..2].to_vec());
    assert_eq!(ids.collect::<HashSet<_>>().len(), 300);
}

/// What a layer of TLS has taken has not left: however much the kernel's buffers hold of it, the rest
/// follows when there is room.
#[test]
fn whoever_reads_late_is_sent_the_last_answer_too() {
    let dns = Encrypted::start(157);
    let padded = with_options(&[(12, &[0; 17])]);
    let mut asked = 0;
    for kilobytes in (16..=384).step_by(16) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        socket.connect(&dns.address().into()).expect("connect");
        let mut client = Client::over(socket.into(), &dns.certificate).expect("a handshake");
        // Answers of 468 bytes and their lengths.
        let count = kilobytes * 1024 / 470;
        client
            .0
            .write_all(&common::tls::framed(&padded).repeat(count))
            .expect("sent");
        asked += i64::try_from(count).expect("few");
        let labels = "type=\"A\",rcode=\"NOERROR\",transport=\"tls\"";
        dns.wait_counted("queries_total", labels, asked);
        // Far less than until an idle connection is closed, and with it flushed.
        let limit = Some(Duration::from_secs(3));
        client.0.sock.set_read_timeout(limit).expect("set");
        for answer in 0..count {
            let read = client.read();
            read.unwrap_or_else(|error| panic!("{answer} of {count}: {error}"));
        }
    }
}

#[test]
fn handshakes_that_are_never_finished_keep_nobody_out() {
    let dns = Encrypted::start(153);
    let descriptors = || {
        let open = fs::read_dir(format!("/proc/{}/fd", dns.server.pid()));
        open.expect("descriptors").count()
    };
    let before = descriptors();
    let begun = Instant::now();
    let crowd: Vec<_> = (0..640_u16)
        .map(|i| {
            let source = Ipv4Addr::new(127, 3, (i / 32) as u8, 1);
            let mut stream = connect_from(source, dns.address());
            // Half of them begin: a record of 512 bytes, of which no more comes.
            if i % 2 == 0 {
                let _ = stream.write_all(&[22, 3, 1, 2, 0, 1]);
            }
            stream
        })
        .collect();
    let most = before + TCP_CONNECTIONS * TCP_DESCRIPTORS + 40;
    assert!(descriptors() <= most, "{before} → {}", descriptors());
    wait_for("an honest client's turn", TLS_HANDSHAKE, || {
        let stream = connect_from(Ipv4Addr::new(127, 4, 0, 1), dns.address());
        let mut client = Client::over(stream, &dns.certificate).ok()?;
        client.ask(QUERY).ok().map(drop)
    });
    wait_for("the end of all others", TLS_HANDSHAKE * 2, || {
        (dns.counted("connections_open", "transport=\"tls\"") <= 1).then_some(())
    });
    assert!(begun.elapsed() >= TLS_HANDSHAKE / 2);
    let dropped = |reason| {
        dns.counted(
            "drops_total",
            &format!("reason=\"{reason}\",transport=\"tls\""),
        )
    };
    assert!(dropped("connections") >= 128);
    assert!(dropped("handshake") >= 500 && dropped("evicted") >= 1);
    drop(crowd);
}

#[test]
fn clients_that_say_nothing_take_nobodys_turn_to_shake_hands() {
    let dns = Encrypted::start(156);
    let silent: Vec<_> = (0..TLS_HANDSHAKES)
        .map(|i| {
            let network = 10 + u8::try_from(i / TCP_PER_NETWORK).expect("few");
            connect_from(Ipv4Addr::new(127, network, 0, 1), dns.address())
        })
        .collect();
    let open = i64::try_from(silent.len()).expect("few");
    dns.wait_counted("connections_open", "transport=\"tls\"", open);
    let begun = Instant::now();
    assert!(client(&dns).ask(QUERY).is_ok());
    assert!(begun.elapsed() < TLS_HANDSHAKE / 2, "{:?}", begun.elapsed());
}

#[test]
fn whoever_was_idle_for_longest_makes_room_for_its_network() {
    let dns = Encrypted::start(154);
    let mut own: Vec<_> = (0..TCP_PER_NETWORK).map(|_| client(&dns)).collect();
    let mut ask_all = || {
        own.iter_mut()
            .map(|one| one.ask(QUERY).is_ok())
            .collect::<Vec<_>>()
    };
    assert!(ask_all().iter().all(|answered| *answered));
    let mut late = wait_for("a place", Duration::from_secs(6), || {
        let stream = TcpStream::connect(dns.address()).expect("connect");
        Client::over(stream, &dns.certificate).ok()
    });
    assert!(late.ask(QUERY).is_ok());
    let answered = ask_all();
    assert_eq!(
        (answered[0], answered.iter().filter(|one| **one).count()),
        (false, 31)
    );
}

#[test]
fn a_renewed_certificate_is_shown_under_traffic_and_a_wrong_one_is_not() {
    let dns = Encrypted::start(155);
    let mut standing = client(&dns);
    let shown = || {
        let stream = TcpStream::connect(dns.address()).expect("connect");
        Client::over(stream, &dns.certificate).is_ok()
    };
    let stop = AtomicBool::new(false);
    let (answered, failed) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while !stop.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_mins(1) {
                let outcome = standing.ask(QUERY).map_or(&failed, |_| &answered);
                outcome.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(shown());
        // A key that does not fit: nothing changes, and the files are named.
        let (kept, right) = (dns.server.path("key.pem"), dns.server.path("right.pem"));
        fs::copy(&kept, &right).expect("copied");
        let certificate = fs::read(dns.server.path("cert.pem")).expect("read");
        renew(&dns.server);
        fs::write(dns.server.path("cert.pem"), &certificate).expect("written");
        let output = dns.server.cli(&["reload"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("key.pem is not the key"),
            "{said}"
        );
        assert!(shown());
        let renewed = renew(&dns.server);
        dns.server.signal(Signal::SIGHUP);
        wait_for("the renewed certificate", Duration::from_secs(5), || {
            let stream = TcpStream::connect(dns.address()).expect("connect");
            let mut client = Client::over(stream, &renewed).ok()?;
            client.ask(QUERY).ok().map(drop)
        });
        assert!(!shown());
        let so_far = answered.load(Ordering::Relaxed);
        wait_for("more answers", Duration::from_secs(5), || {
            (answered.load(Ordering::Relaxed) > so_far + 10).then_some(())
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(failed.into_inner(), 0);
    let expires = dns
        .server
        .metric("turnfleet_dnsd_certificate_expiry_seconds");
    assert!(expires.is_some_and(|expires| expires > 1e9));
}
