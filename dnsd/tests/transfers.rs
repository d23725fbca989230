//! Zones transferred to other nameservers, as these see it.

mod common;

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

use common::dnsd::{Listed, Server, ZONE, listed};
use common::secondaries::{KEY, KEYED, Kind, SECRET, Secondary, section, serial, short};
use common::{free_port, wait_for, write};
use nix::sys::signal::Signal;

const WAIT: Duration = Duration::from_secs(20);

fn four() -> Vec<Listed> {
    vec![
        listed("fra-1", "eu-a", "alpha", 1),
        listed("ams-1", "eu-b", "beta", 2),
        listed("par-1", "eu-c", "gamma", 3),
        listed("waw-1", "eu-d", "alpha", 4),
    ]
}

/// A nameserver whose zone has a record that says `text`.
fn server(host: u8, text: &str) -> Server {
    let mut server = Server::new(host, four());
    write(&server.path("turn.zone"), &format!("text 60 TXT {text}\n"));
    "records = \"turn.zone\"".clone_into(&mut server.zone);
    server
}

fn zone_serial(server: &Server) -> Option<u32> {
    serial((server.ip, server.dns))
}

/// A secondary gets the zone, follows it, and serves on when there is no daemon any more.
fn follows(who: &str, kind: Kind, host: u8) {
    if !(common::has(who, kind.tool()) && common::has(who, "dig")) {
        return;
    }
    let mut server = server(host, "before");
    let ip = match kind {
        // It listens on no address that the interface does not have by itself.
        Kind::Bind => Ipv4Addr::LOCALHOST,
        Kind::Nsd | Kind::Knot => Ipv4Addr::new(127, 0, 9, host + 1),
    };
    let mut secondary = Secondary::new(kind, ip);
    server.more = section(&server, &secondary.entry());
    let mut server = server.start();
    secondary.start(&[(server.ip, server.dns)]);
    let what = format!("{} to have the zone", kind.tool());
    wait_for(&what, WAIT, || {
        let fetched = secondary.serial()? == zone_serial(&server)?;
        fetched.then_some(())
    });
    let both = |name: &str, kind: &str| {
        let ours = short((server.ip, server.dns), name, kind);
        (secondary.short(name, kind), ours)
    };
    for (name, kind) in [
        ("fra-1.turn.example", "A"),
        ("text.turn.example", "TXT"),
        ("turn.example", "NS"),
        ("turn.example", "NAPTR"),
        ("ns1.turn.example", "A"),
    ] {
        let (theirs, ours) = both(name, kind);
        assert!(
            !ours.is_empty() && theirs == ours,
            "{name} {kind} {theirs:?} {ours:?}"
        );
    }
    // Labels are a wildcard's to others.
    let lanes = ["label.a.turn.example", "label.b.turn.example"].map(|n| secondary.short(n, "A"));
    assert!(lanes.iter().all(|lane| !lane.is_empty()), "{lanes:?}");
    assert!(
        lanes[0].iter().all(|relay| !lanes[1].contains(relay)),
        "{lanes:?}"
    );

    write(&server.path("turn.zone"), "text 60 TXT after\n");
    server.signal(Signal::SIGHUP);
    wait_for("the change", WAIT, || {
        (secondary.short("text.turn.example", "TXT") == ["\"after\""]).then_some(())
    });
    let labels = format!("{{secondary=\"{}\"}}", kind.tool());
    wait_for("the acknowledgement", WAIT, || {
        let pending = server.metric(&format!("turnfleet_dnsd_notify_pending{labels}"))?;
        (pending < 0.5).then_some(())
    });
    let fetched = server.metric(&format!("turnfleet_dnsd_secondary_serial{labels}"));
    assert_eq!(
        fetched,
        zone_serial(&server).map(f64::from),
        "{}",
        secondary.log()
    );
    assert!(!server.log().contains(SECRET));

    server.signal(Signal::SIGKILL);
    assert_eq!(server.ended(), None);
    assert_eq!(secondary.short("text.turn.example", "TXT"), ["\"after\""]);
    assert_eq!(secondary.short("label.a.turn.example", "A"), lanes[0]);
}

#[test]
fn nsd_follows_and_serves_on() {
    follows("nsd_follows_and_serves_on", Kind::Nsd, 201);
}

#[test]
fn knot_follows_and_serves_on() {
    follows("knot_follows_and_serves_on", Kind::Knot, 203);
}

