//! All TCP relayed sockets of one worker: listeners by the place of their address, links by their own
//! place (for events) and by the name of their connection.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry};
use turnd_core::{AllocationId, ConnectionId, Family, Now, OpenError, Relay};

use super::limits::PAUSE;
use super::sockets;
use super::splice::{Buffers, Pumped, Splice};
use crate::net::descriptors::{Descriptor, Descriptors};
use crate::net::relayed::{place, why};
use crate::net::stream::connection::Joining;
use crate::net::tokens::Source;

/// What a link does.
#[derive(Debug)]
enum Stage {
    /// It connects to the peer.
    Connecting,
    /// It waits for the client. Nothing is read meanwhile, so the kernel bounds what the peer sends.
    Waiting,
    /// Bytes flow.
    Joined(Box<Splice>),
}

/// A connection with a peer.
#[derive(Debug)]
struct Link {
    connection: ConnectionId,
    peer: TcpStream,
    stage: Stage,
    _descriptor: Descriptor,
}

/// A socket that peers connect to.
#[derive(Debug)]
struct Listening {
    id: AllocationId,
    socket: TcpListener,
    _descriptor: Descriptor,
}

/// What an event at a link means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// Nothing to be told.
    Nothing,
    /// It needs another turn.
    More,
    /// The peer has accepted.
    Connected(ConnectionId),
    /// The peer has not; the link is closed.
    Refused(ConnectionId),
    /// Both sides are done; the link is closed.
    Over(ConnectionId),
}

/// The TCP relayed sockets of a worker; the core caps their number.
#[derive(Debug)]
pub struct Links {
    listeners: HashMap<usize, Listening>,
    places: Vec<Option<Link>>,
    free: Vec<usize>,
    names: HashMap<ConnectionId, usize>,
    /// Those whose allocation has used up its bandwidth, and when to try again.
    paused: Vec<usize>,
    resume: Option<Instant>,
    descriptors: Descriptors,
}

impl Links {
    /// No sockets yet.
    pub fn new(descriptors: Descriptors) -> Self {
        Self {
            listeners: HashMap::new(),
            places: Vec::new(),
            free: Vec::new(),
            names: HashMap::new(),
            paused: Vec::new(),
            resume: None,
            descriptors,
        }
    }

    /// Listens on `address` for `id`.
    pub fn listen(
        &mut self,
        registry: &Registry,
        id: AllocationId,
        address: SocketAddr,
    ) -> Result<SocketAddr, OpenError> {
        let descriptor = self.descriptors.take().ok_or(OpenError::Exhausted)?;
        let place = place(id, Family::of(address.ip()));
        let mut socket = sockets::listen(address).map_err(|error| why(&error))?;
        registry
            .register(
                &mut socket,
                Source::RelayedTcp(place).token(),
                Interest::READABLE,
            )
            .map_err(|error| why(&error))?;
        let local = socket.local_addr().map_err(|error| why(&error))?;
        let listening = Listening {
            id,
            socket,
            _descriptor: descriptor,
        };
        self.listeners.insert(place, listening);
        Ok(local)
    }

    /// Stops listening for one family of `id`.
    pub fn unlisten(&mut self, id: AllocationId, family: Family) {
        let place = place(id, family);
        if self.listeners.get(&place).is_some_and(|l| l.id == id) {
            self.listeners.remove(&place);
        }
    }

    /// The next peer that waits at a listener: whose it is, the connection, and who.
    pub fn accept(&self, place: usize) -> io::Result<(AllocationId, TcpStream, SocketAddr)> {
        let listening = self.listeners.get(&place);
        let listening = listening.ok_or(io::ErrorKind::WouldBlock)?;
        let (socket, peer) = listening.socket.accept()?;
        Ok((listening.id, socket, peer))
    }

    /// Keeps a peer's connection until the client comes for it. False: it is reset.
    pub fn keep(&mut self, registry: &Registry, connection: ConnectionId, peer: TcpStream) -> bool {
        sockets::set_up(&peer);
        self.add(registry, connection, peer, Stage::Waiting)
    }

