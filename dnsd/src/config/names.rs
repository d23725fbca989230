//! What depends on several sections: references, clashes of names, and what could not be probed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use credentials::label::Tag;
use liveness::KeyId;
use settings::{Span, Table};

use super::enrolment::Rule;
use super::keys::Keys;
use super::node::Node;
use super::relays::{Region, Relay};
use super::zone::Zone;

/// Owner names below the zone that the daemon answers itself.
const RESERVED: [(&str, &str); 6] = [
    ("a", "the first lane"),
    ("b", "the second lane"),
    ("api", "the credentials service"),
    ("udp", "the relays by UDP"),
    ("tcp", "the relays by TCP"),
    ("tls", "the relays by TLS"),
];

/// Everything that the sections must agree about.
pub(super) struct Whole<'a> {
    pub(super) node: Option<&'a Node>,
    pub(super) zone: Option<&'a Zone>,
    pub(super) keys: &'a Keys,
    pub(super) regions: &'a [Region],
    /// Whether every region could be read: else a reference to an unknown one is no news.
    pub(super) every_region: bool,
    /// Whether a database of places is named.
    pub(super) has_geoip: bool,
    pub(super) relays: &'a [Relay],
    pub(super) rules: &'a [Rule],
}

/// Records every disagreement of what could be read. Returns whether there is none.
pub(super) fn agree(root: &Table<'_>, whole: &Whole<'_>) -> bool {
    let mut problems = Vec::new();
    whole.geoip(&mut problems);
    whole.regions(&mut problems);
    whole.relays(&mut problems);
    whole.rules(&mut problems);
    whole.owners(&mut problems);
    whole.tags(&mut problems);
    whole.probed(&mut problems);
    for Problem { span, what, help } in &problems {
        root.error(*span, what, help);
    }
    problems.is_empty()
}

struct Problem {
    span: Span,
    what: String,
    help: String,
}

fn problem(span: Span, what: impl Into<String>, help: impl Into<String>) -> Problem {
    Problem {
        span,
        what: what.into(),
        help: help.into(),
    }
}

