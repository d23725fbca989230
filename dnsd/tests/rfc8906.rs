//! The queries of RFC 8906 section 8, sent with `dig` as the RFC writes them: dnsd must answer each as
//! the RFC expects. What NSD and Knot make of the same zone stands beside it in the table.

mod common;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use common::authority;
use common::dnsd::{Server, ZONE, listed};
use common::{wait_for, write};

/// What is asked, and what of the answer is expected: words that must be told (see [`told`]), and such
/// that must not, after a `!`. `ZONE` stands for the zone.
struct Probe {
    section: &'static str,
    query: &'static str,
    expected: &'static str,
}

const fn probe(section: &'static str, query: &'static str, expected: &'static str) -> Probe {
    Probe {
        section,
        query,
        expected,
    }
}

/// The RFC's own. Of 8.2.6 drafts differ about AA; a BADVERS has none in its other three.
const MATRIX: &[Probe] = &[
    probe(
        "8.1.1",
        "+noedns +noad +norec soa ZONE",
        "NOERROR soa aa !edns",
    ),
    probe(
        "8.1.2",
        "+noedns +noad +norec type1000 ZONE",
        "NOERROR empty aa !edns",
    ),
    probe(
        "8.1.3.1",
        "+noedns +noad +norec +cd soa ZONE",
        "NOERROR soa aa !edns",
    ),
    probe(
        "8.1.3.2",
        "+noedns +norec +ad soa ZONE",
        "NOERROR soa aa !edns",
    ),
    probe(
        "8.1.3.3",
        "+noedns +noad +norec +zflag soa ZONE",
        "NOERROR soa aa !mbz !edns",
    ),
    probe(
        "8.1.3.4",
        "+noedns +noad +rec soa ZONE",
        "NOERROR soa aa !ra !edns",
    ),
    probe(
        "8.1.4",
        "+noedns +noad +opcode=15 +norec +header-only",
        "NOTIMP !soa !aa !edns",
    ),
    probe(
        "8.1.5",
        "+noedns +noad +norec +tcp soa ZONE",
        "NOERROR soa aa !edns",
    ),
    probe(
        "8.2.1",
        "+nocookie +edns=0 +noad +norec soa ZONE",
        "NOERROR soa edns version:0 aa",
    ),
    probe(
        "8.2.2",
        "+nocookie +edns=1 +noednsneg +noad +norec soa ZONE",
        "BADVERS !soa edns version:0 !aa",
    ),
    probe(
        "8.2.3",
        "+nocookie +edns=0 +noad +norec +ednsopt=100 soa ZONE",
        "NOERROR soa edns !OPT=100 version:0 aa",
    ),
    probe(
        "8.2.4",
        "+nocookie +edns=0 +noad +norec +ednsflags=0x40 soa ZONE",
        "NOERROR soa edns !mbz version:0 aa",
    ),
    probe(
        "8.2.5",
        "+nocookie +edns=1 +noednsneg +noad +norec +ednsflags=0x40 soa ZONE",
        "BADVERS !soa edns !mbz version:0 !aa",
    ),
    probe(
        "8.2.6",
        "+nocookie +edns=1 +noednsneg +noad +norec +ednsopt=100 soa ZONE",
        "BADVERS !soa edns !OPT=100 version:0 !aa",
    ),
    probe(
        "8.2.7",
        "+norec +dnssec +bufsize=512 +ignore txt large.ZONE",
        "NOERROR edns version:0 tc",
    ),
    probe(
        "8.2.8",
        "+nocookie +edns=0 +noad +norec +dnssec soa ZONE",
        "NOERROR soa edns do version:0 aa",
    ),
    probe(
        "8.2.9",
        "+nocookie +edns=1 +noednsneg +noad +norec +dnssec soa ZONE",
        "BADVERS !soa edns do version:0 !aa",
    ),
    probe(
        "8.2.10",
        "+edns=0 +noad +norec +cookie +nsid +expire +subnet=0.0.0.0/0 soa ZONE",
        "NOERROR soa edns version:0 aa COOKIE NSID CLIENT-SUBNET",
    ),
];

