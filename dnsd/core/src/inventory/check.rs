//! Finds everything that is wrong with an inventory before anything relies on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use hickory_proto::rr::Name;

use credentials::label::Tag;

use super::{
    Nameserver, Policy, Problem, Region, RelayEntry, Subject, Thresholds, Zone, geography, numbers,
};
use crate::limits;
use crate::paths::Transport;

pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, subject: Subject, message: impl fmt::Display) {
        self.0.push(Problem {
            subject,
            message: message.to_string(),
        });
    }

    pub(super) fn require(&mut self, holds: bool, subject: Subject, message: impl fmt::Display) {
        if !holds {
            self.add(subject, message);
        }
    }
}

pub(super) fn check(
    zone: &Zone,
    regions: &[Region],
    relays: &[RelayEntry],
    policy: &Policy,
    thresholds: &Thresholds,
) -> Result<(), Vec<Problem>> {
    let mut problems = Problems(Vec::new());
    check_zone(zone, &mut problems);
    check_regions(regions, &mut problems);
    check_relays(regions, relays, &mut problems);
    check_names(zone, regions, relays, &mut problems);
    numbers::check_policy(policy, &mut problems);
    numbers::check_thresholds(thresholds, &mut problems);
    if problems.0.is_empty() {
        Ok(())
    } else {
        Err(problems.0)
    }
}

/// Whether the last of the relays, which is not listed, may stand among them.
pub(super) fn check_joined(
    zone: &Zone,
    regions: &[Region],
    relays: &[RelayEntry],
) -> Result<(), Problem> {
    let mut problems = Problems(Vec::new());
    check_relays(regions, relays, &mut problems);
    check_names(zone, regions, relays, &mut problems);
    check_tags(regions, relays, &mut problems);
    problems.0.into_iter().next().map_or(Ok(()), Err)
}

/// A label carries regions and addresses as tags of four bytes: two with the same tag would be taken
/// for one another.
fn check_tags(regions: &[Region], relays: &[RelayEntry], problems: &mut Problems) {
    let regions = regions
        .iter()
        .map(|region| Tag::of_name(region.id.as_str()));
    let mut taken: BTreeSet<u32> = regions.map(|tag| tag.0).collect();
    for (index, relay) in relays.iter().enumerate() {
        for address in relay.addresses() {
            problems.require(
                taken.insert(Tag::of_addr(address).0),
                Subject::Relay(index),
                format!(
                    "{address} of relay {} has the tag of another in labels",
                    relay.id
                ),
            );
        }
    }
}

fn check_zone(zone: &Zone, problems: &mut Problems) {
    let subject = Subject::Zone;
    problems.require(
        !zone.name.is_root(),
        subject,
        "the zone must not be the root",
    );
    problems.require(
        zone.name.len() <= limits::ZONE_NAME_MAX,
        subject,
        format!("the zone's name must fit {} bytes", limits::ZONE_NAME_MAX),
    );
    let count = zone.nameservers.len();
    problems.require(
        (1..=limits::NAMESERVERS_MAX).contains(&count),
        subject,
        format!(
            "a zone needs 1 to {} nameservers, not {count}",
            limits::NAMESERVERS_MAX
        ),
    );
    let mut seen = BTreeSet::new();
    for (index, server) in zone.nameservers.iter().enumerate() {
        let subject = Subject::Nameserver(index);
        let Nameserver { name, ipv4, ipv6 } = server;
        problems.require(
            seen.insert(name.to_lowercase()),
            subject,
            format!("nameserver {name} is listed twice"),
        );
        if !zone.name.zone_of(name) {
            continue;
        }
        problems.require(
            label_below(&zone.name, name).is_some(),
            subject,
            format!("nameserver {name} must be one label below the zone, or outside it"),
        );
        problems.require(
            ipv4.is_some() || ipv6.is_some(),
            subject,
            format!("nameserver {name} lies in the zone and needs an address"),
        );
    }
}

fn check_regions(regions: &[Region], problems: &mut Problems) {
    let count = regions.len();
    problems.require(
        (1..=limits::REGIONS_MAX).contains(&count),
        Subject::Regions,
        format!(
            "1 to {} regions are needed, not {count}",
            limits::REGIONS_MAX
        ),
    );
    let defaults = regions.iter().filter(|region| region.default).count();
    problems.require(
        defaults == 1,
        Subject::Regions,
        format!("exactly one region must be the default, not {defaults}"),
    );
    let networks: usize = regions.iter().map(|region| region.clients.len()).sum();
    problems.require(
        networks <= limits::CLIENT_NETWORKS_MAX,
        Subject::Regions,
        format!(
            "at most {} client networks, not {networks}",
            limits::CLIENT_NETWORKS_MAX
        ),
    );
    let ids: BTreeSet<_> = regions.iter().map(|region| &region.id).collect();
    let mut taken = BTreeMap::new();
    let mut codes = BTreeMap::new();
    for (index, region) in regions.iter().enumerate() {
        let subject = Subject::Region(index);
        problems.require(
            region.fallback.is_some() || region.coordinates.is_some() || count == 1,
            subject,
            format!(
                "region {} needs an order of fallbacks, or coordinates",
                region.id
            ),
        );
        problems.require(
            region.coordinates.is_some() == regions[0].coordinates.is_some(),
            subject,
            "either all regions have coordinates or none has",
        );
        let mut seen = BTreeSet::from([&region.id]);
        for fallback in region.fallback.iter().flatten() {
            problems.require(
                ids.contains(fallback),
                subject,
                format!("fallback region {fallback} is not configured"),
            );
            problems.require(
                seen.insert(fallback),
                subject,
                format!(
                    "region {fallback} is listed twice in the order of {}",
                    region.id
                ),
            );
        }
        let countries = region
            .countries
            .iter()
            .map(|code| format!("country {code}"));
        let continents = region
            .continents
            .iter()
            .map(|code| format!("continent {code}"));
        for code in countries.chain(continents) {
            if let Some(other) = codes.insert(code.clone(), &region.id) {
                problems.add(subject, format!("{code} already belongs to region {other}"));
            }
        }
        for network in &region.clients {
            if let Some(other) = taken.insert(network.trunc(), &region.id) {
                problems.add(
                    subject,
                    format!("client network {network} already belongs to region {other}"),
                );
            }
        }
    }
}

