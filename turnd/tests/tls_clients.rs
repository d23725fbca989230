//! TURN over TLS, on the port of TURN over TCP.
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for the world in real time"
)]

mod support;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::certificates::{Pair, ecdsa, write_secret};
use support::turn_client::TurnClient;
use support::wire::{Stream, Wire, answered, binding, ended};
use support::{PEER, Relay, SECRET, Setup, TURN, Tool};
use support::{client, echo_peer, has_tool, lost, wait_for};

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A relay that serves TLS with this certificate.
fn setup(pair: &Pair) -> Setup {
    let mut setup = Setup::default();
    let listen_tcp = format!("\nlisten_tcp = [\"{}:{TURN}\"]", setup.ip);
    setup.relay.push_str(&listen_tcp);
    let tls = "[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n";
    setup.sections.push_str(tls);
    setup.files = vec![
        ("chain.pem".to_owned(), pair.chain.clone()),
        ("key.pem".to_owned(), pair.key.clone()),
    ];
    setup
}

fn tcp(relay: &Relay) -> TcpStream {
    let stream = TcpStream::connect(relay.turn()).expect("connected");
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).expect("a timeout");
    stream
}

/// A client that believes the issuer of `pair` alone.
fn connect(relay: &Relay, pair: &Pair) -> Tls {
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
    StreamOwned::new(session, tcp(relay))
}

fn wire(stream: Tls) -> Box<dyn Wire> {
    Box::new(Stream(RefCell::new(stream)))
}

/// What openssl's client says when it is given these options and nothing to send.
fn openssl(relay: &Relay, options: &[&str]) -> String {
    let address = relay.turn().to_string();
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .expect("openssl starts");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn coturns_client_over_tls() {
    let test = "coturns_client_over_tls";
    if !has_tool(test, "turnutils_uclient") || !has_tool(test, "turnutils_peer") {
        return;
    }
    let relay = setup(&ecdsa()).start();
    let _peer = echo_peer(SocketAddr::from((relay.ip, PEER)));
    let (ip, peer, port) = (relay.ip.to_string(), PEER.to_string(), TURN.to_string());
    // With -S alone it would speak DTLS; without -S it speaks TCP, on the same port.
    for mode in [
        &["-t", "-S"][..],
        &["-t", "-S", "-s"],
        &["-t", "-S", "-l", "1003"],
        &["-t"],
    ] {
        let mut arguments = vec!["-e", &ip, "-r", &peer, "-n", "100", "-m", "4", "-W", SECRET];
        arguments.extend_from_slice(mode);
        let said = Tool::start("turnutils_uclient", &client(&arguments, &port, &ip)).finish();
        assert_eq!(lost(&said), (400, 0), "{mode:?}");
    }
    wait_for("no session is left", || {
        (relay.metric("sessions") == Some(0)).then_some(())
    });
}

#[test]
fn versions_protocols_and_resumption_as_openssl_sees_them() {
    if !has_tool(
        "versions_protocols_and_resumption_as_openssl_sees_them",
        "openssl",
    ) {
        return;
    }
    let relay = setup(&ecdsa()).start();
    let named = openssl(
        &relay,
        &["-alpn", "h2,stun.turn", "-servername", "turn.example"],
    );
    assert!(named.contains("ALPN protocol: stun.turn"), "{named}");
    let none = openssl(&relay, &[]);
    assert!(none.contains("No ALPN negotiated"), "{none}");
    assert!(none.contains("New, TLSv1.3"), "{none}");
    // RFC 7301 section 3.2: none that is known is a fatal alert.
    let foreign = openssl(&relay, &["-alpn", "h2,http/1.1"]);
    assert!(foreign.contains("no application protocol"), "{foreign}");
    let older = openssl(&relay, &["-tls1_2"]);
    assert!(older.contains("New, TLSv1.2"), "{older}");
    let oldest = openssl(&relay, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(oldest.contains("Cipher is (NONE)"), "{oldest}");
    let session = relay.directory().join("session.pem");
    let session = session.to_str().expect("UTF-8");
    openssl(&relay, &["-tls1_2", "-sess_out", session]);
    let again = openssl(&relay, &["-tls1_2", "-sess_in", session]);
    assert!(again.contains("Reused, TLSv1.2"), "{again}");
    wait_for("the failures are counted", || {
        let name = "connections_ended_total{reason=\"tls\"}";
        (relay.metric(name) == Some(2)).then_some(())
    });
}

#[test]
fn a_reload_shows_new_clients_the_new_certificate_and_disturbs_nobody() {
    let (old, new) = (ecdsa(), ecdsa());
    let setup = setup(&old);
    let relay = setup.start();
    let (username, password) = relay.credential();
    let mut session = TurnClient::over(wire(connect(&relay, &old)), &username, &password);
    let peer = UdpSocket::bind((relay.ip, 0)).expect("a peer");
    peer.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let SocketAddr::V4(address) = peer.local_addr().expect("an address") else {
        panic!("not IPv4")
    };
    session.bind(0x4001, address);
    std::fs::write(relay.directory().join("chain.pem"), &new.chain).expect("written");
    write_secret(&relay.directory().join("key.pem"), &new.key);
    relay.reload(&setup.text());
    wait_for("the file is taken", || {
        (relay.metric("config_reloads_total") == Some(1)).then_some(())
    });
    let newer = wire(connect(&relay, &new));
    newer.send(&binding(3));
    assert_eq!(answered(&*newer), 3);
    let mut stale = connect(&relay, &old);
    assert!(stale.write_all(&binding(3)).is_err(), "another issuer's");
    // Larger than a record may be in either direction.
    let data = vec![5; 40_000];
    session
        .wire
        .send(&[&[0x40, 1, 0x9c, 0x40][..], &data].concat());
    let mut buffer = vec![0; 65536];
    let (count, relayed) = peer.recv_from(&mut buffer).expect("relayed");
    assert_eq!(buffer[..count], data);
    peer.send_to(&data, relayed).expect("sent");
    assert_eq!(session.wire.receive()[4..], data);
    session.release();
}

#[test]
fn a_connection_ends_with_a_word_and_a_slow_handshake_in_time() {
    let pair = ecdsa();
    let relay = setup(&pair).start();
    let mut slow = tcp(&relay);
    slow.write_all(&[22, 3, 1, 2, 0, 1]).expect("sent");
    let mut stream = connect(&relay, &pair);
    stream.write_all(&[0xff; 4]).expect("sent");
    // Without a close_notify this would be an error.
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).expect("a clean end"), 0);
    assert!(ended(&mut slow));
    for reason in ["garbage", "handshake"] {
        let name = format!("connections_ended_total{{reason=\"{reason}\"}}");
        wait_for("it is counted", || {
            (relay.metric(&name) == Some(1)).then_some(())
        });
    }
    // A handshake without end: a ClientHello that says it is longer than any.
    let mut endless = tcp(&relay);
    let mut record = vec![22, 3, 1, 0x40, 0x00, 1, 0x00, 0xff, 0x00];
    record.resize(5 + 0x4000, 0);
    let sent = endless
        .write_all(&record)
        .and_then(|()| endless.write_all(&record));
    assert!(sent.is_ok() || sent.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
    assert!(ended(&mut endless));
}

#[test]
fn an_idle_client_costs_little() {
    const CLIENTS: u64 = 300;
    let pair = ecdsa();
    let mut setup = setup(&pair);
    setup.sections.push_str("[limits]\nconnections = 4000\n");
    let relay = setup.start();
    let before = relay.resident();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let client = wire(connect(&relay, &pair));
            client.send(&binding(number as u32));
            assert_eq!(answered(&*client), number as u32);
            client
        })
        .collect();
    wait_for("all are counted", || {
        let name = "connections{transport=\"tls\"}";
        (relay.metric(name) == Some(CLIENTS)).then_some(())
    });
    let each = relay.resident().saturating_sub(before) / CLIENTS;
    println!("{} idle TLS clients cost {each} bytes each", clients.len());
    assert!(each < 64 << 10, "{each} bytes");
}

