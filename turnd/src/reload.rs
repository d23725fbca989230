//! Another configuration under live traffic: read, judged and made ready as a whole, then handed
//! over; or refused as a whole, with every reason.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use credentials::http::Issuer;
use liveness::RevocationTag;
use settings::Errors;

use crate::config::Config;
use crate::start::{self, StartError};
use crate::tls::Served;
use crate::worker::{Listener, Listening};
use crate::{core_config, rest};

/// Everything a new configuration needs, opened and made; nothing of it is in use yet.
#[derive(Debug)]
pub struct Prepared {
    /// The configuration.
    pub config: Config,
    /// What changes, in words: one line each.
    pub changes: Vec<String>,
    /// One for each worker.
    pub cores: Vec<Arc<turnd_core::Config>>,
    /// New listeners, one of each address for each worker.
    pub opened: Vec<Vec<Listener>>,
    /// Listeners that are no longer wanted.
    pub closed: Vec<Listening>,
    /// What TLS and DTLS are served with.
    pub tls: Option<Served>,
    /// What REST answers are made of.
    pub issuer: Option<Issuer>,
    /// The REST listener, when it moves.
    pub rest: Option<TcpListener>,
    /// The admin listener, when it moves or goes.
    pub admin: Option<Option<TcpListener>>,
}

/// Why a file is not taken. Nothing is changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// What is wrong with the file, each with its place.
    #[error("{0}")]
    Wrong(Errors),
    /// Keys that cannot change while the relay runs.
    #[error("these keys need a restart: {}", .0.join(", "))]
    Restart(Vec<&'static str>),
    /// An address cannot move to another listener in one step.
    #[error("`{key}`: {new} and {old}, which is in use, overlap: this change needs a restart")]
    Overlap {
        /// The key both are listed by.
        key: &'static str,
        /// The new address.
        new: SocketAddr,
        /// The one that is served now.
        old: SocketAddr,
    },
    /// Something cannot be opened or made.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Refusal {
    /// Every reason, a line each or, for a file that is wrong, as `turnd check` prints it.
    pub fn lines(&self) -> Vec<String> {
        self.to_string().lines().map(str::to_owned).collect()
    }
}

/// Reads the file at `path` and makes ready what it needs beyond what `now` has. `told` are those whom
/// nameservers revoke.
///
/// # Errors
/// Every reason to refuse that is found.
pub fn prepare(path: &Path, now: &Config, told: &[RevocationTag]) -> Result<Prepared, Refusal> {
    let new = Config::read(path).map_err(Refusal::Wrong)?;
    let restart = needs_restart(now, &new);
    if !restart.is_empty() {
        return Err(Refusal::Restart(restart));
    }
    let issuer = new.rest.as_ref().map(|rest| rest::issuer(&new, rest));
    let issuer = issuer.transpose().map_err(std::io::Error::other);
    let (old, wanted) = (start::listening(now), start::listening(&new));
    let added: Vec<_> = wanted.iter().filter(|at| !old.contains(at)).collect();
    let closed: Vec<_> = old
        .iter()
        .filter(|at| !wanted.contains(at))
        .copied()
        .collect();
    for at in &added {
        no_overlap(**at, &old)?;
    }
    let opened: Result<Vec<_>, _> = added
        .iter()
        .map(|at| start::listeners(**at, &new.relay))
        .collect();
    let rest = rest_listen(&new).filter(|rest| rest_listen(now) != Some(*rest));
    let admin = (now.admin != new.admin).then(|| start::tcp("admin.listen", new.admin));
    Ok(Prepared {
        changes: changes(now, &new, &added, &closed),
        cores: core_config::per_worker(&new, told).unwrap_or_default(),
        opened: opened?,
        closed,
        tls: start::tls(&new)?,
        issuer: issuer.map_err(StartError::system("the REST endpoint"))?,
        rest: start::tcp("rest.listen", rest)?,
        admin: admin.transpose()?,
        config: new,
    })
}

