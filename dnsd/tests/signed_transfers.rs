//! Signed zones transferred to other nameservers: judged whole, served on by these when there is no
//! daemon any more, and validated by a resolver that has nothing but the key's digest.

mod common;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use common::dnsd::{Server, ZONE};
use common::secondaries::{KEY, KEYED, Kind, SECRET, Secondary, asked, section, serial};
use common::signed::{ds, keyed};
use common::validating::{Resolver, validated};
use common::{wait_for, write};
use nix::sys::signal::Signal;

/// Less than it takes a secondary to ask by itself: the SOA's refresh is 60 s.
const WAIT: Duration = Duration::from_secs(20);

/// A server with a signed zone and this secondary, not running yet.
fn server(host: u8, secondaries: &str) -> Server {
    let mut server = keyed(host);
    server.more += &section(&server, secondaries);
    server
}

/// Transfers the zone with `dig`; the file that holds it, and how many messages it came in.
fn fetch(server: &Server) -> (PathBuf, usize) {
    let key = format!("hmac-sha256:{KEY}:{SECRET}");
    let text = server.dig(&["-y", &key, "+onesoa", ZONE, "AXFR"]);
    let records = text
        .lines()
        .filter(|line| !line.starts_with(';') && !line.is_empty());
    let records = records.filter(|line| !line.contains("\tTSIG\t"));
    let zone = records.fold(String::new(), |zone, line| zone + line + "\n");
    let size = text
        .lines()
        .find_map(|line| line.strip_prefix(";; XFR size: "));
    let messages = size.and_then(|size| size.split("messages ").nth(1)?.split(',').next());
    let messages = messages.unwrap_or_else(|| panic!("{text}"));
    let file = server.path("transferred");
    write(&file, &zone);
    (file, messages.parse().expect("number"))
}

