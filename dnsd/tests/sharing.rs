//! Three real nameservers that share what they see.

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::coturn::Coturn;
use common::dnsd::{Listed, SECRET, Server, listed};
use common::panel::{CLUSTER, Panel};
use common::relay::Heartbeat;
use common::wait_for;
use liveness::State;

fn two() -> Vec<Listed> {
    vec![
        listed("fra-1", "eu-a", "alpha", 1),
        listed("ams-1", "eu-b", "beta", 2),
    ]
}

fn outcome(server: &Server, outcome: &str) -> f64 {
    let name = format!("turnfleet_dnsd_sharing_datagrams_total{{outcome=\"{outcome}\"}}");
    server.metric(&name).unwrap_or_default()
}

#[test]
fn a_relay_stays_where_two_others_see_it_and_goes_when_nobody_does() {
    if !(common::has("votes", "dig") && common::has("votes", "turnserver")) {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let start = |n| Coturn::start(dir.path(), Ipv4Addr::new(127, 0, 61, n), None, SECRET, &[]);
    let [seen, unseen, other] = [1, 2, 3].map(start);
    let at = |fra: &Coturn| {
        let mut relays = two();
        (relays[0].address, relays[1].address) = (fra.address, other.address);
        relays
    };
    // The third reaches the relay by another road, which can be closed for it alone.
    let panel = Panel::new(61, [at(&seen), at(&seen), at(&unseen)]).start();
    panel.wait_all_heard();
    let beat = |n: usize, relay: usize| {
        let server = &panel.servers[n];
        let Listed { id, address, .. } = server.relays[relay];
        Heartbeat::start(id, address, SocketAddr::from((server.ip, server.reports)))
    };
    let others: Vec<_> = (0..3).map(|n| beat(n, 1)).collect();
    let mut beats: Vec<_> = (0..3).map(|n| beat(n, 0)).collect();
    for server in &panel.servers {
        server.wait_up("fra-1");
        server.wait_up("ams-1");
    }
    let third = &panel.servers[2];
    wait_for(
        "two observers in the metrics",
        Duration::from_secs(5),
        || (third.metric("turnfleet_dnsd_observers") == Some(2.0)).then_some(()),
    );
    assert_eq!(third.metric("turnfleet_dnsd_isolated"), Some(0.0));
    drop(beats.pop());
    drop(unseen);
    let known = wait_for("the third's own vote", Duration::from_secs(10), || {
        Some(third.json(&["explain", "fra-1"])).filter(|known| known["finding"] == "down")
    });
    assert_eq!(known["state"], "suspect", "{known:#}");
    assert_eq!(
        (&known["votes"]["up"], &known["votes"]["down"]),
        (&2.into(), &1.into())
    );
    let both = |server: &Server| server.short("turn.example", "A").len() == 2;
    assert!(both(third), "served last, but served");
    assert_eq!(panel.servers[0].verdict("fra-1"), "up");

    drop(beats);
    drop(seen);
    for server in &panel.servers {
        wait_for("the dead relay to go", Duration::from_secs(10), || {
            (server.verdict("fra-1") == "down" && !both(server)).then_some(())
        });
    }
    drop(others);
    let told = third.log();
    let downs = told.matches("verdict changed relay=fra-1 verdict=\"down\"");
    assert_eq!(downs.count(), 1, "{told}");
}

#[test]
fn a_node_with_a_wrong_key_is_refused_and_named() {
    let mut panel = Panel::new(65, [two(), two(), two()]);
    panel.rekey(2, "current = \"a cluster key that nobody else has\"");
    let panel = panel.start();
    panel.wait_heard(0, &["ns2"]);
    panel.wait_heard(1, &["ns1"]);
    let stranger = format!("{}:{}", panel.ports[2].0, panel.ports[2].1);
    for server in &panel.servers[..2] {
        let told = wait_for("the stranger's name", Duration::from_secs(5), || {
            let log = server.log();
            log.contains("sharing refused").then_some(log)
        });
        let line = told.lines().find(|line| line.contains("sharing refused"));
        let line = line.expect("a line");
        assert!(
            line.contains(&stranger) && line.contains("unknown_key"),
            "{line}"
        );
        assert_eq!(told.matches("sharing refused").count(), 1, "{told}");
        assert!(outcome(server, "unknown_key") >= 1.0);
        let status = server.json(&["status"]);
        assert_eq!(status["sharing"]["refused"][0]["from"], stranger.as_str());
        let shown = String::from_utf8(server.cli(&["status"]).stdout).expect("text");
        assert!(shown.contains(&format!("refused {stranger}")), "{shown}");
    }
    assert!(panel.heard(2).is_empty());
    assert!(outcome(&panel.servers[2], "unknown_key") >= 1.0);
}

#[test]
fn keys_are_rotated_without_a_gap() {
    const NEW: &str = "the next cluster key of these tests";
    let mut panel = Panel::new(68, [two(), two(), two()]).start();
    panel.wait_all_heard();
    let steps = [
        format!("current = \"{CLUSTER}\"\nprevious = [\"{NEW}\"]"),
        format!("current = \"{NEW}\"\nprevious = [\"{CLUSTER}\"]"),
        format!("current = \"{NEW}\""),
    ];
    for step in &steps {
        for n in 0..3 {
            panel.rekey(n, step);
            panel.reload(n);
            let before = [0, 1, 2].map(|n| outcome(&panel.servers[n], "ok"));
            for (server, before) in panel.servers.iter().zip(before) {
                // From both others, at least.
                wait_for("datagrams after it", Duration::from_secs(5), || {
                    (outcome(server, "ok") >= before + 4.0).then_some(())
                });
            }
            assert!((0..3).all(|n| panel.heard(n).len() == 2), "{step}");
        }
    }
    for server in &panel.servers {
        for refused in ["unknown_key", "forged", "format", "malformed"] {
            assert!(outcome(server, refused) < 1.0, "{refused}");
        }
    }
}

#[test]
fn a_nameserver_that_comes_back_is_heard_at_once_and_takes_up_its_count() {
    let mut panel = Panel::new(71, [two(), two(), two()]).start();
    panel.wait_all_heard();
    let generation = |panel: &Panel| {
        let status = panel.servers[0].json(&["status"]);
        let observers = status["sharing"]["observers"].as_array().cloned();
        let found = observers
            .into_iter()
            .flatten()
            .find(|o| o["observer"] == "ns2");
        found
            .and_then(|o| o["generation"].as_u64())
            .unwrap_or_default()
    };
    let before = generation(&panel);
    panel.servers[1].signal(nix::sys::signal::Signal::SIGKILL);
    panel.servers[1].ended();
    panel.wait_heard(0, &["ns3"]);
    for file in ["state", "state.1"] {
        let _ = std::fs::remove_file(panel.servers[1].path(file));
    }
    let panel = panel.start();
    panel.wait_all_heard();
    assert!(generation(&panel) > before);
}

#[test]
fn a_node_that_loses_all_others_at_once_says_that_it_distrusts_itself() {
    let mut panel = Panel::new(74, [two(), two(), two()]).start();
    panel.wait_all_heard();
    let isolated = |server: &Server| server.metric("turnfleet_dnsd_isolated");
    assert_eq!(isolated(&panel.servers[0]), Some(0.0));
    for n in [1, 2] {
        panel.servers[n].signal(nix::sys::signal::Signal::SIGKILL);
        panel.servers[n].ended();
    }
    let first = &panel.servers[0];
    wait_for("self-doubt", Duration::from_secs(10), || {
        (isolated(first) == Some(1.0)).then_some(())
    });
    assert_eq!(first.json(&["status"])["sharing"]["isolated"], "peers");
    let shown = String::from_utf8(first.cli(&["status"]).stdout).expect("text");
    assert!(shown.contains("isolated: too many peers"), "{shown}");
    let ready = first.http("/readyz").expect("answer");
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.ends_with("ready, isolated\n"),
        "{ready}"
    );
    assert!(first.log().contains("this node distrusts itself"));
    let panel = panel.start();
    wait_for("trust", Duration::from_secs(20), || {
        (isolated(&panel.servers[0]) == Some(0.0)).then_some(())
    });
    assert!(
        panel.servers[0]
            .log()
            .contains("this node trusts itself again")
    );
}

