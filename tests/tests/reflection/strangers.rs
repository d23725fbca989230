//! Packets of senders that have proved nothing, of each kind that could be answered.

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::Duration;

use cluster_tests::process::Guard;
use cluster_tests::stun::{Builder, attribute, kind};
use cluster_tests::{rogue, tools};

/// One kind of packet.
pub(crate) struct Stranger {
    pub(crate) name: &'static str,
    pub(crate) packet: Vec<u8>,
}

/// All kinds.
pub(crate) fn strangers() -> Vec<Stranger> {
    let id = *b"a-stranger-1";
    let binding = || Builder::new(kind::BINDING, id);
    let allocate = || rogue::allocate(Builder::new(kind::ALLOCATE, id), [0, 0, 0, 0].into());
    let signed = |nonce: &[u8]| {
        allocate()
            .attribute(attribute::USERNAME, b"4000000000:ann")
            .attribute(attribute::REALM, b"turn.example.org")
            .attribute(attribute::NONCE, nonce)
            .signed(&[7; 16])
    };
    let unknown = (0..16).fold(binding(), |b, n| b.attribute(0x7f00 + n, &[]));
    let mut all = vec![
        (
            "Allocate, bare",
            Builder::new(kind::ALLOCATE, id).unsigned(),
        ),
        ("Allocate", allocate().unsigned()),
        ("Refresh, bare", Builder::new(kind::REFRESH, id).unsigned()),
        ("Binding", binding().unsigned()),
        (
            "Binding with FINGERPRINT",
            binding().fingerprint().unsigned(),
        ),
        ("garbage MESSAGE-INTEGRITY", signed(b"")),
        (
            "nonce that is not its own",
            signed(b"obMatJos2AAAAaUpGzQAAAAAAAAAAAAAAAA"),
        ),
        ("unknown attributes", unknown.unsigned()),
    ];
    if let Some(hello) = client_hello() {
        all.push(("DTLS ClientHello", hello));
    }
    let stranger = |(name, packet)| Stranger { name, packet };
    all.into_iter().map(stranger).collect()
}

/// The first datagram of OpenSSL's client, without a cookie.
fn client_hello() -> Option<Vec<u8>> {
    if !tools::present("a DTLS ClientHello", &["openssl"]) {
        return None;
    }
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let address = socket.local_addr().expect("it is bound").to_string();
    let child = Command::new("openssl")
        .args(["s_client", "-dtls1_2", "-connect", &address])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _client = Guard::new(child.expect("openssl runs"));
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).expect("a ClientHello");
    Some(buffer[..length].to_vec())
}