#[test]
fn the_rest_endpoint_names_every_transport_that_is_served() {
    let uris = |setup: &Setup| {
        let relay = setup.start();
        let url = format!(
            "http://{}:{}/?service=turn&key={}",
            relay.ip,
            support::REST,
            support::API_KEY.replace(' ', "%20")
        );
        let mut answer = ureq::get(url).call().expect("an answer");
        let answer: serde_json::Value = answer.body_mut().read_json().expect("JSON");
        let uris = answer["uris"].as_array().expect("a list").clone();
        uris.iter()
            .map(|uri| uri.as_str().expect("text").to_owned())
            .collect::<Vec<_>>()
    };
    let mut setup = setup(&ecdsa());
    let listen = format!("listen_tcp = [\"{}:{TURN}\"", setup.ip);
    let with_more = format!("{listen}, \"{}:5349\"", setup.ip);
    setup.relay = setup.relay.replace(&listen, &with_more);
    let served = uris(&setup);
    let shape = |uri: &String| {
        let (scheme, rest) = uri.split_once(':').expect("a scheme");
        let (_, end) = rest.split_once(".turn.example:").expect("the zone");
        format!("{scheme} {end}")
    };
    assert_eq!(
        served.iter().map(shape).collect::<Vec<_>>(),
        [
            "turn 3478?transport=udp",
            "turn 3478?transport=udp",
            "turn 3478?transport=tcp",
            "turn 3478?transport=tcp",
            "turns 5349?transport=tcp",
            "turns 5349?transport=tcp",
        ]
    );
    // Each has a label of its own, which says by which transport the client comes.
    let host = |uri: &String| uri.split(':').nth(1).expect("a host").to_owned();
    let hosts: BTreeSet<_> = served.iter().map(host).collect();
    assert_eq!(hosts.len(), served.len());
    assert_eq!(uris(&Setup::default()).len(), 2);
}