/// What else resolvers send, each with the section that says what is right.
const MORE: &[Probe] = &[
    probe(
        "1035 4.1.1",
        "+noedns +noad +norec +header-only",
        "FORMERR !soa !aa",
    ),
    probe(
        "1035 4.2.1",
        "+noedns +norec +ignore txt large.ZONE",
        "NOERROR tc aa !edns",
    ),
    probe(
        "1035 4.2.2",
        "+noedns +norec +tcp txt huge.ZONE",
        "NOERROR !tc aa !empty",
    ),
    probe(
        "2136 3.1",
        "+noedns +norec +opcode=update +header-only",
        "NOTIMP !aa",
    ),
    probe(
        "6891 6.2.3",
        "+nocookie +norec +bufsize=1232 +ignore txt large.ZONE",
        "NOERROR !tc !empty",
    ),
    probe(
        "6891 6.2.5",
        "+nocookie +norec +bufsize=0 +ignore soa ZONE",
        "NOERROR soa !tc version:0",
    ),
    probe(
        "9715",
        "+nocookie +norec +bufsize=4096 +ignore txt huge.ZONE",
        "NOERROR tc version:0",
    ),
    probe(
        "6891 7",
        "+nocookie +edns=0 +norec +tcp soa ZONE",
        "NOERROR soa edns version:0 aa",
    ),
    probe(
        "6891 6.1.3",
        "+nocookie +edns=1 +noednsneg +norec +tcp soa ZONE",
        "BADVERS !soa version:0",
    ),
    probe(
        "6891 6.1.3",
        "+nocookie +edns=255 +noednsneg +norec soa ZONE",
        "BADVERS !soa version:0",
    ),
    probe(
        "5001 2.1",
        "+nocookie +norec +nsid soa ZONE",
        "NOERROR soa NSID",
    ),
    probe(
        "7873 5.2.3",
        "+norec +cookie soa ZONE",
        "NOERROR soa COOKIE",
    ),
    probe(
        "7828 3.3",
        "+nocookie +norec +tcp +keepalive soa ZONE",
        "NOERROR soa KEEPALIVE",
    ),
    probe(
        "7871 7.2.1",
        "+nocookie +norec +subnet=198.51.100.0/24 soa ZONE",
        "NOERROR soa CLIENT-SUBNET",
    ),
    probe(
        "7871 7.1.2",
        "+nocookie +norec +subnet=::/0 soa ZONE",
        "NOERROR soa CLIENT-SUBNET",
    ),
    probe(
        "8482 4.2",
        "+nocookie +norec +notcp any ZONE",
        "NOERROR aa !empty",
    ),
    probe(
        "1034 6.2.1",
        "+nocookie +norec soa not.ours.invalid",
        "REFUSED !soa !aa",
    ),
    probe(
        "2308 2.2",
        "+nocookie +norec a no.ZONE",
        "NXDOMAIN aa empty",
    ),
];

/// What an answer tells, as words: status, flags, `soa` where that is in the answer section, `empty`
/// where nothing is, `edns` with its version and `do`, `mbz` where a reserved bit is set, options by
/// dig's names for them.
fn told(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut section = "";
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("status: ") {
            words.extend(rest.split(',').take(1).map(str::to_owned));
        } else if let Some(flags) = line.strip_prefix(";; flags: ") {
            let (flags, counts) = flags.split_once(';').unwrap_or((flags, ""));
            let flags = flags.split(' ').filter(|flag| *flag != "qr");
            words.extend(flags.filter(|flag| !flag.is_empty()).map(str::to_owned));
            words.extend(counts.contains("MBZ").then(|| "mbz".to_owned()));
            words.extend(counts.contains("ANSWER: 0").then(|| "empty".to_owned()));
        } else if let Some(edns) = line.strip_prefix("; EDNS: version: ") {
            let (version, rest) = edns.split_once(',').unwrap_or((edns, ""));
            words.extend(["edns".to_owned(), format!("version:{version}")]);
            words.extend(rest.contains("flags: do").then(|| "do".to_owned()));
            words.extend(rest.contains("MBZ").then(|| "mbz".to_owned()));
            section = "OPT PSEUDO";
        } else if let Some(name) = line.strip_prefix(";; ") {
            section = name.strip_suffix("SECTION:").map_or("", str::trim);
        } else if let Some(option) = line.strip_prefix("; ").filter(|_| section == "OPT PSEUDO") {
            let name = option.split(':').next().unwrap_or_default();
            words.push(name.replace("TCP KEEPALIVE", "KEEPALIVE"));
        } else if section == "ANSWER" && line.contains("\tSOA\t") {
            words.push("soa".to_owned());
        }
    }
    words
}