#[test]
fn bind_follows_and_serves_on() {
    follows("bind_follows_and_serves_on", Kind::Bind, 205);
}

#[test]
fn a_relay_that_stays_away_is_gone_from_the_secondary_too() {
    let who = "a_relay_that_stays_away_is_gone_from_the_secondary_too";
    if !(common::has(who, "nsd") && common::has(who, "dig")) {
        return;
    }
    let mut server = server(207, "x");
    let mut secondary = Secondary::new(Kind::Nsd, Ipv4Addr::new(127, 0, 9, 208));
    server.more = section(&server, &secondary.entry());
    let server = server.start();
    for relay in ["fra-1", "ams-1", "par-1", "waw-1"] {
        assert!(
            server
                .cli(&["force", "up", relay, "--why", "a test"])
                .status
                .success()
        );
    }
    secondary.start(&[(server.ip, server.dns)]);
    let has = |address: &str| secondary.short(ZONE, "A").iter().any(|a| a == address);
    wait_for("all relays", WAIT, || {
        ["127.0.77.1", "127.0.77.2"]
            .into_iter()
            .all(has)
            .then_some(())
    });
    assert!(
        server
            .cli(&["force", "down", "fra-1", "--why", "a test"])
            .status
            .success()
    );
    wait_for("the relay to go", WAIT, || {
        (!has("127.0.77.1") && has("127.0.77.2")).then_some(())
    });
    for lane in ["a.turn.example", "b.turn.example"] {
        let lane = secondary.short(lane, "A");
        assert!(
            !lane.is_empty() && !lane.contains(&"127.0.77.1".to_owned()),
            "{lane:?}"
        );
    }
}

/// `dig` for the zone with a key: what it prints.
fn axfr(server: &Server, key: &str, args: &[&str]) -> String {
    let with = ["-y", key];
    let with: &[&str] = if key.is_empty() { &[] } else { &with };
    server.dig(&[with, args].concat())
}

fn good() -> String {
    format!("hmac-sha256:{KEY}:{SECRET}")
}

/// The records of a transfer, a line each.
fn records(text: &str) -> Vec<&str> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with(';') && !line.is_empty());
    // The signatures are no part of the zone.
    lines.filter(|line| !line.contains("\tTSIG\t")).collect()
}

