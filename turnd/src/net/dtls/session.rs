//! One client's session, from the hello with the right cookie to its end.

use std::time::Instant;

use dimpl::{Dtls, Error, Output, SecurityError};

use super::cookie::Cookie;
use super::counters::End;
use super::hello::{Hello, first_hello};
use super::identity::{Identity, admitting};
use super::limits::{HANDSHAKE, IDLE, MESSAGE};
use crate::net::stream::caps::Permit;

/// What comes out of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out<'a> {
    /// A datagram to send to the client.
    Datagram(&'a [u8]),
    /// A message of the client: one record's content.
    Message(&'a [u8]),
}

/// Where records are put together and taken apart; one for all sessions of a worker.
#[derive(Debug)]
pub struct Workbench(Box<[u8]>);

impl Default for Workbench {
    fn default() -> Self {
        // The longest message, and what a record adds to it.
        Self(vec![0; MESSAGE + 2048].into_boxed_slice())
    }
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    dtls: Dtls,
    cookie: Cookie,
    random: [u8; 32],
    begun: Instant,
    heard: Instant,
    /// When the library wants to be called.
    timer: Instant,
    established: bool,
    closed: bool,
    _permit: Permit,
}

impl Session {
    /// Begins the session of a client whose `cookie` is verified. The datagram with its hello is
    /// still to be received.
    pub(super) fn begin(
        now: Instant,
        identity: &Identity,
        hello: &Hello<'_>,
        cookie: Cookie,
        permit: Permit,
        bench: &mut Workbench,
    ) -> Result<Self, Error> {
        let (config, certificate) = (identity.config.clone(), identity.certificate.clone());
        let mut session = Self {
            dtls: Dtls::new_12(config, certificate, now),
            cookie,
            random: *hello.random,
            begun: now,
            heard: now,
            timer: now + HANDSHAKE,
            established: false,
            closed: false,
            _permit: permit,
        };
        session.dtls.handle_timeout(now)?;
        // The client has had its answer already: the library's goes nowhere.
        admitting(cookie, || session.dtls.handle_packet(&first_hello()))?;
        session.drain(bench, &mut |_| {});
        Ok(session)
    }

    /// Whether it began with this hello.
    pub(super) fn began_with(&self, hello: &Hello<'_>) -> bool {
        self.random == *hello.random
    }

    pub(super) fn is_established(&self) -> bool {
        self.established
    }

    /// Takes a datagram of the client. Errors of what anybody could have sent change nothing.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        datagram: &[u8],
        bench: &mut Workbench,
        out: &mut dyn FnMut(Out<'_>),
    ) -> Result<(), Received> {
        self.dtls.handle_timeout(now).map_err(ended)?;
        let taken = if self.established {
            self.dtls.handle_packet(datagram)
        } else {
            admitting(self.cookie, || self.dtls.handle_packet(datagram))
        };
        self.drain(bench, out);
        match taken {
            Ok(()) => self.heard = now,
            // Of an established session only what is authentic is taken for an alert.
            Err(Error::SecurityError(SecurityError::FatalAlert { .. })) if self.established => {
                return Err(Received::End(End::Alert));
            }
            Err(_) => return Err(Received::Invalid),
        }
        if self.closed || self.dtls.is_closed() {
            return Err(Received::End(End::Client));
        }
        Ok(())
    }

    /// Sends one message. False when it cannot be sent.
    pub(super) fn send(
        &mut self,
        message: &[u8],
        bench: &mut Workbench,
        out: &mut dyn FnMut(Out<'_>),
    ) -> bool {
        let fits = (1..=MESSAGE).contains(&message.len()) && self.established;
        let taken = fits && self.dtls.send_application_data(message).is_ok();
        self.drain(bench, out);
        taken
    }

    /// Does what is due. `serves`: whether the client has an allocation.
    pub(super) fn pass_time(
        &mut self,
        now: Instant,
        serves: bool,
        bench: &mut Workbench,
        out: &mut dyn FnMut(Out<'_>),
    ) -> Result<(), End> {
        if !self.established && now >= self.begun + HANDSHAKE {
            return Err(End::Handshake);
        }
        if self.established && !serves && now >= self.heard + IDLE {
            return Err(End::Idle);
        }
        let timed = self.dtls.handle_timeout(now);
        self.drain(bench, out);
        timed.map_err(|_| End::Handshake)
    }

    /// When [`Self::pass_time`] wants to be called, at the latest.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        let own = if self.established {
            // With an allocation it is looked at again.
            Some(self.heard + IDLE)
                .filter(|at| *at > now)
                .unwrap_or(now + IDLE)
        } else {
            self.begun + HANDSHAKE
        };
        self.timer.min(own)
    }

    /// Says to the client that it is over.
    pub(super) fn close(&mut self, bench: &mut Workbench, out: &mut dyn FnMut(Out<'_>)) {
        // Nothing is said, or it is said once: there is no other outcome.
        let _ = self.dtls.close();
        self.drain(bench, out);
    }

    fn drain(&mut self, bench: &mut Workbench, out: &mut dyn FnMut(Out<'_>)) {
        loop {
            match self.dtls.poll_output(&mut bench.0) {
                Output::Packet(bytes) => out(Out::Datagram(bytes)),
                Output::ApplicationData(bytes) => out(Out::Message(bytes)),
                Output::Connected => self.established = true,
                Output::CloseNotify => self.closed = true,
                Output::Timeout(at) => return self.timer = at,
                // The bench holds the longest record.
                Output::BufferTooSmall { .. } => return self.closed = true,
                _ => {}
            }
        }
    }
}

/// What came of a datagram that was not simply taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// It was no valid part of the session.
    Invalid,
    /// The session is over.
    End(End),
}

fn ended(_: Error) -> Received {
    Received::End(End::Failed)
}
