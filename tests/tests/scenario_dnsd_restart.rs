//! A name server dies and comes back: its first answer is the last it knew to be good.

use std::time::{Duration, Instant};

use cluster_tests::dig::dig;
use cluster_tests::process::{Cluster, again, signal};
use cluster_tests::timing::{ask, measure, until};
use cluster_tests::tools;
use nix::sys::signal::Signal;

#[test]
fn a_restarted_name_server_answers_at_once_with_what_it_knew() {
    if !tools::present("scenario_dnsd_restart", &["dig"]) {
        return;
    }
    let cluster = Cluster::start("dnsd-restart");
    let credential = cluster.credential("");
    let names = cluster.names(&credential);
    let server = cluster.dnsd("ns1");
    // A dead relay is what tells knowledge from the bare configuration.
    let dead = cluster.relay_at(dig(server.address, &credential.lanes[0]).addresses[0]);
    let without = |addresses: &[std::net::IpAddr]| {
        !addresses.is_empty() && !addresses.contains(&(*dead.address.ip()).into())
    };
    let start = Instant::now();
    signal(dead.pid, Signal::SIGKILL);
    let times = (Duration::from_secs(3), Duration::from_secs(2));
    measure(
        &cluster,
        "dnsd-restart-before",
        &names,
        start,
        times,
        |reply| without(&reply.addresses),
    );
    let before = dig(server.address, &credential.lanes[0]);

    signal(server.pid, Signal::SIGKILL);
    until("the name server is gone", Duration::from_secs(5), || {
        ask(server.address, &names[0]).is_err().then_some(())
    });
    let start = Instant::now();
    let _again = again(&server.command, &server.log);
    let first = until(
        "an answer after the restart",
        Duration::from_secs(5),
        || ask(server.address, &credential.lanes[0]).ok(),
    );
    let took = start.elapsed();
    println!("measured dnsd-restart ns1 {:.2} s", took.as_secs_f64());
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert!(without(&first.addresses), "{first:?}");
    assert_eq!(
        first.addresses, before.addresses,
        "not what it answered before"
    );
    // And it stays so while the rest of the cluster is heard again.
    let times = (Duration::from_secs(1), Duration::from_secs(4));
    measure(
        &cluster,
        "dnsd-restart-after",
        &names,
        Instant::now(),
        times,
        |reply| without(&reply.addresses),
    );
}
