//! Signed zones behind validating resolvers: labels keep meaning what they say however clever the
//! resolver is, and a key is rolled without anybody noticing.

mod common;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use common::dnsd::{SECRET, Server, ZONE};
use common::signed::{ds, signed};
use common::validating::{Resolver, addresses, validated};
use common::{free_port, wait_for, write};
use credentials::label::{Label, LabelKeys, Lane};
use credentials::{Secret, SecretRing, UnixTime};
use nix::sys::signal::Signal;

/// unbound in front of the server.
fn unbound(
    server: &Server,
    anchors: &[String],
    more: &str,
    environment: &[(&str, String)],
) -> Resolver {
    let at = (server.ip, server.dns);
    Resolver::unbound(server.dir.path(), at, anchors, more, environment)
}

/// BIND as such a resolver.
fn named(server: &Server) -> Resolver {
    // It listens at no address that no interface has by name.
    let listen = Ipv4Addr::LOCALHOST;
    let port = free_port(listen);
    let (ip, dns, at) = (server.ip, server.dns, server.dir.path().display());
    let anchors = ds(server).iter().fold(String::new(), |text, ds| {
        let words: Vec<_> = ds.split(' ').skip(3).collect();
        let [tag, algorithm, digest, hash] = words[..] else {
            panic!("{ds}");
        };
        format!("{text}{ZONE}. static-ds {tag} {algorithm} {digest} \"{hash}\";\n")
    });
    let config = format!(
        "options {{ directory \"{at}\"; listen-on port {port} {{ {listen}; }}; listen-on-v6 {{ none; }};\n\
         pid-file none; session-keyfile none; recursion yes; allow-query {{ any; }};\n\
         dnssec-validation yes; synth-from-dnssec yes; max-cache-size 16M; }};\n\
         controls {{ }};\n\
         trust-anchors {{ {anchors} }};\n\
         zone \"{ZONE}\" {{ type forward; forward only; forwarders {{ {ip} port {dns}; }}; }};\n"
    );
    let file = server.path("named.conf");
    write(&file, &config);
    let mut command = Command::new("named");
    command.args(["-f", "-c"]).arg(file);
    Resolver::new(&mut command, listen, port)
}

/// Has all relays count as up, so that answers stay as they are.
fn steady(server: &Server) {
    for relay in &server.relays {
        server.json(&[
            "force",
            "up",
            relay.id,
            "--why",
            "answers are to stay as they are",
        ]);
    }
    for relay in &server.relays {
        wait_for("the order", Duration::from_secs(10), || {
            (server.verdict(relay.id) == "forced_up").then_some(())
        });
    }
}

/// Labels of many draws, with what the server itself says to each.
fn labels(server: &Server) -> Vec<(String, BTreeSet<String>)> {
    let secret = Secret::new(SECRET.as_bytes().to_vec()).expect("secret");
    let keys = LabelKeys::derive(&SecretRing::new(secret, Vec::new()).expect("ring"));
    let named = |draw: u32| {
        let label = Label {
            draw,
            region: None,
            avoid: [None, None],
            tenant: None,
            transport: None,
            expires: UnixTime(dnsd::clock::unix().0 + 600),
        };
        let name = format!("{}.a.{ZONE}", keys.seal(&label, Lane::A));
        let given = addresses(&server.dig(&[&name, "A"]));
        (name, given)
    };
    let labels: Vec<_> = (0..6).map(named).collect();
    let different: BTreeSet<_> = labels.iter().map(|(_, given)| given).collect();
    assert!(different.len() > 1, "{labels:?}");
    labels
}

/// What a resolver answers to each label is what the server answers to it, and validated.
fn labels_are_kept_apart(resolver: &Resolver, server: &Server) {
    for (name, given) in labels(server) {
        // What may not be kept is kept for the rest of its second.
        let second = dnsd::clock::unix();
        wait_for("the next second", Duration::from_secs(5), || {
            (dnsd::clock::unix() > second).then_some(())
        });
        // As clients do; so the resolver learns what stands around the name.
        let nothing = resolver.dig(&[&name, "AAAA"]);
        assert!(validated(&nothing), "{nothing}");
        assert_eq!(resolver.addresses(&name), given, "{name}");
    }
    for (name, kind, status) in [
        (format!("nothing.{ZONE}"), "A", "status: NXDOMAIN"),
        (format!("text.{ZONE}"), "A", "status: NOERROR"),
        (format!("x.wild.{ZONE}"), "TXT", "status: NOERROR"),
        (format!("y.wild.{ZONE}"), "TXT", "status: NOERROR"),
        (format!("chain.{ZONE}"), "A", "status: NOERROR"),
        (format!("_turn._udp.{ZONE}"), "SRV", "status: NOERROR"),
        (format!("one-label.b.{ZONE}"), "AAAA", "status: NOERROR"),
        (format!("other-label.b.{ZONE}"), "A", "status: NOERROR"),
    ] {
        let answer = resolver.dig(&[&name, kind]);
        assert!(
            answer.contains(status) && validated(&answer),
            "{name} {kind}\n{answer}"
        );
    }
}

