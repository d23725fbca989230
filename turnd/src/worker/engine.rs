//! One worker's packets: from its sockets through the relay core and out again.

use std::sync::Arc;
use std::time::Instant;

use mio::{Poll, Token};
use quinn_udp::RecvMeta;
use turnd_core::{
    Action, AllocationId, Family, FiveTuple, Headroom, Now, OpenError, Relay, TAILROOM, Transport,
    Verdict,
};

use super::Worker;
use super::dtls::Messages;
use super::listeners::{Listener, Listeners, Listening};
use super::mail::{Delivered, Letterbox, Mail};
use super::shared::Stats;
use crate::net::batch::datagrams;
use crate::net::dtls::is_dtls;
use crate::net::dtls::table::Sessions;
use crate::net::errors;
use crate::net::links::table::Links;
use crate::net::outbox::{Exit, Outbox};
use crate::net::relayed::{RelayedSockets, place};
use crate::net::stream::connection::Whither;
use crate::net::stream::output::Kind;
use crate::net::stream::table::Streams;
use crate::net::tokens::Source;
use crate::net::udp::{Envelope, Udp};

/// Where a datagram came in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry {
    /// On the UDP listener in this place: from a client.
    Client(usize),
    /// On a relayed socket of this allocation: from a peer.
    Peer(AllocationId),
}

/// The relay core of a worker and the sockets it acts on.
pub(super) struct Engine {
    pub(super) poll: Poll,
    pub(super) relay: Relay,
    pub(super) sockets: Sockets,
    pub(super) outbox: Outbox,
    pub(super) links: Links,
    pub(super) streams: Streams,
    pub(super) dtls: Sessions,
    /// What a datagram of a DTLS client holds, while it is handled.
    pub(super) messages: Messages,
    /// When to try again to accept connections.
    pub(super) accept_again: Option<Instant>,
    pub(super) stats: Stats,
    pub(super) mail: Mail,
}

/// The sockets of a worker.
pub(super) struct Sockets {
    pub(super) listeners: Listeners,
    relayed: RelayedSockets,
}

impl Sockets {
    pub(super) fn exit(&self, exit: Exit) -> Option<&Udp> {
        match exit {
            Exit::Listener(place) => self.listeners.udp(place),
            Exit::Relayed(place) => self.relayed.get(place).map(|relayed| &relayed.udp),
        }
    }
}

impl Engine {
    /// The engine of the worker with this index among these.
    pub(super) fn new(
        worker: Worker,
        relay: Relay,
        (index, letterboxes): (usize, Arc<[Letterbox]>),
    ) -> Self {
        Self {
            mail: Mail::new(index, letterboxes, worker.parcels),
            poll: worker.poll,
            relay,
            sockets: Sockets {
                listeners: worker.listeners,
                relayed: worker.relayed,
            },
            outbox: Outbox::default(),
            links: worker.links,
            streams: worker.streams,
            dtls: worker.dtls,
            messages: Messages::default(),
            accept_again: None,
            stats: Stats::default(),
        }
    }

    /// The socket that an event token belongs to.
    pub(super) fn entry(&self, token: Token) -> Option<(Entry, &Udp)> {
        match Source::of(token) {
            Source::Waker
            | Source::Tcp(_)
            | Source::Stream(_)
            | Source::RelayedTcp(_)
            | Source::Peer(_)
            | Source::Joined(_) => None,
            Source::Udp(place) => Some((Entry::Client(place), self.sockets.listeners.udp(place)?)),
            Source::Relayed(place) => {
                let relayed = self.sockets.relayed.get(place)?;
                Some((Entry::Peer(relayed.id), &relayed.udp))
            }
        }
    }

    /// All counters as they are now.
    pub(super) fn stats(&self) -> Stats {
        Stats {
            relay: self.relay.counters().clone(),
            sessions: self.relay.sessions(),
            sends: self.outbox.counters(),
            handover_dropped: self.mail.dropped(),
            streams: self.streams.counters(),
            dtls: self.dtls.counters(),
            ..self.stats.clone()
        }
    }

