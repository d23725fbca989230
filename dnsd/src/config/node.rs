//! `[node]`, `[probes]`, `[reload]`, `[revocations]` and `[log]`: what belongs to this one daemon.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dnsd_core::revocations::LONGEST;
use liveness::NodeId;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use settings::{Spanned, Table};

use crate::limits::{ROOTS_BYTES, UDP_WORKERS};
use crate::probe::tls::Trust;

/// Percent of the serving relays that a reload may take out unless something else is said.
const REMOVAL_PERCENT: usize = 30;
/// Longest path of a unix socket: `sun_path` without its final zero byte.
const SOCKET_PATH: usize = 107;

/// `[node]`: addresses and files, fixed until a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The daemon's name towards relays.
    pub id: NodeId,
    /// DNS over UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Liveness reports, over UDP.
    pub reports: SocketAddr,
    /// Source of probes and peer of echo probes.
    pub probe_ipv4: Ipv4Addr,
    /// Source of probes to relays' IPv6 addresses; without it those are not probed.
    pub probe_ipv6: Option<Ipv6Addr>,
    /// The control socket.
    pub control: PathBuf,
    /// `/healthz`, `/readyz` and `/metrics`; none without it.
    pub admin: Option<SocketAddr>,
    /// The state file; nothing outlives a restart without it.
    pub state: Option<PathBuf>,
    /// Threads that answer over UDP; 0 is one per core.
    pub workers: u16,
}

/// `[probes]`: how often each relay is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probes {
    /// Time between two STUN probes.
    pub(super) stun: Duration,
    /// Time between two echo probes.
    pub(super) echo: Duration,
    /// Time between two probes of one path.
    pub(super) paths: Duration,
    /// What a certificate must have left of its life.
    pub(super) certificate_margin: Duration,
    /// What certificates must be good for.
    pub(super) trust: Trust,
}

/// How log records look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One line for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Least weight of a record that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the levels")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// How records look.
    pub format: Format,
    /// Which records appear.
    pub level: Level,
}

pub(super) fn node(root: &mut Table<'_>) -> Option<Node> {
    let mut table = root.required_table("node")?;
    let id = table.required_parsed(
        "id",
        "a name of 1 to 32 lower-case letters, digits and hyphens",
        "\"ns1\"",
        str::parse::<NodeId>,
    );
    let listen = table.required_list::<SocketAddr>("listen");
    let reports = table.required::<SocketAddr>("reports");
    let probes = table.required_list::<IpAddr>("probe_address");
    let control = table.required_parsed(
        "control",
        "the path of a unix socket",
        "\"/run/turnfleet/dnsd.sock\"",
        socket_path,
    );
    let admin = table.optional::<SocketAddr>("admin");
    let state = table.optional_parsed(
        "state",
        "the path of a file",
        "\"/var/lib/turnfleet/dnsd/state\"",
        file_path,
    );
    let workers = table.with_default_in("workers", 0_u16, 0..=UDP_WORKERS as u16);
    listeners(&table, listen.as_deref(), reports, admin);
    let probe = probes.map(|probes| probe_addresses(&table, &probes));
    let (probe_ipv4, probe_ipv6) = probe?;
    Some(Node {
        id: id?.value,
        listen: listen?.into_iter().map(|listen| listen.value).collect(),
        reports: reports?.value,
        probe_ipv4: probe_ipv4?,
        probe_ipv6,
        control: control?.value,
        admin: admin.map(|admin| admin.value),
        state: state.map(|state| state.value),
        workers: workers.value,
    })
}

fn socket_path(text: &str) -> Result<PathBuf, String> {
    if text.len() > SOCKET_PATH {
        return Err(format!(
            "a unix socket's path has at most {SOCKET_PATH} bytes"
        ));
    }
    file_path(text)
}

fn file_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.ends_with('/') {
        return Err("it names no file".to_owned());
    }
    Ok(text.into())
}

/// No two listeners of one protocol on one address and port.
fn listeners(
    table: &Table<'_>,
    listen: Option<&[Spanned<SocketAddr>]>,
    reports: Option<Spanned<SocketAddr>>,
    admin: Option<Spanned<SocketAddr>>,
) {
    let mut taken = BTreeSet::new();
    for listen in listen.unwrap_or_default() {
        if listen.value.port() == 0 {
            table.error(listen.span, "resolvers cannot find port 0", "write port 53");
        }
        if !taken.insert(listen.value) {
            let what = format!("{} is listed twice in `node.listen`", listen.value);
            table.error(listen.span, what, "remove one of the two");
        }
    }
    for (key, other) in [("node.reports", reports), ("node.admin", admin)] {
        let Some(other) = other else { continue };
        if other.value.port() == 0 {
            table.error(
                other.span,
                format!("`{key}` has port 0"),
                "write the port to listen on",
            );
        }
        if taken.contains(&other.value) {
            let what = format!("`{key}` is {}, which `node.listen` has taken", other.value);
            table.error(other.span, what, "choose another port");
        }
    }
}

