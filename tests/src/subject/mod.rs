//! The servers that the conformance and interop tests hold against the RFCs: our relay, and coturn
//! with a configuration that says the same.

mod addresses;
pub mod certificate;
mod coturn;
mod nameserver;
mod turnd;

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local_cluster::children::UNDER;

pub use addresses::{client_address, free_port};
pub use certificate::Certificate;

use crate::binaries;
use crate::process::Guard;
use crate::stun::{Builder, Message, kind, rest_password_bytes};
use nameserver::Nameserver;

/// The realm of every server under test.
pub const REALM: &str = "turn.example";
/// The shared secret of every server under test.
pub const SECRET: &str = "conformance-conformance";
/// Nothing that works takes longer.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A network no client may reach.
pub const DENIED_PEER: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);

/// Whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The relay of this workspace.
    Turnd,
    /// The `turnserver` that is installed.
    Coturn,
}

impl Kind {
    /// The name tests print.
    pub fn name(self) -> &'static str {
        match self {
            Self::Turnd => "turnd",
            Self::Coturn => "coturn",
        }
    }
}

/// What a server is started with beyond the usual.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Ports of relayed transport addresses, first and last.
    pub relay_ports: (u16, u16),
    /// Whether it relays from an IPv6 address, too.
    pub relays_ipv6: bool,
    /// Worker threads.
    pub workers: u16,
    /// Most allocations of one user.
    pub user_quota: Option<u32>,
    /// Whether clients may have TCP allocations (RFC 6062); coturn's always may.
    pub tcp_allocations: bool,
    /// Whether clients may move to other ports (RFC 8016).
    pub mobility: bool,
    /// Sends every new client there with 300 (Try Alternate).
    pub alternate: Option<SocketAddr>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            // Above the ephemeral ports: ::1 is shared with everybody.
            relay_ports: (61_000, 65_000),
            relays_ipv6: true,
            workers: 2,
            user_quota: None,
            tcp_allocations: false,
            mobility: false,
            alternate: None,
        }
    }
}

/// A time-limited credential.
#[derive(Debug, Clone)]
pub struct Login {
    /// TURN username, `expiry:user`.
    pub username: String,
    /// TURN password.
    pub password: String,
}

impl Login {
    /// A credential of `user` that expires at `expiry`, in seconds since 1970.
    pub fn expiring(user: &str, expiry: u64) -> Self {
        let username = format!("{expiry}:{user}");
        let password = STANDARD.encode(rest_password_bytes(SECRET.as_bytes(), &username));
        Self { username, password }
    }

    /// A credential of `user` that is good for hours.
    pub fn of(user: &str) -> Self {
        Self::expiring(user, unix_time() + 36_000)
    }
}

/// Seconds since 1970.
///
/// # Panics
/// When the clock stands before that.
pub fn unix_time() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    since.expect("a clock after 1970").as_secs()
}

/// A running server; ended when this is dropped.
#[derive(Debug)]
pub struct Subject {
    /// Whose it is.
    pub kind: Kind,
    /// Its IPv4 address, which it listens on and relays from.
    pub ip: Ipv4Addr,
    /// The port it listens on, on `ip` and on `::1`.
    pub port: u16,
    /// Whether this machine has `::1` to listen on.
    pub has_ipv6: bool,
    /// What it was started with.
    pub setup: Setup,
    /// What it shows over TLS and DTLS.
    pub certificate: Certificate,
    directory: PathBuf,
    process: Option<Guard>,
    nameserver: Option<Nameserver>,
}

impl Subject {
    /// Starts a server and waits until it answers. Call from a thread that outlives its use: the
    /// server ends with it.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(kind: Kind, setup: Setup) -> Self {
        let ip = addresses::server_address();
        let has_ipv6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        let directory = binaries::scratch(&format!("{}-{ip}", kind.name()));
        let addresses = [IpAddr::V4(ip), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let mut subject = Self {
            kind,
            ip,
            port: free_port(ip),
            has_ipv6,
            setup,
            certificate: Certificate::make(&directory, &addresses),
            directory,
            process: None,
            nameserver: None,
        };
        let command = match kind {
            Kind::Turnd => {
                let nameserver = subject.setup.alternate.map(|to| Nameserver::start(ip, to));
                let command = turnd::command(&subject, nameserver.as_ref());
                subject.nameserver = nameserver;
                command
            }
            Kind::Coturn => coturn::command(&subject),
        };
        subject.launch(command);
        if let Some(nameserver) = &subject.nameserver {
            nameserver.wait_drains();
        }
        subject
    }

    /// Whether a server of this kind can be started here; says why not.
    pub fn available(kind: Kind, test: &str) -> bool {
        match kind {
            Kind::Turnd => true,
            Kind::Coturn => crate::tools::present(test, &["turnserver"]),
        }
    }

    /// Where its clients find it over IPv4.
    pub fn v4(&self) -> SocketAddr {
        SocketAddr::from((self.ip, self.port))
    }

    /// Where its clients find it over IPv6.
    pub fn v6(&self) -> SocketAddr {
        SocketAddr::from((Ipv6Addr::LOCALHOST, self.port))
    }

    /// Every address it listens on.
    pub fn listen(&self) -> Vec<SocketAddr> {
        let v6 = self.has_ipv6.then(|| self.v6());
        std::iter::once(self.v4()).chain(v6).collect()
    }

    /// The addresses it relays from.
    pub fn relay_addresses(&self) -> Vec<IpAddr> {
        let v6 = self.has_ipv6 && self.setup.relays_ipv6;
        let v6 = v6.then_some(IpAddr::V6(Ipv6Addr::LOCALHOST));
        std::iter::once(IpAddr::V4(self.ip)).chain(v6).collect()
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn launch(&mut self, (program, arguments): (PathBuf, Vec<String>)) {
        let log = File::create(self.log_file()).expect("a log file");
        let again = log.try_clone().expect("a descriptor");
        // By the starter that ties its life to this thread's.
        let child = Command::new(binaries::directory().join("local-cluster"))
            .args([UNDER, &std::process::id().to_string()])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(again)
            .stderr(log)
            .spawn()
            .expect("the server starts");
        self.process = Some(Guard::new(child));
        for address in self.listen() {
            self.wait_answers(address);
        }
    }

    /// Waits until a Binding request to `address` is answered.
    fn wait_answers(&self, address: SocketAddr) {
        let local = match address {
            SocketAddr::V4(_) => IpAddr::V4(client_address()),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let socket = UdpSocket::bind((local, 0)).expect("a socket");
        let wait = Duration::from_millis(100);
        socket.set_read_timeout(Some(wait)).expect("a timeout");
        let request = Builder::new(kind::BINDING, [7; 12]).unsigned();
        let asked = || {
            let mut buffer = [0; 512];
            socket.send_to(&request, address).ok()?;
            let (length, _) = socket.recv_from(&mut buffer).ok()?;
            let reply = Message::parse(&buffer[..length])?;
            (reply.kind() == kind::BINDING + kind::SUCCESS).then_some(())
        };
        let deadline = Instant::now() + DEADLINE;
        while asked().is_none() {
            assert!(
                Instant::now() < deadline,
                "{} does not answer at {address}; it says:\n{}",
                self.kind.name(),
                self.log()
            );
            // Where nobody listens yet, the system says so at once.
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        drop(self.process.take());
        let _ = fs::remove_dir_all(&self.directory);
    }
}
