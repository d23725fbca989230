//! coturn's client and echo peer through the real relay: every message comes back.

mod support;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use support::{
    PEER, Relay, SECRET, Setup, TURN, Tool, client, echo_peer, has_tool, lost, wait_for,
};

/// A relay, an echo peer beside it, and what the client said.
fn through(relay: &Relay, extra: &[&str]) -> String {
    let _peer = echo_peer(SocketAddr::from((relay.ip, PEER)));
    let (ip, peer, port) = (relay.ip.to_string(), PEER.to_string(), TURN.to_string());
    let mut arguments = vec!["-e", ip.as_str(), "-r", &peer, "-n", "200", "-m", "4"];
    arguments.extend_from_slice(extra);
    Tool::start("turnutils_uclient", &client(&arguments, &port, &ip)).finish()
}

fn tools(test: &str) -> bool {
    has_tool(test, "turnutils_uclient") && has_tool(test, "turnutils_peer")
}

#[test]
fn channels() {
    if !tools("channels") {
        return;
    }
    let relay = Setup::default().start();
    assert_eq!(lost(&through(&relay, &["-W", SECRET])), (800, 0));
    wait_for("the counters say so", || {
        (relay.metric("to_peer_packets_total") >= Some(800)).then_some(())
    });
    assert_eq!(relay.metric("send_refused_total"), Some(0));
}

#[test]
fn pairs_of_ports() {
    if !tools("pairs_of_ports") {
        return;
    }
    let relay = Setup::default().start();
    let _peer = echo_peer(SocketAddr::from((relay.ip, PEER)));
    let (ip, peer, port) = (relay.ip.to_string(), PEER.to_string(), TURN.to_string());
    // Without -c every second client asks for the port above that of the one before.
    let arguments = [
        "-z", "5", "-e", &ip, "-r", &peer, "-n", "50", "-m", "4", "-W", SECRET, "-p", &port, &ip,
    ];
    let said = Tool::start("turnutils_uclient", &arguments).finish();
    assert_eq!(lost(&said), (200, 0));
    wait_for("every reserved port was used", || {
        let used = relay.metric("reservations_redeemed_total")?;
        (used >= 2 && relay.metric("reservations_made_total") == Some(used)).then_some(())
    });
}

#[test]
fn send_indications() {
    if !tools("send_indications") {
        return;
    }
    let relay = Setup::default().start();
    assert_eq!(lost(&through(&relay, &["-s", "-W", SECRET])), (800, 0));
}

#[test]
fn large_messages() {
    if !tools("large_messages") {
        return;
    }
    let relay = Setup::default().start();
    // Longer than is gathered for one segmented send.
    assert_eq!(
        lost(&through(&relay, &["-l", "1400", "-W", SECRET])),
        (800, 0)
    );
}

#[test]
fn with_a_credential_from_the_rest_endpoint() {
    if !tools("with_a_credential_from_the_rest_endpoint") {
        return;
    }
    let relay = Setup::default().start();
    let (username, password) = relay.credential();
    assert!(username.ends_with(":tests/ann"));
    assert_eq!(
        lost(&through(&relay, &["-u", &username, "-w", &password])),
        (800, 0)
    );
}

#[test]
fn a_wrong_secret_relays_nothing() {
    if !tools("a_wrong_secret_relays_nothing") {
        return;
    }
    let relay = Setup::default().start();
    let said = through(&relay, &["-W", "south-south-south-south"]);
    assert!(!said.contains("Total lost packets"), "{said}");
    wait_for("the refusal is counted", || {
        (relay.metric("errors_total{reason=\"unauthorized\"}") >= Some(2)).then_some(())
    });
    assert_eq!(relay.metric("allocations_created_total"), Some(0));
}

#[test]
fn between_two_clients() {
    if !tools("between_two_clients") {
        return;
    }
    let relay = Setup::default().start();
    let (ip, port) = (relay.ip.to_string(), TURN.to_string());
    let arguments = ["-y", "-n", "100", "-m", "4", "-W", SECRET];
    let said = Tool::start("turnutils_uclient", &client(&arguments, &port, &ip)).finish();
    let (sent, lost) = lost(&said);
    assert!(sent >= 400 && lost == 0, "{said}");
}

#[test]
fn over_a_wildcard_listener() {
    if !tools("over_a_wildcard_listener") {
        return;
    }
    // The client drops what comes from another address than the one it sent to.
    let mut setup = Setup::default();
    let port = own_port(1).to_string();
    setup.relay = format!(
        "listen = [\"0.0.0.0:{port}\"]\nrelay_addresses = [\"{}\"]",
        setup.ip
    );
    let relay = setup.start();
    let _peer = echo_peer(SocketAddr::from((relay.ip, PEER)));
    let (ip, peer) = (relay.ip.to_string(), PEER.to_string());
    let arguments = ["-e", &ip, "-r", &peer, "-n", "50", "-W", SECRET];
    let said = Tool::start("turnutils_uclient", &client(&arguments, &port, &ip)).finish();
    assert_eq!(lost(&said), (50, 0));
}

#[test]
fn over_ipv6() {
    if !tools("over_ipv6") {
        return;
    }
    if std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("SKIP over_ipv6: no IPv6 here");
        return;
    }
    let mut setup = Setup::default();
    let port = own_port(2).to_string();
    setup.relay = format!("listen = [\"[::1]:{port}\"]\nrelay_addresses = [\"::1\"]");
    let relay = setup.start();
    let peer_port = own_port(3);
    let _peer = echo_peer(SocketAddr::from((
        IpAddr::from(Ipv6Addr::LOCALHOST),
        peer_port,
    )));
    let peer_port = peer_port.to_string();
    for mode in [&["-x"][..], &["-x", "-s"][..]] {
        let mut arguments = vec!["-e", "::1", "-r", &peer_port, "-n", "100", "-W", SECRET];
        arguments.extend_from_slice(mode);
        let said = Tool::start("turnutils_uclient", &client(&arguments, &port, "::1")).finish();
        assert_eq!(lost(&said), (100, 0), "{mode:?}");
    }
    drop(relay);
}

/// A port for addresses that all tests share, below the relayed and the ephemeral ports and
/// different for each process of the tests.
fn own_port(index: u16) -> u16 {
    let pid = std::process::id() as u16;
    10_000 + (pid % 2000) * 10 + index
}
