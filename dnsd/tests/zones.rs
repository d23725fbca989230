//! Zone files and zones that are not steered: the real daemon answers as another nameserver does that
//! has the same file, and is judged by it with `dig`.

mod common;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use common::authority;
use common::dnsd::{Server, listed};
use common::{wait_for, write};

/// What both serve.
const RECORDS: &str = include_str!("zones/plain.zone");
const NSD: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 76);

/// Names of the zone and names that are not there, around every kind of record.
const NAMES: &[&str] = &[
    "",
    "www",
    "WWW",
    "alias",
    "alias2",
    "out",
    "dangling",
    "loop1",
    "nothing",
    "x.www",
    "empty",
    "non.empty",
    "deep.non.empty",
    "x.non.empty",
    "wild",
    "x.wild",
    "x.y.wild",
    "*.wild",
    "there.wild",
    "x.there.wild",
    "alias.wild",
    "cut",
    "x.cut",
    "ns.cut",
    "many",
    "_443._tcp.www",
    "_tcp.www",
    "mail",
    "big",
    "sip",
    "_sip._udp",
    "key",
    "\\000x",
    "ns1",
];
const TYPES: &[&str] = &[
    "A", "AAAA", "TXT", "CNAME", "NS", "SOA", "MX", "SRV", "NAPTR", "CAA", "HTTPS", "TLSA", "DS",
    "SVCB",
];

/// What a resolver makes of an answer: status, authority, and the sections as sets. Of the SOA the
/// owner counts; what nobody asked for, the nameservers beside an answer, does not.
fn essence(text: &str) -> Vec<String> {
    let mut essence = Vec::new();
    let after = |mark: &str| {
        let rest = text.split_once(mark).map_or("", |(_, rest)| rest);
        rest.split([',', ';', '\n'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    essence.push(after("status: "));
    essence.push(format!(
        "aa {}",
        after(";; flags:").split(' ').any(|flag| flag == "aa")
    ));
    let mut section = "";
    let mut records = BTreeSet::new();
    for line in text.lines() {
        if let Some(name) = line
            .strip_prefix(";; ")
            .and_then(|l| l.strip_suffix(" SECTION:"))
        {
            section = name;
        } else if !line.starts_with(';') && !line.is_empty() {
            let mut words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            if words.len() > 3 && words[3] == "SOA" {
                words.truncate(1);
            }
            let referral = !essence[1].ends_with("true");
            if section == "ANSWER" || referral || words.len() == 1 {
                records.insert(format!("{section} {}", words.join(" ")));
            }
        }
    }
    essence.extend(records);
    essence
}

/// The answers to many questions, in their order.
fn ask(ip: Ipv4Addr, port: u16, transport: &str, questions: &[String]) -> Vec<String> {
    let output = Command::new("dig")
        .args([&format!("@{ip}"), "-p", &port.to_string(), transport])
        .args(["+tries=2", "+time=2", "+norecurse", "+nocookie"])
        .args(questions.iter().flat_map(|question| question.split(' ')))
        .output();
    let text = String::from_utf8(output.expect("dig runs").stdout).expect("text");
    let answers = text.split(";; Got answer:").skip(1);
    answers.map(str::to_owned).collect()
}

#[test]
fn a_zone_file_is_answered_as_another_nameserver_answers_it() {
    let test = "a_zone_file_is_answered_as_another_nameserver_answers_it";
    if !common::has(test, "nsd") || !common::has(test, "dig") {
        return;
    }
    let mut server = Server::new(75, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    write(&server.path("plain.zone"), RECORDS);
    server.more =
        "[[zones]]\nname = \"plain.example\"\nsteered = false\nrecords = \"plain.zone\"\n"
            .to_owned();
    let server = server.start();
    let (_nsd, port) = authority::nsd(server.dir.path(), NSD, RECORDS);
    wait_for("nsd", Duration::from_secs(10), || {
        let asked = ask(NSD, port, "+notcp", &["plain.example SOA".to_owned()]);
        asked.first()?.contains("NOERROR").then_some(())
    });
    for name in NAMES {
        let dot = if name.is_empty() { "" } else { "." };
        let question = |kind: &&str| format!("{name}{dot}plain.example {kind}");
        let questions: Vec<_> = TYPES.iter().map(question).collect();
        for transport in ["+notcp", "+tcp"] {
            let ours = ask(server.ip, server.dns, transport, &questions);
            let theirs = ask(NSD, port, transport, &questions);
            assert_eq!([ours.len(), theirs.len()], [TYPES.len(); 2], "{name}");
            for ((question, ours), theirs) in questions.iter().zip(ours).zip(theirs) {
                let same = essence(&ours) == essence(&theirs);
                assert!(same, "{question} {transport}\n{ours}\n{theirs}");
            }
        }
    }
}

#[test]
fn the_records_of_the_steered_zone_change_by_a_reload() {
    if !common::has("the_records_of_the_steered_zone_change_by_a_reload", "dig") {
        return;
    }
    let mut server = Server::new(77, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    write(&server.path("turn.zone"), "text 60 TXT before\n");
    server.zone = "records = \"turn.zone\"".to_owned();
    let server = server.start();
    assert_eq!(server.short("text.turn.example", "TXT"), ["\"before\""]);
    assert_eq!(
        server.short("_turn._udp.turn.example", "SRV"),
        ["10 0 3478 fra-1.turn.example."]
    );
    assert_eq!(
        server.short("turn.example", "NAPTR"),
        ["10 10 \"s\" \"RELAY:turn.udp\" \"\" _turn._udp.turn.example."]
    );
    write(&server.path("turn.zone"), "text 60 TXT after\n");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    wait_for("the new record", Duration::from_secs(10), || {
        (server.short("text.turn.example", "TXT") == ["\"after\""]).then_some(())
    });
    // A file that cannot be taken changes nothing, and the place is told.
    write(
        &server.path("turn.zone"),
        "text 60 TXT worse\nfra-1 60 A 192.0.2.1\n",
    );
    let output = server.cli(&["check"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78));
    assert!(
        told.contains("turn.zone:2: fra-1.turn.example. A"),
        "{told}"
    );
    server.signal(nix::sys::signal::Signal::SIGHUP);
    wait_for("the refusal", Duration::from_secs(10), || {
        server.log().contains("turn.zone:2").then_some(())
    });
    assert_eq!(server.short("text.turn.example", "TXT"), ["\"after\""]);
}
