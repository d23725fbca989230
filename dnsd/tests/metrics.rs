//! What the daemon counts of its answers is what `dig` was told.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::dnsd::{Server, listed};
use common::wait_for;
use nix::sys::signal::Signal;

/// The counters of one family, by the value of their only label.
fn counted(server: &Server, family: &str) -> BTreeMap<String, u64> {
    let text = server.http("/metrics").expect("metrics");
    let of = |line: &str| {
        let rest = line.strip_prefix(family)?.strip_prefix("_total{")?;
        let (label, count) = rest.split_once("} ")?;
        let (_, value) = label.trim_end_matches('"').split_once("=\"")?;
        Some((value.to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(of).collect()
}

fn expect(server: &Server, family: &str, wanted: &BTreeMap<String, u64>) {
    let family = format!("turnfleet_dnsd_{family}");
    let begun = std::time::Instant::now();
    // A worker adds its counts after the answers of a turn have left.
    loop {
        let seen = counted(server, &family);
        if seen == *wanted {
            return;
        }
        let more = begun.elapsed() < Duration::from_secs(5);
        assert!(more, "{family}: {seen:?} instead of {wanted:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks for addresses and counts which relay each answer begins with.
fn ask(server: &Server, transport: &str, network: &str, firsts: &mut BTreeMap<String, u64>) {
    let subnet = format!("+subnet={network}");
    let told = server.dig(&[transport, "+short", &subnet, "turn.example", "A"]);
    let first = told.lines().next().expect("an answer");
    let relays = server.relays.iter();
    let relay = relays
        .filter(|relay| relay.address.ip().to_string() == first)
        .map(|relay| relay.id)
        .next();
    *firsts
        .entry(relay.expect("a relay").to_owned())
        .or_default() += 1;
}

#[test]
fn answers_are_counted_by_region_and_by_the_relay_that_comes_first() {
    let test = "answers_are_counted_by_region_and_by_the_relay_that_comes_first";
    if !common::has(test, "dig") {
        return;
    }
    let relays = [("fra-1", 1), ("ams-1", 2), ("par-1", 3)]
        .map(|(id, host)| listed(id, "eu-a", "alpha", host));
    let mut server = Server::new(78, relays[..2].to_vec()).start();
    let count = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
        let pairs = pairs
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count));
        pairs.collect()
    };
    expect(&server, "steered_queries", &count(&[("eu", 0), ("us", 0)]));
    let mut firsts = count(&[("fra-1", 0), ("ams-1", 0)]);
    for network in 0..16 {
        ask(
            &server,
            "+notcp",
            &format!("198.51.{network}.0/24"),
            &mut firsts,
        );
    }
    for network in 0..6 {
        ask(
            &server,
            "+tcp",
            &format!("10.1.{network}.0/24"),
            &mut firsts,
        );
    }
    assert!(firsts.values().all(|count| *count > 0), "{firsts:?}");
    // Counted for a region without a relay of the family; not counted, because everybody gets them.
    let none = server.dig(&["turn.example", "AAAA"]);
    assert!(none.contains("ANSWER: 0"), "{none}");
    let _ = server.dig(&["turn.example", "SOA"]);
    let _ = server.dig(&["fra-1.turn.example", "A"]);
    expect(&server, "steered_queries", &count(&[("eu", 17), ("us", 6)]));
    expect(&server, "relay_first", &firsts);

    // Other relays, other indices: counts stay with their names, and who is gone is not shown.
    let serials = server.metric("turnfleet_dnsd_answer_publications_total");
    server.relays = vec![relays[2].clone(), relays[1].clone()];
    server.configure();
    server.signal(Signal::SIGHUP);
    wait_for("the other answers", Duration::from_secs(10), || {
        let shown = server.short("par-1.turn.example", "A");
        (shown == ["127.0.77.3"]).then_some(())
    });
    assert!(server.metric("turnfleet_dnsd_answer_publications_total") > serials);
    firsts.remove("fra-1");
    firsts.insert("par-1".to_owned(), 0);
    for network in 0..16 {
        ask(
            &server,
            "+notcp",
            &format!("198.51.{network}.0/24"),
            &mut firsts,
        );
    }
    expect(&server, "relay_first", &firsts);
    expect(&server, "steered_queries", &count(&[("eu", 33), ("us", 6)]));
}
