//! The alert rules ask for metrics that the daemons really show, with the labels that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::binaries;
use cluster_tests::process::{Cluster, Guard};

/// The words of an expression that begin like one of our metrics, each with the labels it is asked by.
fn asked(text: &str) -> Vec<(String, Vec<String>)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut asked = Vec::new();
    for (at, _) in text.match_indices("turnfleet_") {
        let rest = &text[at..];
        let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let labels = labels.map_or("", |(labels, _)| labels).split(',');
        let labels = labels.filter_map(|pair| Some(pair.split_once('=')?.0.trim().to_owned()));
        asked.push((name.to_owned(), labels.collect()));
    }
    asked
}

/// The metrics of a daemon with the labels that any sample of theirs has.
fn shown(admin: SocketAddrV4, shown: &mut BTreeMap<String, BTreeSet<String>>) {
    let mut page = ureq::get(format!("http://{admin}/metrics"))
        .call()
        .expect("metrics");
    let page = page.body_mut().read_to_string().expect("text");
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line
            .split_once('{')
            .and_then(|(name, rest)| Some((name, rest.split_once('}')?.0)))
            .unwrap_or_else(|| (line.split(' ').next().unwrap_or_default(), ""));
        let labels = labels.split("\",").filter_map(|pair| pair.split_once('='));
        let known = shown.entry(name.to_owned()).or_default();
        known.extend(labels.map(|(label, _)| label.to_owned()));
    }
}

/// A nameserver beside the cluster with one more section in its configuration, `[dnssec]` or
/// `[transfer]`, which those of the cluster have not; and where its metrics are.
fn another(cluster: &Cluster, section: &str, rest: &str) -> (Guard, SocketAddrV4) {
    let dir = binaries::scratch(&format!("alerts-{section}"));
    fs::create_dir_all(dir.join("keys")).expect("a directory for keys");
    let [a, b, ..] = cluster.ready.dns_servers[0].address.ip().octets();
    let signs = section == "dnssec";
    let ip = Ipv4Addr::new(a, b, 250, if signs { 1 } else { 2 });
    let rest = rest.replace("IP", &ip.to_string());
    let config = dir.join("dnsd.toml");
    let text = format!(
        r#"
[node]
id = "ns1"
listen = ["{ip}:5300"]
reports = "{ip}:5301"
probe_address = ["{ip}"]
control = "control"
admin = "{ip}:9153"
state = "state"
[zone]
name = "turn.example"
contact = "hostmaster.turn.example"
nameservers = [{{ name = "ns1", addresses = ["{ip}"] }}]
[{section}]
{rest}
[secrets]
current = "a secret that is only for this test"
[[regions]]
id = "eu"
default = true
[[keys]]
id = 1
key = "a key that is only for this test"
[[relays]]
id = "fra-1"
region = "eu"
zone = "eu-a"
vendor = "alpha"
addresses = ["{ip}:3478"]
keys = [1]
"#
    );
    fs::write(&config, text).expect("a configuration");
    let dnsd = |arguments: &[&str]| {
        let mut command = Command::new(binaries::directory().join("dnsd"));
        command.args(arguments).arg("--config").arg(&config);
        // Where its control socket and its state shall be.
        command.current_dir(&dir);
        command
    };
    if signs {
        let made = dnsd(&["key", "generate"]).output().expect("dnsd runs");
        assert!(made.status.success(), "{made:?}");
    }
    let running = dnsd(&["run"]).stderr(Stdio::null()).spawn();
    let running = Guard::new(running.expect("dnsd runs"));
    let admin = SocketAddrV4::new(ip, 9153);
    let begun = Instant::now();
    // What is shown of secondaries is there after the first transfer.
    let wanted = if signs {
        "zone_key_signs{"
    } else {
        "secondary_serial{"
    };
    loop {
        let server = [format!("@{ip}"), format!("-b{ip}"), "-p5300".to_owned()];
        let _ = Command::new("dig")
            .args(server)
            .args(["turn.example", "AXFR", "+tries=1", "+time=1"])
            .output()
            .expect("dig runs");
        let page = ureq::get(format!("http://{admin}/metrics")).call();
        let page = page.and_then(|mut page| page.body_mut().read_to_string());
        if page.is_ok_and(|page| page.contains(wanted)) {
            return (running, admin);
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{wanted}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn every_metric_that_alerts_ask_for_is_there() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/alerts.yml");
    let text = fs::read_to_string(file).expect("alerts.yml");
    let rules: Vec<&str> = text.split("- alert: ").skip(1).collect();
    assert!(rules.len() > 15, "{}", rules.len());
    let cluster = Cluster::start("alerts");
    let mut metrics = BTreeMap::new();
    let dnsds = cluster.ready.dns_servers.iter().map(|dnsd| dnsd.admin);
    let relays = cluster.ready.relays.iter().map(|relay| relay.admin);
    let (_signs, signed) = another(&cluster, "dnssec", "keys = \"keys\"");
    let secondary = "[[transfer.secondaries]]\nname = \"elsewhere\"\naddress = \"IP:5302\"";
    let (_gives, fetched) = another(&cluster, "transfer", secondary);
    for admin in dnsds.chain(relays).chain([signed, fetched]) {
        shown(admin, &mut metrics);
    }
    for rule in rules {
        let (name, rest) = rule.split_once('\n').expect("a rule has lines");
        let (expression, notes) = rest.split_once("labels:").expect("a severity");
        let asked = asked(expression);
        assert!(!asked.is_empty(), "{name}: {expression}");
        for (metric, by) in &asked {
            let labels = metrics.get(metric);
            let labels = labels.unwrap_or_else(|| panic!("{name}: there is no {metric}"));
            for label in by {
                assert!(labels.contains(label), "{name}: {metric} has no {label}");
            }
        }
        for (at, mark) in expression.match_indices(" by (") {
            let (by, _) = expression[at + mark.len()..]
                .split_once(')')
                .expect("closed");
            for label in by.split(", ").filter(|label| *label != "instance") {
                let mut grouped = asked.iter().filter(|(metric, _)| {
                    // One number for all groups.
                    let alone = |text: &str| text.contains(metric.as_str());
                    !expression.split("scalar(").skip(1).any(alone)
                });
                let all = grouped.all(|(metric, _)| metrics[metric].contains(label));
                assert!(all, "{name}: by {label}");
            }
        }
        // What the text shows must be what the expression leaves.
        for (at, mark) in notes.match_indices("$labels.") {
            let rest = &notes[at + mark.len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let label = &rest[..end.expect("braces")];
            let has = |(metric, _): &(String, _)| metrics[metric].contains(label);
            let from_scrape = label == "instance" && !expression.contains(" by (");
            let kept = expression.contains(label) && (label == "instance" || asked.iter().any(has));
            assert!(
                from_scrape || kept,
                "{name}: {label} is not left by {expression}"
            );
        }
    }
}
