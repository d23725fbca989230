//! One answer: a credential and two fresh owner names, in the shapes that callers speak.

use serde_json::{Value, json};

use super::params::Ask;
use super::{ApiKey, Issuer, Ports};
use crate::label::{Label, Lane, Tag};
use crate::{Credential, IssueError, UnixTime, issue};

/// What both shapes are made from.
#[derive(Debug)]
pub(super) struct Answer {
    credential: Credential,
    expires: UnixTime,
    /// `<label>.<lane>.<zone>`, lane a first.
    hosts: [String; 2],
    ports: Ports,
    stun: bool,
}

impl Answer {
    /// For `user` of the tenant `key`. `draw` decides in dnsd among equals; both lanes get the same,
    /// so that they stay disjoint.
    pub(super) fn new(
        issuer: &Issuer,
        key: &ApiKey,
        user: &str,
        ask: &Ask,
        now: UnixTime,
        draw: u64,
    ) -> Result<Self, IssueError> {
        let ttl = key.ttl.clamp(ask.ttl);
        let user_id = format!("{}/{user}", key.id);
        let credential = issue(&issuer.ring, Some(&user_id), ttl, now)?;
        let located = || ask.client.and_then(|client| (issuer.regions)(client));
        let region = ask.region.clone().or_else(located);
        let label = Label {
            draw,
            region: region.as_deref().map(Tag::of_name),
            avoid: ask.failed.map(|relay| relay.map(Tag::of_addr)),
            expires: UnixTime(now.0.saturating_add(u64::from(issuer.label_ttl))),
        };
        let hosts = Lane::ALL.map(|lane| {
            let sealed = issuer.labels.seal(&label, lane);
            format!("{sealed}.{}.{}", lane.as_str(), issuer.endpoint.zone)
        });
        Ok(Self {
            credential,
            expires: UnixTime(now.0.saturating_add(u64::from(ttl))),
            hosts,
            ports: issuer.endpoint.ports,
            stun: issuer.endpoint.stun,
        })
    }

    /// `RTCIceServer`s, and beside them what a caller wants to know about them.
    pub(super) fn ice_servers(&self) -> Value {
        let mut servers = vec![json!({
            "urls": self.ports.turn(&self.hosts),
            "username": self.credential.username,
            "credential": *self.credential.password,
        })];
        if self.stun {
            servers.push(json!({ "urls": self.ports.stun(&self.hosts) }));
        }
        json!({
            "iceServers": servers,
            "ttl": self.credential.ttl,
            "expires": self.expires.0,
            "lanes": { "a": self.hosts[0], "b": self.hosts[1] },
        })
    }

    /// The shape of draft-uberti-behave-turn-rest-00, section 2.2.
    pub(super) fn turn_rest(&self) -> Value {
        json!({
            "username": self.credential.username,
            "password": *self.credential.password,
            "ttl": self.credential.ttl,
            "uris": self.ports.turn(&self.hosts),
        })
    }
}
