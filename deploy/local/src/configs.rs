//! The configuration files of a local cluster, written for a person to read and copy from.

use std::fmt::Write as _;
use std::path::Path;

use crate::keys::Keys;
use crate::layout::{Dnsd, Layout, Relay, ZONE};

/// File name of a relay's configuration.
pub const TURND_FILE: &str = "turnd.toml";
/// File name of a name server's configuration.
pub const DNSD_FILE: &str = "dnsd.toml";
/// File name of a name server's control socket.
pub const CONTROL_FILE: &str = "control.sock";

/// `turnd.toml` of `relay`, whose state lives in `dir`. It holds secrets.
pub fn turnd(layout: &Layout, relay: &Relay, keys: &Keys, dir: &Path) -> String {
    let Relay {
        id,
        region,
        zone,
        vendor,
        turn,
        rest,
        admin,
        key_id,
    } = relay;
    let (net, shared, api) = (layout.net, &keys.shared, &keys.api);
    let key = &keys.reports[*key_id as usize - 1];
    let dnsd = quoted(layout.dnsds.iter().map(|dnsd| dnsd.reports));
    let state = dir.join("boot").display().to_string();
    format!(
        r#"# Relay {id} of a local cluster: vendor {vendor}, region {region}, availability zone {zone}.
# Written by local-cluster, and written again at its next start.

[relay]
id = "{id}"                    # how it signs its reports; also its name below the zone
realm = "{ZONE}"
zone = "{ZONE}"          # the names its credentials point at
listen = ["{turn}"]     # TURN over UDP
listen_tcp = ["{turn}"] # TURN over TCP
relay_addresses = ["{ip}"]  # where relayed transport addresses are taken from
relay_ports = "49152-65535"
workers = 1                       # many relays share this machine; 0 means one per core
drain_grace = "20s"               # how long running sessions may go on after SIGTERM

[secrets]
current = "{shared}"  # the same on every relay and dnsd

[peers]
allow = ["127.0.0.0/8"]           # for this machine only: loopback is refused by default

[limits]
sessions = 1000
sessions_per_user = 100
bandwidth = "100 Mbit/s"          # what it can carry, for the load it reports

[rest]
listen = "{rest}"       # credentials: GET /v1/credentials

[[rest.api_keys]]
id = "demo"
key = "{api}"
ttl_default = "1h"
ttl_max = "24h"
{client_regions}
[admin]
listen = "{admin}"       # /healthz /readyz /metrics

[liveness]
key_id = {key_id}
key = "{key}"      # this relay's own: it can speak for no other
dnsd = [{dnsd}]   # every dnsd hears every report
state_file = {state:?}

[log]
format = "text"
level = "info"
"#,
        ip = turn.ip(),
        client_regions = client_regions(layout, net),
    )
}

/// The REST endpoint's own table of client networks, by which it seals a region into its labels.
fn client_regions(layout: &Layout, net: crate::options::Net) -> String {
    let mut text = format!("\n# Clients of no listed network are placed by dnsd ({net}.0.0/16).\n");
    for region in &layout.regions {
        let _ = write!(
            text,
            "[[rest.client_regions]]\nregion = \"{}\"\nnetworks = [\"{}\"]\n\n",
            region.id, region.clients
        );
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// `dnsd.toml` of `dnsd`, whose state and control socket live in `dir`. It holds secrets.
pub fn dnsd(layout: &Layout, dnsd: &Dnsd, keys: &Keys, dir: &Path) -> String {
    let Dnsd {
        id,
        dns,
        reports,
        sharing,
        vendor,
        region,
        admin,
    } = dnsd;
    let peers = quoted(layout.dnsds.iter().map(|dnsd| dnsd.sharing));
    let control = dir.join(CONTROL_FILE).display().to_string();
    let state = dir.join("state.json").display().to_string();
    let nameservers = layout.dnsds.iter().map(|server| {
        format!(
            "    {{ name = \"{}\", addresses = [\"{}\"] }},\n",
            server.id,
            server.dns.ip()
        )
    });
    let mut text = format!(
        r#"# Name server {id} of a local cluster. It answers alone; what the other one sees has a vote.
# Written by local-cluster, and written again at its next start.

[node]
id = "{id}"
listen = ["{dns}"]      # DNS over UDP and TCP
reports = "{reports}"       # signed liveness reports of the relays
probe_address = ["{ip}"]      # where its own probes come from
control = {control:?}  # for dnsd status, dnsd explain and the like
admin = "{admin}"         # /healthz /readyz /metrics
state = {state:?}      # last known good, served at once after a restart

[zone]
name = "{ZONE}"
contact = "hostmaster.{ZONE}"
nameservers = [
{nameservers}]

[answers]
count = 2                         # addresses per name
ttl_min = "5s"
ttl_max = "30s"

[probes]
stun = "1s"                       # is it there
echo = "2500ms"                   # does it really relay

[sharing]
listen = "{sharing}"      # what the others see, sealed
vendor = "{vendor}"
region = "{region}"
peers = [{peers}]
current = "{cluster}"  # the same on every dnsd, on no relay

[secrets]
current = "{shared}"  # the same on every relay and dnsd

[log]
format = "text"
level = "info"
"#,
        cluster = keys.cluster,
        ip = dns.ip(),
        shared = keys.shared,
        nameservers = nameservers.collect::<String>(),
    );
    for region in &layout.regions {
        let [latitude, longitude] = region.place;
        let _ = write!(
            text,
            "\n[[regions]]\nid = \"{}\"\nlatitude = {latitude}\nlongitude = {longitude:.1}\n\
             clients = [\"{}\"]\n{}",
            region.id,
            region.clients,
            if region.default {
                "default = true  # clients of no known network\n"
            } else {
                ""
            }
        );
    }
    text.push_str("\n# Which relay may speak, with which key, for which address.\n");
    for relay in &layout.relays {
        text.push_str(&listed_relay(relay, keys));
    }
    text
}

fn listed_relay(relay: &Relay, keys: &Keys) -> String {
    let Relay {
        id,
        region,
        zone,
        vendor,
        turn,
        key_id,
        ..
    } = relay;
    format!(
        r#"
[[relays]]
id = "{id}"
region = "{region}"
zone = "{zone}"
vendor = "{vendor}"
addresses = ["{turn}"]
keys = [{key_id}]
weight = 100

[[keys]]
id = {key_id}
key = "{key}"
"#,
        key = keys.reports[*key_id as usize - 1],
    )
}

fn quoted(items: impl Iterator<Item = impl std::fmt::Display>) -> String {
    items
        .map(|item| format!("\"{item}\""))
        .collect::<Vec<_>>()
        .join(", ")
}
