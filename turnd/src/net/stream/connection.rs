//! One connection of a client: its socket, its layers, the message that is arriving, the bytes that wait to leave.

use std::io::{self, Read as _};
use std::time::Instant;

use mio::Registry;
use mio::net::TcpStream;
use turnd_core::{ConnectionId, FiveTuple};

use super::caps::Permit;
use super::counters::End;
use super::frame::Assembler;
use super::layer::{Layer, Tls};
use super::limits::{HANDSHAKE, IDLE};
use super::output::{Kind, Output, Pushed, Spares};
use crate::net::descriptors::Descriptor;

/// A connection, for as long as it is open.
#[derive(Debug)]
pub struct Connection {
    /// Whose it is.
    pub tuple: FiveTuple,
    /// Finds its messages.
    pub assembler: Assembler,
    /// It carries no more messages here; what comes is kept to go along.
    pub leaving: Option<Box<Leaving>>,
    pub(super) layer: Layer,
    pub(super) socket: TcpStream,
    pub(super) permit: Permit,
    /// Its place in the order of acceptance.
    pub(super) number: u64,
    /// When it has to be looked at; see [`Connection::judge`].
    pub(super) deadline: Instant,
    /// Its client has no allocation, or none that was noticed yet.
    pub(super) stranger: bool,
    /// It stands in the list of those that have something to send.
    pub(super) listed: bool,
    /// It has to end, for this reason.
    pub(super) doom: Option<End>,
    /// Behind what has arrived comes its end.
    pub(super) ending: bool,
    output: Output,
    /// When its latest whole message came.
    heard: Option<Instant>,
    descriptor: Descriptor,
}

/// Where a connection goes from here.
#[derive(Debug)]
pub enum Whither {
    /// It is joined to a connection with a peer.
    Peer(ConnectionId),
    /// To another worker, which answers this message.
    Worker(u16, Vec<u8>),
}

/// A connection that goes elsewhere.
#[derive(Debug)]
pub struct Leaving {
    /// Where to.
    pub to: Whither,
    /// What came behind its latest message; no more than one read brings.
    pub unread: Vec<u8>,
    /// The client will send nothing more.
    pub ended: bool,
}

/// What remains of a client's connection that carries no more messages.
#[derive(Debug)]
pub struct Joining {
    /// Its socket.
    pub socket: TcpStream,
    /// What its bytes are under.
    pub tls: Option<Box<Tls>>,
    /// What is still to be sent.
    pub unsent: Vec<u8>,
    _permit: Permit,
    _descriptor: Descriptor,
}

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// So many bytes.
    Bytes(usize),
    /// Nothing more for now.
    Nothing,
    /// It is over.
    End(End),
}

impl Connection {
    /// A connection just accepted.
    pub fn new(
        socket: TcpStream,
        tuple: FiveTuple,
        layer: Layer,
        permit: Permit,
        descriptor: Descriptor,
        number: u64,
        now: Instant,
    ) -> Self {
        Self {
            tuple,
            assembler: Assembler::default(),
            leaving: None,
            layer,
            socket,
            permit,
            number,
            deadline: now + HANDSHAKE,
            stranger: true,
            listed: false,
            doom: None,
            ending: false,
            output: Output::default(),
            heard: None,
            descriptor,
        }
    }

    /// Whether its client has no allocation.
    pub fn is_stranger(&self) -> bool {
        self.stranger
    }

    /// Whether its end has been told of already, so that no other event does.
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    /// Reads what has arrived. Nothing, as long as the client does not read what it is owed.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Received {
        if self.output.is_pressed() || self.doom.is_some() {
            return Received::Nothing;
        }
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return Received::End(End::Client),
                Ok(count) => return Received::Bytes(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Received::Nothing;
                }
                Err(_) => return Received::End(End::Failed),
            }
        }
    }

    /// Keeps only what carries bytes.
    pub fn join(self) -> Joining {
        let tls = match self.layer {
            Layer::Tls(tls) => Some(tls),
            Layer::Proxied(_) | Layer::Unknown | Layer::Plain => None,
        };
        Joining {
            socket: self.socket,
            tls,
            unsent: self.output.into_waiting(),
            _permit: self.permit,
            _descriptor: self.descriptor,
        }
    }

    /// Its events are no longer this worker's.
    pub fn unwatch(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut self.socket)
    }

    /// A whole message has come.
    pub fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// Adds a message to what waits to be sent.
    pub(super) fn push(&mut self, bytes: &[u8], kind: Kind, spares: &mut Spares) -> Pushed {
        self.output.borrow(spares);
        self.output.push(bytes, kind, self.stranger)
    }

    /// Hands what waits to the kernel.
    pub(super) fn write(&mut self) {
        let written = match &mut self.layer {
            Layer::Tls(tls) => self.output.write(&mut tls.over(&mut self.socket)),
            Layer::Proxied(_) | Layer::Unknown | Layer::Plain => {
                self.output.write(&mut self.socket)
            }
        };
        if written.is_err() {
            self.doom.get_or_insert(End::Failed);
        }
    }

    /// The same, when nothing more is added soon.
    pub(super) fn flush(&mut self, spares: &mut Spares) {
        self.write();
        self.output.give_back(spares);
    }

    /// Says goodbye, where the transport has a word for it.
    pub(super) fn close(&mut self) {
        if let Layer::Tls(tls) = &mut self.layer {
            tls.close();
            self.write();
        }
    }

    /// Whether the kernel took not all of what was to be sent.
    pub(super) fn is_blocked(&self) -> bool {
        self.output.is_blocked()
    }

    /// At its deadline: why it ends, or when to look again.
    pub(super) fn judge(&self, now: Instant, has_allocation: bool) -> Result<Instant, End> {
        judge(self.heard, now, has_allocation)
    }
}

/// A byte now and then prolongs nothing, only whole messages do.
fn judge(heard: Option<Instant>, now: Instant, has_allocation: bool) -> Result<Instant, End> {
    if has_allocation {
        return Ok(now + IDLE);
    }
    let until = heard.ok_or(End::Handshake)? + IDLE;
    if until <= now {
        Err(End::Idle)
    } else {
        Ok(until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn messages_and_allocations_keep_a_connection_and_nothing_else() {
        let now = crate::clock::instant();
        let second = Duration::from_secs(1);
        assert_eq!(judge(None, now, false), Err(End::Handshake));
        let heard = Some(now);
        assert_eq!(judge(heard, now + second, false), Ok(now + IDLE));
        assert_eq!(judge(heard, now + IDLE, false), Err(End::Idle));
        let later = now + 10 * IDLE;
        assert_eq!(judge(heard, later, true), Ok(later + IDLE));
        assert_eq!(judge(heard, later + IDLE, false), Err(End::Idle));
    }
}