    /// Takes clients on one more listener.
    pub(super) fn listen(&mut self, listener: Listener) {
        let added = self.sockets.listeners.add(self.poll.registry(), listener);
        if let Err(error) = added {
            // Never seen with a socket just opened; nobody is served on this one.
            tracing::error!(%error, "a listener is not watched");
        }
    }

    /// Closes a listener, and ends the allocations of the clients that came to it. What was
    /// gathered for them leaves first.
    pub(super) fn leave(&mut self, now: Now, at: Listening) {
        self.flush();
        while !self.relay.unserve(|tuple| at.serves(tuple)) {
            self.act(now);
        }
        self.act(now);
        self.leave_dtls(now, at);
        self.flush();
        self.sockets.listeners.remove(at);
    }

    /// Tells the core of the ICMP messages that wait at a relayed socket.
    pub(super) fn take_errors(&mut self, now: Now, token: Token) {
        let Source::Relayed(place) = Source::of(token) else {
            return;
        };
        let Some(relayed) = self.sockets.relayed.get(place) else {
            return;
        };
        let id = relayed.id;
        let told: Vec<_> = errors::waiting(&relayed.udp).collect();
        for (peer, icmp) in told {
            self.relay.handle_icmp(now, id, peer, icmp);
            self.act(now);
        }
    }

    pub(super) fn receive_failed(&mut self) {
        self.stats.receive_errors += 1;
    }

    /// What one slot of a listener's receive holds.
    pub(super) fn take_from_client(
        &mut self,
        now: Now,
        listener: usize,
        meta: &RecvMeta,
        buffer: &[u8],
    ) {
        let Some(udp) = self.sockets.listeners.udp(listener) else {
            return;
        };
        let server = udp.local_for(meta.dst_ip);
        let tuple = FiveTuple {
            client: meta.addr,
            server,
            transport: Transport::Udp,
        };
        let served_by = self.mail.server_of(&tuple);
        for range in datagrams(meta) {
            self.stats.received += 1;
            let packet = &buffer[range];
            if is_dtls(packet) {
                self.take_dtls(now, tuple, packet, meta.ecn);
            } else if let Some(worker) = served_by {
                self.mail.hand_over(worker, tuple, packet.to_vec());
            } else {
                self.give(now, tuple, packet, meta.ecn);
            }
        }
    }

    /// Gives the core one message of a client, and does what comes of it.
    pub(super) fn give(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        message: &[u8],
        ecn: Option<quinn_udp::EcnCodepoint>,
    ) {
        match self.relay.handle_client(now, tuple, message) {
            Verdict::ToPeer {
                relay,
                peer,
                payload,
                dont_fragment,
            } => {
                let envelope = Envelope {
                    to: peer,
                    from: None,
                    ecn,
                    dont_fragment,
                };
                let sockets = |exit| self.sockets.exit(exit);
                let exit = Exit::Relayed(place(relay, Family::of(peer.ip())));
                self.outbox.push(sockets, exit, envelope, &message[payload]);
            }
            Verdict::Handled => {}
        }
        self.act(now);
    }

    /// What one slot of a relayed socket's receive holds.
    pub(super) fn take_from_peer(
        &mut self,
        now: Now,
        id: AllocationId,
        meta: &RecvMeta,
        buffer: &mut [u8],
    ) {
        for range in datagrams(meta) {
            self.stats.received += 1;
            // The core pads behind the datagram, where the next of a merged receive may begin.
            let behind = range.end..range.end + TAILROOM;
            let mut saved = [0; TAILROOM];
            saved.copy_from_slice(&buffer[behind.clone()]);
            if let Some(mut packet) = Headroom::new(buffer, range)
                && let Some(framed) = self.relay.handle_peer(now, id, meta.addr, &mut packet)
            {
                let bytes = &packet.buffer()[framed.bytes];
                self.send_to_client(&framed.tuple, bytes, meta.ecn, Kind::Media);
            }
            buffer[behind].copy_from_slice(&saved);
            self.act(now);
        }
    }