#[test]
fn who_shows_the_key_gets_the_zone_and_nobody_else_does() {
    let who = "who_shows_the_key_gets_the_zone_and_nobody_else_does";
    if !["dig", "kdig", "named-checkzone"]
        .into_iter()
        .all(|tool| common::has(who, tool))
    {
        return;
    }
    let mut server = server(209, "x");
    server.more = section(&server, KEYED);
    let server = server.start();
    let text = axfr(&server, &good(), &["+onesoa", ZONE, "AXFR"]);
    let zone = records(&text).join("\n") + "\n";
    assert!(zone.contains("_turn._udp.a.turn.example."), "{text}");
    let file = server.path("transferred");
    write(&file, &zone);
    let judged = Command::new("named-checkzone")
        .arg(ZONE)
        .arg(&file)
        .output();
    let judged = judged.expect("named-checkzone runs");
    let said = String::from_utf8_lossy(&judged.stdout);
    assert!(
        judged.status.success() && said.ends_with("OK\n"),
        "{said}\n{zone}"
    );
    let whole = axfr(&server, &good(), &[ZONE, "AXFR"]);
    let whole = records(&whole);
    assert!(
        whole[0].contains("SOA") && whole.first() == whole.last(),
        "{whole:?}"
    );
    let kdig = server.kdig(&["-y", &good(), ZONE, "AXFR"]);
    assert!(kdig.contains("text.turn.example."), "{kdig}");

    let current = zone_serial(&server).expect("serial");
    for (asked, many) in [(current, false), (current - 1, true), (current + 1, false)] {
        let text = axfr(&server, &good(), &[ZONE, &format!("IXFR={asked}")]);
        let records = records(&text);
        let ours = records
            .first()
            .is_some_and(|soa| soa.contains(&current.to_string()));
        assert!(ours && (records.len() > 3) == many, "IXFR={asked}\n{text}");
    }
    // Answers to queries that are signed are signed, over both transports.
    for transport in ["+tcp", "+notcp"] {
        let text = axfr(&server, &good(), &[transport, ZONE, "SOA"]);
        let signed = text.contains("status: NOERROR") && text.contains("\tTSIG\t");
        assert!(signed && !text.contains("Couldn't verify"), "{text}");
    }

    let other = "b3RoZXIgc2VjcmV0IG9mIHRoaXJ0eS10d28gYnl0ZXM=";
    for (key, why) in [
        (format!("hmac-sha256:{KEY}:{other}"), "BADSIG"),
        (format!("hmac-sha256:another:{SECRET}"), "BADKEY"),
        (format!("hmac-sha512:{KEY}:{SECRET}"), "BADKEY"),
        (String::new(), "Transfer failed"),
    ] {
        let text = axfr(&server, &key, &[ZONE, "AXFR"]);
        let refused = text.contains("Transfer failed") || text.contains("NOTAUTH");
        assert!(
            refused && !text.contains("text.turn.example."),
            "{key}\n{text}"
        );
        let text = axfr(&server, &key, &["+tcp", ZONE, "SOA"]);
        let told = if key.is_empty() { "NOERROR" } else { why };
        assert!(text.contains(told), "{key} {told}\n{text}");
    }
    for (args, status) in [
        ([ZONE, "AXFR", "+notcp"], "REFUSED"),
        (["example.org", "AXFR", "+tcp"], "NOTAUTH"),
    ] {
        // dig asks for transfers over TCP whatever it is told.
        let output = Command::new("kdig")
            .args([&format!("@{}", server.ip), "-p", &server.dns.to_string()])
            .args(["+retry=0", "+time=2", "-y", &good()])
            .args(args)
            .output()
            .expect("kdig runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(status), "{args:?}\n{said}");
    }
    let count = |result: &str| {
        let name = format!("turnfleet_dnsd_transfers_total{{result=\"{result}\"}}");
        server.metric(&name).unwrap_or_default()
    };
    assert!(count("sent") >= 4.0 && count("refused") >= 2.0 && count("current") >= 2.0);
}

#[test]
fn a_clock_that_is_wrong_is_told_the_right_time() {
    let who = "a_clock_that_is_wrong_is_told_the_right_time";
    if !(common::has(who, "kdig") && common::has(who, "faketime")) {
        return;
    }
    let mut server = server(210, "x");
    server.more = section(&server, KEYED);
    let server = server.start();
    let output = Command::new("faketime")
        .args(["-f", "-2h", "kdig", &format!("@{}", server.ip)])
        .args(["-p", &server.dns.to_string(), "-y", &good(), ZONE, "SOA"])
        .output()
        .expect("faketime runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("status: BADTIME"), "{text}");
    // Signed at the client's time, and ours beside it.
    let tsig = text.lines().find(|line| line.contains("\tTSIG\t"));
    let words: Vec<_> = tsig.expect("TSIG").split_whitespace().collect();
    let seconds = |word: &str| word.parse::<u64>().expect("seconds");
    let (theirs, ours) = (seconds(words[5]), seconds(words[words.len() - 1]));
    assert!(words[8].len() > 40, "it has a MAC: {text}");
    assert!(ours.abs_diff(theirs + 7200) < 60, "{text}");
}

#[test]
fn a_large_zone_comes_in_many_messages_and_slow_readers_hold_nobody_up() {
    let who = "a_large_zone_comes_in_many_messages_and_slow_readers_hold_nobody_up";
    if !common::has(who, "dig") {
        return;
    }
    let mut server = server(211, "x");
    let mut text = String::new();
    for number in 0..12_000 {
        let _ = writeln!(text, "host-{number} 300 A 192.0.2.{}", number % 250);
    }
    write(&server.path("turn.zone"), &text);
    let ip = server.ip;
    let entry = format!(
        "{KEYED}[[transfer.secondaries]]\nname = \"near\"\naddress = \"{ip}:{}\"\nnotify = false\n",
        free_port(ip)
    );
    server.more = section(&server, &entry);
    let server = server.start();
    // They ask, and read nothing.
    let question =
        b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04turn\x07example\x00\x00\xfc\x00\x01";
    let mut slow: Vec<_> = (0..4)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let socket = socket.expect("socket");
            socket.set_recv_buffer_size(4096).expect("buffer");
            let any: std::net::SocketAddr = (ip, 0).into();
            socket.bind(&any.into()).expect("bind");
            let to: std::net::SocketAddr = (server.ip, server.dns).into();
            socket.connect(&to.into()).expect("connect");
            let mut stream = TcpStream::from(socket);
            let length = u16::try_from(question.len()).expect("length");
            stream.write_all(&length.to_be_bytes()).expect("length");
            stream.write_all(question).expect("question");
            stream
        })
        .collect();
    let text = axfr(&server, &good(), &[ZONE, "AXFR"]);
    let hosts = records(&text)
        .iter()
        .filter(|line| line.starts_with("host-"))
        .count();
    assert_eq!(hosts, 12_000);
    // It shows what it has read, and only says what it thinks of its signatures.
    assert!(!text.contains("could not be validated"), "a signature");
    let size = text
        .lines()
        .find_map(|line| line.strip_prefix(";; XFR size: "));
    let messages = size.and_then(|size| size.split("messages ").nth(1)?.split(',').next());
    let messages: usize = messages.expect("size").parse().expect("number");
    assert!((10..200).contains(&messages), "{size:?}");
    assert_eq!(server.short("host-7.turn.example", "A"), ["192.0.2.7"]);
    // Those who read at last find whole messages.
    for stream in &mut slow {
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("timeout");
        let mut length = [0; 2];
        stream.read_exact(&mut length).expect("a message");
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message).expect("the whole message");
        assert_eq!(message[..2], [0x12, 0x34]);
    }
    // And those who then read no more are let go.
    wait_for("the end of slow readers", WAIT, || {
        let gone = "turnfleet_dnsd_drops_total{reason=\"send\",transport=\"tcp\"}";
        (server.metric(gone)? >= 4.0).then_some(())
    });
}

