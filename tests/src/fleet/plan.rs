//! Who stands where in a fleet under test, and the configuration files that say so.

use std::fmt::Write as _;
use std::path::Path;

/// The zone of every fleet under test.
pub const ZONE: &str = "turn.example";
/// The secret that all relays and name servers share.
pub const SECRET: &str = "fleet-under-test-fleet-under-test";
/// The key of the app that asks for credentials.
pub const API_KEY: &str = "api-key-under-test-under-test";
/// Where relays serve clients.
pub const TURN: u16 = 3478;
/// Where they serve TLS.
pub const TURNS: u16 = 5349;
/// Ports that are relayed from; none is also the kernel's to give.
pub const RELAY_PORTS: &str = "61000-65535";
/// Where name servers take reports.
pub const REPORTS: u16 = 5301;

/// Where one relay stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its id.
    pub id: String,
    /// Its region.
    pub region: &'static str,
    /// Its availability zone.
    pub zone: String,
    /// Who runs its machine.
    pub vendor: &'static str,
}

/// A fleet to build.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Names its directory and its measurements.
    pub name: &'static str,
    /// Its relays.
    pub relays: Vec<Place>,
    /// How many name servers it has: `ns1`, `ns2` and so on.
    pub dnsds: usize,
    /// By how much the clocks of some processes differ, as `faketime` writes it.
    pub clocks: Vec<(String, &'static str)>,
    /// Further addresses to which relays report.
    pub listeners: Vec<std::net::SocketAddr>,
    /// Whether the name servers vote together; else each stands alone.
    pub sharing: bool,
    /// The generation of the name servers' configuration.
    pub generation: u64,
    /// Whether relays serve TLS, on a port of its own, and every name is asked by transport too.
    pub tls: bool,
    /// The secrets that all share: the current one first.
    pub secrets: Vec<&'static str>,
}

/// Where name servers hear each other.
const SHARED: u16 = 5302;
const REGIONS: [&str; 2] = ["eu", "us"];
const VENDORS: [&str; 3] = ["alpha", "beta", "gamma"];

impl Plan {
    /// Two regions, three vendors in each, and of each vendor there `each` relays in one zone; two
    /// name servers.
    pub fn new(name: &'static str, each: usize) -> Self {
        let places = REGIONS
            .iter()
            .flat_map(|region| VENDORS.iter().map(move |vendor| (*region, *vendor)));
        let relays = places.flat_map(|(region, vendor)| {
            (1..=each).map(move |number| Place {
                id: format!("{region}-{vendor}-{number}"),
                region,
                zone: format!("{region}-{vendor}"),
                vendor,
            })
        });
        Self {
            name,
            relays: relays.collect(),
            dnsds: 2,
            clocks: Vec::new(),
            listeners: Vec::new(),
            sharing: false,
            generation: 1,
            tls: false,
            secrets: vec![SECRET],
        }
    }

    /// The same with three name servers that vote together, each at another vendor.
    pub fn sharing(name: &'static str, each: usize) -> Self {
        Self {
            dnsds: 3,
            sharing: true,
            ..Self::new(name, each)
        }
    }

    /// The lines of `[secrets]`.
    fn secrets(&self) -> String {
        let (current, previous) = self.secrets.split_first().expect("a secret");
        format!("[secrets]\ncurrent = \"{current}\"\nprevious = {previous:?}\n")
    }

    /// The id of a name server by its place in the list.
    pub fn dnsd_id(index: usize) -> String {
        format!("ns{}", index + 1)
    }

    /// The last part of a relay's addresses.
    pub fn relay_host(index: usize) -> u8 {
        u8::try_from(10 + index).expect("fewer relays")
    }

    /// The last part of a name server's addresses.
    pub fn dnsd_host(index: usize) -> u8 {
        u8::try_from(200 + index).expect("fewer name servers")
    }

    /// `turnd.toml` of one relay, whose state lives in `dir`.
    pub fn turnd(&self, index: usize, dir: &Path) -> String {
        self.turnd_at(index, Self::relay_host(index), dir)
    }

