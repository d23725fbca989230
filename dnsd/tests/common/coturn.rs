//! coturn as the relay of a test.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Running, free_port, wait_for};

/// A coturn server on a loopback address that relays to loopback peers.
pub(crate) struct Coturn {
    pub(crate) address: SocketAddr,
    pub(crate) child: Running,
}

impl Coturn {
    /// Starts it with `secret` as the shared secret of its time-limited credentials.
    pub(crate) fn start(
        dir: &Path,
        ip: Ipv4Addr,
        port: Option<u16>,
        secret: &str,
        more: &[&str],
    ) -> Self {
        Self::start_with_tls(dir, ip, port, secret, &[&["--no-tls"], more].concat())
    }

    /// The same, with a certificate and its key among `more`.
    pub(crate) fn start_with_tls(
        dir: &Path,
        ip: Ipv4Addr,
        port: Option<u16>,
        secret: &str,
        more: &[&str],
    ) -> Self {
        let port = port.unwrap_or_else(|| free_port(ip));
        let mut command = Command::new("turnserver");
        command
            .arg("-n")
            .args([
                "-L",
                &ip.to_string(),
                "-E",
                &ip.to_string(),
                "-p",
                &port.to_string(),
            ])
            .args(["--use-auth-secret", "--static-auth-secret", secret])
            .args([
                "--realm",
                "turn.example",
                "--allow-loopback-peers",
                "--no-cli",
            ])
            .args(["--no-dtls", "--log-file", "stdout", "--simple-log"])
            .args(["--cli-password", "unused", "--pidfile"])
            .arg(dir.join(format!("coturn-{port}.pid")))
            .arg("--userdb")
            .arg(dir.join(format!("coturn-{port}.db")))
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = Running::start(&mut command);
        let address = SocketAddr::from((ip, port));
        wait_for("coturn", Duration::from_secs(10), || {
            answers(address).then_some(())
        });
        Self { address, child }
    }
}

/// Whether something answers a STUN Binding request at `address`.
pub(crate) fn answers(address: SocketAddr) -> bool {
    let socket = UdpSocket::bind((address.ip(), 0)).expect("socket");
    let _ = socket.set_read_timeout(Some(Duration::from_millis(100)));
    let request = [
        0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ];
    let mut buffer = [0; 1500];
    socket.send_to(&request, address).is_ok() && socket.recv_from(&mut buffer).is_ok()
}
