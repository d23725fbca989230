//! What happens to a relay's process.

use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::fleet::Fleet;
use cluster_tests::fleet::plan::Plan;

use crate::rounds;

/// From the death of a process to the last answer that names it: typical, and the longest.
const KILLED: [Duration; 2] = [Duration::from_millis(1500), Duration::from_secs(3)];
/// The same for one that hangs.
const HUNG: Duration = Duration::from_secs(3);
/// How many are killed in one fleet.
const KILLS: usize = 20;

pub(crate) fn sigkill() {
    kill_many(&Plan::new("sigkill", 4));
}

/// The same where the name servers have to agree.
pub(crate) fn sigkill_by_vote() {
    kill_many(&Plan::sharing("vote-sigkill", 4));
}

/// The relay that a client uses is killed, and then the one it goes to, twenty times.
fn kill_many(plan: &Plan) {
    let mut took = Vec::new();
    for _ in 0..rounds() {
        let Some(fleet) = Fleet::start(plan.clone()) else {
            return;
        };
        let mut killed = Vec::new();
        let began = Instant::now();
        for _ in 0..KILLS {
            let relay = fleet.favourite();
            killed.push(relay);
            let since = Instant::now();
            fleet.relays[relay].kill();
            took.push(fleet.gone(plan.name, &[relay], since, KILLED[1]));
        }
        fleet.nothing_else(began, &killed);
    }
    took.sort_unstable();
    let of = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    let (median, late) = (of(50), of(99));
    println!(
        "measured {}: {} kills, median {median:.2?}, 99th percentile {late:.2?}",
        plan.name,
        took.len()
    );
    assert!(median <= KILLED[0] && late <= KILLED[1], "{took:?}");
}

pub(crate) fn sigstop() {
    hang(Plan::new("sigstop", 1));
}

pub(crate) fn sigstop_by_vote() {
    hang(Plan::sharing("vote-sigstop", 1));
}

/// A relay hangs with its sockets open, goes on, and comes back.
fn hang(plan: Plan) {
    let name = plan.name;
    let Some(fleet) = Fleet::start(plan) else {
        return;
    };
    let relay = fleet.favourite();
    let since = Instant::now();
    fleet.relays[relay].hang();
    fleet.gone(name, &[relay], since, HUNG);
    fleet.relays[relay].resume();
    let resumed = Instant::now();
    fleet.all_become("up", Duration::from_secs(20));
    println!(
        "measured {name}-return: {:.2} s",
        resumed.elapsed().as_secs_f64()
    );
    fleet.nothing_else(since, &[relay]);
}

/// A relay is up for three seconds and down for three, over and over: it comes back once, and is
/// then held.
pub(crate) fn flapper() {
    let Some(fleet) = Fleet::start(Plan::new("flapper", 1)) else {
        return;
    };
    let relay = fleet.favourite();
    let (began, spell) = (Instant::now(), Duration::from_secs(3));
    for _ in 0..7 {
        fleet.relays[relay].kill();
        thread::sleep(spell);
        fleet.relays[relay].start();
        thread::sleep(spell);
    }
    for dnsd in &fleet.dnsds {
        let changes = fleet.witness.changes(began).into_iter();
        let own = changes.filter(|c| c.dnsd == dnsd.id && c.relay == fleet.relays[relay].id);
        // How often it came into the answers or left them.
        let mut turns = 0;
        let mut out = false;
        for change in own {
            turns += usize::from((change.state == "down") != out);
            out = change.state == "down";
        }
        println!(
            "measured flapper {}: {turns} changes in {} s",
            dnsd.id,
            began.elapsed().as_secs()
        );
        // Out, back once, and out again for good.
        assert!(turns <= 3 && out, "{turns} changes");
    }
    fleet.nothing_else(began, &[relay]);
}