    /// The same on a machine whose addresses end in `host`.
    pub fn turnd_at(&self, index: usize, host: u8, dir: &Path) -> String {
        let (id, key) = (&self.relays[index].id, report_key(index));
        let both = |port| format!("\"45.80.3.{host}:{port}\", \"[2a0f:80:3::{host:x}]:{port}\"");
        let listen = both(TURN);
        let (streams, tls) = if self.tls {
            let file = |name| dir.join(name).display().to_string();
            let [chain, key] = ["chain.pem", "key.pem"].map(file);
            let tls = format!("[tls]\ncertificate = {chain:?}\nkey = {key:?}\n");
            (format!("{listen}, {}", both(TURNS)), tls)
        } else {
            (listen.clone(), String::new())
        };
        let reports = (0..self.dnsds)
            .map(|dnsd| format!("\"45.80.3.{}:{REPORTS}\"", Self::dnsd_host(dnsd)))
            .chain(self.listeners.iter().map(|to| format!("\"{to}\"")));
        let reports = reports.collect::<Vec<_>>().join(", ");
        format!(
            "[relay]\nid = \"{id}\"\nrealm = \"{ZONE}\"\nzone = \"{ZONE}\"\n\
             listen = [{listen}]\nlisten_tcp = [{streams}]\n\
             relay_addresses = [\"45.80.3.{host}\", \"2a0f:80:3::{host:x}\"]\n\
             relay_ports = \"{RELAY_PORTS}\"\nworkers = 1\ndrain_grace = \"20s\"\n\
             {secrets}{tls}\
             [rest]\nlisten = \"45.80.3.{host}:8080\"\n\
             [[rest.api_keys]]\nid = \"app\"\nkey = \"{API_KEY}\"\n\
             [admin]\nlisten = \"127.0.0.1:9641\"\nsocket = {socket:?}\n\
             [liveness]\nkey_id = {key_id}\nkey = \"{key}\"\ndnsd = [{reports}]\nstate_file = {state:?}\n\
             [log]\nlevel = \"info\"\n",
            secrets = self.secrets(),
            key_id = index + 1,
            socket = dir.join("turnd.sock").display().to_string(),
            state = dir.join("boot").display().to_string(),
        )
    }

    /// `dnsd.toml` of one name server, whose state and control socket live in `dir`.
    pub fn dnsd(&self, index: usize, dir: &Path) -> String {
        let (id, host) = (Self::dnsd_id(index), Self::dnsd_host(index));
        let nameservers = (0..self.dnsds).map(|dnsd| {
            let (id, host) = (Self::dnsd_id(dnsd), Self::dnsd_host(dnsd));
            format!(
                "{{ name = \"{id}\", addresses = [\"45.80.3.{host}\", \"2a0f:80:3::{host:x}\"] }},\n"
            )
        });
        let mut text = format!(
            "generation = {generation}\n[node]\nid = \"{id}\"\nlisten = [\"45.80.3.{host}:53\", \"[2a0f:80:3::{host:x}]:53\"]\n\
             reports = \"45.80.3.{host}:{REPORTS}\"\n\
             probe_address = [\"45.80.3.{host}\", \"2a0f:80:3::{host:x}\"]\n\
             control = {control:?}\nadmin = \"127.0.0.1:9653\"\nstate = {state:?}\nworkers = 1\n\
             [zone]\nname = \"{ZONE}\"\ncontact = \"hostmaster.{ZONE}\"\n\
             nameservers = [\n{nameservers}]\n\
             {secrets}[log]\nlevel = \"info\"\n",
            generation = self.generation,
            secrets = self.secrets(),
            control = dir.join(super::CONTROL).display().to_string(),
            state = dir.join("state").display().to_string(),
            nameservers = nameservers.collect::<String>(),
        );
        if self.tls {
            // All relays show one certificate, which no other issuer stands behind.
            let trusted = dir.parent().unwrap_or(dir).join("chain.pem");
            let trusted = trusted.display().to_string();
            let _ = writeln!(
                text,
                "[probes]\ntls_name = \"{ZONE}\"\ntls_roots = {trusted:?}"
            );
        }
        if self.sharing {
            let peers =
                (0..self.dnsds).map(|dnsd| format!("45.80.3.{}:{SHARED}", Self::dnsd_host(dnsd)));
            let _ = writeln!(
                text,
                "[sharing]\nlisten = \"45.80.3.{host}:{SHARED}\"\nvendor = \"{}\"\nregion = \"{}\"\n\
                 peers = {:?}\ncurrent = \"sharing-key-under-test-sharing-key\"",
                VENDORS[index % 3],
                REGIONS[index % 2],
                peers.collect::<Vec<_>>(),
            );
        }
        for (region, fallback) in [("eu", "us"), ("us", "eu")] {
            let default = region == "eu";
            let _ = writeln!(
                text,
                "[[regions]]\nid = \"{region}\"\nfallback = [\"{fallback}\"]\nclients = []\ndefault = {default}"
            );
        }
        for (index, place) in self.relays.iter().enumerate() {
            let (host, key_id) = (Self::relay_host(index), index + 1);
            let ports = if self.tls {
                format!("tls_port = {TURNS}\n")
            } else {
                String::new()
            };
            let Place {
                id,
                region,
                zone,
                vendor,
            } = place;
            let _ = writeln!(
                text,
                "[[relays]]\nid = \"{id}\"\nregion = \"{region}\"\nzone = \"{zone}\"\nvendor = \"{vendor}\"\n\
                 addresses = [\"45.80.3.{host}:{TURN}\", \"[2a0f:80:3::{host:x}]:{TURN}\"]\nkeys = [{key_id}]\n\
                 {ports}[[keys]]\nid = {key_id}\nkey = \"{}\"",
                report_key(index)
            );
        }
        text
    }
}

/// The key under which the reports of one relay are believed.
pub fn report_key(index: usize) -> String {
    format!("report-key-under-test-of-relay-{index:03}")
}
