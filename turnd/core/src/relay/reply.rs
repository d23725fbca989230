//! Replies: signed ones to whoever proved a credential, small and rationed ones to everybody else.

use std::net::SocketAddr;
use std::time::Instant;

use crate::action::Action;
use crate::address::{Family, FiveTuple, Now, Transport};
use crate::auth::Challenge;
use crate::error::Reject;
use crate::limits::AMPLIFICATION;
use crate::nonce::NONCE_LEN;
use crate::wire::attribute::{ALTERNATE_SERVER, NONCE, PASSWORD_ALGORITHMS, REALM, SOFTWARE};
use crate::wire::integrity::Algorithm;
use crate::wire::message::Message;
use crate::wire::writer::Writer;
use crate::wire::{Class, HEADER, padded};

use super::{Exchange, Relay};

/// Headers of IP and UDP, which count when amplification is measured.
const HEADERS_V4: usize = 20 + 8;
const HEADERS_V6: usize = 40 + 8;

impl Relay {
    pub(super) fn send(&mut self, tuple: FiveTuple, bytes: Vec<u8>) {
        self.actions.push_back(Action::Send { tuple, bytes });
    }

    /// Answers an authentic request with success; `fill` adds the method's own attributes.
    pub(super) fn succeed(&mut self, exchange: &Exchange<'_>, fill: impl FnOnce(&mut Writer)) {
        let message = &exchange.message;
        let mut reply = Writer::new(message.method(), Class::Success, &message.transaction());
        fill(&mut reply);
        self.sign_and_send(exchange, reply);
    }

    /// Answers an authentic request with an error.
    pub(super) fn reject(&mut self, exchange: &Exchange<'_>, reject: Reject) {
        reject.count(&mut self.counters);
        let message = &exchange.message;
        let mut reply = Writer::new(message.method(), Class::Error, &message.transaction());
        let (code, reason) = reject.code();
        reply.error_code(code, reason);
        match reject {
            Reject::UnknownAttributes(unknown) => reply.unknown_attributes(unknown.as_slice()),
            Reject::TryAlternate { first, other } => {
                reply.address(ALTERNATE_SERVER, first);
                if let Some(other) = other {
                    reply.address(ALTERNATE_SERVER, other);
                }
                // The fleet shares realm and nonce keys: the client goes on there without a
                // challenge.
                self.add_challenge(exchange.now, exchange.tuple, &mut reply);
            }
            _ => {}
        }
        self.sign_and_send(exchange, reply);
    }

    fn sign_and_send(&mut self, exchange: &Exchange<'_>, mut reply: Writer) {
        self.add_software(&mut reply);
        let fingerprint = exchange.message.has_fingerprint();
        let bytes = reply.finish(Some(&exchange.caller.key), fingerprint);
        self.send(exchange.tuple, bytes);
    }

    pub(super) fn add_software(&self, reply: &mut Writer) {
        if let Some(software) = &self.config.software {
            reply.attribute(SOFTWARE, software.as_bytes());
        }
    }

    /// What a client needs to sign its next request. Where the nonce says that there are password
    /// algorithms, they must be told with it (RFC 8489 section 9.2.5).
    fn add_challenge(&self, now: Now, tuple: FiveTuple, reply: &mut Writer) {
        let nonce = self.config.nonce_keys.issue(tuple.client, now.unix);
        reply.attribute(REALM, self.config.realm.as_str().as_bytes());
        reply.attribute(NONCE, &nonce);
        reply.attribute(PASSWORD_ALGORITHMS, &Algorithm::OFFER);
    }

    /// Answers a request that is not authentic. 401 and 438 carry realm and nonce, nothing is
    /// signed (RFC 8489 section 9.2.4).
    pub(super) fn challenge(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        message: &Message<'_>,
        challenge: Challenge,
    ) {
        let code = match challenge {
            Challenge::BadRequest => 400,
            Challenge::Unauthorized => 401,
            Challenge::StaleNonce => 438,
        };
        let mut reply = Writer::new(message.method(), Class::Error, &message.transaction());
        reply.error_code(code, "");
        if challenge != Challenge::BadRequest {
            self.add_challenge(now, tuple, &mut reply);
        }
        if self.send_unverified(now, tuple, message, reply) {
            let counter = match challenge {
                Challenge::BadRequest => &mut self.counters.errors_bad_request,
                Challenge::Unauthorized => &mut self.counters.errors_unauthorized,
                Challenge::StaleNonce => &mut self.counters.errors_stale_nonce,
            };
            *counter += 1;
        }
    }

    /// Sends a reply to whoever may have lied about its address: over plain UDP only if it is small,
    /// and only so much. Says whether it did.
    pub(super) fn send_unverified(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        message: &Message<'_>,
        reply: Writer,
    ) -> bool {
        if !self.has_room() {
            self.counters.dropped_queue_full += 1;
            return false;
        }
        let bytes = reply.finish(None, message.has_fingerprint());
        // The others have shown by their handshakes that the address is theirs.
        if tuple.transport == Transport::Udp
            && !self.may_reply(
                now.instant,
                tuple.client,
                message.bytes().len(),
                bytes.len(),
            )
        {
            return false;
        }
        self.send(tuple, bytes);
        true
    }

    /// An allocation was made with the nonce of a challenge: that has reached its client, see
    /// [`crate::source_limit`].
    pub(super) fn settle_challenge(&mut self, exchange: &Exchange<'_>) {
        let (tuple, message) = (exchange.tuple, &exchange.message);
        if tuple.transport != Transport::Udp {
            return;
        }
        let realm = self.config.realm.as_str();
        let values = [4, realm.len(), NONCE_LEN, Algorithm::OFFER.len()];
        let attributes: usize = values.map(|length| 4 + padded(length)).iter().sum();
        let fingerprint = if message.has_fingerprint() { 8 } else { 0 };
        // A client may leave the realm empty; what it gets back is never more than it sent.
        let challenge = (HEADER + attributes + fingerprint).min(message.bytes().len());
        let bytes = headers(tuple.client) + challenge;
        let (limits, now) = (&self.config.limits, exchange.now.instant);
        self.sources.give_back(limits, tuple.client, now, bytes);
    }

    /// Whether a datagram may be answered by another without helping anyone to flood a third party.
    fn may_reply(
        &mut self,
        now: Instant,
        client: SocketAddr,
        request: usize,
        reply: usize,
    ) -> bool {
        let headers = headers(client);
        let (received, sent) = (request + headers, reply + headers);
        if sent > AMPLIFICATION * received {
            self.counters.dropped_amplification += 1;
            return false;
        }
        let limits = &self.config.limits;
        let allowed =
            self.proven.has(client, now) || self.sources.allow(limits, client, now, received, sent);
        self.counters.dropped_unverified_limit += u64::from(!allowed);
        allowed
    }
}

fn headers(client: SocketAddr) -> usize {
    match Family::of(client.ip().to_canonical()) {
        Family::V4 => HEADERS_V4,
        Family::V6 => HEADERS_V6,
    }
}
