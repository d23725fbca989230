//! Many at once: a zone, a vendor, a region, everything; a name server that sees nothing; a drain.

use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::fleet::Fleet;
use cluster_tests::fleet::plan::{Place, Plan};
use nix::sys::signal::Signal;

/// From the loss of many to the last answer that names one of them.
const LOST: Duration = Duration::from_secs(5);
/// From the word of a relay that it leaves to the last answer that names it.
const DRAINED: Duration = Duration::from_millis(300);
/// From the return of a relay, when there is no other, to its being the answer.
const RETURN: Duration = Duration::from_secs(3);
/// `answers.ttl_min`, seconds.
const TTL_MIN: u32 = 5;

/// The machines of all relays that `which` picks vanish together; the others serve.
fn course(plan: Plan, which: impl Fn(&Place, &Place) -> bool) {
    let name = plan.name;
    let Some(fleet) = Fleet::start(plan) else {
        return;
    };
    let favourite = fleet.place(fleet.favourite()).clone();
    let lost = fleet.those(|place| which(place, &favourite));
    let since = Instant::now();
    for relay in &lost {
        fleet.relays[*relay].host.unplug();
    }
    fleet.gone(name, &lost, since, LOST);
    fleet.lanes_are_apart();
    for relay in &lost {
        fleet.relays[*relay].host.plug();
    }
    let mended = Instant::now();
    fleet.all_become("up", Duration::from_secs(20));
    println!(
        "measured {name}-return: {:.2} s",
        mended.elapsed().as_secs_f64()
    );
    fleet.nothing_else(since, &lost);
}

pub(crate) fn zone_lost() {
    course(Plan::new("zone-lost", 2), |place, of| place.zone == of.zone);
}

pub(crate) fn zone_lost_by_vote() {
    course(Plan::sharing("vote-zone-lost", 2), |place, of| {
        place.zone == of.zone
    });
}

pub(crate) fn vendor_lost() {
    course(Plan::new("vendor-lost", 1), |place, of| {
        place.vendor == of.vendor
    });
}

pub(crate) fn vendor_lost_by_vote() {
    course(Plan::sharing("vote-vendor-lost", 1), |place, of| {
        place.vendor == of.vendor
    });
}

pub(crate) fn region_lost() {
    course(Plan::new("region-lost", 1), |place, of| {
        place.region == of.region
    });
}

pub(crate) fn region_lost_by_vote() {
    course(Plan::sharing("vote-region-lost", 1), |place, of| {
        place.region == of.region
    });
}

pub(crate) fn all_lost() {
    lose_all(Plan::new("all-lost", 1));
}

pub(crate) fn all_lost_by_vote() {
    lose_all(Plan::sharing("vote-all-lost", 1));
}

/// Every relay is killed: the last-known-good are answered, and then the first that comes back.
fn lose_all(plan: Plan) {
    let name = plan.name;
    let Some(fleet) = Fleet::start(plan) else {
        return;
    };
    let since = Instant::now();
    for relay in &fleet.relays {
        relay.kill();
    }
    fleet.all_become("down", Duration::from_secs(20));
    println!(
        "measured {name}-known: {:.2} s",
        since.elapsed().as_secs_f64()
    );
    fleet.settles(&format!("{name}-served"), Instant::now(), RETURN, |round| {
        round.ttl == TTL_MIN
    });
    let back = fleet.relays.last().unwrap();
    let returned = Instant::now();
    back.start();
    let addresses = back.host.addresses();
    fleet.settles(&format!("{name}-return"), returned, RETURN, |round| {
        round.named().iter().all(|named| addresses.contains(named))
    });
    fleet.never_empty(since);
}

/// A name server hears no relay and no other name server: whoever asks it gets answers all the
/// same, and when it hears again all is as before.
pub(crate) fn dnsd_cut_from_everything() {
    let Some(fleet) = Fleet::start(Plan::new("dnsd-cut", 1)) else {
        return;
    };
    let since = Instant::now();
    let (blind, others) = fleet.dnsds.split_first().unwrap();
    let cut = fleet.relays.iter().chain(others).map(|daemon| &daemon.host);
    blind.host.cut(cut);
    // Long enough for it to have given up every relay, were it to believe what it sees.
    thread::sleep(Duration::from_secs(20));
    fleet.never_empty(since);
    let named = |asker: usize| fleet.witness.latest(asker).unwrap().named().len();
    println!(
        "measured dnsd-cut: {} and {} addresses are still named",
        named(0),
        named(1)
    );
    blind.host.mend();
    let mended = Instant::now();
    fleet.all_become("up", Duration::from_secs(20));
    println!(
        "measured dnsd-cut-return: {:.2} s",
        mended.elapsed().as_secs_f64()
    );
    fleet.never_empty(since);
    // Those who saw everything were not impressed.
    let changes = fleet.witness.changes(since);
    assert!(
        changes.iter().all(|change| change.dnsd == blind.id),
        "{changes:#?}"
    );
}

/// A relay says that it leaves, and is gone.
pub(crate) fn drain() {
    let Some(fleet) = Fleet::start(Plan::new("fault-drain", 1)) else {
        return;
    };
    let relay = fleet.favourite();
    let since = Instant::now();
    fleet.relays[relay].signal(Signal::SIGTERM);
    fleet.gone("drain", &[relay], since, DRAINED);
    fleet.nothing_else(since, &[relay]);
}
