//! Clocks that are an hour wrong.

use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::fleet::Fleet;
use cluster_tests::fleet::daemon::faketime;
use cluster_tests::fleet::plan::Plan;
use cluster_tests::tools;

/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(15);
const DEADLINE: Duration = Duration::from_secs(30);

/// One name server is right, one ahead, one behind, and so are three relays. What is fresh each
/// name server judges by its own monotonic clock, so nothing is silent; a relay is out only where
/// the credentials of its clients have expired by its clock, which is how it treats them.
pub(crate) fn an_hour_ahead_and_behind() {
    let name = "clocks";
    if faketime().is_none() {
        tools::skip(name, "faketime is not installed");
        return;
    }
    let mut plan = Plan::new(name, 1);
    plan.dnsds = 3;
    let (behind, ahead) = (1, 5);
    let id = |relay: usize| plan.relays[relay].id.clone();
    plan.clocks = vec![
        ("ns2".to_owned(), "+1h"),
        ("ns3".to_owned(), "-1h"),
        (id(behind), "-1h"),
        (id(ahead), "+1h"),
    ];
    let Some(fleet) = Fleet::start(plan) else {
        return;
    };
    let since = Instant::now();
    for relay in 0..fleet.relays.len() {
        // Its credentials were good an hour ago, and then only the relay behind takes them: where
        // most fail alike, the name server takes it for its own fault.
        let blind = if relay == behind { "up" } else { "suspect" };
        let right = if relay == ahead { "down" } else { "up" };
        fleet.becomes(0, relay, right, DEADLINE);
        fleet.becomes(1, relay, "up", DEADLINE);
        fleet.becomes(2, relay, blind, DEADLINE);
    }
    let took = since.elapsed().as_secs_f64();
    println!("measured clocks: the relay ahead is found out within {took:.2} s");
    let since = Instant::now();
    thread::sleep(WATCHED);
    fleet.nothing_else(since, &[]);
    let silent = fleet.witness.changes(since);
    let silent = silent.iter().find(|change| change.reason == "silent");
    assert_eq!(silent, None);
}
