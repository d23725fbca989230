//! What the running daemon remembers of each kind of change, as programs and as people read it.

mod common;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use common::coturn::Coturn;
use common::dnsd::{Listed, SECRET, Server, listed};
use common::panel::Panel;
use common::relay::{Heartbeat, key, report};
use common::{free_port, wait_for};
use liveness::{KeyId, Load};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn two() -> Vec<Listed> {
    vec![
        listed("fra-1", "eu-a", "alpha", 1),
        listed("ams-1", "eu-b", "beta", 2),
    ]
}

/// The first event of a kind that is as wanted.
fn find(server: &Server, kind: &str, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    let told = server.json(&["history"]);
    let events = told["events"].as_array().into_iter().flatten();
    let mut events = events.filter(|event| event["kind"] == kind);
    events.find(|event| wanted(event)).cloned()
}

/// Waits for an event of a kind that is as wanted.
fn remembered(server: &Server, kind: &str, limit: u64, wanted: impl Fn(&Value) -> bool) -> Value {
    wait_for(kind, Duration::from_secs(limit), || {
        find(server, kind, &wanted)
    })
}

/// `dnsd history`, of one relay if one is named, has a line that ends so.
fn reads(server: &Server, about: &[&str], line: &str) {
    let output = server.cli(&[&["history"], about].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    assert!(lines.any(|told| told.ends_with(line)), "{line}: {text}");
}

#[test]
fn a_path_that_is_withdrawn_and_given_back() {
    if !common::has("a_path_that_is_withdrawn", "turnserver") {
        return;
    }
    let mut server = Server::new(111, Vec::new());
    let coturns = [21, 22].map(|host| {
        let ip = Ipv4Addr::new(127, 0, 93, host);
        Coturn::start(server.dir.path(), ip, None, SECRET, &[])
    });
    server.relays = two();
    for (relay, coturn) in server.relays.iter_mut().zip(&coturns) {
        relay.address = coturn.address;
    }
    server.more = "[probes]\npaths = \"2s\"\n".to_owned();
    // Of one relay nothing listens where TCP is said to be served.
    let shut = free_port(Ipv4Addr::new(127, 0, 93, 21));
    let with = |text: &str, first: &str| {
        let both = text.replace("keys = [1]", "keys = [1]\ntransports = [\"udp\", \"tcp\"]");
        both.replacen("transports", &format!("{first}transports"), 1)
    };
    let broken = with(&server.config(), &format!("tcp_port = {shut}\n"));
    common::write(&server.path("dnsd.toml"), &broken);
    server.spawn();
    server.wait_ready();
    let reports = SocketAddr::from((server.ip, server.reports));
    let _hearts = [("fra-1", 0), ("ams-1", 1)]
        .map(|(id, place)| Heartbeat::start(id, coturns[place].address, reports));
    let path = |withdrawn: bool| {
        move |event: &Value| event["relay"] == "fra-1" && event["withdrawn"] == withdrawn
    };
    let event = remembered(&server, "path", 30, path(true));
    let facts = ["transport", "family", "reason"].map(|key| &event[key]);
    assert_eq!(json!(facts), json!(["tcp", "ipv4", "port_closed"]));
    reads(
        &server,
        &["--relay", "fra-1"],
        "fra-1: tcp over ipv4 withdrawn: port_closed",
    );
    let mended = with(&server.config(), "");
    common::write(&server.path("dnsd.toml"), &mended);
    assert!(server.cli(&["reload"]).status.success());
    remembered(&server, "path", 10, path(false));
    let told = server.json(&["history", "--relay", "ams-1"]);
    let mut others = told["events"].as_array().into_iter().flatten();
    assert!(!others.any(|event| event["kind"] == "path"), "{told:#}");
}

#[test]
fn a_region_that_calls_its_reserve_and_lets_it_rest() {
    let mut server = Server::new(112, two());
    server.relays.push(listed("par-1", "eu-c", "gamma", 3));
    let text = server.config();
    let last = text.rfind("keys = [1]").expect("the third relay");
    let reserve = format!("{}standby = true\n{}", &text[..last], &text[last..]);
    common::write(&server.path("dnsd.toml"), &reserve);
    server.spawn();
    server.wait_ready();
    for relay in ["fra-1", "ams-1", "par-1"] {
        let force = ["force", "up", relay, "--why", "a test"];
        assert!(server.cli(&force).status.success());
    }
    let reports = SocketAddr::from((server.ip, server.reports));
    let hearts = ["fra-1", "ams-1"].map(|id| {
        let mut listed = server.relays.iter();
        let address = listed.find(|relay| relay.id == id).expect("listed").address;
        Heartbeat::start(id, address, reports)
    });
    let full = Load {
        sessions: 990,
        sessions_max: 1000,
        ..Load::default()
    };
    for heart in &hearts {
        heart.carry(full);
    }
    let called = |event: &Value| event["region"] == "eu" && event["reserve"] == true;
    remembered(&server, "load", 40, called);
    let published = remembered(&server, "published", 10, |event| {
        let because = event["because"].as_array().into_iter().flatten();
        because.into_iter().any(|cause| cause == "the load of eu")
    });
    let entered = &published["regions"][0]["entered"];
    assert!(
        entered
            .as_array()
            .is_some_and(|all| all.contains(&json!("par-1"))),
        "{published:#}"
    );
    reads(
        &server,
        &[],
        "of its clients go elsewhere, before 0 ‰; its reserve serves",
    );
}

#[test]
fn self_doubt_and_the_other_nameservers() {
    let mut panel = Panel::new(113, [two(), two(), two()]).start();
    panel.wait_all_heard();
    let peer = |id: &'static str, heard: bool| {
        move |event: &Value| event["observer"] == id && event["heard"] == heard
    };
    for id in ["ns2", "ns3"] {
        remembered(&panel.servers[0], "peer", 5, peer(id, true));
    }
    for n in [1, 2] {
        panel.servers[n].signal(Signal::SIGKILL);
        panel.servers[n].ended();
    }
    let first = &panel.servers[0];
    for id in ["ns2", "ns3"] {
        remembered(first, "peer", 10, peer(id, false));
    }
    let began = remembered(first, "doubt_began", 10, |_| true);
    assert_eq!(began["cause"], "peers");
    let panel = panel.start();
    let first = &panel.servers[0];
    let ended = remembered(first, "doubt_ended", 20, |_| true);
    assert!(ended["at_ms"].as_u64() > began["at_ms"].as_u64());
    for line in [
        "ns2 is not heard any more",
        "ns2 is heard",
        "distrusts itself: too many peers fell silent at once",
        "trusts itself again",
    ] {
        reads(first, &[], line);
    }
}

