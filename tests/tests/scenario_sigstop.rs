//! A relay hangs: its sockets stay open, nothing answers, and clients still land on another. When it
//! goes on, it comes back.

use std::time::{Duration, Instant};

use cluster_tests::process::{Cluster, signal};
use cluster_tests::{outage, tools};
use local_cluster::event::Event;
use nix::sys::signal::Signal;

#[test]
fn a_hung_relay_leaves_every_answer_and_comes_back() {
    if !tools::present("scenario_sigstop", &outage::TOOLS) {
        return;
    }
    let cluster = Cluster::start("sigstop");
    let relay = outage::course(&cluster, "sigstop", Duration::from_secs(5), |relay| {
        signal(relay.pid, Signal::SIGSTOP);
    });

    let resumed = Instant::now();
    signal(relay.pid, Signal::SIGCONT);
    let mut waiting: Vec<_> = cluster
        .ready
        .dns_servers
        .iter()
        .map(|server| &server.id)
        .collect();
    while !waiting.is_empty() {
        let up = cluster.event(
            "the relay is up again",
            Duration::from_mins(1),
            |event| match event {
                Event::Verdict {
                    dnsd,
                    relay: of,
                    state,
                    ..
                } if *of == relay.id && state == "up" => Some(dnsd.clone()),
                _ => None,
            },
        );
        println!(
            "measured sigstop-return {up} {:.2} s",
            resumed.elapsed().as_secs_f64()
        );
        waiting.retain(|id| **id != up);
    }
}
