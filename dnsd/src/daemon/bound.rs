//! Everything of the daemon that has an address or a path of its own, bound or taken over.

use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};

use super::{Error, system};
use crate::config::Config;
use crate::handover::Sockets;
use crate::intake::Intake;
use crate::listen;
use crate::metrics::Metrics;
use crate::share::wire::Wire;

/// What has an address or a path of its own.
pub(super) struct Bound {
    pub(super) dns: listen::Dns,
    pub(super) encrypted: listen::Encrypted,
    pub(super) intake: Arc<Intake>,
    pub(super) control: UnixListener,
    pub(super) admin: Option<TcpListener>,
    pub(super) api: Option<TcpListener>,
    pub(super) wire: Option<Arc<Wire>>,
}

impl Bound {
    /// Takes from `sockets` what is there and binds the rest.
    pub(super) fn new(
        config: &Config,
        sockets: &mut Sockets,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, Error> {
        let node = &config.node;
        let dns = listen::dns(sockets, node)?;
        metrics.listens(&node.listen);
        let encrypted = match &config.tls {
            Some(tls) => listen::encrypted(sockets, tls)?,
            None => listen::Encrypted::default(),
        };
        let reports = listen::datagrams(sockets, "node.reports", node.reports)?;
        let intake = Intake::new(reports, config, Arc::clone(metrics));
        let intake = Arc::new(intake.map_err(system("preparing the socket for reports"))?);
        let control = listen::control(sockets, &node.control)?;
        let admin = node.admin;
        let admin = admin.map(|admin| listen::tcp(sockets, "node.admin", admin));
        let admin = admin.transpose()?;
        let api = config.api.as_ref().map(|api| api.listen);
        let api = api.map(|api| listen::tcp(sockets, "api.listen", api));
        let api = api.transpose()?;
        let wire = config.sharing.as_ref().map(|sharing| {
            let socket = listen::datagrams(sockets, "sharing.listen", sharing.listen)?;
            let wire = Wire::new(socket, node.id, sharing, Arc::clone(metrics));
            wire.map(Arc::new)
                .map_err(system("preparing the socket between nameservers"))
        });
        let wire = wire.transpose()?;
        sockets.settle();
        Ok(Self {
            dns,
            encrypted,
            intake,
            control,
            admin,
            api,
            wire,
        })
    }
}