    /// Serves what came to other workers.
    pub(super) fn read_mail(&mut self, now: Now) {
        while let Some(delivered) = self.mail.next() {
            match delivered {
                Delivered::Packet { from, tuple, bytes } => {
                    self.give(now, tuple, &bytes, None);
                    self.mail.note(from, tuple, self.relay.serves(&tuple));
                }
                Delivered::Client(moved) => self.adopt(now, *moved),
            }
        }
    }

    /// Tells other workers which five-tuples are not served for them any more.
    pub(super) fn sweep_mail(&mut self) {
        let relay = &self.relay;
        self.mail.sweep(|tuple| relay.serves(tuple));
    }

    /// Lets the core do what is due.
    pub(super) fn pass_time(&mut self, now: Now) {
        if self
            .relay
            .poll_timeout()
            .is_some_and(|due| due <= now.instant)
        {
            self.relay.handle_timeout(now);
            self.act(now);
        }
    }

    /// Hands everything gathered to the kernel.
    pub(super) fn flush(&mut self) {
        let sockets = |exit| self.sockets.exit(exit);
        self.outbox.flush(sockets);
        self.streams.flush();
    }

    /// Carries out what the core asks for.
    pub(super) fn act(&mut self, now: Now) {
        while let Some(action) = self.relay.poll_action() {
            match action {
                Action::Send { tuple, bytes } => {
                    self.send_to_client(&tuple, &bytes, None, Kind::Reply);
                }
                Action::Forward {
                    worker,
                    tuple,
                    bytes,
                } => self.mail.hand_over(worker.into(), tuple, bytes),
                Action::OpenRelay { id, address } => {
                    let opened = self.sockets.relayed.open(self.poll.registry(), id, address);
                    if opened == Err(OpenError::Exhausted) {
                        self.stats.exhausted += 1;
                    }
                    let family = Family::of(address.ip());
                    self.relay.socket_opened(now, id, family, opened);
                }
                Action::CloseRelay { id } => {
                    for family in Family::ALL {
                        self.close_relayed(id, family);
                    }
                }
                Action::ListenRelay { id, address } => self.listen_relay(now, id, address),
                Action::Connect {
                    connection,
                    from,
                    peer,
                } => {
                    let registry = self.poll.registry();
                    if !self.links.connect(registry, connection, from, peer) {
                        self.relay.peer_connect_failed(now, connection);
                    }
                }
                Action::JoinClient { connection, tuple } => {
                    self.send_away(now, &tuple, Whither::Peer(connection));
                }
                Action::MoveClient {
                    worker,
                    tuple,
                    bytes,
                } => self.send_away(now, &tuple, Whither::Worker(worker, bytes)),
                Action::CloseConnection { connection } => self.links.close(connection),
                Action::CloseFamily { id, family } => self.close_relayed(id, family),
                // For a fast path outside of this process; there is none.
                Action::ChannelBound { .. }
                | Action::ChannelUnbound { .. }
                | Action::ClientMoved { .. }
                | Action::PermissionChanged { .. } => {}
            }
        }
    }

    fn close_relayed(&mut self, id: AllocationId, family: Family) {
        // What was gathered for it leaves first.
        if self.outbox.holds(Exit::Relayed(place(id, family))) {
            self.flush();
        }
        self.sockets.relayed.close(id, family);
        self.links.unlisten(id, family);
    }

    fn send_to_client(
        &mut self,
        tuple: &FiveTuple,
        bytes: &[u8],
        ecn: Option<quinn_udp::EcnCodepoint>,
        kind: Kind,
    ) {
        if tuple.transport.is_stream() {
            return self.streams.send(tuple, bytes, kind);
        }
        if tuple.transport == Transport::Dtls {
            return self.send_dtls(tuple, bytes, ecn);
        }
        let Some((listener, udp)) = self.sockets.listeners.udp_of(tuple.server) else {
            return;
        };
        let envelope = Envelope {
            to: tuple.client,
            from: udp.source(tuple.server),
            ecn,
            dont_fragment: false,
        };
        let sockets = |exit| self.sockets.exit(exit);
        self.outbox
            .push(sockets, Exit::Listener(listener), envelope, bytes);
    }
}