fn check_relays(regions: &[Region], relays: &[RelayEntry], problems: &mut Problems) {
    let count = relays.len();
    problems.require(
        (1..=limits::RELAYS_MAX).contains(&count),
        Subject::Relays,
        format!("1 to {} relays are needed, not {count}", limits::RELAYS_MAX),
    );
    let ids: BTreeSet<_> = regions.iter().map(|region| &region.id).collect();
    let homes: BTreeSet<_> = relays.iter().map(|relay| &relay.region).collect();
    for (index, region) in regions.iter().enumerate() {
        let mut reach = geography::reach(regions, index).into_iter();
        problems.require(
            reach.any(|near| homes.contains(&regions[near].id)),
            Subject::Region(index),
            format!(
                "region {} has no relay, nor has any of its fallbacks",
                region.id
            ),
        );
    }
    let mut addresses: BTreeMap<IpAddr, _> = BTreeMap::new();
    for (index, relay) in relays.iter().enumerate() {
        let subject = Subject::Relay(index);
        let id = relay.id;
        problems.require(
            ids.contains(&relay.region),
            subject,
            format!("region {} of relay {id} is not configured", relay.region),
        );
        for (what, text) in [
            ("availability zone", &relay.zone),
            ("vendor", &relay.vendor),
        ] {
            problems.require(
                (1..=limits::PLACE_MAX).contains(&text.len()),
                subject,
                format!(
                    "the {what} of relay {id} needs 1 to {} bytes",
                    limits::PLACE_MAX
                ),
            );
        }
        problems.require(
            (1..=limits::WEIGHT_MAX).contains(&relay.weight),
            subject,
            format!(
                "the weight of relay {id} must be 1 to {}",
                limits::WEIGHT_MAX
            ),
        );
        problems.require(
            (1..=limits::RELAY_KEYS_MAX).contains(&relay.keys.len()),
            subject,
            format!("relay {id} needs 1 to {} keys", limits::RELAY_KEYS_MAX),
        );
        problems.require(
            relay.addresses().next().is_some(),
            subject,
            format!("relay {id} needs an address"),
        );
        let ports = [
            relay.ipv4.map(|a| a.port()),
            relay.ipv6.map(|a| a.port()),
            relay.tcp_port,
            relay.tls_port,
        ];
        problems.require(
            !ports.contains(&Some(0)),
            subject,
            format!("port 0 of relay {id} is not a port"),
        );
        problems.require(
            Transport::ALL
                .iter()
                .any(|transport| relay.transports.is_none_or(|all| all.has(transport.bit()))),
            subject,
            format!("relay {id} needs a transport"),
        );
        for address in relay.addresses() {
            problems.require(
                !address.is_unspecified() && !address.is_multicast(),
                subject,
                format!("{address} of relay {id} is not the address of a host"),
            );
            // Answers carry addresses without ports: two relays behind one cannot be told apart.
            if let Some(other) = addresses.insert(address, id) {
                problems.add(
                    subject,
                    format!("{address} of relay {id} is also that of {other}"),
                );
            }
        }
    }
}

/// Every name one label below the zone must mean one thing.
fn check_names(zone: &Zone, regions: &[Region], relays: &[RelayEntry], problems: &mut Problems) {
    let mut taken: BTreeMap<String, String> = ["a", "b"]
        .map(|lane| (lane.to_owned(), format!("lane {lane}")))
        .into_iter()
        .chain([("api".to_owned(), "the credentials endpoint".to_owned())])
        .chain(Transport::ALL.map(|transport| {
            let name = transport.as_str();
            (name.to_owned(), format!("the relays by {name}"))
        }))
        .collect();
    let mut take = |label: String, owner: String, subject, problems: &mut Problems| {
        if let Some(other) = taken.get(&label) {
            problems.add(
                subject,
                format!("the name {label} of {owner} is that of {other}"),
            );
        } else {
            taken.insert(label, owner);
        }
    };
    for (index, server) in zone.nameservers.iter().enumerate() {
        if let Some(label) = label_below(&zone.name, &server.name) {
            let owner = format!("nameserver {}", server.name);
            take(label, owner, Subject::Nameserver(index), problems);
        }
    }
    for (index, region) in regions.iter().enumerate() {
        let label = region.id.to_string();
        take(
            label,
            format!("region {}", region.id),
            Subject::Region(index),
            problems,
        );
    }
    for (index, relay) in relays.iter().enumerate() {
        let label = relay.id.to_string();
        take(
            label,
            format!("relay {}", relay.id),
            Subject::Relay(index),
            problems,
        );
    }
}

/// The one label of `name` below `zone`, lower case.
fn label_below(zone: &Name, name: &Name) -> Option<String> {
    let below = zone.zone_of(name) && name.iter().count() == zone.iter().count() + 1;
    let label = name.iter().next().filter(|_| below)?;
    Some(String::from_utf8_lossy(label).to_ascii_lowercase())
}
