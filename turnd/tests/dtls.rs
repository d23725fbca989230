//! DTLS clients of the real relay: openssl's and coturn's, strangers by the thousand, cookies that
//! are not theirs.
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for the world in real time"
)]

mod support;

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::certificates::{Pair, ecdsa, write_secret};
use support::turn_client::TurnClient;
use support::wire::Wire;
use support::{
    DEADLINE, PEER, Relay, SECRET, Setup, TURN, Tool, client, echo_peer, has_tool, lost, wait_for,
};

/// A relay that serves DTLS, and what it serves with.
fn start(mut setup: Setup) -> (Relay, Pair) {
    let pair = ecdsa();
    setup.sections += "[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n";
    setup.files = vec![
        ("chain.pem".to_owned(), pair.chain.clone()),
        ("key.pem".to_owned(), pair.key.clone()),
    ];
    (setup.start(), pair)
}

fn relaying_tools(test: &str) -> bool {
    has_tool(test, "turnutils_uclient") && has_tool(test, "turnutils_peer")
}

/// openssl's client: what is written to it is sent as one record, what it writes has come in one.
struct Openssl {
    child: RefCell<Child>,
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        // Without more to send it sends a close_notify and ends.
        drop(child.stdin.take());
        let start = Instant::now();
        while child.try_wait().expect("wait").is_none() && start.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Openssl {
    /// Shakes hands, insisting on the relay's certificate and name.
    fn connect(relay: &Relay, pair: &Pair) -> Self {
        let end = "-----END CERTIFICATE-----\n";
        let issuer = pair.chain.split_inclusive(end).nth(1);
        let trusted = relay.directory().join("issuer.pem");
        std::fs::write(&trusted, issuer.expect("two certificates")).expect("written");
        let child = Command::new("openssl")
            .args(["s_client", "-quiet", "-no_ign_eof", "-dtls1_2", "-connect"])
            .arg(relay.turn().to_string())
            .args(["-verify_return_error", "-verify_hostname", "turn.example"])
            .arg("-CAfile")
            .arg(&trusted)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl starts");
        Self {
            child: RefCell::new(child),
        }
    }
}

impl Wire for Openssl {
    fn send(&self, message: &[u8]) {
        let mut child = self.child.borrow_mut();
        let stdin = child.stdin.as_mut().expect("it is piped");
        stdin.write_all(message).expect("written");
    }

