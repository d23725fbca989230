//! The echo probe against coturn: it passes, it tells failures apart, and it leaves nothing behind.

mod common;

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use common::coturn::Coturn;
use common::probing::{PATIENCE, SECRET, credential, probe, route, runtime};
use common::proxy::{Proxy, Way};
use dnsd::probe::echo::run;
use dnsd::probe::tls::Trust;
use dnsd_core::health::Outcome;
use dnsd_core::paths::Transport;
use tokio::sync::oneshot;

#[test]
fn passes_through_coturn() {
    if !common::has("passes_through_coturn", "turnserver") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let relay = Coturn::start(dir.path(), Ipv4Addr::new(127, 0, 1, 11), None, SECRET, &[]);
    let outcome = runtime().block_on(probe(relay.address, &credential(SECRET)));
    assert!(matches!(outcome, Outcome::Ok { .. }), "{outcome:?}");
}

#[test]
fn a_wrong_secret_is_told() {
    if !common::has("a_wrong_secret_is_told", "turnserver") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let relay = Coturn::start(dir.path(), Ipv4Addr::new(127, 0, 1, 12), None, SECRET, &[]);
    let outcome = runtime().block_on(probe(relay.address, &credential("another secret, as long")));
    assert!(
        matches!(&outcome, Outcome::Failed(why) if why.contains("401")),
        "{outcome:?}"
    );
}

#[test]
fn a_relay_that_drops_the_data_is_caught() {
    if !common::has("a_relay_that_drops_the_data_is_caught", "turnserver") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let denied = ["--denied-peer-ip", "127.0.9.0-127.0.9.255"];
    let relay = Coturn::start(
        dir.path(),
        Ipv4Addr::new(127, 0, 1, 13),
        None,
        SECRET,
        &denied,
    );
    let outcome = runtime().block_on(probe(relay.address, &credential(SECRET)));
    assert!(
        matches!(&outcome, Outcome::Failed(why) if why.contains("403")),
        "{outcome:?}"
    );
}

#[test]
fn silence_times_out_and_a_closed_port_is_refused() {
    let runtime = runtime();
    let silent = UdpSocket::bind("127.0.1.14:0").expect("socket");
    let address = silent.local_addr().expect("address");
    let begun = Instant::now();
    let (told, outcome) = oneshot::channel();
    let route = route(address, Transport::Udp, &Trust::default());
    runtime.spawn(async move { run(route, &credential(SECRET), PATIENCE, told).await });
    let outcome = runtime.block_on(outcome).expect("an outcome").outcome;
    assert!(matches!(outcome, Outcome::Timeout), "{outcome:?}");
    assert!(
        (1400..2500).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
    drop(silent);
    let begun = Instant::now();
    let outcome = runtime.block_on(probe(address, &credential(SECRET)));
    assert!(matches!(outcome, Outcome::Refused), "{outcome:?}");
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn both_ways_of_sending_must_work() {
    if !common::has("both_ways_of_sending_must_work", "turnserver") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let relay = Coturn::start(dir.path(), Ipv4Addr::new(127, 0, 1, 16), None, SECRET, &[]);
    let through = |lost: fn(Way, &[u8], u64) -> bool| {
        let path = Proxy::start(relay.address.ip(), relay.address, lost);
        runtime().block_on(probe(path.address, &credential(SECRET)))
    };
    let outcome = through(|_, _, _| false);
    assert!(
        matches!(outcome, Outcome::Ok { .. }),
        "nothing lost: {outcome:?}"
    );
    let outcome = through(|_, datagram, _| datagram.starts_with(&[0x00, 0x16]));
    assert!(
        matches!(outcome, Outcome::Timeout),
        "Send indications lost: {outcome:?}"
    );
    let outcome = through(|way, datagram, _| way == Way::ToRelay && datagram[0] & 0xc0 == 0x40);
    assert!(
        matches!(outcome, Outcome::Timeout),
        "ChannelData lost: {outcome:?}"
    );
}

#[test]
fn loss_alone_is_no_failure() {
    if !common::has("loss_alone_is_no_failure", "turnserver") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let relay = Coturn::start(dir.path(), Ipv4Addr::new(127, 0, 1, 17), None, SECRET, &[]);
    for period in 5..12 {
        let lost = move |_: Way, _: &[u8], number: u64| number.is_multiple_of(period);
        let path = Proxy::start(relay.address.ip(), relay.address, lost);
        let outcome = runtime().block_on(probe(path.address, &credential(SECRET)));
        assert!(
            matches!(outcome, Outcome::Ok { .. }),
            "every {period}th lost: {outcome:?}"
        );
    }
}