/// A wildcard address cannot be opened beside one of its own, nor the other way round.
fn no_overlap(new: Listening, open: &[Listening]) -> Result<(), Refusal> {
    let address = new.address();
    let overlaps = |other: &&Listening| {
        let old = other.address();
        std::mem::discriminant(*other) == std::mem::discriminant(&new)
            && old.port() == address.port()
            && old.is_ipv4() == address.is_ipv4()
            && (old.ip().is_unspecified() || address.ip().is_unspecified())
    };
    match open.iter().find(overlaps) {
        Some(old) => Err(Refusal::Overlap {
            key: new.key(),
            new: address,
            old: old.address(),
        }),
        None => Ok(()),
    }
}

fn rest_listen(config: &Config) -> Option<SocketAddr> {
    config.rest.as_ref().map(|rest| rest.listen)
}

/// The keys whose change needs a restart: sockets and threads hang on them, or live sessions do.
fn needs_restart(now: &Config, new: &Config) -> Vec<&'static str> {
    let (a, b) = (&now.relay, &new.relay);
    let state = |config: &Config| config.liveness.as_ref().map(|l| l.state_file.clone());
    let changed = [
        ("relay.id", a.id != b.id),
        ("relay.realm", a.realm != b.realm),
        (
            "relay.relay_addresses",
            (a.ipv4, a.ipv6) != (b.ipv4, b.ipv6),
        ),
        ("relay.relay_ports", a.ports != b.ports),
        ("relay.workers", a.worker_count() != b.worker_count()),
        (
            "relay.receive_buffer",
            a.buffers.receive != b.buffers.receive,
        ),
        ("relay.send_buffer", a.buffers.send != b.buffers.send),
        ("rest", now.rest.is_some() != new.rest.is_some()),
        ("admin.socket", now.socket != new.socket),
        ("liveness", now.liveness.is_some() != new.liveness.is_some()),
        (
            "liveness.state_file",
            state(now).flatten() != state(new).flatten(),
        ),
        ("log.format", now.log.format != new.log.format),
    ];
    changed
        .into_iter()
        .filter_map(|(key, changed)| changed.then_some(key))
        .collect()
}

/// What differs, for people: listeners by address, everything else by its table. Secrets are named
/// and never shown.
fn changes(now: &Config, new: &Config, added: &[&Listening], closed: &[Listening]) -> Vec<String> {
    let added = added
        .iter()
        .map(|at| format!("`{}`: {} added", at.key(), at.address()));
    let closed = closed
        .iter()
        .map(|at| format!("`{}`: {} removed", at.key(), at.address()));
    let secrets = |config: &Config| -> Vec<Vec<u8>> {
        let ring = config.secrets.ring.iter();
        ring.map(|secret| secret.expose().to_vec()).collect()
    };
    let chain = |config: &Config| config.tls.as_ref().map(|tls| tls.certified.cert.clone());
    let tables = [
        (
            "`relay.drain_grace`",
            now.relay.drain_grace != new.relay.drain_grace,
        ),
        ("`relay.gather`", now.relay.gather != new.relay.gather),
        (
            "`relay.proxy_protocol_from`",
            now.relay.proxy_protocol_from != new.relay.proxy_protocol_from,
        ),
        ("`relay.zone`", now.relay.zone != new.relay.zone),
        ("`secrets`", secrets(now) != secrets(new)),
        ("`revocations`", now.revocations != new.revocations),
        ("`tls`", chain(now) != chain(new)),
        ("`peers`", now.peers != new.peers),
        ("`limits`", now.limits != new.limits),
        ("`rest.listen`", rest_listen(now) != rest_listen(new)),
        ("`admin.listen`", now.admin != new.admin),
        ("`log.level`", now.log.level != new.log.level),
    ];
    let tables = tables
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(table, _)| format!("{table} changed"));
    added.chain(closed).chain(tables).collect()
}