fn probe_addresses(
    table: &Table<'_>,
    probes: &[Spanned<IpAddr>],
) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let (mut ipv4, mut ipv6) = (None, None);
    for probe in probes {
        if probe.value.is_unspecified() || probe.value.is_multicast() {
            let what = format!("{} is no address that relays could answer to", probe.value);
            table.error(probe.span, what, "write an address of this machine");
        }
        let second = match probe.value {
            IpAddr::V4(address) => ipv4.replace(address).is_some(),
            IpAddr::V6(address) => ipv6.replace(address).is_some(),
        };
        if second {
            let what = "`node.probe_address` has two addresses of one family";
            table.error(
                probe.span,
                what,
                "keep one IPv4 and at most one IPv6 address",
            );
        }
    }
    if ipv4.is_none() && !probes.is_empty() {
        table.error(
            table.key_span("probe_address"),
            "`node.probe_address` has no IPv4 address",
            "echo probes run over IPv4 relayed addresses: add an IPv4 address of this machine",
        );
    }
    (ipv4, ipv6)
}

pub(super) fn probes(root: &mut Table<'_>) -> Probes {
    let mut table = root.table_or_default("probes");
    let most = Duration::from_mins(5);
    let stun = Duration::from_millis(200)..=most;
    let echo = Duration::from_millis(500)..=most;
    let paths = Duration::from_secs(2)..=most;
    let margin = Duration::ZERO..=Duration::from_hours(14 * 24);
    Probes {
        stun: table
            .with_default_in("stun", Duration::from_secs(1), stun)
            .value,
        echo: table
            .with_default_in("echo", Duration::from_millis(2500), echo)
            .value,
        paths: table
            .with_default_in("paths", Duration::from_secs(10), paths)
            .value,
        certificate_margin: table
            .with_default_in("certificate_margin", Duration::from_hours(1), margin)
            .value,
        trust: trust(&mut table),
    }
}

fn trust(table: &mut Table<'_>) -> Trust {
    let name = table.optional_parsed(
        "tls_name",
        "a name in the relays' certificates",
        "\"a.turn.example.org\"",
        |text| ServerName::try_from(text.to_owned()),
    );
    let file = table.optional_file("tls_roots", ROOTS_BYTES);
    let roots = file.map(|file| {
        let read = CertificateDer::pem_slice_iter(file.value.text().as_bytes());
        let roots: Vec<_> = read.filter_map(Result::ok).collect();
        let (taken, _) = RootCertStore::empty().add_parsable_certificates(roots.iter().cloned());
        if taken == 0 {
            let path = file.value.path.display();
            let what = format!("`probes.tls_roots`: {path} holds no certificate to trust");
            let help = "name a PEM file with the certificates of the issuers that clients trust";
            table.error(file.span, what, help);
        }
        roots
    });
    Trust {
        roots: roots.unwrap_or_default(),
        name: name.map(|name| name.value),
    }
}

/// `[reload]`: percent of the serving relays that another configuration may take out.
pub(super) fn reload(root: &mut Table<'_>) -> usize {
    let mut table = root.table_or_default("reload");
    let default = REMOVAL_PERCENT;
    table
        .with_default_in("removal_percent", default, 0..=100)
        .value
}

/// `[revocations]`: how long one holds unless something else is said.
pub(super) fn revocations(root: &mut Table<'_>) -> Duration {
    let mut table = root.table_or_default("revocations");
    let range = Duration::from_hours(1)..=LONGEST;
    let default = Duration::from_hours(72);
    table.with_default_in("lasting", default, range).value
}

pub(super) fn log(root: &mut Table<'_>) -> Log {
    let mut table = root.table_or_default("log");
    let formats = [("text", Format::Text), ("json", Format::Json)];
    let levels = [
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ];
    Log {
        format: table.one_of("format", &formats, Format::Text).value,
        level: table.one_of("level", &levels, Level::Info).value,
    }
}
