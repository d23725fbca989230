//! unbound between clients and nameservers: what it makes of the answers, whichever way it asks, and
//! what its clients notice when a nameserver or a relay dies.

mod common;

use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::coturn::Coturn;
use common::dnsd::{SECRET, Server, ZONE, listed};
use common::relay::Heartbeat;
use common::unbound::{self, Told, Unbound};
use common::{wait_for, write};
use credentials::UnixTime;
use credentials::label::{Label, LabelKeys, Lane};
use credentials::{Secret, SecretRing};
use nix::sys::signal::Signal;

fn tools(test: &str) -> bool {
    ["dig", "unbound"]
        .iter()
        .all(|tool| common::has(test, tool))
}

/// A label of the tests' fleet, with its lane.
fn label(draw: u32, lane: Lane) -> String {
    let secret = Secret::new(SECRET.as_bytes().to_vec()).expect("secret");
    let keys = LabelKeys::derive(&SecretRing::new(secret, Vec::new()).expect("ring"));
    let label = Label {
        draw,
        region: None,
        avoid: [None, None],
        tenant: None,
        transport: None,
        expires: UnixTime(dnsd::clock::unix().0 + 600),
    };
    format!("{}.{}.{ZONE}", keys.seal(&label, lane), lane.as_str())
}

/// Two nameservers with the same relays.
fn two(host: u8, relays: &[common::dnsd::Listed]) -> [Server; 2] {
    ["ns1", "ns2"].map(|id| {
        let host = host + u8::from(id == "ns2");
        let mut server = Server::new(host, relays.to_vec());
        server.id = id;
        server
    })
}

/// Every way of asking that a setting of unbound's brings about.
const SETTINGS: &[(&str, &str)] = &[
    ("as it comes", ""),
    ("0x20", " use-caps-for-id: yes"),
    (
        "QNAME minimisation",
        " qname-minimisation: yes\n qname-minimisation-strict: yes",
    ),
    ("no QNAME minimisation", " qname-minimisation: no"),
    ("prefetch", " prefetch: yes"),
    ("TCP only", " tcp-upstream: yes"),
    ("512 bytes", " edns-buffer-size: 512"),
    (
        "all at once",
        " use-caps-for-id: yes\n qname-minimisation-strict: yes\n prefetch: yes\n\
         edns-buffer-size: 512\n harden-below-nxdomain: yes\n aggressive-nsec: yes",
    ),
];

/// Names that are always there, what is asked of them, and what must come of it.
fn fixed() -> Vec<(String, &'static str, &'static str)> {
    let addresses = [
        ("", "NOERROR"),
        ("a.", "NOERROR"),
        ("B.", "NOERROR"),
        ("hello.a.", "NOERROR"),
        ("tls.b.", "NOERROR"),
        ("eu.", "NOERROR"),
        ("fra-1.", "NOERROR"),
        ("alias.", "NOERROR"),
        // Nothing is at these but something below them.
        ("_udp.", "NOERROR"),
        ("deep.down.", "NOERROR"),
        ("no.", "NXDOMAIN"),
        ("x.fra-1.", "NXDOMAIN"),
    ];
    let addresses = addresses.into_iter().flat_map(|(name, status)| {
        ["A", "AAAA"].map(|kind| (format!("{name}{ZONE}"), kind, status))
    });
    let others = [
        ("_turn._udp.", "SRV"),
        ("_turns._tcp.a.", "SRV"),
        ("", "NAPTR"),
        ("", "NS"),
        ("a.", "HTTPS"),
        ("large.", "TXT"),
        ("very.deep.down.", "TXT"),
    ];
    let others = others.map(|(name, kind)| (format!("{name}{ZONE}"), kind, "NOERROR"));
    addresses.chain(others).collect()
}

