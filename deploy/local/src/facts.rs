//! Questions asked of the running cluster the way its users ask them: over DNS and REST.

use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use serde_json::Value;

use crate::dns;
use crate::event::{Ready, RelayFacts};
use crate::failure::Failure;
use crate::keys::Keys;
use crate::layout::Layout;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the name server at `dns` gives at least one address for `name`.
pub fn answers(dns: SocketAddrV4, name: &str) -> bool {
    dns::ask(dns, *dns.ip(), name, PATIENCE)
        .is_ok_and(|reply| reply.code == ResponseCode::NoError && !reply.addresses.is_empty())
}

/// A credential for the user `demo` from the first relay's REST endpoint.
pub fn credential(layout: &Layout, keys: &Keys) -> Result<Value, Failure> {
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
