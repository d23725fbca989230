//! Other nameservers that fetch the zone from ours: NSD, Knot and BIND.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::dnsd::{Server, ZONE};
use super::{Running, free_port, write};

/// The key that they share with the daemon, and its secret in base64.
pub(crate) const KEY: &str = "turnfleet-test";
pub(crate) const SECRET: &str = "c2hhcmVkIHdpdGggdGhlIHNlY29uZGFyaWVzLCAzMg==";

/// A secondary that is told nothing and may ask from anywhere, with the key.
pub(crate) const KEYED: &str =
    "[[transfer.secondaries]]\nname = \"keyed\"\nkey = \"turnfleet-test\"\n";

/// `[transfer]` with the key that everybody here signs with.
pub(crate) fn section(server: &Server, secondaries: &str) -> String {
    let path = server.path("tsig.secret");
    write(&path, &format!("{SECRET}\n"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, mode).expect("mode");
    format!(
        "[transfer]\ninterval = \"1s\"\nhold = \"1s\"\n\
         [[transfer.keys]]\nname = \"{KEY}\"\nsecret_file = \"{}\"\n{secondaries}",
        path.display()
    )
}

/// Which nameserver.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Nsd,
    Knot,
    Bind,
}

impl Kind {
    /// Its command.
    pub(crate) fn tool(self) -> &'static str {
        match self {
            Self::Nsd => "nsd",
            Self::Knot => "knotd",
            Self::Bind => "named",
        }
    }
}

/// A secondary that runs, and what it says.
pub(crate) struct Secondary {
    pub(crate) ip: Ipv4Addr,
    pub(crate) port: u16,
    dir: tempfile::TempDir,
    running: Option<Running>,
    kind: Kind,
    /// The key that it shows, and wants to be shown; NSD alone does without.
    key: Option<&'static str>,
}

impl Secondary {
    /// One at an address of its own that is not running yet.
    pub(crate) fn new(kind: Kind, ip: Ipv4Addr) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let port = free_port(ip);
        Self {
            ip,
            port,
            dir,
            running: None,
            kind,
            key: Some(KEY),
        }
    }

    /// NSD without a key, to which clocks make no difference.
    pub(crate) fn keyless(ip: Ipv4Addr) -> Self {
        Self {
            key: None,
            ..Self::new(Kind::Nsd, ip)
        }
    }

    /// Its entry in the daemon's configuration.
    pub(crate) fn entry(&self) -> String {
        let Self { ip, port, kind, .. } = self;
        let name = kind.tool();
        let key = self.key.map(|key| format!("key = \"{key}\"\n"));
        let key = key.unwrap_or_default();
        format!("[[transfer.secondaries]]\nname = \"{name}\"\naddress = \"{ip}:{port}\"\n{key}")
    }

    /// Starts it with these masters.
    pub(crate) fn start(&mut self, masters: &[(Ipv4Addr, u16)]) {
        let (dir, ip, port) = (self.dir.path(), self.ip, self.port);
        let file = dir.join("conf");
        let (text, args): (_, &[&str]) = match self.kind {
            Kind::Nsd => {
                let key = self.key.unwrap_or("NOKEY");
                (nsd(dir, (ip, port), key, masters), &["-d", "-c"])
            }
            Kind::Knot => (knot(dir, ip, port, masters), &["-c"]),
            Kind::Bind => (bind(dir, ip, port, masters), &["-g", "-c"]),
        };
        write(&file, &text);
        let log = std::fs::File::create(dir.join("log")).expect("log");
        let mut command = Command::new(self.kind.tool());
        command.args(args).arg(file);
        command.stdout(Stdio::null()).stderr(log);
        self.running = Some(Running::start(&mut command));
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The records of a short `dig`; empty while it does not answer.
    pub(crate) fn short(&self, name: &str, kind: &str) -> Vec<String> {
        short((self.ip, self.port), name, kind)
    }

    /// The serial that it serves.
    pub(crate) fn serial(&self) -> Option<u32> {
        serial((self.ip, self.port))
    }
}