/// One test after the other: each holds whole processes to bounds of time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn however_unbound_asks_its_clients_get_what_the_nameserver_says() {
    let _alone = alone();
    if !tools("however_unbound_asks_its_clients_get_what_the_nameserver_says") {
        return;
    }
    let relays = [("fra-1", "alpha", 1), ("ams-1", "beta", 2)];
    let relays = relays.map(|(id, vendor, host)| listed(id, "eu-a", vendor, host));
    let mut servers = two(82, &relays);
    let text = format!("\"{}\" ", "x".repeat(120)).repeat(8);
    for server in &mut servers {
        let records =
            format!("large 60 TXT {text}\nvery.deep.down 60 TXT deep\nalias 60 CNAME a\n");
        write(&server.path("turn.zone"), &records);
        server.zone = "records = \"turn.zone\"".to_owned();
    }
    let servers = servers.map(Server::start);
    let ip = Ipv4Addr::new(127, 0, 9, 84);
    let fixed: Vec<_> = fixed()
        .into_iter()
        .map(|(name, kind, status)| {
            let own = unbound::direct(ip, &servers[0], &name, kind);
            assert_eq!(own.status, status, "{name} {kind}");
            (name, kind, own)
        })
        .collect();
    let over = |transport: &str| {
        let name = format!(
            "turnfleet_dnsd_queries_total{{type=\"A\",rcode=\"NOERROR\",transport=\"{transport}\"}}"
        );
        let of = |server: &Server| server.metric(&name).unwrap_or_default();
        servers.iter().map(of).sum::<f64>()
    };
    for (number, (setting, options)) in (0..).zip(SETTINGS) {
        let unbound = Unbound::start(
            servers[0].dir.path(),
            ip,
            &[&servers[0], &servers[1]],
            options,
        );
        let before = ["udp", "tcp"].map(over);
        for (name, kind, own) in &fixed {
            let seen = unbound.ask(name, kind);
            assert_eq!(seen.essence(), own.essence(), "{setting}: {name} {kind}");
        }
        let names = [
            label(number * 10, Lane::A),
            label(number * 10 + 1, Lane::B),
            format!("x.y.{}", label(number * 10 + 2, Lane::A)),
        ];
        for name in &names {
            for kind in ["A", "AAAA"] {
                let seen = unbound.ask(name, kind);
                let own = unbound::direct(ip, &servers[0], name, kind);
                assert_eq!(seen.essence(), own.essence(), "{setting}: {name} {kind}");
                assert_eq!(seen.status, "NOERROR", "{setting}: {name} {kind}");
                assert_eq!(
                    seen.records.is_empty(),
                    kind == "AAAA",
                    "{setting}: {seen:?}"
                );
            }
        }
        let large = unbound.ask(&format!("large.{ZONE}"), "TXT");
        assert!(large.records[0].len() > 900, "{setting}: {large:?}");
        if *setting == "TCP only" {
            let after = ["udp", "tcp"].map(over);
            // The three that were compared came over UDP; the last from before may be counted late.
            assert!(after[0] - before[0] <= 4.0, "{before:?} {after:?}");
            assert!(after[1] - before[1] >= 10.0, "{before:?} {after:?}");
        }
    }
    println!(
        "measured resolver settings: {}, {} questions each",
        SETTINGS.len(),
        fixed.len() + 7
    );
}

/// Asks for fresh labels of both lanes, one after the other; how long the slowest answer took, and
/// the middle one.
fn labels(unbound: &Unbound, draws: std::ops::Range<u32>) -> (Duration, Duration) {
    let mut took = Vec::new();
    for draw in draws {
        let told = unbound.ask(&label(draw, [Lane::A, Lane::B][draw as usize % 2]), "A");
        assert_eq!(told.status, "NOERROR", "{told:?}");
        assert!(!told.records.is_empty(), "{told:?}");
        took.push(told.took);
    }
    took.sort_unstable();
    (took[took.len() - 1], took[took.len() / 2])
}

