//! `[sharing]`: the other nameservers, and what this one shares its fate with.

use std::net::SocketAddr;

use dnsd_core::limits::PLACE_MAX;
use dnsd_core::votes::Domain;
use liveness::KEY_MIN;
use settings::{Spanned, Table};

use super::keys;
use super::node::Node;
use crate::limits::SHARE_PEERS_CONFIGURED;
use crate::share::seal::ClusterKeys;

/// `[sharing]`: without it the daemon stands alone.
#[derive(Debug, Clone)]
pub struct Sharing {
    /// Where datagrams of the other nameservers come in, over UDP.
    pub listen: SocketAddr,
    /// Where the others send them.
    pub advertise: SocketAddr,
    /// What this machine shares its fate with.
    pub domain: Domain,
    /// The other nameservers; this one may be among them.
    pub peers: Vec<SocketAddr>,
    /// What they seal with.
    pub keys: ClusterKeys,
}

impl Sharing {
    /// What stays as it is until a restart.
    pub(super) fn fixed(&self) -> (SocketAddr, SocketAddr, &Domain) {
        (self.listen, self.advertise, &self.domain)
    }
}

/// The section, if the file has it; `Err` if it could not be read.
pub(super) fn sharing(root: &mut Table<'_>, node: Option<&Node>) -> Result<Option<Sharing>, ()> {
    if !root.has("sharing") {
        return Ok(None);
    }
    let mut table = root.table("sharing").ok_or(())?;
    read(&mut table, node).map(Some).ok_or(())
}

fn read(table: &mut Table<'_>, node: Option<&Node>) -> Option<Sharing> {
    let listen = table.required::<SocketAddr>("listen");
    let advertise = table.optional::<SocketAddr>("advertise");
    let vendor = table.required_parsed("vendor", "a name", "\"alpha\"", place);
    let region = table.required_parsed("region", "a name", "\"eu\"", place);
    let peers = table.required_list::<SocketAddr>("peers");
    let ring = keys::ring(
        table,
        KEY_MIN,
        "remove those that no nameserver uses any more",
    );
    for address in [listen, advertise].into_iter().flatten() {
        reachable(table, address);
    }
    if let (Some(listen), Some(node)) = (listen, node) {
        free(table, listen, node);
    }
    if let Some(peers) = &peers {
        every_peer(table, peers);
    }
    let listen = listen?.value;
    Some(Sharing {
        listen,
        advertise: advertise.map_or(listen, |advertise| advertise.value),
        domain: Domain {
            vendor: vendor?.value,
            region: region?.value,
        },
        peers: peers?.into_iter().map(|peer| peer.value).collect(),
        keys: ClusterKeys::derive(&ring?),
    })
}

fn place(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > PLACE_MAX {
        return Err(format!("it has 1 to {PLACE_MAX} bytes"));
    }
    Ok(text.to_owned())
}

/// The others know a nameserver by the one address it sends from.
fn reachable(table: &Table<'_>, address: Spanned<SocketAddr>) {
    let ip = address.value.ip();
    if ip.is_unspecified() || ip.is_multicast() || address.value.port() == 0 {
        let what = format!("{} is no address that datagrams come from", address.value);
        let help = "write an address of this machine that the other nameservers reach, and a port";
        table.error(address.span, what, help);
    }
}

/// No other listener of this daemon has the address.
fn free(table: &Table<'_>, listen: Spanned<SocketAddr>, node: &Node) {
    let taken = match listen.value {
        address if node.listen.contains(&address) => "node.listen",
        address if node.reports == address => "node.reports",
        _ => return,
    };
    let what = format!(
        "`sharing.listen` is {}, which `{taken}` has taken",
        listen.value
    );
    table.error(listen.span, what, "choose another port");
}

fn every_peer(table: &Table<'_>, peers: &[Spanned<SocketAddr>]) {
    for (index, peer) in peers.iter().enumerate() {
        reachable(table, *peer);
        if peers[..index].iter().any(|other| other.value == peer.value) {
            let what = format!("{} is listed twice in `sharing.peers`", peer.value);
            table.error(peer.span, what, "remove one of the two");
        }
    }
    if let Some(one_more) = peers.get(SHARE_PEERS_CONFIGURED) {
        let what = format!("more than {SHARE_PEERS_CONFIGURED} peers");
        table.error(one_more.span, what, "remove some");
    }
}
