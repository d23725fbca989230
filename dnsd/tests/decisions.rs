//! People's decisions: made at one nameserver, obeyed at all, kept, and guarded.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::dnsd::{Listed, Server, listed};
use common::panel::Panel;
use common::relay::Heartbeat;
use common::wait_for;
use liveness::Order;
use nix::sys::signal::Signal;

fn two() -> Vec<Listed> {
    vec![
        listed("fra-1", "eu-a", "alpha", 1),
        listed("ams-1", "eu-b", "beta", 2),
    ]
}

fn wait_verdict(server: &Server, relay: &str, verdict: &str) {
    let what = format!("{relay} to be {verdict} at {}", server.id);
    wait_for(&what, Duration::from_secs(10), || {
        (server.verdict(relay) == verdict).then_some(())
    });
}

fn wait_not_forced(server: &Server, relay: &str) {
    let what = format!("{relay} to be judged by evidence at {}", server.id);
    wait_for(&what, Duration::from_secs(15), || {
        (!server.verdict(relay).starts_with("forced")).then_some(())
    });
}

/// Runs a command that has to succeed; what it prints.
fn done(server: &Server, args: &[&str]) -> String {
    let output = server.cli(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a command that has to fail with code 1; what it says.
fn refused(server: &Server, args: &[&str]) -> String {
    let output = server.cli(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).expect("text")
}

fn kill(server: &mut Server) {
    server.signal(Signal::SIGKILL);
    server.ended();
}

/// Waits until the state on disk holds a decision.
fn wait_saved(server: &Server, why: &str) {
    wait_for("the decision on disk", Duration::from_secs(5), || {
        let state = std::fs::read_to_string(server.path("state")).ok()?;
        state.contains(why).then_some(())
    });
}

#[test]
fn a_decision_is_obeyed_at_all_and_outlives_its_author_and_every_restart() {
    let mut panel = Panel::new(81, [two(), two(), two()]).start();
    panel.wait_all_heard();
    let third = &panel.servers[2];
    let reports = SocketAddr::from((third.ip, third.reports));
    let beat = Heartbeat::start("fra-1", third.relays[0].address, reports);
    let order = || beat.last_ack.lock().expect("ack").map(|ack| ack.order);
    wait_for("an acknowledgement", Duration::from_secs(3), || {
        (order() == Some(Order::None)).then_some(())
    });

    let said = done(
        &panel.servers[0],
        &["drain", "vendor:alpha", "--why", "it burns"],
    );
    assert!(said.starts_with("drain vendor:alpha: fra-1\n"), "{said}");
    for server in &panel.servers {
        wait_verdict(server, "fra-1", "forced_down");
        assert!(!server.verdict("ams-1").starts_with("forced"));
        let told = server.log();
        let audit = told.lines().find(|line| line.contains("audit: decided"));
        let audit = audit.expect("an audit record");
        for part in ["scope=vendor:alpha", "it burns", "uid", "node=\"ns1\""] {
            assert!(audit.contains(part), "{part} is not in {audit}");
        }
    }
    wait_for("the relay to hear of it", Duration::from_secs(3), || {
        (order() == Some(Order::Drain)).then_some(())
    });
    let explained = panel.servers[1].json(&["explain", "fra-1"]);
    assert_eq!(explained["override"]["why"], "it burns");
    assert_eq!(explained["override"]["scope"], "vendor:alpha");
    assert_eq!(explained["override"]["node"], "ns1");
    wait_saved(&panel.servers[0], "it burns");
    wait_saved(&panel.servers[1], "it burns");

    // The author dies, then all; one comes back without its disk, and hears it from another.
    for server in &mut panel.servers {
        kill(server);
    }
    let _ = std::fs::remove_file(panel.servers[2].path("state"));
    let _ = std::fs::remove_file(panel.servers[2].path("state.1"));
    for n in [1, 2] {
        panel.servers[n].spawn();
        panel.servers[n].wait_ready();
    }
    assert_eq!(
        panel.servers[1].verdict("fra-1"),
        "forced_down",
        "from its own disk"
    );
    wait_verdict(&panel.servers[2], "fra-1", "forced_down");

    // It is lifted while its author is away, who then has the old word on disk.
    done(
        &panel.servers[1],
        &["undrain", "vendor:alpha", "--why", "it is out"],
    );
    wait_not_forced(&panel.servers[1], "fra-1");
    wait_not_forced(&panel.servers[2], "fra-1");
    let panel = panel.start();
    for server in &panel.servers {
        wait_not_forced(server, "fra-1");
    }
    let told = panel.servers[0].json(&["overrides"]);
    assert_eq!(told["holding"].as_array().map(Vec::len), Some(0), "{told}");
    let whys: Vec<_> = told["journal"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|e| &e["why"])
        .collect();
    assert_eq!(whys, ["it burns", "it is out"]);
    panel.wait_all_heard();
    for server in &panel.servers {
        assert!(
            !server.verdict("fra-1").starts_with("forced"),
            "{}",
            server.id
        );
    }
}

#[test]
fn what_was_decided_while_nodes_were_apart_is_told_when_they_meet() {
    let mut panel = Panel::new(84, [two(), two(), two()]);
    for n in [0, 2] {
        panel.servers[n].configure();
        panel.servers[n].spawn();
    }
    for n in [0, 2] {
        panel.servers[n].wait_ready();
    }
    done(
        &panel.servers[0],
        &["force", "down", "fra-1", "--why", "one"],
    );
    done(
        &panel.servers[2],
        &["force", "up", "zone:eu-b", "--why", "two"],
    );
    let panel = panel.start();
    for server in &panel.servers {
        wait_verdict(server, "fra-1", "forced_down");
        wait_verdict(server, "ams-1", "forced_up");
    }
    let said = refused(&panel.servers[1], &["drain", "fra-7", "--why", "typo"]);
    assert_eq!(said, "dnsd: no relay is of relay:fra-7\n");
}

#[test]
fn what_leaves_too_few_is_shown_and_refused_unless_it_is_meant() {
    let server = Server::new(87, two()).start();
    for relay in ["fra-1", "ams-1"] {
        done(
            &server,
            &["force", "up", relay, "--why", "no evidence here"],
        );
    }
    let said = done(&server, &["drain", "fra-1", "--why", "a new kernel"]);
    assert!(said.contains("clients of eu: 1 of 2 relays up"), "{said}");
    let order = ["drain", "ams-1", "--why", "a new kernel"];
    let said = refused(&server, &order);
    for part in [
        "too few relays would be left",
        "clients of eu: 0 of 2 relays up, now 1; 1 should be",
        "clients of us: 0 of 2 relays up, now 1; 1 should be",
        "relays concerned: ams-1",
        "--yes-i-mean-it",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(server.verdict("ams-1"), "forced_up", "nothing was done");
    done(&server, &[&order[..], &["--yes-i-mean-it"]].concat());
    assert_eq!(server.verdict("ams-1"), "forced_down");

    // What the particular does not leave to the general is said.
    let said = done(&server, &["force", "up", "region:eu", "--why", "all of it"]);
    assert!(said.contains("no relay is treated otherwise"), "{said}");
    assert!(
        said.contains("for fra-1 that about relay:fra-1 holds"),
        "{said}"
    );
    let shown = done(&server, &["overrides"]);
    assert!(
        shown.contains("relay:ams-1") && shown.contains("HISTORY"),
        "{shown}"
    );
    assert_eq!(shown.matches("a new kernel").count(), 4, "{shown}");
}

#[test]
fn a_decision_runs_out_and_wrong_ones_are_not_made() {
    let server = Server::new(88, two()).start();
    done(
        &server,
        &["force", "up", "fra-1", "--for", "2s", "--why", "a moment"],
    );
    assert_eq!(server.verdict("fra-1"), "forced_up");
    wait_not_forced(&server, "fra-1");
    let told = server.json(&["overrides"]);
    assert_eq!(told["holding"].as_array().map(Vec::len), Some(0));
    let log = server.log();
    assert!(log.contains("audit: ran out scope=relay:fra-1"), "{log}");
    for (args, code, said) in [
        (vec!["drain", "pool:x", "--why", "x"], 2, "is no scope"),
        (
            vec!["drain", "vendor:gamma", "--why", "x"],
            1,
            "no relay is of vendor:gamma",
        ),
        (
            vec!["drain", "fra-1", "--why", ""],
            1,
            "the reason has 1 to 200 bytes",
        ),
        (vec!["drain", "fra-1"], 2, "--why"),
        (
            vec!["drain", "fra-1", "--why", "x", "--for", "2w"],
            2,
            "such as 90m",
        ),
        (
            vec!["force", "sideways", "fra-1", "--why", "x"],
            2,
            "possible values",
        ),
    ] {
        let output = server.cli(&args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
    assert!(!server.verdict("fra-1").starts_with("forced"));
}

#[test]
fn machines_that_are_yet_to_come_can_be_decided_about() {
    let mut server = Server::new(57, two());
    server.rules = "[[keys]]\nid = 2\nkey = \"the key of one group of machines\"\n\
                    [[enrolment]]\nkey = 2\nnetworks = [\"127.0.43.0/24\"]\nregion = \"eu\"\n\
                    zone = \"eu-x\"\nvendor = \"delta\"\nstandby = true\n"
        .to_owned();
    let server = server.start();
    done(&server, &["drain", "vendor:delta", "--why", "it burns"]);
    done(
        &server,
        &["force", "down", "zone:eu-x", "--why", "no power"],
    );
    let said = refused(&server, &["drain", "vendor:nobody", "--why", "it burns"]);
    assert!(said.contains("no relay is of vendor:nobody"), "{said}");
}