#[test]
fn clients_are_answered_while_one_of_two_nameservers_hangs_and_when_it_dies() {
    let _alone = alone();
    if !tools("clients_are_answered_while_one_of_two_nameservers_hangs_and_when_it_dies") {
        return;
    }
    let relays = [listed("fra-1", "eu-a", "alpha", 1)];
    let mut servers = two(85, &relays).map(Server::start);
    let dir = tempfile::tempdir().expect("dir");
    let at = Ipv4Addr::new(127, 0, 9, 87);
    let unbound = Unbound::start(dir.path(), at, &[&servers[0], &servers[1]], "");
    let well = labels(&unbound, 0..30);
    servers[0].signal(Signal::SIGSTOP);
    let hung = labels(&unbound, 100..130);
    servers[0].signal(Signal::SIGCONT);
    let again = labels(&unbound, 200..210);
    // One that has not seen either fail: unbound avoids for minutes what has hung once.
    let other = Unbound::start(dir.path(), at, &[&servers[0], &servers[1]], "");
    labels(&other, 250..280);
    servers[1].signal(Signal::SIGKILL);
    servers[1].ended();
    let dead = labels(&other, 300..330);
    // A resolver that knows neither yet.
    let new = Unbound::start(dir.path(), at, &[&servers[0], &servers[1]], "");
    let first = labels(&new, 400..430);
    println!(
        "measured resolver, slowest and middle answer: well {well:?}, one hangs {hung:?}, back \
         {again:?}, other dead {dead:?}, new resolver {first:?}"
    );
}