/// Runs a judge; whether it is content, and what it says.
fn judged(tool: &str, args: &[&str], file: &PathBuf) -> (bool, String) {
    let output = Command::new(tool).args(args).arg(file).output();
    let output = output.expect("the judge runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

/// Has the transferred zone judged by what others wrote: it is signed whole, by the key that the
/// parent zone would name, and for longer than a secondary that hears nothing serves it.
fn is_whole(server: &Server, file: &PathBuf) {
    let anchors = server.path("anchors.ds");
    write(&anchors, &(ds(server).join("\n") + "\n"));
    let anchors = anchors.display().to_string();
    let expires = ["-e", "P14D", "-k", &anchors];
    for (tool, args) in [
        ("ldns-verify-zone", &expires[..]),
        ("named-checkzone", &[ZONE]),
        // One kind of key has both roles (-z), and signs the DNSKEY records alone of all (-x).
        ("dnssec-verify", &["-z", "-o", ZONE]),
    ] {
        let (good, said) = judged(tool, args, file);
        assert!(
            good,
            "{tool}\n{said}\n{}",
            std::fs::read_to_string(file).expect("zone")
        );
    }
    // They do not take everything: here a name is gone, there an address is another one.
    let zone = std::fs::read_to_string(file).expect("zone");
    let short = zone.lines().filter(|line| !line.starts_with("text."));
    let short = short.fold(String::new(), |zone, line| zone + line + "\n");
    let forged = zone.replace("127.0.77.1", "127.0.77.9");
    for wrong in [short, forged] {
        assert_ne!(wrong, zone);
        let file = server.path("wrong");
        write(&file, &wrong);
        assert!(!judged("ldns-verify-zone", &expires, &file).0);
    }
}

fn has(test: &str, tools: &[&str]) -> bool {
    tools.iter().all(|tool| common::has(test, tool))
}

const JUDGES: [&str; 4] = [
    "dig",
    "ldns-verify-zone",
    "named-checkzone",
    "dnssec-verify",
];

#[test]
fn what_goes_out_is_a_whole_signed_zone() {
    if !has("what_goes_out_is_a_whole_signed_zone", &JUDGES) {
        return;
    }
    let server = server(216, KEYED).start();
    let (file, _) = fetch(&server);
    is_whole(&server, &file);
    let zone = std::fs::read_to_string(file).expect("zone");
    for kind in ["DNSKEY", "CDS", "CDNSKEY", "NAPTR", "SRV", "NSEC", "SOA"] {
        assert!(zone.contains(&format!("\tIN\t{kind}\t")), "{kind}\n{zone}");
    }
    // The zone without keys goes out as ever.
    let key = format!("hmac-sha256:{KEY}:{SECRET}");
    let bare = server.dig(&["-y", &key, "bare.example", "AXFR"]);
    assert!(
        bare.contains("www.bare.example.") && !bare.contains("RRSIG"),
        "{bare}"
    );
}

#[test]
fn a_large_signed_zone_comes_in_many_messages() {
    if !has("a_large_signed_zone_comes_in_many_messages", &JUDGES) {
        return;
    }
    let server = server(217, KEYED);
    let mut text = "text 60 TXT \"plain\"\n".to_owned();
    for number in 0..2_000 {
        let _ = writeln!(text, "host-{number} 300 A 192.0.2.{}", number % 250);
    }
    write(&server.path("turn.zone"), &text);
    let server = server.start();
    let (file, messages) = fetch(&server);
    assert!((20..200).contains(&messages), "{messages}");
    is_whole(&server, &file);
}

/// What a resolver that knows the key's digest must find at a secondary, with the daemon gone.
const QUESTIONS: [(&str, &str, &str); 21] = [
    ("", "A", "NOERROR"),
    ("", "SOA", "NOERROR"),
    ("", "DNSKEY", "NOERROR"),
    ("", "CDS", "NOERROR"),
    ("", "CDNSKEY", "NOERROR"),
    ("", "NAPTR", "NOERROR"),
    ("", "MX", "NOERROR"),
    ("eu.", "A", "NOERROR"),
    ("fra-1.", "A", "NOERROR"),
    ("fra-1.", "AAAA", "NOERROR"),
    ("_turn._udp.", "SRV", "NOERROR"),
    ("chain.", "A", "NOERROR"),
    ("x.wild.", "TXT", "NOERROR"),
    ("non.empty.", "TXT", "NOERROR"),
    ("safe.", "DS", "NOERROR"),
    ("cut.", "DS", "NOERROR"),
    ("nothing.", "A", "NXDOMAIN"),
    ("x.y.nothing.", "A", "NXDOMAIN"),
    ("label.a.", "A", "NOERROR"),
    ("label.b.", "AAAA", "NOERROR"),
    ("other-label.b.", "A", "NOERROR"),
];

/// A secondary gets the signed zone and serves it on when there is no daemon any more; a resolver
/// takes all of its answers for true.
fn is_believed(test: &str, kind: Kind, host: u8) {
    if !has(test, &[kind.tool(), "dig", "unbound"]) {
        return;
    }
    let ip = match kind {
        // It listens on no address that the interface does not have by itself.
        Kind::Bind => Ipv4Addr::LOCALHOST,
        Kind::Nsd | Kind::Knot => Ipv4Addr::new(127, 0, 9, host + 1),
    };
    let mut secondary = Secondary::new(kind, ip);
    let mut server = server(host, &secondary.entry()).start();
    secondary.start(&[(server.ip, server.dns)]);
    wait_for("the secondary to have the zone", WAIT, || {
        let ours = serial((server.ip, server.dns))?;
        (secondary.serial()? == ours).then_some(())
    });
    server.signal(Signal::SIGKILL);
    assert_eq!(server.ended(), None);
    let at = (secondary.ip, secondary.port);
    for aggressive in ["no", "yes"] {
        let more = format!(" aggressive-nsec: {aggressive}\n");
        let resolver = Resolver::unbound(server.dir.path(), at, &ds(&server), &more, &[]);
        for (name, kind, status) in QUESTIONS {
            let answer = resolver.dig(&[&format!("{name}{ZONE}"), kind]);
            let right = answer.contains(&format!("status: {status}")) && validated(&answer);
            assert!(right, "{name}{ZONE} {kind}\n{answer}\n{}", secondary.log());
        }
        for label in ["label.a.", "other.a.", "label.b."] {
            let addresses = resolver.addresses(&format!("{label}{ZONE}"));
            assert!(!addresses.is_empty(), "{label}");
        }
    }
}

#[test]
fn nsd_serves_on_what_a_resolver_believes() {
    is_believed("nsd_serves_on_what_a_resolver_believes", Kind::Nsd, 218);
}

#[test]
fn knot_serves_on_what_a_resolver_believes() {
    is_believed("knot_serves_on_what_a_resolver_believes", Kind::Knot, 220);
}

#[test]
fn bind_serves_on_what_a_resolver_believes() {
    is_believed("bind_serves_on_what_a_resolver_believes", Kind::Bind, 222);
}

/// The key tags and ends of the signatures of a name at a secondary.
fn signatures(secondary: &Secondary, name: &str, kind: &str) -> Vec<(u16, u64)> {
    let (at, name) = ((secondary.ip, secondary.port), format!("{name}{ZONE}"));
    let told = asked(at, &["+dnssec", &name, kind]);
    let rrsigs = told.iter().filter(|line| line.starts_with(kind));
    let words = rrsigs.map(|line| line.split(' ').collect::<Vec<_>>());
    words
        .map(|words| {
            let number = |place: usize| words[place].parse::<u64>().expect("a number");
            (u16::try_from(number(6)).expect("a tag"), number(4))
        })
        .collect()
}

#[test]
fn a_secondary_is_told_of_renewed_signatures_and_of_each_step_of_a_key_roll() {
    let test = "a_secondary_is_told_of_renewed_signatures_and_of_each_step_of_a_key_roll";
    if !has(test, &["nsd", "dig", "unbound", "faketime"]) {
        return;
    }
    // It lives by another clock, and so has no reason to ask but that it is told.
    let mut secondary = Secondary::keyless(Ipv4Addr::new(127, 0, 9, 225));
    let mut server = server(224, &secondary.entry());
    let hours = server.path("hours");
    let set = |plus: u32| write(&hours, &format!("+{plus}h\n"));
    set(0);
    let Some(environment) = common::clock(test, &hours) else {
        return;
    };
    server.environment.clone_from(&environment);
    let server = server.start();
    secondary.start(&[(server.ip, server.dns)]);
    let mut last = 0;
    let mut follows = |what: &str| {
        last = wait_for(what, WAIT, || {
            let ours = serial((server.ip, server.dns)).filter(|serial| *serial > last)?;
            secondary.serial().filter(|serial| *serial == ours)
        });
    };
    follows("the zone");
    let old = ds(&server);
    let of_label = || signatures(&secondary, "label.a.", "A");
    let [(tag, good)] = of_label()[..] else {
        panic!("{:?}", of_label());
    };
    // A day later all signatures are others.
    set(25);
    follows("renewed signatures");
    let [(same, longer)] = of_label()[..] else {
        panic!("{:?}", of_label());
    };
    assert!(same == tag && longer > good, "{good} {longer}");

    let key = |args: &[&str]| {
        let mut command = server.command(args);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().expect("dnsd runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
    };
    let dnskeys = || secondary.short(ZONE, "DNSKEY").len();
    assert_eq!(dnskeys(), 1);
    key(&["key", "roll", "--notice", "48h"]);
    server.signal(Signal::SIGHUP);
    follows("the new key");
    assert_eq!((dnskeys(), of_label()[0].0), (2, tag));
    set(25 + 49);
    follows("the new key's signatures");
    assert_ne!(of_label()[0].0, tag);
    assert_eq!(signatures(&secondary, "", "DNSKEY").len(), 2);
    // Who trusts the old key still believes the secondary.
    let at = (secondary.ip, secondary.port);
    let resolver = Resolver::unbound(server.dir.path(), at, &old, "", &environment);
    let answer = resolver.dig(&[&format!("label.b.{ZONE}"), "A"]);
    assert!(validated(&answer), "{answer}");
    drop(resolver);
    key(&["key", "roll", "--finish", "--ds-ttl", "48h"]);
    server.signal(Signal::SIGHUP);
    set(25 + 98);
    wait_for("the old key's end", WAIT, || (dnskeys() == 1).then_some(()));
    let known = server.json(&["key", "list"]);
    let all = known["keys"].as_array().expect("keys").iter();
    let all = all.filter_map(|key| key["ds"].as_str().map(str::to_owned));
    let new: Vec<_> = all.filter(|ds| !old.contains(ds)).collect();
    assert_eq!(new.len(), 1, "{known}");
    let resolver = Resolver::unbound(server.dir.path(), at, &new, "", &environment);
    let answer = resolver.dig(&[&format!("other.b.{ZONE}"), "A"]);
    assert!(validated(&answer), "{answer}");
}
