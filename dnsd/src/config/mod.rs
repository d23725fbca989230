//! The configuration file: what it holds, read and judged as a whole.
//!
//! Every section has its reader; what depends on several sections is judged in [`names`]. All
//! problems of a file are told at once, with line and column.

mod api;
mod dns;
mod dnssec;
mod enrolment;
mod geoip;
mod keys;
mod names;
mod node;
mod relays;
mod sharing;
mod tls;
mod transfer;
mod zone;
mod zones;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use credentials::SecretRing;
use credentials::label::LabelKeys;
use dnsd_core::inventory::{Inventory, Policy, Problem, Subject, Thresholds};
use liveness::KeyRing;
use settings::{Errors, File, Table};

use enrolment::Rule;
use geoip::Reading;
use names::Whole;
use node::Probes;
use relays::{Region, Relay};
use transfer::Transfer;
use zone::Zone;

use crate::dnssec::Dnssec;
use crate::geoip::Geoip;
use crate::probe::tls::Trust;
use crate::serve::rules::Rules;

pub use api::HttpApi;
pub use node::{Format, Level, Log, Node};
pub use sharing::Sharing;
pub use tls::Tls;

/// Where the configuration is read from when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/turnfleet/dnsd.toml";

/// A whole configuration that makes sense.
#[derive(Debug, Clone)]
pub struct Config {
    /// What stays as it is until a restart.
    pub node: Node,
    /// How the daemon logs.
    pub log: Log,
    /// The fleet's shared secrets: they make probe credentials.
    pub secrets: SecretRing,
    /// Opens labels.
    pub labels: LabelKeys,
    /// How queries are treated.
    pub rules: Arc<Rules>,
    /// The keys that reports are signed with.
    pub keys: KeyRing,
    /// What the relays' certificates must be good for.
    pub trust: Trust,
    /// Zone, regions, relays and the policy of answering.
    pub inventory: Inventory,
    /// The database of places that the inventory knows, if one is named.
    pub geoip: Option<Geoip>,
    /// The keys of the zones that are signed.
    pub dnssec: Dnssec,
    /// The other nameservers; without them this one stands alone.
    pub sharing: Option<Sharing>,
    /// DNS over TLS and QUIC; without it DNS is spoken in clear only.
    pub tls: Option<Tls>,
    /// The HTTP API; without it there is the control socket.
    pub api: Option<HttpApi>,
    /// How long a revocation holds when nothing else is said.
    pub revocations_lasting: Duration,
    /// Percent of the serving relays that a reload may take out.
    pub removal_percent: usize,
}

impl Config {
    /// Reads and judges a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Errors> {
        Self::parse(&File::read(path)?)
    }

    /// Judges a file's text.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(file: &File) -> Result<Self, Errors> {
        settings::load(file, |root| read(root, Reading::Whole))
    }

    /// Reads and judges a file, but leaves a database of places and the keys of zones alone.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn outline(path: &Path) -> Result<Self, Errors> {
        settings::load(&File::read(path)?, |root| read(root, Reading::Outline))
    }

    /// Reads and judges a file for a start, which a database of places does not keep from
    /// happening.
    ///
    /// # Errors
    /// Everything else that is wrong with it.
    pub fn at_start(path: &Path) -> Result<Self, Errors> {
        settings::load(&File::read(path)?, |root| read(root, Reading::Start))
    }

    /// What differs from `running` and takes effect only after a restart, by key.
    pub fn needs_restart(&self, running: &Self) -> Vec<&'static str> {
        let (new, old) = (&self.node, &running.node);
        [
            ("node.id", new.id != old.id),
            ("node.listen", new.listen != old.listen),
            ("node.reports", new.reports != old.reports),
            ("node.control", new.control != old.control),
            ("node.admin", new.admin != old.admin),
            ("node.state", new.state != old.state),
            ("node.workers", new.workers != old.workers),
            ("log", self.log != running.log),
            (
                "api.listen",
                self.api.as_ref().map(|api| api.listen)
                    != running.api.as_ref().map(|api| api.listen),
            ),
            (
                "tls (other than certificate and key)",
                self.tls.as_ref().map(Tls::fixed) != running.tls.as_ref().map(Tls::fixed),
            ),
            (
                "sharing (other than peers and keys)",
                self.sharing.as_ref().map(Sharing::fixed)
                    != running.sharing.as_ref().map(Sharing::fixed),
            ),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}