impl Whole<'_> {
    /// Regions: fallbacks that exist, client networks each in one, one default.
    fn regions(&self, problems: &mut Vec<Problem>) {
        let mut networks = BTreeMap::new();
        for region in self.regions {
            let own = region.id.value.as_str();
            let listed = region.fallback.as_deref();
            for (index, fallback) in listed.into_iter().flatten().enumerate() {
                let name = fallback.value.as_str();
                if name == own {
                    let what = format!("region {own:?} falls back to itself");
                    problems.push(problem(
                        fallback.span,
                        what,
                        "name other regions, nearest first",
                    ));
                } else if listed
                    .into_iter()
                    .flatten()
                    .take(index)
                    .any(|other| other.value == fallback.value)
                {
                    let what = format!("fallback region {name:?} is named twice");
                    problems.push(problem(fallback.span, what, "keep the first"));
                } else if !self.is_region(name) {
                    let what = format!("there is no region {name:?}");
                    problems.push(problem(fallback.span, what, self.known_regions()));
                }
            }
            self.reach(region, problems);
            for client in &region.clients {
                if let Some(other) = networks.insert(client.value, own) {
                    let what = format!("{} already belongs to region {other:?}", client.value);
                    problems.push(problem(
                        client.span,
                        what,
                        "keep each network in one region",
                    ));
                }
            }
        }
        let mut defaults = self.regions.iter().filter_map(|region| {
            region
                .default
                .filter(|default| default.value)
                .map(|default| (region, default.span))
        });
        match (defaults.next(), self.regions.first()) {
            (Some((first, _)), _) => problems.extend(defaults.map(|(_, span)| {
                let what = format!(
                    "region {:?} is the default already",
                    first.id.value.as_str()
                );
                problem(span, what, "keep one `default = true`")
            })),
            (None, Some(first)) => {
                let help = "write `default = true` in the region for clients of unknown place";
                problems.push(problem(first.id.span, "no region is the default", help));
            }
            (None, None) => {}
        }
    }

    /// Rules about countries and continents: each in one region, and none without a database; with
    /// one, every region but the default has some.
    fn geoip(&self, problems: &mut Vec<Problem>) {
        let mut taken = BTreeMap::new();
        for region in self.regions {
            let id = region.id.value.as_str();
            let countries = region.countries.iter();
            let countries = countries.map(|code| (format!("country {}", code.value), code.span));
            let continents = region.continents.iter();
            let continents =
                continents.map(|code| (format!("continent {}", code.value), code.span));
            let codes: Vec<_> = countries.chain(continents).collect();
            match codes.first() {
                Some((_, span)) if !self.has_geoip => {
                    let what = format!("nothing says which clients region {id:?} is to have");
                    let help = "name a database of places: [geoip] with `database`";
                    problems.push(problem(*span, what, help));
                }
                None if self.has_geoip && region.coordinates.is_none() && !region.is_default() => {
                    let what = format!("region {id:?} gets nobody by [geoip]");
                    let help = "write its `countries`, `continents`, or `latitude` and `longitude`";
                    problems.push(problem(region.id.span, what, help));
                }
                _ => {}
            }
            for (code, span) in codes {
                if let Some(other) = taken.insert(code.clone(), id) {
                    let what = format!("{code} already belongs to region {other:?}");
                    problems.push(problem(span, what, "keep it in one region"));
                }
            }
        }
    }

    /// A region's order: listed, or by distance, which takes the place of all.
    fn reach(&self, region: &Region, problems: &mut Vec<Problem>) {
        let placed = |region: &Region| region.coordinates.is_some();
        let id = region.id.value.as_str();
        if placed(region) {
            return;
        }
        if self.regions.iter().any(placed) {
            let what = format!("region {id:?} has no coordinates, and others have");
            let help = "write its `latitude` and `longitude`";
            problems.push(problem(region.id.span, what, help));
        } else if region.fallback.is_none() && self.regions.len() > 1 {
            let what = format!("region {id:?} does not say who serves its clients when it cannot");
            let help = "write `fallback`, nearest first, or the coordinates of all regions; \
                        `fallback = []` for nobody";
            problems.push(problem(region.id.span, what, help));
        }
    }

    fn is_region(&self, name: &str) -> bool {
        !self.every_region
            || self
                .regions
                .iter()
                .any(|region| region.id.value.as_str() == name)
    }

    fn known_regions(&self) -> String {
        let names: Vec<_> = self
            .regions
            .iter()
            .map(|region| region.id.value.as_str())
            .collect();
        format!("known here: {}", names.join(", "))
    }

    /// Relays: addresses of their own, regions and keys that exist.
    fn relays(&self, problems: &mut Vec<Problem>) {
        let mut addresses = BTreeMap::new();
        for relay in self.relays {
            let region = relay.region.value.as_str();
            if !self.is_region(region) {
                let what = format!("there is no region {region:?}");
                problems.push(problem(relay.region.span, what, self.known_regions()));
            }
            for address in &relay.addresses {
                let ip = address.value.ip();
                // Answers hold addresses without ports: two relays behind one cannot be told apart.
                if let Some(other) = addresses.insert(ip, relay.id.value) {
                    let what = format!("{ip} is the address of relay {other} already");
                    let help = "give every relay addresses of its own";
                    problems.push(problem(address.span, what, help));
                }
            }
            for key in relay.keys.iter().filter(|_| !self.keys.incomplete) {
                if self.keys.ring.get(KeyId(key.value)).is_none() {
                    let what = format!("there is no key {}", key.value);
                    let help = "add [[keys]] with this id, or name one that exists";
                    problems.push(problem(key.span, what, help));
                }
            }
        }
    }

    /// Rules: regions and keys that exist, and each key with one rule and no listed relay.
    fn rules(&self, problems: &mut Vec<Problem>) {
        for (index, rule) in self.rules.iter().enumerate() {
            let (key, region) = (rule.key.value, rule.region.value.as_str());
            if !self.is_region(region) {
                let what = format!("there is no region {region:?}");
                problems.push(problem(rule.region.span, what, self.known_regions()));
            }
            if !self.keys.incomplete && self.keys.ring.get(KeyId(key)).is_none() {
                let help = "add [[keys]] with this id, or name one that exists";
                problems.push(problem(
                    rule.key.span,
                    format!("there is no key {key}"),
                    help,
                ));
            }
            if self.rules[..index]
                .iter()
                .any(|other| other.key.value == key)
            {
                let what = format!("key {key} has a rule already");
                problems.push(problem(
                    rule.key.span,
                    what,
                    "give every rule a key of its own",
                ));
            }
            let has_key = |relay: &&Relay| relay.keys.iter().any(|other| other.value == key);
            if let Some(relay) = self.relays.iter().find(has_key) {
                let what = format!("key {key} is that of relay {} alone", relay.id.value);
                let help = "a machine that may join must not be able to speak for a listed one";
                problems.push(problem(rule.key.span, what, help));
            }
        }
    }

    /// Every owner name below the zone has one meaning.
    fn owners(&self, problems: &mut Vec<Problem>) {
        let mut owners: BTreeMap<&str, String> = RESERVED
            .iter()
            .map(|(name, meaning)| (*name, (*meaning).to_owned()))
            .collect();
        let servers = self
            .zone
            .map(|zone| zone.nameservers.as_slice())
            .unwrap_or_default();
        let servers = servers.iter().filter_map(|server| {
            server
                .label
                .as_deref()
                .map(|label| (label, server.span, "nameserver"))
        });
        let regions = self
            .regions
            .iter()
            .map(|r| (r.id.value.as_str(), r.id.span, "region"));
        let relays = self
            .relays
            .iter()
            .map(|r| (r.id.value.as_str(), r.id.span, "relay"));
        for (name, span, kind) in servers.chain(regions).chain(relays) {
            let own = format!("{kind} {name:?}");
            match owners.get(name) {
                Some(meaning) if *meaning == own => {
                    problems.push(problem(span, format!("{own} is listed twice"), "keep one"));
                }
                Some(meaning) => {
                    let what = format!("{own}: the name already stands for {meaning}");
                    problems.push(problem(span, what, "choose another name"));
                }
                None => {
                    owners.insert(name, own);
                }
            }
        }
    }

    /// A label carries regions and addresses as tags of four bytes: two with the same tag would be
    /// taken for one another.
    fn tags(&self, problems: &mut Vec<Problem>) {
        let regions = self.regions.iter().map(|region| {
            let id = region.id.value.as_str();
            (Tag::of_name(id), format!("region {id:?}"), region.id.span)
        });
        let addresses = self
            .relays
            .iter()
            .flat_map(|relay| &relay.addresses)
            .map(|address| {
                let ip = address.value.ip();
                (Tag::of_addr(ip), format!("address {ip}"), address.span)
            });
        let mut tags: BTreeMap<u32, String> = BTreeMap::new();
        for (tag, name, span) in regions.chain(addresses) {
            // The same name twice is told elsewhere.
            if let Some(other) = tags.get(&tag.0).filter(|other| **other != name) {
                let what = format!("{name} and {other} have the same tag in labels");
                let help = "rename the region or change the address";
                problems.push(problem(span, what, help));
            }
            tags.insert(tag.0, name);
        }
    }

    /// Every relay has an address that this daemon can probe.
    fn probed(&self, problems: &mut Vec<Problem>) {
        let Some(node) = self.node else { return };
        let reachable = |ip: IpAddr| ip.is_ipv4() || node.probe_ipv6.is_some();
        for relay in self.relays {
            if !relay
                .addresses
                .iter()
                .any(|address| reachable(address.value.ip()))
            {
                let id = relay.id.value;
                let what = format!("relay {id} has only an IPv6 address, and no probe reaches it");
                let help = "add an IPv6 address to `node.probe_address`";
                problems.push(problem(relay.id.span, what, help));
            }
        }
    }
}