#[test]
fn two_nameservers_give_out_one_serial_that_never_falls() {
    let who = "two_nameservers_give_out_one_serial_that_never_falls";
    if !(common::has(who, "knotd") && common::has(who, "dig")) {
        return;
    }
    let mut servers = [server(213, "before"), server(214, "before")];
    let ports = servers
        .each_ref()
        .map(|server| (server.ip, free_port(server.ip)));
    let mut secondary = Secondary::new(Kind::Knot, Ipv4Addr::new(127, 0, 9, 215));
    for (n, server) in servers.iter_mut().enumerate() {
        server.id = ["ns1", "ns2"][n];
        let [own, other] = [ports[n], ports[1 - n]];
        let sharing = format!(
            "[sharing]\nlisten = \"{}:{}\"\nvendor = \"vendor-{n}\"\nregion = \"eu\"\n\
             current = \"the cluster key of these tests, long\"\npeers = [\"{}:{}\"]\n",
            own.0, own.1, other.0, other.1
        );
        server.more = sharing + &section(server, &secondary.entry());
    }
    let [first, second] = servers;
    // The second starts later, and has another serial by the clock.
    let first = first.start();
    let begun = zone_serial(&first).expect("serial");
    wait_for("a second to pass", WAIT, || {
        let now = dnsd::clock::unix().0;
        (now > u64::from(begun) + 1).then_some(())
    });
    let second = second.start();
    let masters = [(first.ip, first.dns), (second.ip, second.dns)];
    secondary.start(&masters);
    let mut seen = [0, 0, 0];
    let mut look = || {
        let now = [
            zone_serial(&first),
            zone_serial(&second),
            secondary.serial(),
        ];
        for (seen, now) in seen.iter_mut().zip(now) {
            let now = now.unwrap_or(*seen);
            assert!(now >= *seen, "fell from {seen} to {now}");
            *seen = now;
        }
        let agree = seen[0] == seen[1] && seen[1] == seen[2];
        agree.then_some(seen[0])
    };
    let agreed = wait_for("one serial everywhere", WAIT, &mut look);
    for server in [&first, &second] {
        write(&server.path("turn.zone"), "text 60 TXT after\n");
        server.signal(Signal::SIGHUP);
    }
    let next = wait_for("another serial everywhere", WAIT, || {
        look().filter(|next| *next > agreed)
    });
    wait_for("the change", WAIT, || {
        look();
        (secondary.short("text.turn.example", "TXT") == ["\"after\""]).then_some(())
    });
    // One is gone, and the other goes on from there.
    first.signal(Signal::SIGKILL);
    write(&second.path("turn.zone"), "text 60 TXT last\n");
    second.signal(Signal::SIGHUP);
    wait_for("the last change", WAIT, || {
        (secondary.short("text.turn.example", "TXT") == ["\"last\""]).then_some(())
    });
    assert!(secondary.serial() > Some(next), "{}", secondary.log());
}
