//! What happens to the network of one relay.

use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::fleet::Fleet;
use cluster_tests::fleet::plan::{Plan, RELAY_PORTS, TURN};
use cluster_tests::netns::bridge::Way;

/// From the moment a relay is cut off to the last answer that names it.
const SILENT: Duration = Duration::from_secs(3);
/// The same where its reports go on.
const GRAY: Duration = Duration::from_secs(8);
/// From the beginning of heavy loss to its being noticed.
const LOSSY: Duration = Duration::from_mins(2);
/// How long slight loss is watched.
const WATCHED: Duration = Duration::from_secs(45);

/// The relay that a client uses has `harm` done to its network; within `limit` no answer names it,
/// and when all is mended it comes back.
fn course(plan: Plan, limit: Duration, harm: impl Fn(&Fleet, usize)) {
    let name = plan.name;
    let Some(fleet) = Fleet::start(plan) else {
        return;
    };
    let relay = fleet.favourite();
    let since = Instant::now();
    harm(&fleet, relay);
    fleet.gone(name, &[relay], since, limit);
    fleet.lanes_are_apart();
    fleet.relays[relay].host.mend();
    let mended = Instant::now();
    fleet.all_become("up", Duration::from_secs(20));
    println!(
        "measured {name}-return: {:.2} s",
        mended.elapsed().as_secs_f64()
    );
    fleet.nothing_else(since, &[relay]);
}

pub(crate) fn link_down() {
    course(Plan::new("link-down", 1), SILENT, |fleet, relay| {
        fleet.relays[relay].host.unplug();
    });
}

pub(crate) fn link_down_by_vote() {
    course(
        Plan::sharing("vote-link-down", 1),
        SILENT,
        |fleet, relay| {
            fleet.relays[relay].host.unplug();
        },
    );
}

/// Heartbeats and STUN are fine, nothing is relayed.
pub(crate) fn egress_blocked() {
    course(Plan::new("egress-blocked", 1), GRAY, |fleet, relay| {
        fleet.relays[relay]
            .host
            .block(&format!("udp sport {RELAY_PORTS}"), Way::Out);
    });
}

pub(crate) fn egress_blocked_by_vote() {
    course(
        Plan::sharing("vote-egress-blocked", 1),
        GRAY,
        |fleet, relay| {
            fleet.relays[relay]
                .host
                .block(&format!("udp sport {RELAY_PORTS}"), Way::Out);
        },
    );
}

/// Heartbeats flow, no client gets in.
pub(crate) fn ingress_blocked() {
    course(Plan::new("ingress-blocked", 1), GRAY, |fleet, relay| {
        fleet.relays[relay]
            .host
            .block(&format!("udp dport {TURN}"), Way::In);
    });
}

/// Nothing that the relay sends arrives.
pub(crate) fn one_way_out() {
    course(Plan::new("one-way-out", 1), SILENT, |fleet, relay| {
        fleet.relays[relay].host.lose(100, Way::Out);
    });
}

/// Nothing arrives at the relay, but its reports do at the name servers.
pub(crate) fn one_way_in() {
    course(Plan::new("one-way-in", 1), GRAY, |fleet, relay| {
        fleet.relays[relay].host.lose(100, Way::In);
    });
}

/// A relay that loses a third of all packets is doubted, and all others are left alone.
pub(crate) fn a_third_is_lost() {
    let Some(fleet) = Fleet::start(Plan::new("loss-30", 1)) else {
        return;
    };
    let relay = fleet.favourite();
    let since = Instant::now();
    fleet.relays[relay].host.lose(30, Way::Both);
    for dnsd in &fleet.dnsds {
        let id = &fleet.relays[relay].id;
        while fleet.witness.state(&dnsd.id, id).as_deref() == Some("up") {
            assert!(since.elapsed() < LOSSY, "{} sees nothing of it", dnsd.id);
            thread::sleep(Duration::from_millis(20));
        }
        println!(
            "measured loss-30-doubted {}: {:.2} s",
            dnsd.id,
            since.elapsed().as_secs_f64()
        );
    }
    fleet.nothing_else(since, &[relay]);
}

/// All relays lose one packet in twenty, each way: none is taken out for that.
pub(crate) fn five_percent_are_lost() {
    let Some(fleet) = Fleet::start(Plan::new("loss-5", 1)) else {
        return;
    };
    let since = Instant::now();
    for relay in &fleet.relays {
        relay.host.lose(5, Way::Both);
    }
    thread::sleep(WATCHED);
    let doubts = fleet
        .witness
        .changes(since)
        .iter()
        .filter(|c| c.state != "up")
        .count();
    println!(
        "measured loss-5: none down in {} s, {doubts} doubts",
        WATCHED.as_secs()
    );
    fleet.nothing_else(since, &[]);
}
