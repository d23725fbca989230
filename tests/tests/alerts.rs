//! The alert rules ask for metrics that the daemons really show, with the labels that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;

use cluster_tests::process::Cluster;

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
    for admin in dnsds.chain(relays) {
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
                let all = asked
                    .iter()
                    .all(|(metric, _)| metrics[metric].contains(label));
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