fn read(root: &mut Table<'_>, reading: Reading) -> Option<Config> {
    let generation = root.with_default_in("generation", 0, 0..=i64::MAX.unsigned_abs());
    let removal_percent = node::reload(root);
    let revocations_lasting = node::revocations(root);
    let node = node::node(root);
    let probes = node::probes(root);
    let log = node::log(root);
    let zone = zone::zone(root);
    let (zones, every_zone) = zones::zones(root);
    let policy = zone::policy(root);
    let dns = dns::dns(root);
    let (dnssec, has_dnssec) = dnssec::section(root);
    let transfer = transfer::transfer(root);
    let secrets = keys::secrets(root);
    let keys = keys::keys(root);
    let sharing = sharing::sharing(root, node.as_ref());
    let api = api::api(root, node.as_ref());
    let tls = tls::tls(
        root,
        reading,
        node.as_ref(),
        sharing.as_ref().ok().and_then(Option::as_ref),
    );
    let has_geoip = root.has("geoip");
    let database = geoip::geoip(root);
    let (regions, every_region) = relays::regions(root);
    let (relays, every_relay) = relays::relays(root);
    let (rules, every_rule) = enrolment::rules(root);
    let whole = Whole {
        node: node.as_ref(),
        zone: zone.as_ref(),
        keys: &keys,
        regions: &regions,
        every_region,
        has_geoip,
        relays: &relays,
        rules: &rules,
    };
    let agreed = names::agree(root, &whole);
    if !(agreed && every_zone && every_region && every_relay && every_rule) {
        return None;
    }
    let parts = Parts {
        zone: zone?,
        zones,
        policy: policy?,
        regions,
        relays,
        rules,
    };
    let (secrets, labels) = secrets?;
    if has_geoip && database.is_none() || has_dnssec && dnssec.is_none() {
        return None;
    }
    let transfer = transfer?;
    let inventory = parts
        .inventory(root, &probes, &transfer)?
        .numbered(generation.value);
    let dnssec = dnssec::keys(root, dnssec, reading, &inventory, &parts.zones);
    let (inventory, geoip) = geoip::located(root, database, reading, &parts.regions, inventory)?;
    Some(Config {
        node: node?,
        log,
        rules: Arc::new(dns.rules(&secrets, transfer.secondaries)),
        secrets,
        labels,
        keys: keys.ring,
        trust: probes.trust,
        inventory,
        geoip,
        dnssec: dnssec?,
        sharing: sharing.ok()?,
        tls: tls.ok()?,
        api: api.ok()?,
        revocations_lasting,
        removal_percent,
    })
}

/// What an inventory is made of.
struct Parts {
    zone: Zone,
    zones: Vec<zones::Zone>,
    policy: Policy,
    regions: Vec<Region>,
    relays: Vec<Relay>,
    rules: Vec<Rule>,
}

