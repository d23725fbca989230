//! What the relay core of each worker is told, made from the configuration.

use std::sync::Arc;

use liveness::RevocationTag;
use turnd_core::{Config as Core, Lifetimes, Limits, PeerFilter, PortSlice, RelayAddresses};

use crate::config::Config;

/// One configuration per worker: they differ in their share of the relayed ports. `told` are those
/// whom nameservers revoke.
///
/// `None` when there are too few ports for the workers, which a checked configuration rules out.
pub fn per_worker(config: &Config, told: &[RevocationTag]) -> Option<Vec<Arc<Core>>> {
    let revoked = config.revocations.told(told);
    let workers = u16::try_from(config.relay.worker_count()).ok()?;
    let one = |worker| {
        let ports = PortSlice::new(config.relay.ports.ports(), worker, workers).ok()?;
        Some(Arc::new(Core {
            revoked: revoked.clone(),
            ..core(config, ports)
        }))
    };
    (0..workers).map(one).collect()
}

fn core(config: &Config, ports: PortSlice) -> Core {
    let relay = &config.relay;
    let relay_addresses = RelayAddresses {
        v4: relay.ipv4,
        v6: relay.ipv6,
    };
    let external_addresses = RelayAddresses {
        v4: relay.external_ipv4,
        v6: relay.external_ipv6,
    };
    let rest = config.rest.as_ref().map(|rest| rest.listen);
    let dnsd = config.liveness.iter().flat_map(|l| l.dnsd.iter().copied());
    let listen = relay.listen.iter().chain(&relay.listen_tcp).copied();
    let control = listen.chain(rest).chain(config.admin).chain(dnsd);
    let peers = PeerFilter::new(relay_addresses, relay.ports.ports())
        .external(external_addresses)
        .allow(config.peers.allow.iter().copied())
        .deny(config.peers.deny.iter().copied())
        .control(control);
    Core {
        realm: relay.realm.clone(),
        software: Some(concat!("Turnfleet ", env!("CARGO_PKG_VERSION")).to_owned()),
        secrets: config.secrets.ring.clone(),
        revoked: config.revocations.clone(),
        nonce_keys: config.secrets.nonces.clone(),
        relay_addresses,
        external_addresses,
        ports,
        peers,
        limits: Limits {
            // The ledger caps all workers together; one of them may hold nearly all.
            allocations: config.limits.sessions as usize,
            bandwidth: config.limits.allocation_bandwidth.0 / 8,
            packets: config.limits.allocation_packets,
            new_peers: config.limits.new_peers,
            ..Limits::default().challenges_per_source(config.limits.challenges_per_source)
        },
        lifetimes: Lifetimes {
            max_session: config.limits.max_session,
            ..Lifetimes::default()
        },
        tcp_allocations: relay.tcp_allocations,
        strict_expiry: config.limits.strict_expiry,
        mobility: relay.mobility,
    }
}
