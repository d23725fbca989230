//! TCP allocations through the relay core: peers that connect, clients that come for them, and clients
//! that came to the wrong worker.

use std::io;
use std::net::SocketAddr;

use turnd_core::{AllocationId, Direction, Family, FiveTuple, Now, OpenError};

use super::engine::Engine;
use super::mail::Moved;
use super::streams::{Left, Scratch};
use crate::net::links::sockets;
use crate::net::links::splice::Buffers;
use crate::net::links::table::Served;
use crate::net::stream::connection::Whither;
use crate::net::stream::counters::End;
use crate::net::stream::limits::ACCEPTS_PER_TURN;
use crate::net::tokens::Source;

impl Engine {
    /// Opens a relayed socket that listens.
    pub(super) fn listen_relay(&mut self, now: Now, id: AllocationId, address: SocketAddr) {
        let opened = self.links.listen(self.poll.registry(), id, address);
        if opened == Err(OpenError::Exhausted) {
            self.stats.exhausted += 1;
        }
        let family = Family::of(address.ip());
        self.relay.socket_opened(now, id, family, opened);
    }

    /// Accepts the peers that wait at a relayed address.
    pub(super) fn accept_peers(&mut self, now: Now, place: usize) -> Left {
        for _ in 0..ACCEPTS_PER_TURN {
            let (id, socket, peer) = match self.links.accept(place) {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Left::Nothing,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // The next peer that connects is the next event.
                    tracing::debug!(%error, "accept failed");
                    self.stats.receive_errors += 1;
                    return Left::Nothing;
                }
            };
            match self.relay.peer_incoming(now, id, peer) {
                None => sockets::reset(socket),
                Some(connection) => {
                    if !self.links.keep(self.poll.registry(), connection, socket) {
                        self.stats.exhausted += 1;
                        self.relay.connection_gone(now, connection);
                    }
                }
            }
            self.act(now);
        }
        Left::Perhaps
    }

    /// Serves a connection with a peer.
    pub(super) fn serve_link(&mut self, now: Now, place: usize, scratch: &mut Scratch) -> Left {
        let Scratch { wire, plain } = scratch;
        let mut buffers = Buffers { wire, plain };
        let served = self
            .links
            .serve((&mut self.relay, now), place, &mut buffers);
        match served {
            Served::Nothing => {}
            Served::More => return Left::Perhaps,
            Served::Connected(connection) => self.relay.peer_connected(now, connection),
            Served::Refused(connection) => self.relay.peer_connect_failed(now, connection),
            Served::Over(connection) => self.relay.connection_gone(now, connection),
        }
        // The core may have judged the allocation anew.
        self.act(now);
        Left::Nothing
    }

    /// The links that have paused for long enough.
    pub(super) fn rested_links(&mut self, now: Now) -> impl Iterator<Item = mio::Token> + use<> {
        let rested = self.links.rested(now.instant);
        rested
            .into_iter()
            .map(|place| Source::Joined(place).token())
    }

    /// Takes a client's connection to where its latest message said. What was to be sent to it goes
    /// along.
    pub(super) fn part(&mut self, now: Now, place: usize) {
        let registry = self.poll.registry();
        let Some((connection, leaving)) = self.streams.part(place) else {
            return;
        };
        match leaving.to {
            Whither::Peer(id) => {
                let count = leaving.unread.len();
                self.relay.flowed(id, Direction::ToPeer, count);
                let rest = (leaving.unread, leaving.ended);
                if !self.links.join(registry, id, connection.join(), rest) {
                    self.relay.connection_gone(now, id);
                    self.act(now);
                }
            }
            Whither::Worker(worker, mut bytes) => {
                let mut connection = connection;
                if connection.unwatch(registry).is_err() {
                    return;
                }
                bytes.extend(leaving.unread);
                self.mail.move_client(
                    worker.into(),
                    Moved {
                        connection,
                        bytes,
                        ended: leaving.ended,
                    },
                );
            }
        }
    }

    /// Takes over a client's connection from another worker.
    pub(super) fn adopt(&mut self, now: Now, moved: Moved) {
        let Moved {
            connection,
            bytes,
            ended,
        } = moved;
        let registry = self.poll.registry();
        let Some(place) = self.streams.adopt(registry, connection) else {
            return;
        };
        if self.streams.take_replaced() {
            self.flush();
            self.end_streams(now);
        }
        let taken = self.take_messages(now, place, &bytes);
        let end = taken.err().or_else(|| ended.then_some(End::Client));
        self.conclude(now, place, end);
    }

    /// After bytes of a connection were dealt with: it may end, or go somewhere else. False if it is no
    /// longer there to be read.
    pub(super) fn conclude(&mut self, now: Now, place: usize, end: Option<End>) -> bool {
        let leaving = self
            .streams
            .get_mut(place)
            .and_then(|connection| connection.leaving.as_mut());
        match (leaving, end) {
            (Some(leaving), end) if end.is_none_or(|end| end == End::Client) => {
                leaving.ended |= end.is_some();
                self.part(now, place);
                false
            }
            (_, Some(end)) => {
                self.streams.doom(place, end);
                false
            }
            (_, None) => true,
        }
    }

    /// Notes where a client's connection goes, once what has come on it is dealt with.
    pub(super) fn send_away(&mut self, now: Now, tuple: &FiveTuple, to: Whither) {
        let joined = match &to {
            Whither::Peer(connection) => Some(*connection),
            Whither::Worker(..) => None,
        };
        if !self.streams.leave(tuple, to)
            && let Some(connection) = joined
        {
            self.links.close(connection);
            self.relay.connection_gone(now, connection);
        }
    }
}
