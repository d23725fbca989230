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
/// name server judges by its own monotonic clock, so nothing is silent; and the credentials of its
/// probes expire by the clock of most relays. So all see the same: the one relay is out by whose
/// clock the credentials of clients have expired, which is how it treats them, and no other.
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
        let right = if relay == ahead { "down" } else { "up" };
        for dnsd in 0..3 {
            fleet.becomes(dnsd, relay, right, DEADLINE);
        }
    }
    let took = since.elapsed().as_secs_f64();
    println!("measured clocks: the relay ahead is found out within {took:.2} s");
    let since = Instant::now();
    thread::sleep(WATCHED);
    fleet.nothing_else(since, &[]);
    // Nobody leaves the answers of any name server, or comes back.
    assert_eq!(fleet.witness.changes(since), []);
    let out = fleet.addresses(&[ahead]);
    let rounds = fleet.witness.rounds(since);
    assert!(rounds.iter().all(|round| !round.names_any(&out)));
    let offset = |dnsd| fleet.metric(dnsd, "clock_offset");
    assert_eq!(offset(0), 0);
    for (dnsd, wrong) in [(1, -3600), (2, 3600)] {
        assert!((offset(dnsd) - wrong).abs() <= 1, "{}", offset(dnsd));
        let log = fleet.dnsds[dnsd].log();
        assert!(log.contains("the relays' clocks are ahead of this node's"));
    }
}
