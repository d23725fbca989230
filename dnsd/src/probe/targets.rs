//! What of each relay is probed, and from where.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use dnsd_core::inventory::{Inventory, RelayEntry};
use dnsd_core::paths::{Family, Path};
use liveness::RelayId;

use super::echo::Route;
use super::tls::Judge;
use super::way::Way;
use crate::config::Config;

/// The ways to one relay.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// By its main transport: of each family, IPv4 first.
    pub(super) ways: Vec<Route>,
    /// Every one that it could serve.
    pub(super) paths: BTreeMap<Path, Route>,
}

/// Where probes are sent from, and what certificates must be good for.
#[derive(Debug)]
pub(super) struct Source {
    ipv4: Ipv4Addr,
    ipv6: Option<Ipv6Addr>,
    judge: Arc<Judge>,
}

impl Source {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            ipv4: config.node.probe_ipv4,
            ipv6: config.node.probe_ipv6,
            judge: Arc::new(Judge::new(&config.trust)),
        }
    }

    /// The ways to all relays, as far as there is an address to go from.
    pub(super) fn targets(&self, inventory: &Inventory) -> BTreeMap<RelayId, Target> {
        let relays = inventory.relays().iter();
        relays.map(|relay| (relay.id, self.target(relay))).collect()
    }

    fn target(&self, relay: &RelayEntry) -> Target {
        let route = |path: Path| {
            let client = match path.family {
                Family::Ipv4 => IpAddr::V4(self.ipv4),
                Family::Ipv6 => IpAddr::V6(self.ipv6?),
            };
            let way = Way {
                client,
                relay: relay.address(path)?,
                transport: path.transport,
                judge: Arc::clone(&self.judge),
            };
            Some(Route {
                way,
                peer: self.ipv4.into(),
            })
        };
        let paths: BTreeMap<Path, Route> = Path::all()
            .filter_map(|path| Some((path, route(path)?)))
            .collect();
        let main = relay.main_transport();
        let ways = paths.iter().filter(|(path, _)| path.transport == main);
        Target {
            ways: ways.map(|(_, route)| route.clone()).collect(),
            paths,
        }
    }
}
