//! Connections of clients through the relay core: what arrives on them, and how they end.

use std::io;
use std::time::{Duration, Instant};

use mio::Token;
use turnd_core::{Now, Transport};

use super::engine::Engine;
use crate::net::stream::connection::Received;
use crate::net::stream::counters::End;
use crate::net::stream::frame::Broken;
use crate::net::stream::limits::{ACCEPTS_PER_TURN, READ, READS_PER_TURN, STRANGERS_MESSAGE};
use crate::net::tokens::Source;

/// A message is never longer than its length field says; ChannelData with the longest is.
const LONGEST: usize = 68 << 10;

/// After an accept that failed for want of something, which no event tells of when it is there.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Where what arrives is read to; one for all connections of a worker.
#[derive(Debug)]
pub(super) struct Scratch {
    /// As it came.
    pub(super) wire: Box<[u8]>,
    /// What was under TLS.
    pub(super) plain: Box<[u8]>,
}

impl Default for Scratch {
    fn default() -> Self {
        let buffer = || vec![0; READ].into_boxed_slice();
        Self {
            wire: buffer(),
            plain: buffer(),
        }
    }
}

/// Whether a source may have more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It had its budget.
    Perhaps,
    /// Nothing until its next event.
    Nothing,
}

impl Engine {
    /// Accepts what waits at the TCP listener in this place.
    pub(super) fn accept(&mut self, now: Instant, place: usize) -> Left {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.sockets.listeners.tcp(place) else {
                return Left::Nothing;
            };
            match listener.accept() {
                Ok((socket, client, server)) => {
                    let registry = self.poll.registry();
                    self.streams.add(registry, socket, client, server, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Left::Nothing,
                // The client has gone while it waited.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "accept failed");
                    self.streams.accept_failed();
                    self.accept_again = Some(now + ACCEPT_AGAIN);
                    return Left::Nothing;
                }
            }
        }
        Left::Perhaps
    }

    /// Notes that nothing comes on a connection behind what has arrived.
    pub(super) fn note_end(&mut self, token: Token) {
        if let Source::Stream(place) = Source::of(token) {
            self.streams.note_end(place);
        }
    }

    /// Serves one connection: what waits to be sent goes first, then it is read.
    pub(super) fn serve_stream(&mut self, now: Now, place: usize, scratch: &mut Scratch) -> Left {
        self.streams.resume(place);
        for _ in 0..READS_PER_TURN {
            let Some(connection) = self.streams.get_mut(place) else {
                return Left::Nothing;
            };
            match connection.receive(&mut scratch.wire) {
                Received::Bytes(count) => {
                    // The next event tells of more.
                    let drained = count < READ && !connection.is_ending();
                    let Scratch { wire, plain } = scratch;
                    let bytes = wire.get(..count).unwrap_or_default();
                    let end = self.take_bytes(now, place, bytes, plain).err();
                    if !self.conclude(now, place, end) || drained {
                        return Left::Nothing;
                    }
                }
                Received::Nothing => return Left::Nothing,
                Received::End(end) => {
                    self.streams.doom(place, end);
                    return Left::Nothing;
                }
            }
        }
        Left::Perhaps
    }

    /// Takes what has come on the wire through the layers of its connection.
    fn take_bytes(
        &mut self,
        now: Now,
        place: usize,
        mut bytes: &[u8],
        plain: &mut [u8],
    ) -> Result<(), End> {
        let transport = self.streams.begin(place, &mut bytes)?;
        if self.streams.take_replaced() {
            // Or the core would take the new client for the old one.
            self.flush();
            self.end_streams(now);
        }
        match transport {
            None => Ok(()),
            Some(Transport::Tls) => {
                while let Some(count) = self.streams.open(place, &mut bytes, plain)? {
                    self.take_messages(now, place, plain.get(..count).unwrap_or_default())?;
                }
                Ok(())
            }
            Some(_) => self.take_messages(now, place, bytes),
        }
    }

    /// Gives the core each message that `bytes`, the next of the stream, make whole.
    pub(super) fn take_messages(
        &mut self,
        now: Now,
        place: usize,
        mut bytes: &[u8],
    ) -> Result<(), End> {
        let Some(connection) = self.streams.get_mut(place) else {
            return Ok(());
        };
        let tuple = connection.tuple;
        let mut assembler = std::mem::take(&mut connection.assembler);
        loop {
            let Some(connection) = self.streams.get_mut(place) else {
                return Ok(());
            };
            // From here on they are for somebody else.
            if let Some(leaving) = &mut connection.leaving {
                leaving.unread.extend_from_slice(bytes);
                return Ok(());
            }
            let longest = if connection.is_stranger() {
                STRANGERS_MESSAGE
            } else {
                LONGEST
            };
            let next = assembler.next(&mut bytes, longest);
            let Some(message) = next.map_err(broken)? else {
                connection.assembler = assembler;
                return Ok(());
            };
            connection.heard(now.instant);
            self.stats.received += 1;
            self.give(now, tuple, message, None);
            let relay = &self.relay;
            self.streams.settle(place, |tuple| relay.serves(tuple));
        }
    }

    /// Looks at the connections whose deadlines have come.
    pub(super) fn judge_streams(&mut self, now: Instant) {
        let relay = &self.relay;
        while self.streams.look(now, |tuple| relay.serves(tuple)) {}
    }

    /// Closes the connections that have to end, and ends their allocations.
    pub(super) fn end_streams(&mut self, now: Now) {
        while let Some(tuple) = self.streams.doomed() {
            self.relay.client_gone(now, &tuple);
            self.act(now);
        }
    }

    /// When the streams want [`Engine::judge_streams`], another try to accept, or a paused link to go
    /// on.
    pub(super) fn streams_timeout(&self) -> Option<Instant> {
        let deadline = self.streams.deadline();
        let links = self.links.deadline();
        let accept = self.accept_again.into_iter();
        deadline.into_iter().chain(accept).chain(links).min()
    }
}

fn broken(broken: Broken) -> End {
    match broken {
        Broken::Garbage => End::Garbage,
        Broken::TooLong => End::TooLong,
    }
}