/// What is expected and not so.
fn wrong(expected: &str, told: &[String]) -> Vec<String> {
    let wrong = expected.split(' ').filter(|word| {
        let absent = word.strip_prefix('!');
        told.iter().any(|one| one == absent.unwrap_or(word)) == absent.is_some()
    });
    wrong.map(str::to_owned).collect()
}

fn ask(ip: Ipv4Addr, port: u16, zone: &str, query: &str) -> String {
    let output = Command::new("dig")
        .args([&format!("@{ip}"), "-p", &port.to_string()])
        .args(["+tries=1", "+time=2"])
        .args(query.replace("ZONE", zone).split(' '))
        .output();
    String::from_utf8_lossy(&output.expect("dig runs").stdout).into_owned()
}

/// Text records that need more than 512 bytes, and more than ever goes over UDP.
fn records() -> String {
    let answer = |count: usize| format!("\"{}\" ", "x".repeat(120)).repeat(count);
    let (large, huge) = (answer(6), answer(12));
    format!("large 300 TXT {large}\nhuge 300 TXT {huge}\n")
}

#[test]
fn every_query_of_rfc_8906_is_answered_as_it_expects() {
    let test = "every_query_of_rfc_8906_is_answered_as_it_expects";
    if !["dig", "nsd", "knotd"]
        .iter()
        .all(|tool| common::has(test, tool))
    {
        return;
    }
    let records = records();
    let mut server = Server::new(79, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    write(&server.path("records.zone"), &records);
    server.zone = "records = \"records.zone\"".to_owned();
    server.more = "[dns]\nnsid = \"ns-1\"\n[[zones]]\nname = \"plain.example\"\n\
        steered = false\nrecords = \"records.zone\"\n"
        .to_owned();
    let server = server.start();
    let (nsd_ip, knot_ip) = (Ipv4Addr::new(127, 0, 9, 80), Ipv4Addr::new(127, 0, 9, 81));
    let (_nsd, nsd) = authority::nsd(server.dir.path(), nsd_ip, &records);
    let (_knot, knot) = authority::knot(server.dir.path(), knot_ip, &records);
    let plain = "plain.example";
    let subjects = [
        ("dnsd", server.ip, server.dns, plain),
        ("dnsd, steered", server.ip, server.dns, ZONE),
        ("NSD", nsd_ip, nsd, plain),
        ("Knot", knot_ip, knot, plain),
    ];
    for (name, ip, port, zone) in &subjects {
        wait_for(name, Duration::from_secs(10), || {
            let answer = ask(*ip, *port, zone, "+norec soa ZONE");
            answer.contains("status: NOERROR").then_some(())
        });
    }
    let mut table = String::new();
    let mut failed = String::new();
    for Probe {
        section,
        query,
        expected,
    } in MATRIX.iter().chain(MORE)
    {
        let _ = writeln!(table, "{section}: {query}\n  {:14} {expected}", "expected");
        for (name, ip, port, zone) in &subjects {
            let answer = ask(*ip, *port, zone, query);
            let words = told(&answer);
            let wrong = wrong(expected, &words);
            let mark = if wrong.is_empty() {
                ""
            } else {
                "  <- differs: "
            };
            let shown = if words.is_empty() {
                "no answer".to_owned()
            } else {
                words.join(" ")
            };
            let _ = writeln!(table, "  {name:14} {shown}{mark}{}", wrong.join(" "));
            if !wrong.is_empty() && name.starts_with("dnsd") {
                let _ = writeln!(failed, "{section} {query}: {}\n{answer}", wrong.join(" "));
            }
        }
    }
    println!("{table}");
    assert!(failed.is_empty(), "{table}\n{failed}");
}
