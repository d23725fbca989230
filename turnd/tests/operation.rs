//! Running the real relay: reload, drain, start errors, and what it costs when it does nothing.
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for the world in real time"
)]

mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::turn_client::TurnClient;
use support::{PEER, SECRET, Setup, TURN, Tool, client, echo_peer, has_tool, lost, wait_for};

fn relaying_tools(test: &str) -> bool {
    has_tool(test, "turnutils_uclient") && has_tool(test, "turnutils_peer")
}

/// A client of a few seconds.
fn long_client(ip: Ipv4Addr) -> Tool {
    let (ip, peer, port) = (ip.to_string(), PEER.to_string(), TURN.to_string());
    let arguments = ["-e", &ip, "-r", &peer, "-n", "400", "-m", "4", "-W", SECRET];
    Tool::start("turnutils_uclient", &client(&arguments, &port, &ip))
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    if !relaying_tools("a_bad_file_changes_nothing_and_says_why") {
        return;
    }
    let setup = Setup::default();
    let mut relay = setup.start();
    let _peer = echo_peer(SocketAddr::from((relay.ip, PEER)));
    let running = long_client(relay.ip);
    relay.reload(&setup.text().replace("current = ", "curent = "));
    wait_for("the metric says so", || {
        (relay.metric("config_reload_ok") == Some(0)).then_some(())
    });
    let log = relay.log();
    assert!(log.contains("`secrets.current` is missing"), "{log}");
    assert!(log.contains("did you mean `current`?"), "{log}");
    assert!(log.contains("nothing is changed"), "{log}");
    assert!(!log.contains(SECRET), "a secret in the log:\n{log}");
    assert_eq!(relay.get("/readyz").0, 200);
    assert_eq!(lost(&running.finish()), (1600, 0));
    relay.reload(&setup.text());
    wait_for("the good file is taken", || {
        (relay.metric("config_reload_ok") == Some(1)).then_some(())
    });
    assert!(relay.runs());
}

#[test]
fn what_needs_a_restart_is_named() {
    let setup = Setup::default();
    let mut relay = setup.start();
    let text = setup
        .text()
        .replace("workers = 2", "workers = 3")
        .replace("test-1", "test-2");
    relay.reload(&text);
    wait_for("it is refused", || {
        (relay.metric("config_reload_ok") == Some(0)).then_some(())
    });
    let log = relay.log();
    assert!(log.contains("relay.id, relay.workers"), "{log}");
    assert!(relay.runs());
}

#[test]
fn a_new_secret_is_taken_under_live_traffic() {
    if !relaying_tools("a_new_secret_is_taken_under_live_traffic") {
        return;
    }
    let setup = Setup::default();
    let relay = setup.start();
    let _peer = echo_peer(SocketAddr::from((relay.ip, PEER)));
    let running = long_client(relay.ip);
    wait_for("its sessions are there", || {
        (relay.metric("sessions") >= Some(4)).then_some(())
    });
    let rotated = format!("current = \"south-south-south-south\"\nprevious = [\"{SECRET}\"]");
    relay.reload(
        &setup
            .text()
            .replace(&format!("current = \"{SECRET}\""), &rotated),
    );
    wait_for("it is taken", || {
        (relay.metric("config_reloads_total") == Some(1)).then_some(())
    });
    let (ip, peer, port) = (relay.ip.to_string(), PEER.to_string(), TURN.to_string());
    let arguments = [
        "-e",
        &ip,
        "-r",
        &peer,
        "-n",
        "20",
        "-W",
        "south-south-south-south",
    ];
    let fresh = Tool::start("turnutils_uclient", &client(&arguments, &port, &ip));
    assert_eq!(lost(&fresh.finish()), (20, 0));
    assert_eq!(lost(&running.finish()), (1600, 0));
    let (username, password) = relay.credential();
    let new = credentials::Secret::new(b"south-south-south-south".to_vec()).expect("long enough");
    assert_eq!(*credentials::password(&new, &username), password);
}

