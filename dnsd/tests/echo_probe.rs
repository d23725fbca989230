//! The echo probe against coturn: it passes, it tells failures apart, and it leaves nothing behind.

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use common::coturn::Coturn;
use credentials::{Credential, Secret, SecretRing};
use dnsd::probe::echo::{Route, run};
use dnsd_core::health::Outcome;
use tokio::sync::oneshot;

const SECRET: &str = "the secret of these tests";
const PATIENCE: Duration = Duration::from_millis(1500);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 9, 1));

fn credential(secret: &str) -> Credential {
    let secret = Secret::new(secret.as_bytes().to_vec()).expect("long enough");
    let ring = SecretRing::new(secret, Vec::new()).expect("one secret");
    credentials::issue(&ring, Some("probe"), 600, dnsd::clock::unix()).expect("credential")
}

async fn probe(relay: SocketAddr, credential: &Credential) -> Outcome {
    let (told, outcome) = oneshot::channel();
    let route = Route {
        client: LOCAL,
        relay,
        peer: LOCAL,
    };
    run(route, credential, PATIENCE, told).await;
    outcome.await.expect("an outcome")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime")
}

#[test]
fn passes_through_coturn() {
    if !common::has("passes_through_coturn", "turnserver") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let relay = Coturn::start(dir.path(), Ipv4Addr::new(127, 0, 1, 11), None, SECRET, &[]);
    let outcome = runtime().block_on(probe(relay.address, &credential(SECRET)));
    assert!(matches!(outcome, Outcome::Ok { .. }), "{outcome:?}");
}

#[test]
fn a_wrong_secret_is_told() {
    if !common::has("a_wrong_secret_is_told", "turnserver") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let relay = Coturn::start(dir.path(), Ipv4Addr::new(127, 0, 1, 12), None, SECRET, &[]);
    let outcome = runtime().block_on(probe(relay.address, &credential("another secret, as long")));
    assert!(
        matches!(&outcome, Outcome::Failed(why) if why.contains("401")),
        "{outcome:?}"
    );
}

#[test]
fn a_relay_that_drops_the_data_is_caught() {
    if !common::has("a_relay_that_drops_the_data_is_caught", "turnserver") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let denied = ["--denied-peer-ip", "127.0.9.0-127.0.9.255"];
    let relay = Coturn::start(
        dir.path(),
        Ipv4Addr::new(127, 0, 1, 13),
        None,
        SECRET,
        &denied,
    );
    let outcome = runtime().block_on(probe(relay.address, &credential(SECRET)));
    assert!(
        matches!(&outcome, Outcome::Failed(why) if why.contains("403")),
        "{outcome:?}"
    );
}

#[test]
fn silence_times_out_and_a_closed_port_is_refused() {
    let runtime = runtime();
    let silent = UdpSocket::bind("127.0.1.14:0").expect("socket");
    let address = silent.local_addr().expect("address");
    let begun = Instant::now();
    let (told, outcome) = oneshot::channel();
    let route = Route {
        client: LOCAL,
        relay: address,
        peer: LOCAL,
    };
    runtime.spawn(async move { run(route, &credential(SECRET), PATIENCE, told).await });
    let outcome = runtime.block_on(outcome).expect("an outcome");
    assert!(matches!(outcome, Outcome::Timeout), "{outcome:?}");
    assert!(
        (1400..2500).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
    drop(silent);
    let begun = Instant::now();
    let outcome = runtime.block_on(probe(address, &credential(SECRET)));
    assert!(matches!(outcome, Outcome::Refused), "{outcome:?}");
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
}