#[test]
fn unbound_validates_labels_and_keeps_them_apart() {
    let test = "unbound_validates_labels_and_keeps_them_apart";
    if !common::has(test, "unbound") || !common::has(test, "dig") {
        return;
    }
    let server = signed(86);
    steady(&server);
    for aggressive in ["no", "yes"] {
        let more = format!(" aggressive-nsec: {aggressive}\n");
        let resolver = unbound(&server, &ds(&server), &more, &[]);
        labels_are_kept_apart(&resolver, &server);
    }
}

/// BIND makes answers of wildcards that it knows, unless it must not keep what proves that they apply.
#[test]
fn bind_validates_labels_and_makes_no_answers_of_others() {
    let test = "bind_validates_labels_and_makes_no_answers_of_others";
    if !common::has(test, "named") || !common::has(test, "dig") {
        return;
    }
    let server = signed(87);
    steady(&server);
    labels_are_kept_apart(&named(&server), &server);
}

#[test]
fn a_key_roll_goes_unnoticed_by_a_resolver() {
    let test = "a_key_roll_goes_unnoticed_by_a_resolver";
    if !common::has(test, "unbound") || !common::has(test, "faketime") {
        return;
    }
    let mut server = signed(88);
    let hours = server.path("hours");
    let set = |plus: u32| write(&hours, &format!("+{plus}h\n"));
    set(0);
    // All live by one clock, which a file tells.
    let Some(environment) = common::clock(test, &hours) else {
        return;
    };
    let key = |server: &Server, args: &[&str]| {
        let mut command = server.command(args);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().expect("dnsd runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
    };
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended(), Some(0));
    server.environment = environment.clone();
    server.spawn();
    server.wait_ready();
    let (old, dnskeys) = (ds(&server), |server: &Server| {
        server.short(ZONE, "DNSKEY").len()
    });
    let resolver = unbound(&server, &old, "", &environment);
    let tags = |resolver: &Resolver, label: &str| {
        let answer = resolver.dig(&[&format!("{label}.a.{ZONE}"), "A"]);
        assert!(
            answer.contains("status: NOERROR") && validated(&answer),
            "{label}\n{answer}"
        );
        let lines = answer.lines().filter(|line| line.contains("RRSIG"));
        lines
            .filter_map(|line| line.split_whitespace().nth(10).map(str::to_owned))
            .collect::<BTreeSet<_>>()
    };
    let before = tags(&resolver, "one");
    key(&server, &["key", "roll", "--notice", "48h"]);
    server.signal(Signal::SIGHUP);
    wait_for("both keys", Duration::from_secs(10), || {
        (dnskeys(&server) == 2).then_some(())
    });
    assert_eq!(tags(&resolver, "two"), before);
    // The clock alone has the new key sign; the resolver still trusts the old one.
    let signs = |server: &Server| server.dig(&["+norec", "+dnssec", &format!("x.a.{ZONE}"), "A"]);
    let was = before.first().expect("a tag").clone();
    set(49);
    wait_for("the new key's signatures", Duration::from_secs(10), || {
        (!signs(&server).contains(&format!(" {was} {ZONE}. "))).then_some(())
    });
    let after = tags(&resolver, "three");
    assert_ne!(after, before);
    assert_eq!(server.short(ZONE, "CDS").len(), 1);
    // Who trusts only the new one is served as well: it may stand in the parent zone now.
    let list = server.json(&["key", "list"]);
    let mut new = list["keys"].as_array().expect("keys").iter();
    let new = new.find_map(|key| key["ds"].as_str().filter(|ds| *ds != old[0]));
    let new = [new.expect("the new key").to_owned()];
    drop(resolver);
    let resolver = unbound(&server, &new, "", &environment);
    assert_eq!(tags(&resolver, "four"), after);
    key(&server, &["key", "roll", "--finish", "--ds-ttl", "48h"]);
    server.signal(Signal::SIGHUP);
    set(98);
    wait_for("the old key's end", Duration::from_secs(10), || {
        (dnskeys(&server) == 1).then_some(())
    });
    assert_eq!(tags(&resolver, "five"), after);
    // Weeks later, without any change, all is still signed.
    let until = |server: &Server| {
        let answer = signs(server);
        let rrsig = answer.lines().find(|line| line.contains("RRSIG"))?;
        rrsig.split_whitespace().nth(8).map(str::to_owned)
    };
    let before = until(&server);
    set(1000);
    wait_for("new signatures", Duration::from_secs(10), || {
        (until(&server) != before).then_some(())
    });
    assert_eq!(tags(&resolver, "six"), after);
    wait_for("the metric", Duration::from_secs(10), || {
        let left = server.metric("turnfleet_dnsd_signatures_left_seconds");
        left.filter(|left| *left > 14.0 * 86_400.0)
    });
}
