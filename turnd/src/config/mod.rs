//! The configuration of a relay: one validated value, read from one TOML file.
//!
//! Everything in it makes sense on its own and together; every problem of a file is told at once.

mod access;
mod log;
mod names;
mod relay;
mod report;
mod rest;
mod revocations;
mod secrets;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use credentials::UnixTime;
use settings::{Errors, File, Table};
use turnd_core::Revocations;

use crate::net::stream::caps::Policy;
pub use access::{Limits, Peers};
pub use log::{Format, Log};
pub use relay::Relay;
pub use report::Liveness;
pub use rest::{ApiKey, ClientRegion, Rest};
pub use secrets::Secrets;
pub use tls::{DtlsIdentity, Tls};

/// Hard bounds of what a file may ask for.
pub mod limits {
    /// Most listen addresses of each transport.
    pub const LISTENERS: usize = 16;
    /// Most connections of clients.
    pub const CONNECTIONS: u32 = 1_000_000;
    /// Most worker threads.
    pub const WORKERS: u16 = 256;
    /// Fewest relayed ports for each worker: below this a worker runs dry by chance.
    pub const PORTS_PER_WORKER: usize = 16;
    /// Most sessions of one relay.
    pub const SESSIONS: u32 = 1_000_000;
    /// What strangers at one address may be sent at once, in challenges: enough for a household whose
    /// devices all come back together.
    pub const CHALLENGES_PER_SOURCE: std::ops::RangeInclusive<u32> =
        20..=turnd_core::limits::CHALLENGES_PER_SOURCE;
    /// Most nameserver nodes that are reported to.
    pub const DNSD: usize = 32;
    /// Most API keys.
    pub const API_KEYS: usize = 1024;
    /// Longest user id, in bytes: a username has at most 509 (RFC 8489, section 14.3).
    pub const USER_ID_BYTES: usize = 508;
    /// Largest file of revocations read, in bytes.
    pub const REVOCATIONS_FILE_BYTES: u64 = 8 << 20;
}

/// A whole, checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[relay]`: who this relay is and where it listens.
    pub relay: Relay,
    /// `[secrets]`: what credentials, nonces and labels are made with.
    pub secrets: Secrets,
    /// `[revocations]`: whose credentials no longer count.
    pub revocations: Revocations,
    /// `[tls]`: what TLS and DTLS are served with; absent when neither is served.
    pub tls: Option<Tls>,
    /// `[peers]`: whom clients may talk to.
    pub peers: Peers,
    /// `[limits]`: how much is taken on.
    pub limits: Limits,
    /// `[rest]`: the credentials endpoint; absent when this relay serves none.
    pub rest: Option<Rest>,
    /// `admin.listen`: health and metrics; absent when not served.
    pub admin: Option<SocketAddr>,
    /// `admin.socket`: where `turnd reload` and `turnd status` reach the running relay.
    pub socket: Option<PathBuf>,
    /// `[liveness]`: reports to the nameservers; absent for a relay on its own.
    pub liveness: Option<Liveness>,
    /// `[log]`.
    pub log: Log,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Errors> {
        Self::load(&File::read(path)?)
    }

    /// Checks a file that is read already.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(file: &File) -> Result<Self, Errors> {
        settings::load(file, Self::build)
    }

    fn build(root: &mut Table<'_>) -> Option<Self> {
        // Each section is read before any is given up, so that all their problems are told.
        let relay = root
            .required_table("relay")
            .and_then(|mut table| Relay::build(&mut table));
        let secrets = root
            .required_table("secrets")
            .and_then(|mut table| Secrets::build(&mut table));
        let revocations = section(root, "revocations", revocations::build);
        let tls = section(root, "tls", Tls::build);
        let peers = Peers::build(&mut root.table_or_default("peers"));
        let limits = Limits::build(&mut root.table_or_default("limits"));
        let rest = section(root, "rest", Rest::build);
        let admin = section(root, "admin", admin);
        let liveness = section(root, "liveness", Liveness::build);
        let log = Log::build(&mut root.table_or_default("log"));
        let (admin, socket) = admin.ok()?.unwrap_or_default();
        let config = Self {
            relay: relay?,
            secrets: secrets?,
            revocations: revocations.ok()?.unwrap_or_default(),
            tls: tls.ok()?,
            peers,
            limits,
            rest: rest.ok()?,
            admin,
            socket,
            liveness: liveness.ok()?,
            log,
        };
        config.check_tcp_listeners(root).then_some(config)
    }

    /// What an operator should know though it is no error.
    pub fn warnings(&self, now: UnixTime) -> Vec<String> {
        self.tls.iter().flat_map(|tls| tls.warnings(now)).collect()
    }

    /// How connections are taken.
    pub fn connections(&self) -> Policy {
        Policy {
            total: self.limits.connections,
            per_source: self.limits.connections_per_source,
            proxies: self.relay.proxy_protocol_from.clone(),
        }
    }

    /// REST, admin and TURN over TCP cannot share an address.
    fn check_tcp_listeners(&self, root: &Table<'_>) -> bool {
        let http = [
            ("rest", self.rest.as_ref().map(|rest| rest.listen)),
            ("admin", self.admin),
        ];
        for (section, listen) in http {
            let turn = self.relay.listen_tcp.iter();
            let mut taken =
                turn.filter(|turn| listen.is_some_and(|http| relay::meet(**turn, http)));
            if let Some(taken) = taken.next() {
                root.error(
                    root.key_span(section),
                    format!("`{section}.listen` is covered by {taken} of `relay.listen_tcp`"),
                    "TURN clients come there: give HTTP a port of its own",
                );
                return false;
            }
        }
        let rest = self.rest.as_ref().map(|rest| rest.listen);
        if rest.is_none() || rest != self.admin {
            return true;
        }
        root.error(
            root.key_span("admin"),
            "`admin.listen` is the same address as `rest.listen`",
            "give the admin listener a port of its own, on an address only operators reach",
        );
        false
    }
}

/// What is wrong is in the reader's log already.
#[derive(Debug)]
struct Told;

/// `[admin]`: the address of the HTTP listener and the path of the socket, one of them at least.
fn admin(table: &mut Table<'_>) -> Option<(Option<SocketAddr>, Option<PathBuf>)> {
    let (listen, socket) = (table.has("listen"), table.has("socket"));
    let path = table.optional::<String>("socket");
    let socket_read = path.as_ref().is_some_and(|path| !path.value.is_empty());
    if path.is_some() && !socket_read {
        let help = "write e.g. \"/run/turnfleet/turnd.sock\"";
        table.error(table.key_span("socket"), "`admin.socket` is empty", help);
    }
    let address = if socket && !listen {
        None
    } else {
        Some(table.required::<SocketAddr>("listen")?.value)
    };
    (socket_read || !socket).then(|| (address, path.map(|path| path.value.into())))
}

/// A section that may be missing.
fn section<T>(
    root: &mut Table<'_>,
    key: &'static str,
    build: impl FnOnce(&mut Table<'_>) -> Option<T>,
) -> Result<Option<T>, Told> {
    let present = root.has(key);
    let read = root.table(key).and_then(|mut table| build(&mut table));
    if present && read.is_none() {
        return Err(Told);
    }
    Ok(read)
}