    fn receive(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let mut child = self.child.borrow_mut();
        let stdout = child.stdout.as_mut().expect("it is piped");
        let len = stdout.read(&mut bytes).expect("it writes");
        assert!(len > 0, "the handshake failed");
        bytes.truncate(len);
        bytes
    }
}

#[test]
fn an_openssl_client_relays_and_takes_its_session_with_it_when_it_closes() {
    let test = "an_openssl_client_relays_and_takes_its_session_with_it_when_it_closes";
    if !has_tool(test, "openssl") {
        return;
    }
    let (relay, pair) = start(Setup::default());
    let openssl = Box::new(Openssl::connect(&relay, &pair));
    let (username, password) = relay.credential();
    let mut client = TurnClient::over(openssl, &username, &password);
    let peer = UdpSocket::bind((relay.ip, 0)).expect("a socket");
    let Ok(SocketAddr::V4(address)) = peer.local_addr() else {
        panic!("it is an IPv4 address")
    };
    client.permit(address);
    client.send(address, b"there");
    let mut bytes = [0; 64];
    let (len, from) = peer.recv_from(&mut bytes).expect("a datagram");
    assert_eq!(
        (&bytes[..len], from),
        (&b"there"[..], client.relayed.into())
    );
    peer.send_to(b"and back", from).expect("sent");
    assert_eq!(client.receive(), (address, b"and back".to_vec()));
    wait_for("all of it is counted", || {
        (relay.metric("dtls_established_total") == Some(1)).then_some(())
    });
    assert_eq!(relay.metric("dtls_handshakes"), Some(0));
    assert_eq!(relay.metric("dtls_sessions"), Some(1));
    assert_eq!(relay.metric("sessions"), Some(1));
    drop(client);
    wait_for("the session is over", || {
        (relay.metric("dtls_sessions") == Some(0)).then_some(())
    });
    wait_for("and its allocation", || {
        (relay.metric("sessions") == Some(0)).then_some(())
    });
    assert_eq!(relay.metric("dtls_ended_total{reason=\"client\"}"), Some(1));
    assert_eq!(relay.metric("allocations_disconnected_total"), Some(1));
}

#[test]
fn a_renewed_certificate_is_for_new_sessions_and_running_ones_go_on() {
    let test = "a_renewed_certificate_is_for_new_sessions_and_running_ones_go_on";
    if !has_tool(test, "openssl") {
        return;
    }
    let setup = Setup::default();
    let (relay, first) = start(setup);
    let (username, password) = relay.credential();
    let openssl = Box::new(Openssl::connect(&relay, &first));
    let mut running = TurnClient::over(openssl, &username, &password);
    let second = ecdsa();
    write_secret(&relay.directory().join("chain.pem"), &second.chain);
    write_secret(&relay.directory().join("key.pem"), &second.key);
    relay.signal(nix::sys::signal::Signal::SIGHUP);
    wait_for("it is taken", || {
        (relay.metric("config_reloads_total") == Some(1)).then_some(())
    });
    // It trusts the second issuer only.
    let openssl = Box::new(Openssl::connect(&relay, &second));
    TurnClient::over(openssl, &username, &password).release();
    let peer = UdpSocket::bind((relay.ip, 0)).expect("a socket");
    let Ok(SocketAddr::V4(address)) = peer.local_addr() else {
        panic!("it is an IPv4 address")
    };
    running.permit(address);
    running.send(address, b"on");
    assert_eq!(peer.recv(&mut [0; 64]).expect("a datagram"), 2);
}

#[test]
fn coturns_client_relays_without_loss_beside_plain_ones() {
    if !relaying_tools("coturns_client_relays_without_loss_beside_plain_ones") {
        return;
    }
    let (relay, _) = start(Setup::default());
    let _peer = echo_peer(SocketAddr::from((relay.ip, PEER)));
    let (ip, peer, port) = (relay.ip.to_string(), PEER.to_string(), TURN.to_string());
    // Channels, Send indications, and plain UDP on the same port at the same time.
    let kinds: [&[&str]; 3] = [&["-S"], &["-S", "-s"], &[]];
    let running: Vec<_> = kinds
        .iter()
        .map(|kind| {
            let mut arguments = vec!["-e", &ip, "-r", &peer, "-n", "200", "-m", "4", "-W", SECRET];
            arguments.extend(*kind);
            Tool::start("turnutils_uclient", &client(&arguments, &port, &ip))
        })
        .collect();
    for (tool, kind) in running.into_iter().zip(kinds) {
        let (sent, missing) = lost(&tool.finish());
        println!("{kind:?}: {sent} sent, {missing} lost");
        assert_eq!((sent, missing), (800, 0), "{kind:?}");
    }
}

#[test]
fn coturns_client_relays_over_ipv6() {
    if !relaying_tools("coturns_client_relays_over_ipv6") {
        return;
    }
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("SKIP coturns_client_relays_over_ipv6: no IPv6 here");
        return;
    }
    // All tests share the address: ports below the relayed and the ephemeral ones.
    let port = 31_000 + std::process::id() as u16 % 500;
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port + 500));
    let (_relay, _) = start(Setup {
        relay: format!("listen = [\"[::1]:{port}\"]\nrelay_addresses = [\"::1\"]"),
        ..Setup::default()
    });
    let _peer = echo_peer(address);
    let (port, peer) = (port.to_string(), address.port().to_string());
    let arguments = [
        "-S", "-x", "-e", "::1", "-r", &peer, "-n", "200", "-m", "2", "-W", SECRET,
    ];
    let said = Tool::start("turnutils_uclient", &client(&arguments, &port, "::1")).finish();
    let (sent, missing) = lost(&said);
    println!("IPv6: {sent} sent, {missing} lost");
    assert_eq!((sent, missing), (400, 0));
}

/// The shortest `ClientHello` of DTLS 1.2 (RFC 6347, section 4.3.2), with a cookie.
fn hello(random: u32, cookie: &[u8]) -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend([0x5a; 28]);
    body.extend(random.to_be_bytes());
    body.push(0);
    body.push(cookie.len() as u8);
    body.extend(cookie);
    body.extend([0, 2, 0xc0, 0x2b, 1, 0]);
    let sequence = u8::from(!cookie.is_empty());
    let length = (body.len() as u32).to_be_bytes();
    let mut bytes = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, sequence];
    bytes.extend(((body.len() + 12) as u16).to_be_bytes());
    bytes.push(1);
    bytes.extend(&length[1..]);
    bytes.extend([0, sequence, 0, 0, 0]);
    bytes.extend(&length[1..]);
    bytes.extend(body);
    bytes
}

/// Asks for a cookie from `ip`: the socket, and the whole answer.
fn cookie(relay: &Relay, ip: Ipv4Addr, random: u32) -> (UdpSocket, Vec<u8>) {
    let socket = UdpSocket::bind((ip, 0)).expect("a loopback address");
    socket.connect(relay.turn()).expect("connected");
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    let mut answer = [0; 2048];
    let len = wait_for("a cookie", || {
        socket.send(&hello(random, &[])).ok()?;
        socket.recv(&mut answer).ok()
    });
    (socket, answer[..len].to_vec())
}

/// The cookie in a `HelloVerifyRequest`.
fn cookie_of(answer: &[u8]) -> &[u8] {
    assert_eq!((answer[0], answer[13]), (22, 3), "a HelloVerifyRequest");
    let (length, rest) = answer[27..].split_first().expect("a cookie");
    assert_eq!(rest.len(), usize::from(*length));
    rest
}