#[test]
fn a_dead_relay_leaves_new_labels_at_once_and_fixed_names_when_the_cache_lets_go() {
    let _alone = alone();
    let test = "a_dead_relay_leaves_new_labels_at_once_and_fixed_names_when_the_cache_lets_go";
    if !(tools(test) && common::has(test, "turnserver")) {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let turn = [1, 2].map(|n| {
        let ip = Ipv4Addr::new(127, 0, 62, n);
        Some(Coturn::start(dir.path(), ip, None, SECRET, &[]))
    });
    let mut relays = vec![
        listed("fra-1", "eu-a", "alpha", 1),
        listed("ams-1", "eu-b", "beta", 2),
    ];
    for (relay, turn) in relays.iter_mut().zip(&turn) {
        relay.address = turn.as_ref().expect("running").address;
    }
    let servers = two(88, &relays).map(Server::start);
    let beat = |relay: usize| {
        let of = |server: &Server| {
            let reports = (server.ip, server.reports).into();
            Heartbeat::start(relays[relay].id, relays[relay].address, reports)
        };
        Some([of(&servers[0]), of(&servers[1])])
    };
    let mut beats = [beat(0), beat(1)];
    for server in &servers {
        for relay in &relays {
            server.wait_up(relay.id);
        }
    }
    let both = [&servers[0], &servers[1]];
    let ip = Ipv4Addr::new(127, 0, 9, 90);
    let keeps = Unbound::start(dir.path(), ip, &both, " cache-min-ttl: 60");
    let fetches = Unbound::start(dir.path(), ip, &both, " prefetch: yes");
    let plain = format!("a.{ZONE}");
    let kept = keeps.ask(&plain, "A");
    assert!(kept.ttl > Some(50), "{kept:?}");
    let dead = usize::from(kept.names(&relays[1].address.ip().to_string()));
    let address = relays[dead].address.ip().to_string();
    assert!(kept.names(&address), "{kept:?}");

    let mut draws = 1000..;
    // New labels in pairs of one draw: the lanes never share a relay, so each pair names both while
    // both are up.
    let mut new = |unbound: &Unbound| -> Vec<Told> {
        let draws: Vec<u32> = draws.by_ref().take(3).collect();
        let pairs = draws
            .iter()
            .map(|draw| [Lane::A, Lane::B].map(|lane| label(*draw, lane)));
        pairs
            .flatten()
            .map(|name| unbound.ask(&name, "A"))
            .collect()
    };
    let named = new(&keeps)
        .iter()
        .filter(|told| told.names(&address))
        .count();
    assert_eq!(named, 3);

    let [first, second] = turn;
    let (gone, left) = if dead == 0 {
        (first, second)
    } else {
        (second, first)
    };
    drop(gone);
    drop(beats[dead].take());
    let since = Instant::now();
    let limit = Duration::from_secs(10);
    // The resolver asks either of them. One of the lanes names the relay until its answers are anew,
    // which is a moment after the verdict.
    for server in &servers {
        wait_for("answers without the dead relay", limit, || {
            let told = server.dig(&["+short", &plain, "A", &format!("b.{ZONE}"), "A"]);
            // Not what dig says of a question that was lost.
            let told = told.lines().filter(|line| !line.starts_with(';'));
            let told: Vec<&str> = told.collect();
            (told.len() == 2 && !told.contains(&&*address)).then_some(())
        });
    }
    wait_for("new labels without the dead relay", limit, || {
        let told = new(&keeps);
        assert!(told.iter().all(|told| !told.records.is_empty()), "{told:?}");
        (!told.iter().any(|told| told.names(&address))).then_some(())
    });
    let labels_took = since.elapsed();
    assert!(labels_took < limit, "{labels_took:?}");
    let still = keeps.ask(&plain, "A");
    assert_eq!(still.essence(), kept.essence());
    // What lets names go with their TTL has a fixed name right within TTL and the time to judge.
    wait_for("a popular fixed name without it", limit + limit, || {
        let told = fetches.ask(&plain, "A");
        assert!(!told.records.is_empty(), "{told:?}");
        (!told.names(&address)).then_some(())
    });
    let name_took = since.elapsed();
    let settled = new(&keeps);
    assert!(
        !settled.iter().any(|told| told.names(&address)),
        "{settled:?}"
    );
    println!(
        "measured relay's death through unbound: new labels after {labels_took:.1?}, a fixed name \
         after {name_took:.1?}"
    );
    drop(left);
}

#[test]
fn unbound_keeps_an_answer_for_its_ttl_and_no_longer() {
    let _alone = alone();
    if !tools("unbound_keeps_an_answer_for_its_ttl_and_no_longer") {
        return;
    }
    let server = Server::new(91, vec![listed("fra-1", "eu-a", "alpha", 1)]).start();
    let ip = Ipv4Addr::new(127, 0, 9, 92);
    let unbound = Unbound::start(server.dir.path(), ip, &[&server], "");
    let plain = format!("a.{ZONE}");
    let first = unbound.ask(&plain, "A");
    // No relay was ever up: the least that is configured.
    assert_eq!(first.ttl, Some(5), "{first:?}");
    let asked = || {
        let name = "turnfleet_dnsd_queries_total{type=\"A\",rcode=\"NOERROR\",transport=\"udp\"}";
        server.metric(name).unwrap_or_default()
    };
    let before = asked();
    let begun = Instant::now();
    let mut last = 5;
    // It counts down to nothing, without asking, and then asks.
    wait_for("a new answer", Duration::from_secs(15), || {
        let told = unbound.ask(&plain, "A");
        assert_eq!(told.essence(), first.essence());
        let ttl = told.ttl.expect("records");
        if ttl > last {
            return Some(());
        }
        assert!(asked() <= before + 1.0);
        last = ttl;
        None
    });
    let lasted = begun.elapsed();
    assert!(lasted >= Duration::from_secs(4), "{lasted:?}");
    // What is not there is remembered, too, and each new label is a question of its own.
    let nothing = unbound.ask(&format!("no.{ZONE}"), "A");
    assert_eq!(nothing.status, "NXDOMAIN");
    let before = asked();
    for draw in 0..10 {
        let told = unbound.ask(&label(draw, Lane::A), "A");
        assert_eq!((told.ttl, told.records.len()), (Some(5), 1), "{told:?}");
    }
    wait_for("ten questions", Duration::from_secs(5), || {
        (asked() >= before + 10.0).then_some(())
    });
}
