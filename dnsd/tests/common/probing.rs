//! Echo probes run by hand: from one loopback address, with a credential of the tests' secret.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use credentials::{Credential, Secret, SecretRing};
use dnsd::probe::echo::{Found, Route, run};
use dnsd::probe::tls::{Judge, Trust};
use dnsd::probe::way::Way;
use dnsd_core::health::Outcome;
use dnsd_core::paths::Transport;
use tokio::sync::oneshot;

pub(crate) const SECRET: &str = "the secret of these tests";
pub(crate) const PATIENCE: Duration = Duration::from_millis(1500);
pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 9, 1));

pub(crate) fn credential(secret: &str) -> Credential {
    let secret = Secret::new(secret.as_bytes().to_vec()).expect("long enough");
    let ring = SecretRing::new(secret, Vec::new()).expect("one secret");
    credentials::issue(&ring, Some("probe"), 600, dnsd::clock::unix()).expect("credential")
}

pub(crate) fn route(relay: SocketAddr, transport: Transport, trust: &Trust) -> Route {
    let client = match relay {
        SocketAddr::V4(_) => LOCAL,
        SocketAddr::V6(_) => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
    };
    Route {
        way: Way {
            client,
            relay,
            transport,
            judge: Arc::new(Judge::new(trust)),
        },
        peer: LOCAL,
    }
}

pub(crate) async fn probe_by(route: Route, credential: &Credential) -> Found {
    let (told, found) = oneshot::channel();
    run(route, credential, PATIENCE, told).await;
    found.await.expect("an outcome")
}

pub(crate) async fn probe(relay: SocketAddr, credential: &Credential) -> Outcome {
    let route = route(relay, Transport::Udp, &Trust::default());
    probe_by(route, credential).await.outcome
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime")
}