#[test]
fn twins_are_fenced_and_believed_again() {
    let server = Server::new(117, two()).start();
    let socket = UdpSocket::bind("127.0.77.1:0").expect("a socket");
    let reports = SocketAddr::from((server.ip, server.reports));
    let address = server.relays[0].address;
    let begun = dnsd::clock::unix_millis();
    let fenced = |fenced: bool| move |event: &Value| event["fenced"] == fenced;
    // Each rises above the other, which then falls behind: as often as it takes.
    let mut round = 0;
    let event = wait_for("twins", Duration::from_secs(20), || {
        round += 1;
        for boot in [begun + round, begun + round - 1] {
            let report = report("fra-1", address, boot, round);
            let sent = socket.send_to(&report.encode(KeyId(1), &key()), reports);
            sent.expect("sent");
        }
        find(&server, "twins", fenced(true))
    });
    assert_eq!(event["relay"], "fra-1");
    // One of them is left.
    let _heart = Heartbeat::start("fra-1", address, reports);
    let again = remembered(&server, "twins", 45, fenced(false));
    let apart = again["at_ms"].as_u64().expect("a time") - event["at_ms"].as_u64().expect("one");
    assert!(apart >= 30_000, "{apart} ms");
    for line in [
        "fra-1: two machines report under its name, neither is believed",
        "fra-1: is believed again",
    ] {
        reads(&server, &["--relay", "fra-1"], line);
    }
}

#[test]
fn machines_that_join_and_relays_that_go() {
    let mut server = Server::new(118, two());
    server.rules = "[[keys]]\nid = 2\nkey = \"the key of one group of machines\"\n\
        [[enrolment]]\nkey = 2\nnetworks = [\"127.0.78.0/24\"]\nregion = \"eu\"\n\
        zone = \"eu-x\"\nvendor = \"delta\"\n"
        .to_owned();
    let mut server = server.start();
    let reports = SocketAddr::from((server.ip, server.reports));
    let address = SocketAddr::from(([127, 0, 78, 1], 3478));
    let group = "the key of one group of machines";
    let _heart = Heartbeat::signed("asg-1", address, reports, 2, group);
    let joined = remembered(&server, "joined", 10, |event| event["relay"] == "asg-1");
    assert_eq!(joined["addresses"], json!(["127.0.78.1"]));
    reads(&server, &["--relay", "asg-1"], "asg-1 joined: 127.0.78.1");

    server.relays.pop();
    server.configure();
    assert!(server.cli(&["reload", "--yes-i-mean-it"]).status.success());
    remembered(&server, "forgotten", 5, |event| event["relay"] == "ams-1");
    reads(
        &server,
        &["--relay", "ams-1"],
        "ams-1 is none of the fleet any more",
    );
    let told = server.json(&["history"]);
    let events = told["events"].as_array().expect("events");
    let forgotten = events.iter().filter(|event| event["kind"] == "forgotten");
    assert_eq!(forgotten.count(), 1, "{told:#}");
}