impl Parts {
    /// The inventory, unless the core still finds something wrong with it.
    fn inventory(
        &self,
        root: &Table<'_>,
        probes: &Probes,
        transfer: &Transfer,
    ) -> Option<Inventory> {
        let Self {
            zone,
            zones,
            policy,
            regions,
            relays,
            rules,
        } = self;
        let spans = |subject: Subject| match subject {
            Subject::Zone => Some(zone.name.span),
            Subject::Nameserver(index) => zone.nameservers.get(index).map(|server| server.span),
            Subject::Region(index) => regions.get(index).map(|region| region.id.span),
            Subject::Relay(index) => relays.get(index).map(|relay| relay.id.span),
            Subject::Regions => Some(root.key_span("regions")),
            Subject::Enrolment(index) => rules.get(index).map(|rule| rule.key.span),
            Subject::Relays => Some(root.key_span("relays")),
            Subject::Policy => Some(root.key_span("answers")),
            Subject::Thresholds => Some(root.key_span("probes")),
            Subject::OtherZone(index) => zones.get(index).map(|zone| zone.name.span),
            Subject::Record { .. } => None,
        };
        let thresholds = Thresholds {
            stun_interval: probes.stun,
            echo_interval: Some(probes.echo),
            path_interval: Some(probes.paths),
            certificate_margin: probes.certificate_margin,
            release_interval: transfer.interval,
            release_hold: transfer.hold,
            release_percent: transfer.changed,
            ..Thresholds::default()
        };
        let inventory = Inventory::new(
            zone.into(),
            regions.iter().map(Into::into).collect(),
            relays.iter().map(Into::into).collect(),
            policy.clone(),
            thresholds,
        );
        let joining = rules.iter().map(Into::into).collect();
        let inventory = inventory.and_then(|inventory| inventory.with_enrolments(joining));
        let records = zone.file.as_ref().map(|file| file.records.clone());
        let others = zones.iter().map(|other| other.other(&zone.contact));
        let inventory = inventory.and_then(|inventory| {
            inventory.with_zones(records.unwrap_or_default(), others.collect())
        });
        match inventory {
            Ok(inventory) => Some(inventory),
            Err(problems) => {
                for Problem { subject, message } in problems {
                    if let Subject::Record { zone: of, line } = subject {
                        let other = |index: usize| zones.get(index).and_then(|z| z.file.as_ref());
                        if let Some(file) = of.map_or(zone.file.as_ref(), other) {
                            file.error(root, line, &message);
                        }
                        continue;
                    }
                    let span = spans(subject).unwrap_or_else(|| root.span());
                    root.error(span, message, "see the example configuration");
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = include_str!("../../tests/wrong/right.toml");

    fn parse(text: &str) -> Config {
        Config::parse(&File::new("dnsd.toml", text)).expect("a right file")
    }

    #[test]
    fn what_needs_a_restart_is_named_and_the_rest_does_not() {
        let running = parse(RIGHT);
        assert!(running.needs_restart(&running).is_empty());
        for (key, from, to) in [
            ("node.id", "id = \"ns1\"\nlisten", "id = \"ns2\"\nlisten"),
            (
                "node.listen",
                "[\"192.0.2.53:53\"]",
                "[\"192.0.2.53:5353\"]",
            ),
            ("node.reports", "192.0.2.53:5301", "192.0.2.53:5302"),
            ("node.control", "/run/turnfleet/dnsd.sock", "/run/dnsd.sock"),
            ("node.admin", "127.0.0.1:9653", "127.0.0.1:9654"),
            (
                "node.state",
                "/var/lib/turnfleet/dnsd.state",
                "/var/lib/dnsd.state",
            ),
            ("node.workers", "admin =", "workers = 1\nadmin ="),
            ("log", "[zone]", "[log]\nlevel = \"debug\"\n[zone]"),
            (
                "sharing (other than peers and keys)",
                "[zone]",
                "[sharing]\nlisten = \"192.0.2.53:5302\"\nvendor = \"alpha\"\nregion = \"eu\"\n\
                 peers = [\"198.51.100.53:5302\"]\ncurrent = \"a cluster key of thirty-two bytes\"\n\
                 [zone]",
            ),
        ] {
            let changed = RIGHT.replacen(from, to, 1);
            assert_ne!(changed, RIGHT, "{key}");
            assert_eq!(parse(&changed).needs_restart(&running), [key]);
        }
        for (from, to) in [
            ("[\"192.0.2.53\"]\ncontrol", "[\"192.0.2.54\"]\ncontrol"),
            ("203.0.113.10", "203.0.113.11"),
            ("turn.example", "turn.example.net"),
            ("a secret for", "another secret for"),
            ("ttl_max = \"30s\"", "ttl_max = \"60s\""),
        ] {
            let changed = RIGHT.replace(from, to);
            assert_ne!(changed, RIGHT, "{from}");
            assert!(parse(&changed).needs_restart(&running).is_empty(), "{from}");
        }
    }

    #[test]
    fn peers_and_cluster_keys_change_without_a_restart_and_the_rest_of_sharing_does_not() {
        let sharing = "[sharing]\nlisten = \"192.0.2.53:5302\"\nvendor = \"alpha\"\nregion = \"eu\"\n\
                       peers = [\"198.51.100.53:5302\"]\n\
                       current = \"a cluster key of thirty-two bytes\"\n[zone]";
        let shared = RIGHT.replacen("[zone]", sharing, 1);
        let running = parse(&shared);
        for (from, to, restart) in [
            ("198.51.100.53:5302", "198.51.100.54:5302", false),
            ("a cluster key of", "the next cluster key of", false),
            ("192.0.2.53:5302", "192.0.2.53:5303", true),
            (
                "vendor = \"alpha\"\nregion",
                "vendor = \"beta\"\nregion",
                true,
            ),
        ] {
            let changed = shared.replacen(from, to, 1);
            assert_ne!(changed, shared, "{from}");
            let fixed = parse(&changed).needs_restart(&running);
            assert_eq!(!fixed.is_empty(), restart, "{from}: {fixed:?}");
        }
    }
}
