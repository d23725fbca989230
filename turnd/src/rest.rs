//! The credentials endpoint: what its answers are made of, exchanged as a whole on reload.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use credentials::http::{ApiKey, Endpoint, InvalidIssuer, Issuer, Ports, Provider, RateLimit};
use credentials::label::Lane;
use credentials::{Credential, Secret, TtlPolicy, UnixTime};
use liveness::State;
use serde_json::json;

use crate::clock;
use crate::config::{Config, Rest};
use crate::status::Status;

/// What the REST routes are given.
#[derive(Debug)]
pub struct Credentials {
    issuer: ArcSwap<Issuer>,
    status: Arc<Status>,
}

impl Credentials {
    /// Answers are made from `issuer` until it is exchanged.
    pub fn new(issuer: Issuer, status: Arc<Status>) -> Self {
        Self {
            issuer: ArcSwap::from_pointee(issuer),
            status,
        }
    }

    /// Answers are made from another issuer from now on.
    pub fn exchange(&self, issuer: Issuer) {
        self.issuer.store(Arc::new(issuer));
    }
}

impl Provider for Credentials {
    fn issuer(&self) -> Arc<Issuer> {
        self.issuer.load_full()
    }

    fn now(&self) -> UnixTime {
        clock::unix()
    }

    fn fill(&self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            // It spreads clients and retries; nothing secret is made of it.
            tracing::error!(%error, "no randomness");
        }
    }

    fn ready(&self) -> bool {
        // A draining relay still issues: the credentials are good on the whole fleet.
        self.status.view().state != State::Starting
    }
}

/// The issuer of a configuration.
///
/// # Errors
/// When the parts do not fit together; a checked configuration always does.
pub fn issuer(config: &Config, rest: &Rest) -> Result<Issuer, InvalidIssuer> {
    let seconds = |time: std::time::Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let keys = rest.api_keys.iter().filter_map(|key| {
        Some(ApiKey {
            id: key.id.clone(),
            secret: Secret::new(key.key.expose().as_bytes().to_vec()).ok()?,
            ttl: TtlPolicy {
                min: seconds(key.ttl_min),
                default: seconds(key.ttl_default),
                max: seconds(key.ttl_max),
            },
            rate: RateLimit::default(),
        })
    });
    // A label is believed as long as the credential it came with can be.
    let longest = rest.api_keys.iter().map(|key| seconds(key.ttl_max)).max();
    let endpoint = Endpoint {
        zone: config.relay.zone.clone(),
        ports: ports(config),
        stun: rest.stun,
    };
    let regions = rest.clone();
    Issuer::new(
        config.secrets.ring.clone(),
        config.secrets.labels.clone(),
        keys.collect(),
        endpoint,
        Box::new(move |client| regions.region_of(client).map(str::to_owned)),
        longest.unwrap_or_default(),
    )
}

/// The ports clients are sent to. The whole fleet has the same, as it has one zone.
pub fn ports(config: &Config) -> Ports {
    let tcp = || config.relay.listen_tcp.iter().map(SocketAddr::port);
    // Whoever needs TLS may be behind a firewall that knows little else than 443.
    let known = [443, 5349]
        .into_iter()
        .find(|port| tcp().any(|p| p == *port));
    let tls = config
        .tls
        .as_ref()
        .and_then(|_| known.or_else(|| tcp().next()));
    Ports {
        udp: config.relay.listen.first().map_or(3478, SocketAddr::port),
        tcp: tcp().next(),
        tls,
    }
}

/// An `RTCIceServer` list with the names of both lanes, for a credential minted by hand.
pub fn ice_servers(config: &Config, credential: &Credential) -> serde_json::Value {
    let zone = &config.relay.zone;
    let host = |lane: Lane, _| format!("{}.{zone}", lane.as_str());
    json!({
        "iceServers": [{
            "urls": ports(config).turn(host),
            "username": credential.username,
            "credential": credential.password.as_str(),
        }],
    })
}