#[test]
fn a_drain_loses_nothing_and_takes_nobody_new() {
    if !relaying_tools("a_drain_loses_nothing_and_takes_nobody_new") {
        return;
    }
    let mut setup = Setup::default();
    setup.relay += "\ndrain_grace = \"15s\"";
    let mut relay = setup.start();
    let _peer = echo_peer(SocketAddr::from((relay.ip, PEER)));
    let running = long_client(relay.ip);
    wait_for("its sessions are there", || {
        (relay.metric("sessions") >= Some(4)).then_some(())
    });
    relay.signal(Signal::SIGTERM);
    wait_for("it is not ready", || {
        (relay.get("/readyz").0 == 503).then_some(())
    });
    assert_eq!(relay.get("/readyz").1, "draining\n");
    assert_eq!(relay.get("/healthz").0, 200);
    let (ip, port) = (relay.ip.to_string(), TURN.to_string());
    let late = ["-e", &ip, "-r", "9", "-n", "1", "-W", SECRET];
    let late = Tool::start("turnutils_uclient", &client(&late, &port, &ip)).finish();
    assert!(late.contains("508"), "{late}");
    assert_eq!(lost(&running.finish()), (1600, 0));
    assert_eq!(relay.ended().code(), Some(0));
}

#[test]
fn a_drain_ends_with_the_last_session() {
    let mut setup = Setup::default();
    setup.relay += "\ndrain_grace = \"1h\"";
    let mut relay = setup.start();
    let (username, password) = relay.credential();
    let mut session = TurnClient::allocate(relay.turn(), &username, &password);
    let peer = UdpSocket::bind((relay.ip, 0)).expect("a socket");
    let Ok(SocketAddr::V4(address)) = peer.local_addr() else {
        panic!("it is an IPv4 address")
    };
    relay.signal(Signal::SIGTERM);
    wait_for("it drains", || {
        (relay.get("/readyz").0 == 503).then_some(())
    });
    session.permit(address);
    session.send(address, b"still there?");
    assert_eq!(peer.recv(&mut [0; 64]).expect("a datagram"), 12);
    assert!(relay.runs());
    session.release();
    assert_eq!(relay.ended().code(), Some(0));
}

