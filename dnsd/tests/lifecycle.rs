//! Starting, ending, crashing, coming back, reloading.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::coturn::Coturn;
use common::dnsd::{Listed, SECRET, Server, listed};
use common::relay::Heartbeat;
use common::wait_for;
use nix::sys::signal::Signal;

fn two() -> Vec<Listed> {
    vec![
        listed("fra-1", "eu-a", "alpha", 1),
        listed("ams-1", "eu-b", "beta", 2),
    ]
}

#[test]
fn a_signal_ends_it_with_the_state_saved() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::new(41, two()).start();
        assert!(server.path("control").exists());
        server.signal(signal);
        assert_eq!(server.ended(), Some(0), "{}", server.log());
        let state = fs::read_to_string(server.path("state")).expect("state file");
        assert!(
            state.starts_with("turnfleet-dnsd-state 1 sha256="),
            "{state}"
        );
        assert!(state.contains("fra-1"));
        assert!(!server.path("control").exists());
    }
}

#[test]
fn a_taken_address_is_named_with_its_key() {
    let server = Server::new(42, two()).start();
    let mut second = Server::new(42, two());
    (second.dns, second.reports) = (server.dns, server.reports);
    second.configure();
    let output = second.cli(&["run"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = format!(
        "`node.listen`: cannot listen on {}:{} (TCP)",
        server.ip, server.dns
    );
    assert!(said.contains(&expected), "{said}");

    let mut third = Server::new(42, two());
    third.reports = server.reports;
    third.configure();
    let output = third.cli(&["run"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`node.reports`: cannot listen on"), "{said}");

    let mut fourth = Server::new(42, two());
    fourth.configure();
    let text = fourth
        .config()
        .replace(&format!("{}:{}", fourth.ip, fourth.dns), "192.0.2.1:53");
    common::write(&fourth.path("dnsd.toml"), &text);
    let output = fourth.cli(&["run"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("no interface of this machine has the address"),
        "{said}"
    );
    fourth.running = None;
}

#[test]
fn a_control_socket_in_use_is_respected_and_a_stale_one_replaced() {
    let mut server = Server::new(43, two()).start();
    let mode = fs::metadata(server.path("control")).expect("socket");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o600
    );
    let second = Server::new(43, two());
    let control = |server: &Server| server.path("control").display().to_string();
    common::write(
        &second.path("dnsd.toml"),
        &second
            .config()
            .replace(&control(&second), &control(&server)),
    );
    let output = second.cli(&["run"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`node.control`: cannot listen on"), "{said}");
    assert_eq!(
        server.json(&["status"])["node"],
        "ns1",
        "the first still answers"
    );

    server.signal(Signal::SIGKILL);
    server.ended();
    assert!(
        server.path("control").exists(),
        "a crash leaves the socket file behind"
    );
    let output = server.cli(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no dnsd is running behind"), "{said}");
    server.spawn();
    server.wait_ready();
    assert_eq!(
        server.json(&["status"])["relays"].as_array().map(Vec::len),
        Some(2)
    );
}

#[test]
fn the_command_line_says_what_is_wrong() {
    let server = Server::new(44, two()).start();
    let unknown = server.cli(&["explain", "lon-9"]);
    assert_eq!(unknown.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert_eq!(said, "dnsd: no relay lon-9 is configured\n");
    let kind = server.cli(&["answer", "a.turn.example", "--type", "BOGUS"]);
    assert_eq!(kind.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&kind.stderr).contains("\"BOGUS\" is no record type"));
    let from = server.cli(&["answer", "a.turn.example", "--from", "here"]);
    assert!(String::from_utf8_lossy(&from.stderr).contains("no IP address and no network"));
    assert_eq!(server.cli(&["answer"]).status.code(), Some(2));
    let answer = server.cli(&["answer", "a.turn.example", "--from", "10.1.2.0/24"]);
    let text = String::from_utf8_lossy(&answer.stdout);
    assert!(
        text.contains("rcode       NOERROR") && text.contains("region: us"),
        "{text}"
    );
    let text = server.cli(&["status"]).stdout;
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("RELAY") && text.contains("fra-1"), "{text}");
    assert!(server.http("/healthz").expect("answer").ends_with("ok\n"));
    assert!(
        server
            .http("/api/status")
            .expect("answer")
            .contains("\"id\":\"fra-1\"")
    );
}

/// Starts coturn and a heartbeat for the first relay, so that one of two is up.
fn one_up(host: u8) -> Option<(Server, Coturn, Heartbeat)> {
    if !(common::has("last known good", "dig") && common::has("last known good", "turnserver")) {
        return None;
    }
    let mut server = Server::new(host, two());
    let ip = std::net::Ipv4Addr::new(127, 0, 42, host);
    let coturn = Coturn::start(server.dir.path(), ip, None, SECRET, &[]);
    server.relays[0].address = coturn.address;
    let server = server.start();
    let reports = (server.ip, server.reports).into();
    let heartbeat = Heartbeat::start("fra-1", coturn.address, reports);
    server.wait_up("fra-1");
    assert_eq!(
        server.short("turn.example", "A"),
        [coturn.address.ip().to_string()]
    );
    Some((server, coturn, heartbeat))
}

/// Starts the daemon again and returns its first answer, and how long that took.
fn first_answer(server: &mut Server) -> (Vec<String>, Duration) {
    let begun = Instant::now();
    server.spawn();
    let answer = wait_for("the first answer", Duration::from_secs(5), || {
        Some(server.short("turn.example", "A")).filter(|answer| {
            !answer.is_empty() && !answer.iter().any(|line| line.starts_with(";;"))
        })
    });
    (answer, begun.elapsed())
}

#[test]
fn after_a_crash_the_first_answer_is_the_last_known_good() {
    let Some((mut server, coturn, heartbeat)) = one_up(45) else {
        return;
    };
    // The state file follows within a second.
    wait_for("the state on disk", Duration::from_secs(3), || {
        let state = fs::read_to_string(server.path("state")).ok()?;
        state.contains("\"state\":\"up\"").then_some(())
    });
    server.signal(Signal::SIGKILL);
    server.ended();
    // Nothing new can be learnt: neither reports nor probes get through.
    drop(heartbeat);
    let good = coturn.address.ip().to_string();
    drop(coturn);
    let (answer, took) = first_answer(&mut server);
    assert_eq!(answer, [good]);
    println!("first answer {took:?} after the start");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_torn_state_file_gives_way_to_its_predecessor_or_to_none() {
    let Some((mut server, coturn, heartbeat)) = one_up(46) else {
        return;
    };
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended(), Some(0));
    drop(heartbeat);
    let good = coturn.address.ip().to_string();
    drop(coturn);
    let state = server.path("state");
    fs::copy(&state, server.path("state.1")).expect("copy");
    let whole = fs::read(&state).expect("state");
    fs::write(&state, &whole[..whole.len() / 2]).expect("torn");
    let (answer, _) = first_answer(&mut server);
    assert_eq!(answer, [good], "the predecessor serves");
    assert!(
        server.log().contains("state file is not usable"),
        "{}",
        server.log()
    );
    assert!(server.path("state.bad").exists());
    server.signal(Signal::SIGKILL);
    server.ended();

    let mut altered = whole;
    let last = altered.len() - 3;
    altered[last] ^= 1;
    fs::write(&state, &altered).expect("altered");
    fs::write(server.path("state.1"), b"").expect("emptied");
    let (answer, _) = first_answer(&mut server);
    assert!(
        !answer.is_empty(),
        "without any state the configured relays serve"
    );
    for why in ["its checksum is wrong", "it has no checksum line"] {
        assert!(server.log().contains(why), "{}", server.log());
    }
}
