//! What the daemon answers, asked with `dig` and `kdig`: names, types, flags, EDNS, transports.

mod common;

use common::dnsd::{SECRET, Server, ZONE, listed};
use credentials::label::{Label, LabelKeys, Lane};
use credentials::{Secret, SecretRing, UnixTime};

fn server(host: u8) -> Server {
    Server::new(
        host,
        vec![
            listed("fra-1", "eu-a", "alpha", 1),
            listed("ams-1", "eu-b", "beta", 2),
        ],
    )
    .start()
}

fn tools(test: &str) -> bool {
    common::has(test, "dig") && common::has(test, "kdig")
}

/// Status, flags and counts of an answer, from the header lines of dig or kdig.
fn header(text: &str) -> String {
    let after = |from: &str, to: char| {
        let rest = text.split_once(from).map_or("", |(_, rest)| rest);
        rest.split([to, '\n'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let flags = if text.contains(";; flags:") {
        after(";; flags:", ';')
    } else {
        after("; Flags:", ';')
    };
    format!(
        "{} {flags}",
        after("status: ", ',').split(';').next().unwrap_or_default()
    )
}

#[test]
fn names_and_types() {
    if !tools("names_and_types") {
        return;
    }
    let server = server(20);
    for (name, kind, expected) in [
        ("a.turn.example", "A", 1),
        ("b.turn.example", "A", 1),
        ("turn.example", "A", 2),
        ("eu.turn.example", "A", 2),
        ("api.turn.example", "A", 2),
        ("fra-1.turn.example", "A", 1),
        ("ns1.turn.example", "A", 1),
        ("turn.example", "NS", 1),
        ("turn.example", "SOA", 1),
    ] {
        let found = server.short(name, kind);
        assert!(
            !found.is_empty() && found.len() <= expected.max(2),
            "{name} {kind}: {found:?}"
        );
        for text in [server.dig(&[name, kind]), server.kdig(&[name, kind])] {
            assert!(
                header(&text).starts_with("NOERROR qr aa"),
                "{name} {kind}: {text}"
            );
        }
    }
    assert_eq!(server.short("fra-1.turn.example", "A"), ["127.0.77.1"]);
    assert_eq!(
        server.short("ns1.turn.example", "A"),
        [server.ip.to_string()]
    );
    assert_eq!(server.short("turn.example", "NS"), ["ns1.turn.example."]);
    let (a, b) = (
        server.short("a.turn.example", "A"),
        server.short("b.turn.example", "A"),
    );
    assert!(
        a != b,
        "the lanes share nothing while there are two vendors: {a:?} {b:?}"
    );
}

#[test]
fn what_does_not_exist() {
    if !tools("what_does_not_exist") {
        return;
    }
    let server = server(21);
    let nodata = server.dig(&["a.turn.example", "TXT"]);
    assert!(header(&nodata).starts_with("NOERROR qr aa"), "{nodata}");
    assert!(
        nodata.contains("ANSWER: 0, AUTHORITY: 1") && nodata.contains("SOA"),
        "{nodata}"
    );
    let unknown = server.dig(&["nobody.turn.example", "TYPE1000"]);
    assert!(header(&unknown).starts_with("NXDOMAIN qr aa"), "{unknown}");
    assert!(unknown.contains("AUTHORITY: 1"), "{unknown}");
    let elsewhere = server.dig(&["example.net", "A"]);
    assert!(header(&elsewhere).starts_with("REFUSED qr"), "{elsewhere}");
    assert!(!header(&elsewhere).contains("aa"), "{elsewhere}");
    let chaos = server.dig(&["version.bind", "CH", "TXT"]);
    assert!(header(&chaos).starts_with("REFUSED"), "{chaos}");
    let chaos = server.dig(&["a.turn.example", "CH", "A"]);
    assert!(
        header(&chaos).starts_with("REFUSED") && chaos.contains("ANSWER: 0"),
        "{chaos}"
    );
}

#[test]
fn any_is_minimal() {
    if !tools("any_is_minimal") {
        return;
    }
    let server = server(22);
    // RFC 8482: one RRset at most, however it is asked.
    for text in [
        server.dig(&["+notcp", "turn.example", "ANY"]),
        server.kdig(&["turn.example", "ANY"]),
    ] {
        assert!(header(&text).starts_with("NOERROR"), "{text}");
        let kinds: std::collections::BTreeSet<_> = text
            .lines()
            .filter(|line| line.starts_with("turn.example."))
            .filter_map(|line| line.split_whitespace().nth(3))
            .collect();
        assert!(kinds.len() <= 1, "{text}");
    }
}

#[test]
fn edns() {
    if !tools("edns") {
        return;
    }
    let server = server(23);
    let name = "a.turn.example";
    let ask = |options: &[&str]| server.dig(&[options, &[name, "A"]].concat());
    let version = ask(&["+edns=1", "+noednsnegotiation"]);
    assert!(
        header(&version).starts_with("BADVERS") && version.contains("ANSWER: 0"),
        "{version}"
    );
    assert!(version.contains("EDNS: version: 0"), "{version}");
    let large = ask(&["+bufsize=4096"]);
    assert!(
        large.contains("udp: 1232") && large.contains("ANSWER: 1"),
        "{large}"
    );
    assert!(ask(&["+dnssec"]).contains("flags: do; udp: 1232"));
    assert!(!ask(&["+nodnssec"]).contains("flags: do"));
    let option = ask(&["+ednsopt=100:deadbeef", "+nsid"]);
    assert!(
        header(&option).starts_with("NOERROR") && !option.contains("OPT=100"),
        "{option}"
    );
    assert!(header(&ask(&["+ednsflags=0x80"])).starts_with("NOERROR"));
    let plain = ask(&["+noedns"]);
    assert!(
        plain.contains("ANSWER: 1") && !plain.contains("EDNS: version"),
        "{plain}"
    );
    let kdig = server.kdig(&["+bufsize=4096", "+dnssec", name, "A"]);
    assert!(
        kdig.contains("Version: 0; flags: do; UDP size: 1232 B"),
        "{kdig}"
    );
}

#[test]
fn client_subnet_comes_back_with_a_scope_no_wider_than_asked() {
    if !tools("client_subnet") {
        return;
    }
    let server = server(24);
    let subnet = |subnet: &str, name: &str| {
        let text = server.dig(&[&format!("+subnet={subnet}"), name, "A"]);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("; CLIENT-SUBNET: "));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let told = subnet("10.1.2.0/24", "a.turn.example");
    assert!(told.starts_with("10.1.2.0/24/"), "{told}");
    assert_eq!(
        subnet("10.1.0.0/12", "a.turn.example")
            .rsplit_once('/')
            .map(|x| x.0),
        Some("10.0.0.0/12")
    );
    assert_eq!(subnet("0.0.0.0/0", "a.turn.example"), "0.0.0.0/0/0");
    assert_eq!(subnet("10.1.2.0/24", "fra-1.turn.example"), "10.1.2.0/24/0");
    let v6 = subnet("2001:db8:1200::/40", "a.turn.example");
    assert!(v6.starts_with("2001:db8:1200::/40/"), "{v6}");
    let malformed = server.dig(&["+ednsopt=8:0001180a010203ff", "a.turn.example", "A"]);
    assert!(header(&malformed).starts_with("FORMERR"), "{malformed}");
    let scoped = server.dig(&["+ednsopt=8:000118180a0102", "a.turn.example", "A"]);
    assert!(header(&scoped).starts_with("FORMERR"), "{scoped}");
}

#[test]
fn malformed_and_unusual_messages() {
    if !tools("malformed_and_unusual_messages") {
        return;
    }
    let server = server(25);
    let opcode = server.dig(&["+opcode=15", "a.turn.example", "A"]);
    assert!(header(&opcode).starts_with("NOTIMP"), "{opcode}");
    let notify = server.dig(&["+opcode=NOTIFY", "turn.example", "SOA"]);
    assert!(header(&notify).starts_with("NOTIMP"), "{notify}");
    let bare = server.dig(&["+header-only", "a.turn.example", "A"]);
    assert!(header(&bare).starts_with("FORMERR"), "{bare}");
    let flag = server.dig(&["+zflag", "a.turn.example", "A"]);
    assert!(
        header(&flag).starts_with("NOERROR") && !flag.contains("MBZ"),
        "{flag}"
    );
    let recursive = header(&server.dig(&["+rec", "a.turn.example", "A"]));
    assert!(
        recursive.contains("rd") && !recursive.contains("ra"),
        "{recursive}"
    );
}

/// Records without what may move between two questions: times to live and the SOA's serial.
fn settled(records: &str) -> Vec<String> {
    let lines = records
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(';'));
    let settled = |line: &str| {
        let mut fields: Vec<_> = line.split_whitespace().collect();
        fields.remove(1);
        if fields[2] == "SOA" {
            fields.remove(5);
        }
        fields.join(" ")
    };
    let settled: Vec<_> = lines.map(settled).collect();
    assert!(!settled.is_empty(), "{records}");
    settled
}

#[test]
fn tcp_says_the_same() {
    if !tools("tcp_says_the_same") {
        return;
    }
    let server = server(26);
    for (name, kind) in [
        ("a.turn.example", "A"),
        ("turn.example", "SOA"),
        ("x.turn.example", "A"),
        ("turn.example", "NS"),
    ] {
        let sections = |options: &[&str]| {
            let shown = [
                "+noall",
                "+answer",
                "+authority",
                "+additional",
                "+nocomments",
            ];
            server.dig(&[options, &shown, &[name, kind]].concat())
        };
        assert_eq!(
            settled(&sections(&["+tcp"])),
            settled(&sections(&["+notcp"])),
            "{name} {kind}"
        );
        let tcp = header(&server.dig(&["+tcp", name, kind]));
        assert_eq!(
            tcp,
            header(&server.dig(&["+notcp", name, kind])),
            "{name} {kind}"
        );
    }
    let several = server.kdig(&[
        "+tcp",
        "+keepopen",
        "a.turn.example",
        "A",
        "b.turn.example",
        "A",
    ]);
    assert_eq!(several.matches("status: NOERROR").count(), 2, "{several}");
}

#[test]
fn the_case_of_the_question_is_kept() {
    if !tools("the_case_of_the_question_is_kept") {
        return;
    }
    let server = server(27);
    let text = server.dig(&["A.tUrN.eXaMpLe", "A"]);
    assert!(
        text.contains("\n;A.tUrN.eXaMpLe.") && header(&text).starts_with("NOERROR"),
        "{text}"
    );
    assert!(text.contains("ANSWER: 1"), "{text}");
}

/// A label of this fleet's own secret.
fn label(lane: Lane, expires: u64) -> String {
    let secret = Secret::new(SECRET.as_bytes().to_vec()).expect("secret");
    let keys = LabelKeys::derive(&SecretRing::new(secret, Vec::new()).expect("ring"));
    let label = Label {
        draw: 7,
        region: None,
        avoid: [None, None],
        tenant: None,
        transport: None,
        expires: UnixTime(expires),
    };
    keys.seal(&label, lane)
}

#[test]
fn labels_are_answered_like_their_lane_or_better() {
    if !tools("labels_are_answered_like_their_lane_or_better") {
        return;
    }
    let server = server(28);
    let now = dnsd::clock::unix().0;
    let genuine = label(Lane::A, now + 600);
    let mut forged = genuine.clone().into_bytes();
    forged[20] = if forged[20] == b'a' { b'b' } else { b'a' };
    let forged = String::from_utf8(forged).expect("text");
    let old = label(Lane::A, now - 600);
    for name in [&genuine, &forged, &old, "hello", &label(Lane::B, now + 600)] {
        let text = server.dig(&[&format!("{name}.a.{ZONE}"), "A"]);
        assert!(
            header(&text).starts_with("NOERROR qr aa") && text.contains("ANSWER: 1"),
            "{text}"
        );
    }
    let used = |name: &str| {
        let trace = server.json(&["answer", &format!("{name}.a.{ZONE}")]);
        trace["trace"]["label"].as_str().expect("label").to_owned()
    };
    assert_eq!(used(&genuine), "opened");
    assert_eq!(used(&genuine.to_uppercase()), "opened");
    for name in [&forged, &old, "hello", &label(Lane::B, now + 600)] {
        assert_eq!(used(name), "ignored", "{name}");
    }
    // RFC 4592 section 2.2.1: a wildcard stands for names of any depth.
    let below = server.dig(&[&format!("x.{genuine}.a.{ZONE}"), "A"]);
    assert!(
        header(&below).starts_with("NOERROR qr aa") && below.contains("ANSWER: 1"),
        "{below}"
    );
}