#[test]
fn an_empty_relay_ends_at_once() {
    let mut setup = Setup::default();
    setup.relay += "\ndrain_grace = \"1h\"";
    let mut relay = setup.start();
    let start = Instant::now();
    relay.signal(Signal::SIGTERM);
    assert_eq!(relay.ended().code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn the_second_signal_ends_it() {
    if !relaying_tools("the_second_signal_ends_it") {
        return;
    }
    let mut setup = Setup::default();
    setup.relay += "\ndrain_grace = \"1h\"";
    let mut relay = setup.start();
    let _peer = echo_peer(SocketAddr::from((relay.ip, PEER)));
    let _running = long_client(relay.ip);
    wait_for("its sessions are there", || {
        (relay.metric("sessions") >= Some(4)).then_some(())
    });
    relay.signal(Signal::SIGINT);
    wait_for("it drains", || {
        (relay.get("/readyz").0 == 503).then_some(())
    });
    assert!(relay.runs());
    relay.signal(Signal::SIGINT);
    assert_eq!(relay.ended().code(), Some(0));
}

#[test]
fn a_start_that_fails_names_the_key_and_the_address() {
    let setup = Setup::default();
    let taken = UdpSocket::bind((setup.ip, TURN)).expect("the port is free");
    assert_failed(
        &setup,
        &format!("`relay.listen`: {}:{TURN}: another process", setup.ip),
    );
    drop(taken);

    let running = setup.start();
    let mut second = Setup {
        ip: setup.ip,
        relay: setup.relay.clone(),
        ..Setup::default()
    };
    assert_failed(
        &second,
        &format!("`relay.listen`: {}:{TURN}: another process", setup.ip),
    );
    second.relay = second.relay.replace(&format!("{TURN}"), "3579");
    assert_failed(&second, "`rest.listen`: ");
    drop(running);

    let mut nowhere = Setup::default();
    nowhere.relay = format!(
        "listen = [\"{}:{TURN}\"]\nrelay_addresses = [\"192.0.2.1\"]",
        nowhere.ip
    );
    assert_failed(
        &nowhere,
        "`relay.relay_addresses`: 192.0.2.1:0: this machine has no such address",
    );
}

fn assert_failed(setup: &Setup, message: &str) {
    let mut relay = setup.launch();
    assert_eq!(relay.ended().code(), Some(1));
    let log = relay.log();
    assert!(log.contains(message), "{message} is not in:\n{log}");
}

#[test]
fn without_descriptors_new_clients_are_refused_and_the_rest_goes_on() {
    if !relaying_tools("without_descriptors_new_clients_are_refused_and_the_rest_goes_on") {
        return;
    }
    let setup = Setup {
        descriptors: Some(160),
        sections: "[limits]\nsessions_per_user = 1000\n".to_owned(),
        ..Setup::default()
    };
    let relay = setup.start();
    let _peer = echo_peer(SocketAddr::from((relay.ip, PEER)));
    let (ip, peer, port) = (relay.ip.to_string(), PEER.to_string(), TURN.to_string());
    let arguments = ["-e", &ip, "-r", &peer, "-n", "5", "-m", "130", "-W", SECRET];
    let said = Tool::start("turnutils_uclient", &client(&arguments, &port, &ip)).finish();
    assert!(said.contains("508"), "{said}");
    wait_for("it is counted", || {
        (relay.metric("sockets_exhausted_total") >= Some(1)).then_some(())
    });
    // Three quarters of 160; the rest is kept for the relay itself.
    assert_eq!(relay.metric("allocations_created_total"), Some(120));
    assert_eq!(relay.get("/healthz").0, 200);
}

#[test]
fn what_waits_in_the_sockets_leaves_in_batches_and_whole() {
    if !relaying_tools("what_waits_in_the_sockets_leaves_in_batches_and_whole") {
        return;
    }
    let relay = Setup::default().start();
    let (ip, port) = (relay.ip.to_string(), TURN.to_string());
    // From client to client, so that the relay also receives what it sent in one go.
    let arguments = ["-y", "-n", "400", "-m", "4", "-z", "2", "-W", SECRET];
    let running = Tool::start("turnutils_uclient", &client(&arguments, &port, &ip));
    let received = || relay.metric("received_datagrams_total").unwrap_or_default();
    wait_for("its media flows", || (received() > 200).then_some(()));
    for _ in 0..5 {
        relay.signal(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_millis(100));
        relay.signal(Signal::SIGCONT);
        std::thread::sleep(Duration::from_millis(50));
    }
    let (sent, missing) = lost(&running.finish());
    assert!(sent >= 1600 && missing == 0, "{missing} of {sent} lost");
    wait_for("batches are counted", || {
        let calls = relay.metric("send_calls_total")?;
        (relay.metric("sent_datagrams_total")? > calls + 100).then_some(())
    });
}

#[test]
fn doing_nothing_costs_nothing() {
    let relay = Setup::default().start();
    // Ticks of 10 ms over 6 s: 3 of them are 0.5 %.
    let before = relay.cpu_ticks();
    std::thread::sleep(Duration::from_secs(6));
    let used = relay.cpu_ticks() - before;
    assert!(used <= 3, "{used} ticks in 6 s");
}

#[test]
fn strangers_leave_no_trace_in_memory() {
    let mut setup = Setup::default();
    setup.relay += "\nworkers = 1";
    let relay = setup.start();
    let server = SocketAddr::from((relay.ip, TURN));
    let probe = UdpSocket::bind((relay.ip, 0)).expect("a socket");
    probe
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a timeout");
    let flood = |sources: std::ops::Range<u32>| {
        for source in sources {
            // 127.128.0.0/9: each its own address.
            let ip = Ipv4Addr::from_bits(0x7f80_0001 + source);
            let socket = UdpSocket::bind((ip, 0)).expect("a loopback address");
            socket
                .send_to(&request(0x0003, source), server)
                .expect("sent");
            if source % 256 == 255 {
                // An answer says that everything before it has been read.
                wait_for("the relay answers", || {
                    probe.send_to(&request(0x0001, source), server).ok()?;
                    probe.recv(&mut [0; 256]).ok()
                });
            }
        }
    };
    flood(0..20_480);
    let before = relay.resident();
    flood(20_480..122_880);
    let after = relay.resident();
    wait_for("all are counted", || {
        (relay.metric("received_datagrams_total") >= Some(122_880)).then_some(())
    });
    assert_eq!(relay.metric("sessions"), Some(0));
    let grown = after.saturating_sub(before);
    assert!(grown < 1 << 20, "grew by {grown} bytes");
}

/// A STUN request of `method` without credentials (RFC 8489, section 5); an Allocate asks for UDP.
fn request(method: u16, transaction: u32) -> Vec<u8> {
    let attributes: &[u8] = if method == 0x0003 {
        &[0, 0x19, 0, 4, 17, 0, 0, 0]
    } else {
        &[]
    };
    let mut bytes = method.to_be_bytes().to_vec();
    bytes.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&0x2112_a442_u32.to_be_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&transaction.to_be_bytes());
    bytes.extend_from_slice(attributes);
    bytes
}

#[test]
fn metrics_are_in_the_text_format() {
    let relay = Setup::default().start();
    let (status, text) = relay.get("/metrics");
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(name.starts_with("turnfleet_turnd_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert_eq!(relay.metric("state{state=\"serving\"}"), Some(1));
    assert_eq!(relay.metric("workers"), Some(2));
    assert_eq!(relay.get("/nothing").0, 404);
}
