//! Moves bytes between a client's connection and a peer's, in both directions, no faster than either
//! takes them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;
use mio::{Registry, Token};
use turnd_core::{ConnectionId, Direction, Now, Relay};

use super::half::Half;
use super::limits::ROUNDS;
use crate::net::stream::connection::Joining;
use crate::net::stream::counters::End;

/// Where what arrives is read to.
#[derive(Debug)]
pub struct Buffers<'a> {
    /// As it came.
    pub wire: &'a mut [u8],
    /// What was under TLS.
    pub plain: &'a mut [u8],
}

/// How far a turn of a link came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pumped {
    /// Nothing more until the next event.
    Idle,
    /// It had its budget.
    More,
    /// The allocation's bandwidth is used up.
    Paused,
    /// Both directions are over.
    Over,
}

/// A client's connection joined to a peer's.
#[derive(Debug)]
pub struct Splice {
    client: Joining,
    /// TLS has said that nothing more comes.
    said_goodbye: bool,
    to_peer: Half,
    to_client: Half,
}

impl Splice {
    /// Joins a client's connection: `unread` came on it behind its last message, and perhaps its end.
    pub fn new(mut client: Joining, unread: Vec<u8>, ended: bool) -> Self {
        let unsent = std::mem::take(&mut client.unsent);
        Self {
            client,
            said_goodbye: false,
            to_peer: Half::new(unread, ended),
            to_client: Half::new(unsent, false),
        }
    }

    /// Watches the client's socket under another token.
    pub fn watch(&mut self, registry: &Registry, token: Token) -> std::io::Result<()> {
        let both = mio::Interest::READABLE | mio::Interest::WRITABLE;
        registry.reregister(&mut self.client.socket, token, both)
    }

    /// The client's socket.
    pub fn client_socket(&self) -> &TcpStream {
        &self.client.socket
    }

    /// Says goodbye to the client, where its transport has a word for it.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.client.tls {
            tls.close();
            let _ = tls.raw(&mut self.client.socket).flush();
        }
    }

    /// Moves what can be moved.
    pub fn pump(
        &mut self,
        peer: &mut TcpStream,
        (relay, now, connection): (&mut Relay, Now, ConnectionId),
        buffers: &mut Buffers<'_>,
    ) -> Pumped {
        for _ in 0..ROUNDS {
            let mut moved = self.write(peer);
            if self.to_peer.is_shut() && self.to_client.is_shut() {
                return Pumped::Over;
            }
            for direction in [Direction::ToClient, Direction::ToPeer] {
                let wants = match direction {
                    Direction::ToClient => self.to_client.wants(),
                    Direction::ToPeer => self.to_peer.wants(),
                };
                if !wants {
                    continue;
                }
                let most = relay.allowance(now, connection);
                if most == 0 {
                    return Pumped::Paused;
                }
                let read = match direction {
                    Direction::ToClient => self.read_peer(peer, most, buffers),
                    Direction::ToPeer => self.read_client(most, buffers),
                };
                relay.flowed(connection, direction, read.unwrap_or_default());
                moved |= read.is_some();
            }
            if !moved {
                return Pumped::Idle;
            }
        }
        Pumped::More
    }

    /// Writes to both sides, and tells them when nothing more comes.
    fn write(&mut self, peer: &mut TcpStream) -> bool {
        let mut moved = self.to_peer.write(peer);
        if self.to_peer.is_drained() {
            // One that has gone meanwhile shows by the next read.
            let _ = peer.shutdown(Shutdown::Write);
            self.to_peer.shut();
            moved = true;
        }
        let socket = &mut self.client.socket;
        let Some(tls) = &mut self.client.tls else {
            moved |= self.to_client.write(socket);
            if self.to_client.is_drained() {
                let _ = socket.shutdown(Shutdown::Write);
                self.to_client.shut();
                moved = true;
            }
            return moved;
        };
        moved |= self.to_client.write(&mut tls.raw(socket));
        if self.to_client.is_drained() {
            if !std::mem::replace(&mut self.said_goodbye, true) {
                tls.close();
            }
            let blocked = |error: std::io::Error| error.kind() == ErrorKind::WouldBlock;
            if !tls.raw(socket).flush().is_err_and(blocked) {
                let _ = socket.shutdown(Shutdown::Write);
                self.to_client.shut();
                moved = true;
            }
        }
        moved
    }

    /// Reads from the peer; `None` when there is nothing. Its end is something, too.
    fn read_peer(
        &mut self,
        peer: &mut TcpStream,
        most: usize,
        buffers: &mut Buffers<'_>,
    ) -> Option<usize> {
        let count = read(
            peer,
            (&mut self.to_client, &mut self.to_peer),
            most,
            buffers.wire,
        )?;
        self.to_client
            .push(buffers.wire.get(..count).unwrap_or_default());
        Some(count)
    }

    fn read_client(&mut self, most: usize, buffers: &mut Buffers<'_>) -> Option<usize> {
        let socket = &mut self.client.socket;
        let count = read(
            socket,
            (&mut self.to_peer, &mut self.to_client),
            most,
            buffers.wire,
        )?;
        let mut wire = buffers.wire.get(..count).unwrap_or_default();
        let Some(tls) = &mut self.client.tls else {
            self.to_peer.push(wire);
            return Some(count);
        };
        let mut total = 0;
        loop {
            match tls.open(&mut wire, buffers.plain) {
                Ok(Some(count)) => {
                    total += count;
                    self.to_peer
                        .push(buffers.plain.get(..count).unwrap_or_default());
                }
                Ok(None) => return Some(total),
                // The client is done; or what it sends is no TLS any more, and it is as good as gone.
                Err(end) => {
                    self.to_peer.end();
                    if end != End::Client {
                        self.to_client.end();
                    }
                    return Some(total);
                }
            }
        }
    }
}

/// One read from the source of a direction. `None` when there is nothing; its end counts as no bytes.
/// A source that is gone takes nothing from the other direction, either.
fn read(
    source: &mut TcpStream,
    (from, to): (&mut Half, &mut Half),
    most: usize,
    wire: &mut [u8],
) -> Option<usize> {
    let most = most.min(wire.len());
    loop {
        match source.read(wire.get_mut(..most).unwrap_or_default()) {
            Ok(0) => {
                from.end();
                return Some(0);
            }
            Ok(count) => return Some(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(_) => {
                from.end();
                to.fail();
                return Some(0);
            }
        }
    }
}