    /// Begins to connect to a peer. False when that fails at once.
    pub fn connect(
        &mut self,
        registry: &Registry,
        connection: ConnectionId,
        from: SocketAddr,
        to: SocketAddr,
    ) -> bool {
        match sockets::connect(from, to) {
            Ok(peer) => self.add(registry, connection, peer, Stage::Connecting),
            Err(error) => {
                tracing::debug!(%error, "a peer was not connected to");
                false
            }
        }
    }

    fn add(
        &mut self,
        registry: &Registry,
        connection: ConnectionId,
        mut peer: TcpStream,
        stage: Stage,
    ) -> bool {
        let place = self.free.last().copied().unwrap_or(self.places.len());
        let both = Interest::READABLE | Interest::WRITABLE;
        let token = Source::Peer(place).token();
        let Some(descriptor) = self.descriptors.take() else {
            sockets::reset(peer);
            return false;
        };
        if registry.register(&mut peer, token, both).is_err() {
            sockets::reset(peer);
            return false;
        }
        if self.free.pop().is_none() {
            self.places.push(None);
        }
        self.places[place] = Some(Link {
            connection,
            peer,
            stage,
            _descriptor: descriptor,
        });
        self.names.insert(connection, place);
        true
    }

    /// Joins a client's connection to a peer's. False when that is gone; then both are.
    pub fn join(
        &mut self,
        registry: &Registry,
        connection: ConnectionId,
        client: Joining,
        (unread, ended): (Vec<u8>, bool),
    ) -> bool {
        let mut splice = Box::new(Splice::new(client, unread, ended));
        let Some(&place) = self.names.get(&connection) else {
            return false;
        };
        let token = Source::Joined(place).token();
        // An event tells of what has come and of room to write, even when it was told before.
        if splice.watch(registry, token).is_err() {
            self.close(connection);
            return false;
        }
        sockets::set_up(splice.client_socket());
        if let Some(link) = self.places.get_mut(place).and_then(Option::as_mut) {
            link.stage = Stage::Joined(splice);
        }
        true
    }

    /// Closes a link, if it is there.
    pub fn close(&mut self, connection: ConnectionId) {
        let Some(place) = self.names.remove(&connection) else {
            return;
        };
        if let Some(link) = self.places.get_mut(place).and_then(Option::take) {
            if let Stage::Joined(mut splice) = link.stage {
                splice.close();
            }
            self.free.push(place);
        }
    }

    /// Serves the link in a place.
    pub fn serve(
        &mut self,
        (relay, now): (&mut Relay, Now),
        place: usize,
        buffers: &mut Buffers<'_>,
    ) -> Served {
        let Some(link) = self.places.get_mut(place).and_then(Option::as_mut) else {
            return Served::Nothing;
        };
        let connection = link.connection;
        match &mut link.stage {
            Stage::Waiting => Served::Nothing,
            Stage::Connecting => {
                let failed = !matches!(link.peer.take_error(), Ok(None));
                if failed {
                    self.close(connection);
                    return Served::Refused(connection);
                }
                if link.peer.peer_addr().is_err() {
                    return Served::Nothing;
                }
                link.stage = Stage::Waiting;
                Served::Connected(connection)
            }
            Stage::Joined(splice) => {
                match splice.pump(&mut link.peer, (relay, now, connection), buffers) {
                    Pumped::Idle => Served::Nothing,
                    Pumped::More => Served::More,
                    Pumped::Paused => {
                        if !self.paused.contains(&place) {
                            self.paused.push(place);
                        }
                        self.resume.get_or_insert(now.instant + PAUSE);
                        Served::Nothing
                    }
                    Pumped::Over => {
                        self.close(connection);
                        Served::Over(connection)
                    }
                }
            }
        }
    }

    /// When those that pause go on.
    pub fn deadline(&self) -> Option<Instant> {
        self.resume
    }

    /// The places of those that have paused for long enough.
    pub fn rested(&mut self, now: Instant) -> Vec<usize> {
        match self.resume.take_if(|at| *at <= now) {
            Some(_) => std::mem::take(&mut self.paused),
            None => Vec::new(),
        }
    }
}
