//! Faults of relays, networks and name servers, one test each, with real processes on machines of
//! their own, and how long each took to be gone from every answer.
//!
//! They wait most of their time, so many run at once. `FAULT_ROUNDS=5` repeats what has rounds.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod clocks;
mod configuration;
mod network;
mod outages;
mod paths;
mod process;
mod reports;
mod revocations;
mod votes;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Tests that run at once.
const THREADS: usize = 8;

/// A test from the name of its function.
macro_rules! trials {
    ($($module:ident::$test:ident),* $(,)?) => {
        vec![$(Trial::test(concat!(stringify!($module), "::", stringify!($test)), || {
            $module::$test();
            Ok(())
        })),*]
    };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let trials = trials![
        paths::a_foreign_certificate,
        paths::a_certificate_that_expires,
        paths::tls_is_served_no_more,
        paths::tls_is_blocked,
        paths::tcp_is_blocked,
        paths::ipv6_is_broken,
        process::sigkill,
        process::sigkill_by_vote,
        process::flapper,
        process::sigstop,
        process::sigstop_by_vote,
        network::link_down,
        network::link_down_by_vote,
        network::egress_blocked,
        network::egress_blocked_by_vote,
        network::ingress_blocked,
        network::a_third_is_lost,
        network::five_percent_are_lost,
        network::one_way_out,
        network::one_way_in,
        outages::zone_lost,
        outages::zone_lost_by_vote,
        outages::vendor_lost,
        outages::vendor_lost_by_vote,
        outages::region_lost,
        outages::region_lost_by_vote,
        outages::all_lost,
        outages::all_lost_by_vote,
        outages::dnsd_cut_from_everything,
        outages::drain,
        reports::forged,
        reports::replayed,
        reports::twins,
        revocations::everywhere,
        votes::one_is_blind,
        votes::ballots_are_cut,
        votes::the_world_is_split,
        configuration::bad_ones_for_all,
        configuration::an_old_generation,
        configuration::a_rotation_that_one_relay_misses,
        clocks::an_hour_ahead_and_behind,
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// How often what has rounds is repeated.
fn rounds() -> usize {
    let given = std::env::var("FAULT_ROUNDS").ok();
    given.map_or(1, |given| given.parse().expect("FAULT_ROUNDS is a number"))
}
