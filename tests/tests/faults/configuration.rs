//! Configurations that should not be taken over, and a secret that one relay does not get.

use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::fleet::Fleet;
use cluster_tests::fleet::plan::{Plan, SECRET};
use cluster_tests::timing::until;
use nix::sys::signal::Signal;

const DEADLINE: Duration = Duration::from_secs(20);
/// How long nothing may change.
const WATCHED: Duration = Duration::from_secs(4);
/// From a rotation to the last answer that names a relay which misses it.
const GRAY: Duration = Duration::from_secs(10);

/// All name servers get a file, and none takes it over; no answer changes.
fn refused_by_all(fleet: &Fleet, label: &str, since: Instant, push: impl Fn(usize)) {
    for dnsd in 0..fleet.dnsds.len() {
        push(dnsd);
        until(&format!("{label} is refused"), DEADLINE, || {
            (fleet.metric(dnsd, "config_reload_ok") == 0).then_some(())
        });
    }
    println!("measured {label}: refused by all");
    thread::sleep(WATCHED);
    fleet.nothing_else(since, &[]);
    let named = fleet.witness.latest(0).unwrap().named();
    let changes = fleet.witness.changes(since);
    assert!(named.len() > 2 && changes.is_empty(), "{changes:#?}");
}

/// Somebody pushes to all of them a file that names hardly any relay, and one that is none.
pub(crate) fn bad_ones_for_all() {
    let Some(fleet) = Fleet::start(Plan::sharing("bad-configuration", 1)) else {
        return;
    };
    let since = Instant::now();
    let mut few = fleet.plan.clone();
    few.generation += 1;
    few.relays.truncate(1);
    refused_by_all(&fleet, "few-relays", since, |dnsd| {
        fleet.reconfigure(dnsd, &few);
    });
    let mut good = fleet.plan.clone();
    good.generation += 2;
    taken(&fleet, &good);
    refused_by_all(&fleet, "no-configuration", since, |dnsd| {
        fleet.dnsds[dnsd].configure("relays = everything\n");
        fleet.dnsds[dnsd].signal(Signal::SIGHUP);
    });
}

/// A slow hand puts an earlier file back after a later one is in force.
pub(crate) fn an_old_generation() {
    let Some(fleet) = Fleet::start(Plan::sharing("old-generation", 1)) else {
        return;
    };
    let since = Instant::now();
    let mut newer = fleet.plan.clone();
    newer.generation = 7;
    taken(&fleet, &newer);
    refused_by_all(&fleet, "old-generation", since, |dnsd| {
        fleet.reconfigure(dnsd, &fleet.plan);
    });
    for dnsd in 0..fleet.dnsds.len() {
        assert_eq!(fleet.metric(dnsd, "config_generation"), 7);
    }
}

/// All name servers get a file and take it over.
fn taken(fleet: &Fleet, plan: &Plan) {
    for dnsd in 0..fleet.dnsds.len() {
        fleet.reconfigure(dnsd, plan);
        until("the configuration is taken over", DEADLINE, || {
            let generation = fleet.metric(dnsd, "config_generation");
            let generation = generation.cast_unsigned() == plan.generation;
            (generation && fleet.metric(dnsd, "config_reload_ok") == 1).then_some(())
        });
    }
}

/// The shared secret is rotated, in two steps as it should be, and one relay hears of neither: it
/// would turn away every client with a new credential, and leaves the answers.
pub(crate) fn a_rotation_that_one_relay_misses() {
    let Some(fleet) = Fleet::start(Plan::sharing("rotation", 1)) else {
        return;
    };
    let next = "another-secret-under-test-another-secret";
    let misses = fleet.favourite();
    let began = Instant::now();
    let mut plan = fleet.plan.clone();
    let mut since = began;
    for secrets in [vec![SECRET, next], vec![next, SECRET]] {
        plan.secrets = secrets;
        plan.generation += 1;
        for (index, relay) in fleet
            .relays
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != misses)
        {
            relay.configure(&plan.turnd(index, &relay.dir));
            relay.signal(Signal::SIGHUP);
        }
        // A relay has taken it when it logs so; nothing may change meanwhile.
        thread::sleep(WATCHED);
        fleet.nothing_else(began, &[]);
        since = Instant::now();
        taken(&fleet, &plan);
    }
    fleet.gone("rotation-missed", &[misses], since, GRAY);
    thread::sleep(WATCHED);
    fleet.nothing_else(began, &[misses]);
}
