//! The facts of a running cluster, some of them asked for the way its users ask: over DNS and REST.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use serde_json::Value;

use crate::children::Recipe;
use crate::configs;
use crate::dns;
use crate::event::{DnsdFacts, Ready, RelayFacts};
use crate::failure::Failure;
use crate::keys::Keys;
use crate::layout::{Layout, ZONE};
use crate::rundir::RunDir;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// All facts of the cluster that came up within `took`, with a credential just issued.
pub fn ready(
    layout: &Layout,
    keys: &Keys,
    dir: &RunDir,
    recipes: &BTreeMap<String, Recipe>,
    pid: impl Fn(&str) -> u32,
    took: Duration,
) -> Result<Ready, Failure> {
    let of = |name: &str| recipes.get(name).map(|r| (r.log.clone(), r.command()));
    let relays = layout.relays.iter().map(|relay| {
        let (log, command) = of(&relay.id).unwrap_or_default();
        RelayFacts {
            id: relay.id.clone(),
            pid: pid(&relay.id),
            address: relay.turn,
            region: relay.region.to_owned(),
            zone: relay.zone.clone(),
            vendor: relay.vendor.to_owned(),
            rest: relay.rest,
            admin: relay.admin,
            config: dir.file(&relay.id, configs::TURND_FILE),
            log,
            command,
        }
    });
    let servers = layout.dnsds.iter().map(|dnsd| {
        let (log, command) = of(&dnsd.id).unwrap_or_default();
        DnsdFacts {
            id: dnsd.id.clone(),
            pid: pid(&dnsd.id),
            address: dnsd.dns,
            admin: dnsd.admin,
            control: dir.file(&dnsd.id, configs::CONTROL_FILE),
            config: dir.file(&dnsd.id, configs::DNSD_FILE),
            log,
            command,
        }
    });
    Ok(Ready {
        zone: ZONE.to_owned(),
        dir: dir.path().to_owned(),
        took_ms: took.as_millis() as u64,
        api_key: keys.api.clone(),
        peer: layout.peer,
        dns_servers: servers.collect(),
        relays: relays.collect(),
        credential: credential(layout, keys)?,
    })
}

/// Whether the name server at `dns` gives at least one address for `name`.
pub fn answers(dns: SocketAddrV4, name: &str) -> bool {
    dns::ask(dns, *dns.ip(), name, PATIENCE)
        .is_ok_and(|reply| reply.code == ResponseCode::NoError && !reply.addresses.is_empty())
}

/// A credential for the user `demo` from the first relay's REST endpoint.
fn credential(layout: &Layout, keys: &Keys) -> Result<Value, Failure> {
    let relay = layout
        .relays
        .first()
        .ok_or_else(|| refused("there is no relay"))?;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    agent
        .get(format!("http://{}/v1/credentials?user=demo", relay.rest))
        .header("Authorization", format!("Bearer {}", keys.api))
        .call()
        .and_then(|mut response| response.body_mut().read_json())
        .map_err(|error| refused(&format!("{} gave no credential: {error}", relay.id)))
}

/// The relay that the credential's lane a names first.
pub fn first_relay<'a>(layout: &Layout, ready: &'a Ready) -> Option<&'a RelayFacts> {
    let lane = ready.credential.pointer("/lanes/a")?.as_str()?;
    let server = layout.dns_servers().next()?;
    let reply = dns::ask(server, *server.ip(), lane, PATIENCE).ok()?;
    let first = reply.addresses.first()?;
    ready
        .relays
        .iter()
        .find(|relay| IpAddr::V4(*relay.address.ip()) == *first)
}

fn refused(message: &str) -> Failure {
    Failure::new(message, "its log in the run directory says why")
}
