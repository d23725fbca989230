//! Who is measured: programs, their command lines and configurations.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    cases::{Case, Transport},
    kinds::Kind,
};
use crate::subject::Certificate;

/// The realm and zone of every server.
const REALM: &str = "bench.test";
/// The port of every server.
const PORT: u16 = 3478;
/// The ports of relayed addresses: below those that the system gives to sockets that ask for none, as the
/// generator's do.
const RELAY_PORTS: (u16, u16) = (10_000, 32_767);

/// A program that is measured.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its name in the tables.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The executable.
    pub program: PathBuf,
    /// Where it listens, an address of its own.
    pub ip: Ipv4Addr,
}

/// What all servers are told.
#[derive(Debug)]
pub struct Common {
    /// Where their files are.
    pub directory: PathBuf,
    /// The secret of time-limited credentials.
    pub secret: String,
    /// What they show over TLS.
    pub certificate: Certificate,
}

impl Subject {
    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        (self.ip, PORT).into()
    }

    /// Whether it is a bare forwarder, without TURN and its credentials.
    pub fn is_raw(&self) -> bool {
        matches!(self.kind, Kind::Plain | Kind::Mmsg | Kind::Gso)
    }

    /// Its arguments for `case`; what it reads is written before.
    ///
    /// # Errors
    /// With the reason why it cannot take part.
    pub fn arguments(&self, case: &Case, common: &Common) -> Result<Vec<OsString>, String> {
        let words = |words: &[&str]| -> Vec<OsString> { words.iter().map(Into::into).collect() };
        let listen = self.address().to_string();
        let mode = |mode| Ok(words(&["--listen", &listen, "--mode", mode]));
        match self.kind {
            Kind::Plain => mode("plain"),
            Kind::Mmsg => mode("mmsg"),
            Kind::Gso => mode("gso"),
            Kind::WebrtcRs => {
                let (secret, realm) = (&common.secret, REALM);
                let [least, most] = [RELAY_PORTS.0, RELAY_PORTS.1].map(|port| port.to_string());
                let mut all = words(&["--listen", &listen, "--secret", secret, "--realm", realm]);
                all.extend(words(&["--min-port", &least, "--max-port", &most]));
                Ok(all)
            }
            Kind::Coturn => Ok(self.coturn(case, common)),
            Kind::Turnd => {
                let file = self.turnd(case, common)?;
                Ok(vec!["run".into(), "--config".into(), file.into()])
            }
        }
    }

    fn coturn(&self, case: &Case, common: &Common) -> Vec<OsString> {
        let file = |name: &str| common.directory.join(name).display().to_string();
        let mut words: Vec<String> = [
            "-n",
            "--no-cli",
            "--no-dtls",
            "--use-auth-secret",
            "--allow-loopback-peers",
            "--no-multicast-peers",
            "--no-stdout-log",
            "--log-file=/dev/null",
        ]
        .map(str::to_owned)
        .into();
        if case.transport == Transport::Udp {
            words.extend(["--no-tls", "--no-tcp"].map(str::to_owned));
        }
        for (name, value) in [
            ("listening-ip", self.ip.to_string()),
            ("relay-ip", self.ip.to_string()),
            ("listening-port", PORT.to_string()),
            // It serves TLS on the plain port, too; this one has to be somewhere.
            ("tls-listening-port", (PORT + 1).to_string()),
            ("cert", common.certificate.chain.display().to_string()),
            ("pkey", common.certificate.key.display().to_string()),
            ("min-port", RELAY_PORTS.0.to_string()),
            ("max-port", RELAY_PORTS.1.to_string()),
            ("static-auth-secret", common.secret.clone()),
            ("realm", REALM.to_owned()),
            ("relay-threads", case.workers.to_string()),
            ("pidfile", file("coturn.pid")),
            ("userdb", file("coturn.db")),
        ] {
            words.push(format!("--{name}={value}"));
        }
        words.into_iter().map(Into::into).collect()
    }

    /// Writes a configuration that the executable accepts; returns its file.
    fn turnd(&self, case: &Case, common: &Common) -> Result<PathBuf, String> {
        let file = common.directory.join(format!("{}.toml", self.name));
        let check = |gather| {
            write_secret(&file, &self.configuration(case, gather, common))
                .map_err(|error| format!("{}: {error}", file.display()))?;
            let mut check = Command::new(&self.program);
            check.args(["check", "--config"]).arg(&file);
            let said = check.output().map_err(|error| error.to_string())?;
            if said.status.success() {
                return Ok(file.clone());
            }
            Err(String::from_utf8_lossy(&said.stderr).trim().to_owned())
        };
        check(case.gather).or_else(|why| match case.gather {
            // A build that knows no waiting does not wait.
            Some("0s") => check(None),
            _ => Err(why),
        })
    }

    /// Everything that costs is on: caps, quotas, metrics, the peer filter; out of reach where it would
    /// drop.
    fn configuration(&self, case: &Case, gather: Option<&str>, common: &Common) -> String {
        let (listen, ip, workers) = (self.address(), self.ip, case.workers);
        let (certificate, secret) = (&common.certificate, &common.secret);
        let (least, most) = RELAY_PORTS;
        let mut text = format!(
            r#"[relay]
id = "bench-1"
realm = "{REALM}"
zone = "{REALM}"
listen = ["{listen}"]
listen_tcp = ["{listen}"]
relay_addresses = ["{ip}"]
relay_ports = "{least}-{most}"
workers = {workers}
"#
        );
        if let Some(gather) = gather {
            let _ = writeln!(text, "gather = \"{gather}\"");
        }
        let _ = write!(
            text,
            r#"
[secrets]
current = "{secret}"

[tls]
certificate = "{}"
key = "{}"

[peers]
allow = ["127.0.0.0/8"]

[limits]
sessions = 16000
sessions_per_user = 16000
sessions_per_source = 16000
connections = 16000
connections_per_source = 16000
bandwidth = "10 Gbit/s"
allocation_bandwidth = "100 Gbit/s"
allocation_packets = 100000000
new_peers = 1000000

[admin]
listen = "{ip}:9641"
"#,
            certificate.chain.display(),
            certificate.key.display()
        );
        text
    }
}

/// Writes a file that only its owner can read.
fn write_secret(file: &Path, text: &str) -> io::Result<()> {
    fs::write(file, text)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
}
