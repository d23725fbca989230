//! What answers DNS over UDP, TCP and TLS from what was known before, and does nothing else yet.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use dnsd_core::answer::Complaint;
use dnsd_core::fleet::{Fleet, Saved};
use nix::sys::resource::{Resource, getrlimit};
use tokio::net::{TcpListener, UnixListener};

use super::bound::Bound;
use super::restore::{compiled, published, restore};
use super::{Error, system};
use crate::config::Config;
use crate::control::Chronicle;
use crate::dnssec::Signing;
use crate::handover::Sockets;
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::reload::show;
use crate::serve::certificate::Shown;
use crate::serve::rate::Limiter;
use crate::serve::udp::{Group, Workers};
use crate::serve::{Served, tcp};
use crate::share::wire::Wire;

/// The answers and who gives them, and all that waits to be used.
pub(super) struct Answering {
    pub(super) intake: Arc<Intake>,
    pub(super) wire: Option<Arc<Wire>>,
    pub(super) control: UnixListener,
    pub(super) admin: Option<TcpListener>,
    pub(super) api: Option<TcpListener>,
    pub(super) doq: Vec<UdpSocket>,
    pub(super) sockets: Arc<Sockets>,
    pub(super) fleet: Fleet,
    pub(super) chronicle: Chronicle,
    pub(super) signing: Signing,
    pub(super) served: Arc<Served>,
    pub(super) complaints: Receiver<Complaint>,
    pub(super) workers: Workers,
    pub(super) groups: Vec<Group>,
    pub(super) front: tcp::Front,
    pub(super) shown: Option<Arc<Shown>>,
}

impl Answering {
    /// What was known before the restart is served before anything new is learnt.
    pub(super) fn start(
        config: &Config,
        mut sockets: Sockets,
        state: Option<&Saved>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, Error> {
        let bound = Bound::new(config, &mut sockets, metrics)?;
        let limiter = Limiter::start().map_err(system("drawing a key"))?;
        let mut signing = Signing::new(Arc::clone(&config.dnssec.keys));
        let (fleet, chronicle, snapshot) = restore(config, state, metrics, &mut signing);
        let (served, complaints) = published(config, snapshot, metrics, limiter);
        let workers = Workers::start(bound.dns.udp, &served);
        let workers = workers.map_err(system("starting DNS threads"))?;
        let shown = config.tls.as_ref().map(|tls| {
            show(tls, metrics);
            Arc::new(Shown::new(Arc::clone(&tls.identity.certified)))
        });
        let listeners = over_streams(bound.dns.tcp, bound.encrypted.dot, shown.as_ref());
        let front = listeners
            .and_then(|listeners| tcp::Front::start(listeners, descriptors(), &served))
            .map_err(system("starting DNS over connections"))?;
        Ok(Self {
            intake: bound.intake,
            wire: bound.wire,
            control: bound.control,
            admin: bound.admin,
            api: bound.api,
            doq: bound.encrypted.doq,
            sockets: Arc::new(sockets),
            fleet,
            chronicle,
            signing,
            served,
            complaints,
            workers,
            groups: bound.dns.groups,
            front,
            shown,
        })
    }

    /// From now on queries that show a cookie do not wait with all the others. It is said at the end:
    /// a daemon that is taken over goes on with its own number of workers if this one fails before.
    pub(super) fn prefer(&self) {
        for group in &self.groups {
            if let Err(error) = group.deal() {
                tracing::warn!(%error, "queries with and without cookies wait together");
            }
        }
    }

    /// Goes on from a newer state.
    pub(super) fn restore(&mut self, config: &Config, state: &Saved) {
        let metrics = &self.served.metrics;
        let (fleet, chronicle, snapshot) = restore(config, Some(state), metrics, &mut self.signing);
        let before = self.served.published.load_full();
        let compiled = compiled(config, snapshot, metrics, Some(&before));
        self.served.published.store(Arc::new(compiled));
        (self.fleet, self.chronicle) = (fleet, chronicle);
    }
}

/// How many descriptors this process may have open.
fn descriptors() -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    usize::try_from(soft).unwrap_or(usize::MAX)
}

/// What is listened on for TCP and TLS.
fn over_streams(
    tcp: Vec<TcpListener>,
    dot: Vec<TcpListener>,
    shown: Option<&Arc<Shown>>,
) -> io::Result<tcp::Listeners> {
    let config = shown.map(Shown::over_tls).transpose();
    let config = config.map_err(io::Error::other)?;
    let tls = config.map(|config| (dot, config));
    Ok(tcp::Listeners { tcp, tls })
}