#[test]
fn each_nameserver_knows_which_configuration_the_others_have() {
    let mut panel = Panel::new(77, [two(), two(), two()]);
    let numbered = |server: &Server, number: u64| {
        let text = format!("generation = {number}\n{}", server.config());
        common::write(&server.path("dnsd.toml"), &text);
    };
    for server in &mut panel.servers {
        numbered(server, 4);
        server.spawn();
    }
    panel.servers.iter().for_each(Server::wait_ready);
    panel.wait_all_heard();
    let first = &panel.servers[0];
    let theirs = |peer: &str| {
        let name = format!("turnfleet_dnsd_peer_config_generation{{peer=\"{peer}\"}}");
        first.metric(&name)
    };
    wait_for("both others' configuration", Duration::from_secs(5), || {
        ((theirs("ns2"), theirs("ns3")) == (Some(4.0), Some(4.0))).then_some(())
    });
    numbered(&panel.servers[1], 5);
    panel.servers[1].signal(nix::sys::signal::Signal::SIGHUP);
    wait_for(
        "the second's new configuration",
        Duration::from_secs(5),
        || (theirs("ns2") == Some(5.0)).then_some(()),
    );
    assert_eq!(theirs("ns3"), Some(4.0));
    let shown = String::from_utf8(first.cli(&["status"]).stdout).expect("text");
    let line = |who: &str| shown.lines().find(|line| line.starts_with(who));
    assert!(
        line("ns2").is_some_and(|line| line.ends_with("5 (differs)")),
        "{shown}"
    );
    assert!(
        line("ns3").is_some_and(|line| line.ends_with(" 4")),
        "{shown}"
    );
    assert_eq!(
        first.metric("turnfleet_dnsd_config_differs"),
        Some(0.0),
        "not yet"
    );
    // The alarm comes after a minute, and ends when all are alike.
    wait_for("the alarm", Duration::from_secs(75), || {
        (first.metric("turnfleet_dnsd_config_differs") == Some(1.0)).then_some(())
    });
    assert!(
        first
            .log()
            .contains("a configuration of another generation")
    );
    for server in [first, &panel.servers[2]] {
        numbered(server, 5);
        server.signal(nix::sys::signal::Signal::SIGHUP);
    }
    wait_for("its end", Duration::from_secs(10), || {
        (first.metric("turnfleet_dnsd_config_differs") == Some(0.0)).then_some(())
    });
}

