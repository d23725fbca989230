//! Signed zones: the real daemon with the keys that its own commands make, judged by validators that
//! others wrote, with the key's digest as their trust anchor.

mod common;

use std::process::Command;
use std::time::Duration;

use common::dnsd::{Server, ZONE};
use common::signed::{ds, signed};
use common::{wait_for, write};

/// What `delv` makes of an answer of the server.
fn delv(server: &Server, name: &str, kind: &str) -> String {
    delv_from(server, &ds(server), name, kind)
}

/// The same with any trust anchors.
fn delv_from(server: &Server, anchors: &[String], name: &str, kind: &str) -> String {
    let anchors = anchors.iter().map(|record| {
        let words: Vec<_> = record.split(' ').collect();
        let [tag, algorithm, digest, hash] = words[3..] else {
            panic!("{record}");
        };
        format!("{ZONE}. static-ds {tag} {algorithm} {digest} \"{hash}\";\n")
    });
    let anchors = anchors.collect::<String>();
    write(
        &server.path("anchors"),
        &format!("trust-anchors {{\n{anchors}}};\n"),
    );
    let output = Command::new("delv")
        .args([&format!("@{}", server.ip), "-p", &server.dns.to_string()])
        .arg("-a")
        .arg(server.path("anchors"))
        .args([&format!("+root={ZONE}"), name, kind])
        .output()
        .expect("delv runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn delv_validates_every_kind_of_answer() {
    if !common::has("delv_validates_every_kind_of_answer", "delv") {
        return;
    }
    let server = signed(81);
    let (found, nothing) = ("; fully validated", "; negative response, fully validated");
    for (name, kind, expected) in [
        ("", "A", found),
        ("", "AAAA", nothing),
        ("", "SOA", found),
        ("", "NS", found),
        ("", "NAPTR", found),
        ("", "DNSKEY", found),
        ("", "CDS", found),
        ("", "CDNSKEY", found),
        ("", "NSEC", found),
        ("", "MX", nothing),
        ("api.", "A", found),
        ("eu.", "A", found),
        ("us.", "A", found),
        ("a.", "A", found),
        ("b.", "A", found),
        ("udp.", "A", found),
        ("tls.b.", "A", found),
        ("some-label.a.", "A", found),
        ("0ther.b.", "A", found),
        ("zz.a.", "A", found),
        ("*.a.", "A", found),
        ("some-label.a.", "AAAA", nothing),
        ("some-label.b.", "TXT", nothing),
        ("x.udp.a.", "A", nothing),
        ("_turn._udp.", "SRV", found),
        ("_turns._tcp.a.", "SRV", found),
        ("_udp.", "SRV", nothing),
        ("fra-1.", "A", found),
        ("fra-1.", "AAAA", nothing),
        ("ns1.", "A", found),
        ("text.", "TXT", found),
        ("TeXt.", "TXT", found),
        ("text.", "A", nothing),
        ("text.", "ANY", found),
        ("a.", "ANY", found),
        ("post.", "MX", found),
        ("alias.", "A", found),
        ("chain.", "A", found),
        ("x.wild.", "TXT", found),
        ("x.y.wild.", "A", found),
        ("x.wild.", "AAAA", nothing),
        ("non.empty.", "TXT", nothing),
        ("nothing.", "A", nothing),
        ("x.y.nothing.", "A", nothing),
        ("cut.", "DS", nothing),
        ("safe.", "DS", found),
    ] {
        let text = delv(&server, &format!("{name}{ZONE}"), kind);
        assert!(text.contains(expected), "{name}{ZONE} {kind}\n{text}");
        let negative = expected == nothing;
        assert_eq!(
            text.contains(nothing),
            negative,
            "{name}{ZONE} {kind}\n{text}"
        );
    }
    // It does not take everything: here it is led to expect another key.
    let wrong: Vec<_> = ds(&server)
        .iter()
        .map(|ds| ds.replace("2 ", "2 00"))
        .collect();
    let text = delv_from(&server, &wrong, &format!("text.{ZONE}"), "TXT");
    assert!(!text.contains("fully validated"), "{text}");
}

#[test]
fn answers_without_dnssec_stay_as_they_were_and_flags_are_those_of_an_authority() {
    let test = "answers_without_dnssec_stay_as_they_were_and_flags_are_those_of_an_authority";
    if !common::has(test, "dig") {
        return;
    }
    let server = signed(82);
    let plain = server.dig(&["+norec", &format!("x.a.{ZONE}"), "A"]);
    assert!(
        !plain.contains("RRSIG") && !plain.contains("NSEC"),
        "{plain}"
    );
    // By type they are told to everybody.
    assert_eq!(server.short(ZONE, "DNSKEY").len(), 1);
    assert!(server.short(ZONE, "NSEC")[0].ends_with("RRSIG NSEC DNSKEY CDS CDNSKEY"));
    let told = server.dig(&["+norec", "+noall", "+answer", ZONE, "RRSIG"]);
    assert!(
        told.lines().count() == 1 && told.contains("NSEC 13 2"),
        "{told}"
    );
    let signed = server.dig(&[
        "+norec",
        "+dnssec",
        "+cdflag",
        "+adflag",
        &format!("x.a.{ZONE}"),
        "A",
    ]);
    assert!(
        signed.contains(";; flags: qr aa; QUERY: 1, ANSWER: 3"),
        "{signed}"
    );
    assert!(signed.contains("flags: do;"), "{signed}");
    // The zone that is not signed is as ever, whoever asks.
    let bare = server.dig(&["+norec", "+dnssec", "nothing.bare.example", "A"]);
    assert!(
        bare.contains("AUTHORITY: 1") && !bare.contains("RRSIG"),
        "{bare}"
    );
}

#[test]
fn what_does_not_fit_is_left_out_whole_and_told_over_tcp() {
    let test = "what_does_not_fit_is_left_out_whole_and_told_over_tcp";
    if !common::has(test, "dig") {
        return;
    }
    let server = signed(83);
    let ask = |transport: &str| {
        let args = ["+norec", "+dnssec", "+bufsize=512", "+ignore", transport];
        let nothing = format!("x.y.nothing.{ZONE}");
        server.dig(&[&args[..], &[&nothing, "A"]].concat())
    };
    let (udp, tcp) = (ask("+notcp"), ask("+tcp"));
    assert!(
        udp.contains(" tc;") && udp.contains("AUTHORITY: 0"),
        "{udp}"
    );
    assert!(
        tcp.contains("status: NXDOMAIN") && tcp.contains("AUTHORITY: 6"),
        "{tcp}"
    );
    let whole = server.dig(&[
        "+norec",
        "+dnssec",
        "+notcp",
        &format!("x.y.nothing.{ZONE}"),
        "A",
    ]);
    assert!(
        whole.contains("AUTHORITY: 6") && !whole.contains(" tc;"),
        "{whole}"
    );
}

#[test]
fn keys_that_others_can_read_or_that_are_not_there_are_refused() {
    let mut server = signed(84);
    let list = server.json(&["key", "list"]);
    let key = list["keys"][0]["file"].as_str().expect("a file").to_owned();
    let chmod = |mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    let told = |server: &Server| {
        let output = server.cli(&["check"]);
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    assert_eq!(told(&server).0, Some(0));
    chmod(0o640);
    let (code, text) = told(&server);
    assert!(
        code == Some(78) && text.contains("is open to others (mode 0640)"),
        "{text}"
    );
    // The running daemon keeps what it has.
    server.signal(nix::sys::signal::Signal::SIGHUP);
    wait_for("the refusal", Duration::from_secs(10), || {
        server.log().contains("is open to others").then_some(())
    });
    assert_eq!(server.short(ZONE, "DNSKEY").len(), 1);
    chmod(0o600);
    // A public half of another key.
    let public = key.replace(".private", ".key");
    let own = std::fs::read_to_string(&public).expect("text");
    let other = own.replacen(" 13 ", " 13 AAAA", 1);
    write(std::path::Path::new(&public), &other);
    let (code, text) = told(&server);
    assert!(
        code == Some(78) && text.contains("its key has no 64 bytes"),
        "{text}"
    );
    std::fs::remove_file(&key).expect("removed");
    let (code, text) = told(&server);
    assert!(code == Some(78) && text.contains("it has no key"), "{text}");
    assert!(text.contains("dnsd key generate turn.example."), "{text}");
    assert!(!text.contains("PrivateKey"));
    let secret = "PrivateKey";
    assert!(!server.log().contains(secret));
    server.running = None;
}

/// Keys of BIND's tools are taken, and its tools take ours.
#[test]
fn keys_go_to_and_fro_between_us_and_other_tools() {
    let test = "keys_go_to_and_fro_between_us_and_other_tools";
    if !common::has(test, "dnssec-keygen") || !common::has(test, "dnssec-settime") {
        return;
    }
    let server = signed(85);
    let ours = ds(&server);
    let list = server.json(&["key", "list"]);
    let public = list["keys"][0]["file"]
        .as_str()
        .expect("a file")
        .replace(".private", ".key");
    let theirs = Command::new("dnssec-dsfromkey")
        .args(["-2", &public])
        .output()
        .expect("runs");
    assert_eq!(String::from_utf8_lossy(&theirs.stdout).trim(), ours[0]);
    let shown = Command::new("dnssec-settime")
        .args(["-p", "all", &public])
        .output()
        .expect("runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("Activate: ") && shown.contains("SYNC Publish: "),
        "{shown}"
    );
    let made = Command::new("dnssec-keygen")
        .args([
            "-q",
            "-a",
            "ECDSAP256SHA256",
            "-f",
            "KSK",
            "-P",
            "now",
            "-A",
            "+1d",
            "-P",
            "sync",
            "+1d",
        ])
        .arg("-K")
        .arg(server.path("keys"))
        .arg(ZONE)
        .output()
        .expect("runs");
    let made = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.starts_with("Kturn.example.+013+"), "{made}");
    let list = server.json(&["key", "list"]);
    let mut parts: Vec<_> = list["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| key["part"].clone())
        .collect();
    parts.sort_by_key(ToString::to_string);
    assert_eq!(parts, ["active", "published"]);
    server.signal(nix::sys::signal::Signal::SIGHUP);
    wait_for("the new key", Duration::from_secs(10), || {
        (server.short(ZONE, "DNSKEY").len() == 2).then_some(())
    });
    assert!(delv(&server, &format!("x.a.{ZONE}"), "A").contains("; fully validated"));
}
