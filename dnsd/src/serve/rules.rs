//! How queries are treated, whatever they ask: whose are rationed, what this server says of itself.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::cookie::Cookies;
use super::rate::Ration;
use super::transfer::Secondaries;

/// What the configuration says about serving DNS.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Makes and judges cookies.
    pub cookies: Cookies,
    /// What a network gets that shows no cookie.
    pub ration: Ration,
    /// How long a busy UDP worker lets queries gather before it reads them, at most
    /// [`GATHER_MAX`](crate::limits::GATHER_MAX); 0: not at all.
    pub gather: Duration,
    /// The networks that get all they ask for.
    pub unlimited: Vec<IpNet>,
    /// What NSID is answered with (RFC 5001), at most [`crate::limits::NSID_BYTES`]; not at all
    /// without it.
    pub nsid: Option<String>,
    /// What `id.server` and `hostname.bind` of class CH are answered with (RFC 4892).
    pub chaos_id: Option<String>,
    /// What `version.server` and `version.bind` of class CH are answered with.
    pub chaos_version: Option<String>,
    /// Who may have the zones.
    pub secondaries: Secondaries,
}

impl Rules {
    /// Whether a client is rationed, as long as it shows no cookie.
    pub(super) fn limits(&self, client: &IpAddr) -> bool {
        !self
            .unlimited
            .iter()
            .any(|network| network.contains(client))
    }

    /// The text that a name of class CH stands for; any case.
    pub(super) fn chaos(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        match name.trim_end_matches('.') {
            "id.server" | "hostname.bind" => self.chaos_id.as_deref(),
            "version.server" | "version.bind" => self.chaos_version.as_deref(),
            _ => None,
        }
    }
}
