//! A relay is killed: the next client lands on another within seconds.

use std::time::Duration;

use cluster_tests::process::{Cluster, signal};
use cluster_tests::{outage, tools};
use nix::sys::signal::Signal;

#[test]
fn a_killed_relay_leaves_every_answer() {
    if !tools::present("scenario_sigkill", &outage::TOOLS) {
        return;
    }
    let cluster = Cluster::start("sigkill");
    outage::course(&cluster, "sigkill", Duration::from_secs(3), |relay| {
        signal(relay.pid, Signal::SIGKILL);
    });
}
