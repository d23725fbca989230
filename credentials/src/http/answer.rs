//! One answer: a credential and fresh owner names, in the shapes that callers speak.

use std::sync::Arc;

use serde_json::{Value, json};

use super::params::Ask;
use super::{ApiKey, Issuer};
use crate::label::{Label, Lane, Tag, TenantTag, Transport};
use crate::{Credential, IssueError, UnixTime, issue};

/// What both shapes are made from.
#[derive(Debug)]
pub(super) struct Answer {
    issuer: Arc<Issuer>,
    credential: Credential,
    expires: UnixTime,
    /// What every label says, save the transport.
    label: Label,
}

impl Answer {
    /// For `user` of the tenant `key`. `draw` decides in dnsd among equals; all labels get the same,
    /// so that the lanes stay disjoint.
    pub(super) fn new(
        issuer: Arc<Issuer>,
        key: &ApiKey,
        user: &str,
        ask: &Ask,
        now: UnixTime,
        draw: u32,
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
            tenant: Some(TenantTag::of_key(&key.id)),
            transport: None,
            expires: UnixTime(now.0.saturating_add(u64::from(issuer.label_ttl))),
        };
        Ok(Self {
            issuer,
            credential,
            expires: UnixTime(now.0.saturating_add(u64::from(ttl))),
            label,
        })
    }

    /// `<label>.<lane>.<zone>`.
    fn host(&self, lane: Lane, transport: Option<Transport>) -> String {
        let label = Label {
            transport,
            ..self.label
        };
        let sealed = self.issuer.labels.seal(&label, lane);
        format!("{sealed}.{}.{}", lane.as_str(), self.issuer.endpoint.zone)
    }

    fn turn(&self) -> Vec<String> {
        let ports = self.issuer.endpoint.ports;
        ports.turn(|lane, transport| self.host(lane, Some(transport)))
    }

    /// `RTCIceServer`s, and beside them what a caller wants to know about them.
    pub(super) fn ice_servers(&self) -> Value {
        let mut servers = vec![json!({
            "urls": self.turn(),
            "username": self.credential.username,
            "credential": *self.credential.password,
        })];
        let endpoint = &self.issuer.endpoint;
        if endpoint.stun {
            let urls = endpoint
                .ports
                .stun(|lane| self.host(lane, Some(Transport::Udp)));
            servers.push(json!({ "urls": urls }));
        }
        let [a, b] = Lane::ALL.map(|lane| self.host(lane, None));
        json!({
            "iceServers": servers,
            "ttl": self.credential.ttl,
            "expires": self.expires.0,
            "lanes": { "a": a, "b": b },
        })
    }

    /// The shape of draft-uberti-behave-turn-rest-00, section 2.2.
    pub(super) fn turn_rest(&self) -> Value {
        json!({
            "username": self.credential.username,
            "password": *self.credential.password,
            "ttl": self.credential.ttl,
            "uris": self.turn(),
        })
    }
}
