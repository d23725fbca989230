//! `[tls]`: DNS over TLS and over QUIC: where, and under which certificate.

use std::net::SocketAddr;

use settings::{Identity, Spanned, Table};

use super::Sharing;
use super::geoip::Reading;
use super::node::Node;
use crate::clock;

/// `[tls]`: without it DNS is spoken in clear only.
#[derive(Debug, Clone)]
pub struct Tls {
    /// DNS over TLS (RFC 7858), over TCP.
    pub dot: Vec<SocketAddr>,
    /// DNS over QUIC (RFC 9250), over UDP.
    pub doq: Vec<SocketAddr>,
    /// What clients are shown.
    pub identity: Identity,
}

impl Tls {
    /// What stays as it is until a restart.
    pub(super) fn fixed(&self) -> (&[SocketAddr], &[SocketAddr]) {
        (&self.dot, &self.doq)
    }
}

/// The section, if the file has it; `Err` if it could not be read.
pub(super) fn tls(
    root: &mut Table<'_>,
    reading: Reading,
    node: Option<&Node>,
    sharing: Option<&Sharing>,
) -> Result<Option<Tls>, ()> {
    if !root.has("tls") {
        return Ok(None);
    }
    let mut table = root.table("tls").ok_or(())?;
    let dot = table.list::<SocketAddr>("dot");
    let doq = table.list::<SocketAddr>("doq");
    // A nameserver that did not start because a certificate has run out would help nobody: those
    // who ask in clear, and those who do not look, are served.
    let now = (reading == Reading::Whole).then(|| clock::unix().0);
    let identity = table.required_identity(now);
    if dot.is_empty() && doq.is_empty() {
        let help = "write dot = [\"192.0.2.53:853\"], doq = [\"192.0.2.53:853\"] or both";
        table.error(table.span(), "`[tls]` has no address to listen on", help);
    }
    let tcp = |address| match node {
        Some(node) if node.listen.contains(&address) => Some("node.listen"),
        Some(node) if node.admin == Some(address) => Some("node.admin"),
        _ => None,
    };
    let udp = |address| match (node, sharing) {
        (Some(node), _) if node.listen.contains(&address) => Some("node.listen"),
        (Some(node), _) if node.reports == address => Some("node.reports"),
        (_, Some(sharing)) if sharing.listen == address => Some("sharing.listen"),
        _ => None,
    };
    free(&table, "tls.dot", &dot, tcp);
    free(&table, "tls.doq", &doq, udp);
    let values = |all: Vec<Spanned<SocketAddr>>| all.into_iter().map(|one| one.value).collect();
    Ok(Some(Tls {
        dot: values(dot),
        doq: values(doq),
        identity: identity.ok_or(())?,
    }))
}

/// Every address can be found, and nothing else of this daemon has it.
fn free(
    table: &Table<'_>,
    key: &str,
    addresses: &[Spanned<SocketAddr>],
    taken: impl Fn(SocketAddr) -> Option<&'static str>,
) {
    for (index, address) in addresses.iter().enumerate() {
        if address.value.port() == 0 {
            let what = "clients cannot find port 0";
            table.error(address.span, what, "write port 853");
        }
        if addresses[..index]
            .iter()
            .any(|other| other.value == address.value)
        {
            let what = format!("{} is listed twice in `{key}`", address.value);
            table.error(address.span, what, "remove one of the two");
        }
        if let Some(other) = taken(address.value) {
            let what = format!("`{key}` has {}, which `{other}` has taken", address.value);
            table.error(address.span, what, "choose another port");
        }
    }
}
