//! A relay that looks healthy and relays nothing: only using it finds out.
//!
//! The cluster runs in a network namespace of its own, where a firewall can swallow one relay's
//! relayed traffic and nothing else.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use cluster_tests::process::Cluster;
use cluster_tests::{outage, tools};
use nix::sched::{CloneFlags, unshare};

#[test]
fn a_relay_that_relays_nothing_leaves_every_answer() {
    let name = "scenario_gray";
    if !tools::present(name, &[&outage::TOOLS[..], &["ip", "nft"]].concat()) {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        tools::skip(name, "needs root to make a network namespace");
        return;
    }
    // Of this thread and all it starts; it goes when the last of them has ended.
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        tools::skip(name, &format!("cannot make a network namespace: {error}"));
        return;
    }
    run(Command::new("ip").args(["link", "set", "lo", "up"]));
    let cluster = Cluster::start("gray");
    let reports: Vec<_> = cluster
        .servers()
        .map(|server| (server.port() + 1).to_string())
        .collect();
    outage::course(&cluster, "gray", Duration::from_secs(10), |relay| {
        let (ip, reports) = (relay.address.ip(), &reports[0]);
        // Reports leave from a port that may lie among the relayed ones: they pass.
        let rules = format!(
            "table inet gray {{ chain out {{
                type filter hook output priority 0;
                ip saddr {ip} udp sport 49152-65535 udp dport != {reports} drop
                ip daddr {ip} udp dport 49152-65535 udp sport != {reports} drop
            }}
            }}\n"
        );
        let mut nft = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        nft.stdin
            .take()
            .unwrap()
            .write_all(rules.as_bytes())
            .unwrap();
        assert!(nft.wait().unwrap().success());
    });
}

fn run(command: &mut Command) {
    assert!(
        command.status().is_ok_and(|status| status.success()),
        "{command:?}"
    );
}
