//! DTLS clients through the relay core: datagrams in, their messages to the core, records out.

use std::time::Instant;

use quinn_udp::EcnCodepoint;
use turnd_core::{FiveTuple, Now, Transport};

use super::engine::{Engine, Sockets};
use super::listeners::Listening;
use crate::net::dtls::session::Out;
use crate::net::outbox::{Exit, Outbox};
use crate::net::udp::Envelope;

/// The messages of one datagram, one behind the other: each record holds one.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Messages {
    fn push(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = starts.zip(self.ends.iter().copied());
        ranges.filter_map(|(start, end)| self.bytes.get(start..end))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

impl Engine {
    /// A datagram of a client that is DTLS by its first byte; `tuple` as it would be over UDP.
    pub(super) fn take_dtls(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        datagram: &[u8],
        ecn: Option<EcnCodepoint>,
    ) {
        let tuple = FiveTuple {
            transport: Transport::Dtls,
            ..tuple
        };
        let mut messages = std::mem::take(&mut self.messages);
        let (outbox, sockets) = (&mut self.outbox, &self.sockets);
        self.dtls
            .receive(now.instant, tuple, datagram, &mut |out| match out {
                Out::Datagram(bytes) => push(outbox, sockets, &tuple, bytes, None),
                Out::Message(bytes) => messages.push(bytes),
            });
        for message in messages.iter() {
            self.give(now, tuple, message, ecn);
        }
        messages.clear();
        self.messages = messages;
        self.end_dtls(now);
    }

    /// Sends a message to a DTLS client.
    pub(super) fn send_dtls(
        &mut self,
        tuple: &FiveTuple,
        message: &[u8],
        ecn: Option<EcnCodepoint>,
    ) {
        let (outbox, sockets) = (&mut self.outbox, &self.sockets);
        self.dtls.send(tuple, message, &mut |out| {
            if let Out::Datagram(bytes) = out {
                push(outbox, sockets, tuple, bytes, ecn);
            }
        });
    }

    /// Lets the sessions do what is due.
    pub(super) fn judge_dtls(&mut self, now: Now) {
        let (outbox, sockets, relay) = (&mut self.outbox, &self.sockets, &self.relay);
        let mut out = |tuple: &FiveTuple, out: Out<'_>| {
            if let Out::Datagram(bytes) = out {
                push(outbox, sockets, tuple, bytes, None);
            }
        };
        let serves = |tuple: &FiveTuple| relay.serves(tuple);
        while self.dtls.pass_time(now.instant, serves, &mut out) {}
        self.end_dtls(now);
    }

    /// Ends the sessions that came to a listener which is closed next.
    pub(super) fn leave_dtls(&mut self, now: Now, at: Listening) {
        let (outbox, sockets) = (&mut self.outbox, &self.sockets);
        self.dtls
            .leave(|tuple| at.serves(tuple), &mut |tuple, out| {
                if let Out::Datagram(bytes) = out {
                    push(outbox, sockets, tuple, bytes, None);
                }
            });
        self.end_dtls(now);
    }

    /// When the sessions want [`Engine::judge_dtls`].
    pub(super) fn dtls_timeout(&self) -> Option<Instant> {
        self.dtls.deadline()
    }

    /// Ends the allocations of sessions that have ended.
    fn end_dtls(&mut self, now: Now) {
        while let Some(tuple) = self.dtls.ended() {
            self.relay.client_gone(now, &tuple);
            self.act(now);
        }
    }
}

/// Gathers a datagram to a client.
fn push(
    outbox: &mut Outbox,
    sockets: &Sockets,
    tuple: &FiveTuple,
    bytes: &[u8],
    ecn: Option<EcnCodepoint>,
) {
    let Some((listener, udp)) = sockets.listeners.udp_of(tuple.server) else {
        return;
    };
    let envelope = Envelope {
        to: tuple.client,
        from: udp.source(tuple.server),
        ecn,
        dont_fragment: false,
    };
    let exit = |exit| sockets.exit(exit);
    outbox.push(exit, Exit::Listener(listener), envelope, bytes);
}
