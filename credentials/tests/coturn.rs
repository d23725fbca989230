//! Interoperation with coturn: its server takes our credentials, and we take its client's.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod tools;

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use credentials::{
    Secret, SecretRing, UnixTime, candidate_passwords, check_expiry, issue, parse_username,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use tools::Running;

const SECRET: &str = "the shared secret";
const REALM: &str = "turn.example";
/// A Binding request without attributes (RFC 8489, 5).
const BINDING: [u8; 20] = *b"\x00\x01\x00\x00\x21\x12\xa4\x42turnfleet012";
const MESSAGE_INTEGRITY: u16 = 0x0008;
const USERNAME: u16 = 0x0006;

fn ring() -> SecretRing {
    let secret = |text: &str| Secret::new(text.as_bytes().to_vec()).expect("long enough");
    SecretRing::new(secret("a newer shared secret"), vec![secret(SECRET)]).expect("a short ring")
}

fn now() -> UnixTime {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    UnixTime(now.as_secs())
}

/// A UDP port that was free a moment ago.
fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("its address").port()
}

/// Waits until something at `port` answers `probe`.
fn wait_for_answer(port: u16, probe: &[u8]) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        socket
            .send_to(probe, ("127.0.0.1", port))
            .expect("loopback takes it");
        if socket.recv_from(&mut [0; 1500]).is_ok() {
            return;
        }
        assert!(Instant::now() < deadline, "nothing answers at port {port}");
    }
}

/// A turnserver and its port, ready.
fn start_turnserver(directory: &std::path::Path) -> (Running, u16) {
    let port = free_port();
    let log = File::create(directory.join("turnserver.log")).expect("a log");
    let path = |name: &str| directory.join(name).display().to_string();
    let child = Command::new("turnserver")
        .args([
            "-n",
            "--use-auth-secret",
            "--no-tls",
            "--no-dtls",
            "--no-tcp",
            "--no-tcp-relay",
        ])
        .args([
            "--allow-loopback-peers",
            "--cli-password=unused",
            "--no-cli",
            "--simple-log",
        ])
        .args(["-L", "127.0.0.1", "-E", "127.0.0.1", "--log-file=stdout"])
        .arg(format!("--static-auth-secret={SECRET}"))
        .arg(format!("--realm={REALM}"))
        .arg(format!("--listening-port={port}"))
        .arg(format!("--pidfile={}", path("turnserver.pid")))
        .arg(format!("--userdb={}", path("turndb")))
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("turnserver starts");
    let running = Running(child);
    wait_for_answer(port, &BINDING);
    (running, port)
}

