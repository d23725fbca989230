//! A relay is drained: it leaves the answers at once, and nobody who uses it loses a packet.

use std::time::{Duration, Instant};

use cluster_tests::dig::dig;
use cluster_tests::process::{Cluster, signal};
use cluster_tests::timing::measure;
use cluster_tests::{outage, tools, uclient};
use local_cluster::event::Event;
use nix::sys::signal::Signal;

/// `relay.drain_grace` of the local cluster.
const GRACE: Duration = Duration::from_secs(20);
/// Messages of the session that spans the drain: eight seconds of them.
const MESSAGES: u32 = 400;

#[test]
fn a_drained_relay_leaves_the_answers_but_not_its_clients() {
    if !tools::present("scenario_drain", &outage::TOOLS) {
        return;
    }
    let cluster = Cluster::start("drain");
    let credential = cluster.credential("");
    let server = cluster.servers().next().expect("a name server");
    let relay = cluster.relay_at(dig(server, &credential.lanes[0]).addresses[0]);
    let _peer = uclient::peer(cluster.ready.peer);
    let session = uclient::start(relay.address, cluster.ready.peer, &credential, MESSAGES);
    uclient::wait_relayed(relay.address, Duration::from_secs(20));

    let start = Instant::now();
    signal(relay.pid, Signal::SIGTERM);
    let ip = *relay.address.ip();
    let (limit, hold) = (Duration::from_millis(500), Duration::from_secs(1));
    measure(
        &cluster,
        "drain",
        &cluster.names(&credential),
        start,
        (limit, hold),
        |reply| !reply.addresses.is_empty() && !reply.addresses.contains(&ip.into()),
    );

    // One without clients has nothing to wait for.
    let idle = cluster
        .ready
        .relays
        .iter()
        .rfind(|other| other.id != relay.id)
        .expect("another");
    let idle_start = Instant::now();
    signal(idle.pid, Signal::SIGTERM);
    exits(&cluster, &idle.id, idle_start, Duration::from_secs(5));

    let counted = session.finish();
    assert_eq!((counted.sent, counted.received), (MESSAGES, MESSAGES));
    // The client leaves without a word, so its allocation stands until the grace ends.
    exits(&cluster, &relay.id, start, GRACE + Duration::from_secs(10));
    assert!(start.elapsed() >= GRACE, "it ended under an allocation");
}

/// Waits until the relay `id`, drained at `start`, exits with code 0.
fn exits(cluster: &Cluster, id: &str, start: Instant, limit: Duration) {
    let ended = cluster.event("the relay exits", limit, |event| match event {
        Event::Exited {
            process,
            code,
            signal,
            ..
        } if process == id => Some((*code, *signal)),
        _ => None,
    });
    println!(
        "measured drain-exit {id} {:.2} s",
        start.elapsed().as_secs_f64()
    );
    assert_eq!(ended, (Some(0), None), "{id}");
}
