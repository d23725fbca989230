//! Relays that nobody listed join a running daemon, with an independent relay behind each name.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::coturn::Coturn;
use common::dnsd::{SECRET, Server, listed};
use common::relay::Heartbeat;
use common::wait_for;
use nix::sys::signal::Signal;

const KEY: &str = "the key of one group of machines";
const RULE: &str = "[[keys]]\nid = 2\nkey = \"the key of one group of machines\"\n\
    [[enrolment]]\nkey = 2\nnetworks = [\"127.0.43.0/24\"]\nregion = \"eu\"\n\
    zone = \"eu-x\"\nvendor = \"delta\"\n";

#[test]
fn a_new_machine_is_answered_without_anybody_touching_the_nameserver() {
    if !(common::has("joining", "dig") && common::has("joining", "turnserver")) {
        return;
    }
    let mut server = Server::new(55, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    server.rules = RULE.to_owned();
    let mut server = server.start();
    let reports = (server.ip, server.reports).into();
    let relay = |host| {
        Coturn::start(
            server.dir.path(),
            Ipv4Addr::new(127, 0, 43, host),
            None,
            SECRET,
            &[],
        )
    };
    let (first, second) = (relay(1), relay(2));
    let outside = Ipv4Addr::new(127, 0, 44, 1);
    let third = Coturn::start(server.dir.path(), outside, None, SECRET, &[]);
    let _first = Heartbeat::signed("asg-1", first.address, reports, 2, KEY);
    let stranger = Heartbeat::signed("asg-9", third.address, reports, 2, KEY);
    // With the key of the listed relay: it speaks for that one alone.
    let _thief = Heartbeat::start("asg-2", second.address, reports);
    let answers = |server: &Server, name: &str| server.short(name, "A");
    wait_for("the first to be answered", Duration::from_secs(20), || {
        (answers(&server, "turn.example") == [first.address.ip().to_string()]).then_some(())
    });
    assert_eq!(answers(&server, "asg-1.turn.example"), ["127.0.43.1"]);
    wait_for("a word about who may not", Duration::from_secs(5), || {
        let log = server.log();
        (log.contains("a relay may not join") && log.contains("asg-9")).then_some(())
    });
    for name in ["asg-2.turn.example", "asg-9.turn.example"] {
        assert!(server.dig(&[name, "A"]).contains("NXDOMAIN"), "{name}");
    }
    drop(stranger);

    // Across a restart, and with another one.
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended(), Some(0));
    server.spawn();
    server.wait_ready();
    assert_eq!(answers(&server, "turn.example"), ["127.0.43.1"]);
    let _second = Heartbeat::signed("asg-3", second.address, reports, 2, KEY);
    wait_for("another one to join", Duration::from_secs(5), || {
        let known = server.cli(&["explain", "asg-3"]);
        known.status.success().then_some(())
    });
    server.wait_up("asg-3");
    assert_eq!(server.json(&["explain", "asg-3"])["vendor"], "delta");
    // Without the rule both would go, the region's last among them.
    let good = server.config();
    common::write(&server.path("dnsd.toml"), &good.replace(RULE, ""));
    assert_eq!(server.cli(&["reload"]).status.code(), Some(1));
    common::write(&server.path("dnsd.toml"), &good);
    assert!(server.cli(&["reload"]).status.success());
    server.wait_up("asg-3");
    assert_eq!(answers(&server, "asg-3.turn.example"), ["127.0.43.2"]);
}