/// A peer that sends back what it gets, and its port, ready.
fn start_peer() -> (Running, u16) {
    let port = free_port();
    let child = Command::new("turnutils_peer")
        .args(["-L", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("turnutils_peer starts");
    let running = Running(child);
    wait_for_answer(port, b"hello");
    (running, port)
}

/// Sends messages to the peer through the relay; the client's exit and what it printed.
fn relay_messages(turn: u16, peer: u16, username: &str, password: &str) -> (bool, String) {
    let output = Command::new("turnutils_uclient")
        .args([
            "-u",
            username,
            "-w",
            password,
            "-e",
            "127.0.0.1",
            "-r",
            &peer.to_string(),
        ])
        .args([
            "-p",
            &turn.to_string(),
            "-n",
            "5",
            "-m",
            "1",
            "-c",
            "127.0.0.1",
        ])
        .output()
        .expect("turnutils_uclient runs");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn turnserver_takes_our_credentials_and_no_others() {
    let tools = ["turnserver", "turnutils_peer", "turnutils_uclient"];
    if !tools::installed("turnserver_takes_our_credentials_and_no_others", &tools) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (_turnserver, turn) = start_turnserver(directory.path());
    let (_peer, peer) = start_peer();
    let secret = Secret::new(SECRET.as_bytes().to_vec()).expect("long enough");
    let ring = SecretRing::new(secret, Vec::new()).expect("a short ring");

    for user in [Some("alice"), Some("@bob:matrix.example"), None] {
        let issued = issue(&ring, user, 600, now()).expect("a right user id");
        let (ended_well, text) = relay_messages(turn, peer, &issued.username, &issued.password);
        assert!(ended_well, "{user:?}: {text}");
        assert!(text.contains("Total lost packets 0 "), "{user:?}: {text}");
        assert!(text.contains("tot_recv_msgs=5"), "{user:?}: {text}");
    }

    let issued = issue(&ring, Some("alice"), 600, now()).expect("a right user id");
    let (first, rest) = issued.password.split_at(1);
    let tampered = format!("{}{rest}", if first == "A" { "B" } else { "A" });
    let later = issued.username.replacen(':', "0:", 1);
    let expired = issue(&ring, Some("alice"), 5, now().saturating_sub(60)).expect("a user id");
    for (username, password) in [
        (&issued.username, tampered.as_str()),
        (&later, &issued.password),
        (&expired.username, &expired.password),
    ] {
        let (ended_well, text) = relay_messages(turn, peer, username, password);
        assert!(!ended_well, "{username}: {text}");
        assert!(
            text.contains("Cannot complete Allocation"),
            "{username}: {text}"
        );
    }
}

/// One attribute: its type and value, and where it begins in the message.
type Attribute<'a> = (u16, &'a [u8], usize);

/// Attributes of a STUN message (RFC 8489, 14).
fn attributes(message: &[u8]) -> Vec<Attribute<'_>> {
    let (mut at, mut found) = (20, Vec::new());
    while let Some(&[kind_high, kind_low, length_high, length_low]) = message.get(at..at + 4) {
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let value = &message[at + 4..at + 4 + length];
        found.push((u16::from_be_bytes([kind_high, kind_low]), value, at));
        at += 4 + length.next_multiple_of(4);
    }
    found
}

/// A 401 to an Allocate request (RFC 8489, 9.2.4).
fn challenge(request: &[u8]) -> Vec<u8> {
    let mut attributes = Vec::new();
    for (kind, value) in [
        (0x0009_u16, &b"\0\0\x04\x01"[..]), // ERROR-CODE 401
        (0x0014, REALM.as_bytes()),
        (0x0015, b"a nonce of ours"),
    ] {
        attributes.extend(kind.to_be_bytes());
        attributes.extend((value.len() as u16).to_be_bytes());
        attributes.extend(value);
        attributes.resize(attributes.len().next_multiple_of(4), 0);
    }
    let length = (attributes.len() as u16).to_be_bytes();
    [&[0x01, 0x13], &length[..], &request[4..20], &attributes].concat()
}

/// The first authenticated request that a client sends to us, after one challenge.
fn authenticated_request(socket: &UdpSocket) -> Vec<u8> {
    let deadline = Instant::now() + Duration::from_secs(20);
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a timeout");
    let mut buffer = [0; 1500];
    loop {
        assert!(Instant::now() < deadline, "no authenticated request came");
        let Ok((length, client)): Result<(usize, SocketAddr), _> = socket.recv_from(&mut buffer)
        else {
            continue;
        };
        let message = &buffer[..length];
        if attributes(message)
            .iter()
            .any(|(kind, ..)| *kind == MESSAGE_INTEGRITY)
        {
            return message.to_vec();
        }
        socket
            .send_to(&challenge(message), client)
            .expect("loopback takes it");
    }
}

/// MESSAGE-INTEGRITY with a long-term key (RFC 8489, 9.2.2 and 14.5).
fn integrity_holds(message: &[u8], username: &str, password: &str) -> bool {
    let key = Md5::digest(format!("{username}:{REALM}:{password}"));
    let all = attributes(message);
    let (_, code, at) = all
        .iter()
        .find(|(kind, ..)| *kind == MESSAGE_INTEGRITY)
        .expect("it is there");
    let mut covered = message[..*at].to_vec();
    covered[2..4].copy_from_slice(&((at + 24 - 20) as u16).to_be_bytes());
    let mac = Hmac::<sha1::Sha1>::new_from_slice(&key).expect("any key length");
    mac.chain_update(covered).verify_slice(code).is_ok()
}

#[test]
fn we_take_what_turnutils_mints() {
    if !tools::installed("we_take_what_turnutils_mints", &["turnutils_uclient"]) {
        return;
    }
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = socket.local_addr().expect("its address").port().to_string();
    let child = Command::new("turnutils_uclient")
        .args([
            "-W",
            SECRET,
            "-u",
            "alice",
            "-e",
            "127.0.0.1",
            "-p",
            &port,
            "-c",
            "127.0.0.1",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("turnutils_uclient starts");
    let _client = Running(child);

    let message = authenticated_request(&socket);
    let all = attributes(&message);
    let (_, minted, _) = all
        .iter()
        .find(|(kind, ..)| *kind == USERNAME)
        .expect("it is there");
    let minted = std::str::from_utf8(minted).expect("UTF-8");
    let username = parse_username(minted).expect("ts:user");
    assert_eq!(username.user_id(), Some("alice"));
    check_expiry(&username, now()).expect("minted for the future");
    let right: Vec<bool> = candidate_passwords(&ring(), minted)
        .map(|password| integrity_holds(&message, minted, &password))
        .collect();
    assert_eq!(right, [false, true], "right under the previous secret only");
}
