//! A relay is drained: it leaves the answers at once, and nobody who uses it loses a packet.

use std::time::{Duration, Instant};

use cluster_tests::dig::dig;
use cluster_tests::process::{Cluster, signal};
use cluster_tests::timing::{measure, until};
use cluster_tests::{outage, tools, uclient};
use local_cluster::event::Event;
use nix::sys::signal::Signal;

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
    until("the session is relayed", Duration::from_secs(10), || {
        (uclient::udp_sockets(relay.address, 49152..=65535) > 0).then_some(())
    });

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

    let counted = session.finish();
    assert_eq!((counted.sent, counted.received), (MESSAGES, MESSAGES));
    let (code, signal) =
        cluster.event(
            "the relay exits",
            Duration::from_secs(30),
            |event| match event {
                Event::Exited {
                    process,
                    code,
                    signal,
                    ..
                } if *process == relay.id => Some((*code, *signal)),
                _ => None,
            },
        );
    assert_eq!((code, signal), (Some(0), None), "it was empty");
    println!(
        "measured drain-exit {} {:.2} s",
        relay.id,
        start.elapsed().as_secs_f64()
    );
}