#[test]
fn what_a_relay_tells_one_nameserver_the_others_know_and_do_not_take_for_life() {
    if !common::has("reports passed on", "turnserver") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let turn = Coturn::start(dir.path(), Ipv4Addr::new(127, 0, 61, 9), None, SECRET, &[]);
    let mut relays = two();
    relays[0].address = turn.address;
    let panel = Panel::new(84, [relays.clone(), relays.clone(), relays]).start();
    panel.wait_all_heard();
    let [first, second, _] = &panel.servers[..] else {
        panic!("three nameservers");
    };
    // It answers everybody's probes, and reports to the first alone.
    let Listed { id, address, .. } = first.relays[0];
    let beat = Heartbeat::start(id, address, SocketAddr::from((first.ip, first.reports)));
    let passed_on = "turnfleet_dnsd_reports_total{outcome=\"hearsay\"}";
    wait_for("reports passed on", Duration::from_secs(10), || {
        (second.metric(passed_on)? >= 3.0).then_some(())
    });
    first.wait_up(id);
    let known = second.json(&["explain", id]);
    assert_eq!(known["state"], "suspect", "{known:#}");
    assert_ne!(known["finding"], "up", "{known:#}");
    beat.say(State::Draining);
    for server in [first, second] {
        wait_for("its drain", Duration::from_secs(5), || {
            (server.verdict(id) == "draining").then_some(())
        });
    }
    let needed = first.metric(passed_on).unwrap_or_default();
    assert!(needed.abs() < 0.5, "whoever hears it needs none: {needed}");
}