#[test]
fn strangers_get_a_cookie_and_leave_no_trace() {
    let mut setup = Setup::default();
    setup.relay += "\nworkers = 1";
    let (relay, _) = start(setup);
    let flood = |sources: std::ops::Range<u32>| {
        for source in sources {
            // 127.128.0.0/9: each its own address.
            let ip = Ipv4Addr::from_bits(0x7f80_0001 + source);
            let (_, answer) = cookie(&relay, ip, source);
            assert!(
                answer.len() <= hello(source, &[]).len(),
                "{} bytes",
                answer.len()
            );
        }
    };
    flood(0..2000);
    let before = relay.resident();
    flood(2000..12_000);
    let grown = relay.resident().saturating_sub(before);
    let (asked, answered) = (hello(0, &[]).len(), cookie(&relay, relay.ip, 0).1.len());
    println!("10000 hellos: memory grew by {grown} bytes; {answered} bytes answer {asked}");
    assert!(grown < 1 << 20, "grew by {grown} bytes");
    wait_for("all are counted", || {
        (relay.metric("dtls_hellos_total") >= Some(12_001)).then_some(())
    });
    assert_eq!(relay.metric("dtls_sessions"), Some(0));
    assert_eq!(relay.metric("dtls_begun_total"), Some(0));
}

#[test]
fn a_cookie_that_is_not_this_clients_opens_nothing() {
    let (relay, _) = start(Setup::default());
    let (mine, answer) = cookie(&relay, Ipv4Addr::new(127, 200, 0, 1), 7);
    let good = cookie_of(&answer).to_vec();
    let (other, _) = cookie(&relay, Ipv4Addr::new(127, 200, 0, 2), 7);
    let mut flipped = good.clone();
    flipped[0] ^= 1;
    let refused = || {
        relay
            .metric("dtls_cookies_refused_total")
            .unwrap_or_default()
    };
    let attempts: [(&UdpSocket, u32, &[u8]); 5] = [
        (&mine, 7, &flipped),
        (&mine, 7, &good[..31]),
        (&mine, 7, &[0; 32]),
        // Of this client, but for another hello; and of another client.
        (&mine, 8, &good),
        (&other, 7, &good),
    ];
    for (count, (socket, random, cookie)) in attempts.into_iter().enumerate() {
        socket.send(&hello(random, cookie)).expect("sent");
        // It is told a right one, and nothing more.
        let mut answer = [0; 2048];
        let len = socket.recv(&mut answer).expect("an answer");
        assert_ne!(cookie_of(&answer[..len]), cookie);
        wait_for("it is counted", || {
            (refused() == count as u64 + 1).then_some(())
        });
    }
    assert_eq!(relay.metric("dtls_begun_total"), Some(0));
    assert_eq!(relay.metric("dtls_sessions"), Some(0));
    mine.send(&hello(7, &good)).expect("sent");
    wait_for("the right one opens", || {
        (relay.metric("dtls_begun_total") == Some(1)).then_some(())
    });
}

#[test]
fn without_an_ecdsa_key_dtls_is_off_and_said_to_be() {
    let day = 86_400;
    let pair = support::certificates::pair(&rcgen::PKCS_RSA_SHA256, -day, 30 * day);
    let setup = Setup {
        sections: "[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n".to_owned(),
        files: vec![
            ("chain.pem".to_owned(), pair.chain),
            ("key.pem".to_owned(), pair.key),
        ],
        ..Setup::default()
    };
    let relay = setup.start();
    assert!(
        relay.log().contains("DTLS is not served"),
        "{}",
        relay.log()
    );
    let socket = UdpSocket::bind((relay.ip, 0)).expect("a socket");
    socket.send_to(&hello(1, &[]), relay.turn()).expect("sent");
    wait_for("it is counted", || {
        (relay.metric("dtls_strange_total") == Some(1)).then_some(())
    });
    let (username, password) = relay.credential();
    TurnClient::allocate(relay.turn(), &username, &password).release();
}

#[test]
fn a_session_costs_so_much_memory() {
    if !relaying_tools("a_session_costs_so_much_memory") {
        return;
    }
    let mut setup = Setup::default();
    setup.relay += "\nworkers = 1";
    setup.sections = "[limits]\nsessions_per_user = 1000\n".to_owned();
    let (relay, _) = start(setup);
    let _peer = echo_peer(SocketAddr::from((relay.ip, PEER)));
    let (ip, peer, port) = (relay.ip.to_string(), PEER.to_string(), TURN.to_string());
    let run = || {
        let arguments = [
            "-S", "-e", &ip, "-r", &peer, "-n", "20", "-m", "30", "-W", SECRET,
        ];
        Tool::start("turnutils_uclient", &client(&arguments, &port, &ip))
    };
    // What the first clients need, and the core's tables.
    assert_eq!(lost(&run().finish()), (600, 0));
    let (before, first) = (relay.resident(), relay.metric("dtls_sessions"));
    assert_eq!(lost(&run().finish()), (600, 0));
    // Of thirty; now and then one has the port of an earlier one, and replaces it.
    let more = wait_for("the later ones are counted", || {
        let more = relay.metric("dtls_sessions")?.checked_sub(first?)?;
        (more >= 25).then_some(more)
    });
    let each = relay.resident().saturating_sub(before) / more;
    println!("{each} bytes for each of {more} sessions");
    assert!(each < 64 << 10, "{each} bytes");
}
