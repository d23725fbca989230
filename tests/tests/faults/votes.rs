//! Name servers that vote together, and do not see the same.

use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::fleet::Fleet;
use cluster_tests::fleet::plan::Plan;

/// Long enough for every threshold, and for silent observers not to count any more.
const LONG: Duration = Duration::from_secs(15);
/// From a relay's death to the last answer that names it, where name servers agree.
const KNOWN: Duration = Duration::from_secs(3);
/// The same at a name server that is alone against two and distrusts itself for a while.
const DOUBTING: Duration = Duration::from_secs(45);
/// From the mending of everything to its being as before.
const HEALED: Duration = Duration::from_secs(20);

/// One name server hears no relay, the others all: it keeps what it knew and says that it distrusts
/// itself, and what the others find dead it hears from them.
pub(crate) fn one_is_blind() {
    let Some(fleet) = Fleet::start(Plan::sharing("blind", 1)) else {
        return;
    };
    let since = Instant::now();
    let relays = || fleet.relays.iter().map(|relay| &relay.host);
    fleet.dnsds[0].host.cut(relays());
    thread::sleep(LONG);
    assert_eq!(fleet.metric(0, "isolated"), 1, "no alarm");
    assert_eq!(fleet.metric(1, "isolated"), 0);
    fleet.nothing_else(since, &[]);
    let changes = fleet.witness.changes(since);
    println!(
        "measured blind: {} changes in {} s",
        changes.len(),
        LONG.as_secs()
    );
    assert!(
        changes
            .iter()
            .all(|change| change.dnsd == fleet.dnsds[0].id),
        "{changes:#?}"
    );
    fleet.dnsds[0].host.mend();
    let mended = Instant::now();
    fleet.all_become("up", HEALED);
    println!(
        "measured blind-return: {:.2} s",
        mended.elapsed().as_secs_f64()
    );
    fleet.nothing_else(since, &[]);
}

/// The name servers do not hear each other, and hear all relays: nothing happens; and what dies
/// meanwhile is found.
pub(crate) fn ballots_are_cut() {
    let Some(fleet) = Fleet::start(Plan::sharing("ballots-cut", 1)) else {
        return;
    };
    let since = Instant::now();
    let [lonely, others @ ..] = &fleet.dnsds[..] else {
        return;
    };
    lonely.host.cut(others.iter().map(|other| &other.host));
    thread::sleep(LONG);
    fleet.nothing_else(since, &[]);
    let relay = fleet.favourite();
    let killed = Instant::now();
    fleet.relays[relay].kill();
    for dnsd in [1, 2] {
        fleet.becomes(dnsd, relay, "down", KNOWN);
    }
    println!(
        "measured ballots-cut, by two: {:.2} s",
        killed.elapsed().as_secs_f64()
    );
    fleet.gone("ballots-cut, by one", &[relay], killed, DOUBTING);
    lonely.host.mend();
    fleet.relays[relay].start();
    let mended = Instant::now();
    fleet.all_become("up", HEALED);
    println!(
        "measured ballots-cut-return: {:.2} s",
        mended.elapsed().as_secs_f64()
    );
    fleet.nothing_else(since, &[relay]);
}

/// The world falls into two: one name server with the relays of one region, two with the others.
/// All go on answering, and when it is whole again all agree.
pub(crate) fn the_world_is_split() {
    let Some(fleet) = Fleet::start(Plan::sharing("split", 1)) else {
        return;
    };
    let since = Instant::now();
    let far = |region: &str| fleet.those(|place| place.region != region);
    for (dnsd, region) in [(0, "eu"), (1, "us"), (2, "us")] {
        let others = (0..fleet.dnsds.len()).filter(|other| (*other == 0) != (dnsd == 0));
        let others = others.map(|other| &fleet.dnsds[other].host);
        let relays = far(region)
            .into_iter()
            .map(|relay| &fleet.relays[relay].host);
        fleet.dnsds[dnsd].host.cut(others.chain(relays));
    }
    thread::sleep(LONG);
    for dnsd in &fleet.dnsds {
        dnsd.host.mend();
    }
    let changes = fleet.witness.changes(since);
    let down = changes
        .iter()
        .filter(|change| change.state == "down")
        .count();
    println!("measured split: {down} relays called down by name servers that did not see them");
    let mended = Instant::now();
    fleet.all_become("up", HEALED);
    println!(
        "measured split-return: {:.2} s",
        mended.elapsed().as_secs_f64()
    );
    // What each side can see it keeps.
    for change in changes.iter().filter(|change| change.state == "down") {
        let side = if change.dnsd == "ns1" { "eu" } else { "us" };
        assert!(!change.relay.starts_with(side), "{change:?}");
    }
    fleet.never_empty(since);
}