/// The records of a short `dig` at a nameserver; empty while it does not answer.
pub(crate) fn short(server: (Ipv4Addr, u16), name: &str, kind: &str) -> Vec<String> {
    asked(server, &[name, kind])
}

/// The same with any arguments.
pub(crate) fn asked((ip, port): (Ipv4Addr, u16), args: &[&str]) -> Vec<String> {
    let output = Command::new("dig")
        .args([&format!("@{ip}"), "-p", &port.to_string()])
        .args(["+short", "+tries=1", "+time=1", "+norecurse"])
        .args(args)
        .output()
        .expect("dig runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| !line.starts_with(';'));
    let mut lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The serial that a nameserver serves.
pub(crate) fn serial(server: (Ipv4Addr, u16)) -> Option<u32> {
    let soa = short(server, ZONE, "SOA");
    soa.first()?.split(' ').nth(2)?.parse().ok()
}

fn nsd(dir: &Path, (ip, port): (Ipv4Addr, u16), key: &str, masters: &[(Ipv4Addr, u16)]) -> String {
    let at = dir.display();
    let each = |(master, port): &(Ipv4Addr, u16)| {
        format!(
            " request-xfr: {master}@{port} {key}\n allow-notify: {master} {key}\n\
             \x20outgoing-interface: {ip}\n"
        )
    };
    let masters: String = masters.iter().map(each).collect();
    format!(
        "server:\n ip-address: {ip}@{port}\n username: \"\"\n zonesdir: \"{at}\"\n database: \"\"\n\
         pidfile: \"{at}/pid\"\n xfrdfile: \"{at}/xfrd\"\n zonelistfile: \"{at}/list\"\n\
         xfrdir: \"{at}\"\n server-count: 1\n verbosity: 2\n xfrd-reload-timeout: 0\n\
         remote-control:\n control-enable: no\n\
         key:\n name: \"{KEY}\"\n algorithm: hmac-sha256\n secret: \"{SECRET}\"\n\
         zone:\n name: {ZONE}\n zonefile: zone\n{masters}"
    )
}

fn knot(dir: &Path, ip: Ipv4Addr, port: u16, masters: &[(Ipv4Addr, u16)]) -> String {
    let at = dir.display();
    let each = |(n, (master, port)): (usize, &(Ipv4Addr, u16))| {
        format!(" - id: m{n}\n   address: {master}@{port}\n   via: {ip}\n   key: {KEY}\n")
    };
    let remotes: String = masters.iter().enumerate().map(each).collect();
    let ids: Vec<_> = (0..masters.len()).map(|n| format!("m{n}")).collect();
    format!(
        "server:\n rundir: \"{at}\"\n listen: {ip}@{port}\n udp-workers: 1\n tcp-workers: 1\n\
         \x20background-workers: 1\n\
         database:\n storage: \"{at}/db\"\n\
         log:\n - target: stderr\n   any: info\n\
         key:\n - id: {KEY}\n   algorithm: hmac-sha256\n   secret: {SECRET}\n\
         remote:\n{remotes}\
         acl:\n - id: told\n   key: {KEY}\n   action: notify\n\
         zone:\n - domain: {ZONE}\n   storage: \"{at}\"\n   file: zone\n   master: [{}]\n   acl: told\n",
        ids.join(", ")
    )
}

fn bind(dir: &Path, ip: Ipv4Addr, port: u16, masters: &[(Ipv4Addr, u16)]) -> String {
    let at = dir.display();
    let each = |(master, port): &(Ipv4Addr, u16)| format!("{master} port {port} key \"{KEY}\"; ");
    let masters: String = masters.iter().map(each).collect();
    format!(
        "key \"{KEY}\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n\
         options {{ directory \"{at}\"; pid-file \"{at}/pid\"; session-keyfile \"{at}/session\";\n\
         listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }}; transfer-source {ip};\n\
         recursion no; dnssec-validation no; notify no; managed-keys-directory \"{at}\"; }};\n\
         controls {{ }};\n\
         zone \"{ZONE}\" {{ type secondary; file \"zone\"; masterfile-format text;\n\
         primaries {{ {masters} }}; allow-notify {{ key \"{KEY}\"; }}; }};\n"
    )
}
