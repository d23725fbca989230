//! Who forwards to whom: opened and closed by clients, found by address.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    rc::Rc,
};

use hashbrown::HashMap;
use nix::sys::{
    epoll::Epoll,
    socket::{SockaddrIn, setsockopt, sockopt::UdpGroSegment},
};

use super::{
    BUFFERS,
    protocol::{Request, forwarded, refused},
    socket, watched,
};

/// Most sessions at a time, one descriptor each: a common hard limit of 20,000 has room for them.
pub(super) const MOST: usize = 19_900;

/// A client, its peer, and the socket between.
#[derive(Debug)]
pub(super) struct Session {
    /// Connected to the peer.
    pub(super) relay: UdpSocket,
    /// The client's address, as the system takes it.
    pub(super) client: SockaddrIn,
    peer: SocketAddrV4,
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    ip: Ipv4Addr,
    epoll: Rc<Epoll>,
    merges: bool,
    slots: Vec<Option<Session>>,
    free: Vec<u32>,
    by_client: HashMap<u64, u32>,
}

impl Sessions {
    /// None yet; relay sockets are opened on `ip` and watched by `epoll`, and merge what comes
    /// together if told so (`UDP_GRO`).
    pub(super) fn new(ip: Ipv4Addr, epoll: Rc<Epoll>, merges: bool) -> Self {
        Self {
            ip,
            epoll,
            merges,
            slots: Vec::new(),
            free: Vec::new(),
            by_client: HashMap::new(),
        }
    }

    /// The number of the session of `client`.
    pub(super) fn find(&self, client: SocketAddrV4) -> Option<u32> {
        self.by_client.get(&key(client)).copied()
    }

    /// The session with the number `id`.
    pub(super) fn get(&self, id: u32) -> Option<&Session> {
        self.slots.get(id as usize)?.as_ref()
    }

    /// Does what `datagram` of `client` says; false when it is data.
    pub(super) fn obey(
        &mut self,
        listener: &UdpSocket,
        client: SocketAddrV4,
        datagram: &[u8],
    ) -> bool {
        let Some(request) = Request::read(datagram) else {
            return false;
        };
        match request {
            Request::Close => self.close(client),
            Request::Forward(peer) => {
                let answer = match self.open(client, peer) {
                    Ok(relay) => forwarded(relay),
                    Err(error) => refused(&error.to_string()),
                };
                // Lost like any datagram, it is asked for again.
                let _ = listener.send_to(answer.as_bytes(), client);
            }
        }
        true
    }

    fn open(&mut self, client: SocketAddrV4, peer: SocketAddrV4) -> io::Result<SocketAddr> {
        let known = self.find(client).and_then(|id| self.get(id));
        if let Some(session) = known.filter(|session| session.peer == peer) {
            return session.relay.local_addr();
        }
        self.close(client);
        if !client.ip().is_loopback() || !peer.ip().is_loopback() {
            return Err(io::Error::other("loopback only"));
        }
        if self.by_client.len() == MOST {
            return Err(io::Error::other("full"));
        }
        let relay = socket(SocketAddrV4::new(self.ip, 0), BUFFERS.1)?;
        relay.connect(peer)?;
        if self.merges {
            setsockopt(&relay, UdpGroSegment, &true)?;
        }
        let address = relay.local_addr()?;
        let id = self.free.last().copied().unwrap_or(self.slots.len() as u32);
        self.epoll.add(&relay, watched(u64::from(id)))?;
        if self.free.pop().is_none() {
            self.slots.push(None);
        }
        self.slots[id as usize] = Some(Session {
            relay,
            client: client.into(),
            peer,
        });
        self.by_client.insert(key(client), id);
        Ok(address)
    }

    fn close(&mut self, client: SocketAddrV4) {
        if let Some(id) = self.by_client.remove(&key(client)) {
            self.slots[id as usize] = None;
            self.free.push(id);
        }
    }
}

fn key(address: SocketAddrV4) -> u64 {
    u64::from(u32::from(*address.ip())) << 16 | u64::from(address.port())
}
