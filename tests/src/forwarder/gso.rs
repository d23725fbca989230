//! Many datagrams per system call, and those of one flow as one segmented datagram where the kernel
//! takes and gives them so.

use std::{
    array,
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddr, UdpSocket},
};

use nix::sys::socket::{
    SockaddrIn, setsockopt,
    sockopt::{IpRecvTos, Ipv4PacketInfo, ReceiveTimestampns},
};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

use super::{
    BATCH, HEADER, Path, header,
    protocol::Request,
    sessions::Sessions,
    trains::{Sender, Trains},
};

/// Longest receive: what the kernel has merged into one buffer.
const LONGEST: usize = 1 << 16;
/// One slot; 64 bytes more, so that the slots' first bytes fall into different cache sets.
const SLOT: usize = LONGEST + 64;

/// Slots that hold what was received.
#[derive(Debug)]
struct Slots {
    bytes: Box<[u8]>,
    meta: [RecvMeta; BATCH],
    /// The session each belongs to, where there is one.
    ids: [Option<u32>; BATCH],
    filled: usize,
}

impl Slots {
    fn new() -> Self {
        Self {
            bytes: vec![0; SLOT * BATCH].into(),
            meta: [RecvMeta::default(); BATCH],
            ids: [None; BATCH],
            filled: 0,
        }
    }

    /// Fills the free slots; returns how many were filled.
    fn receive(&mut self, state: &UdpSocketState, socket: &UdpSocket) -> io::Result<usize> {
        let first = self.filled;
        let mut rest = self.bytes[first * SLOT..].chunks_exact_mut(SLOT);
        let mut slices: [IoSliceMut<'_>; BATCH] = array::from_fn(|_| {
            let slot = rest.next().unwrap_or_default();
            IoSliceMut::new(slot.get_mut(..LONGEST).unwrap_or_default())
        });
        let (slices, meta) = (&mut slices[..BATCH - first], &mut self.meta[first..]);
        let got = state.recv(UdpSockRef::from(socket), slices, meta)?;
        self.filled += got;
        Ok(got)
    }

    /// The datagrams in slot `index`.
    fn datagrams(&self, index: usize) -> impl Iterator<Item = &[u8]> {
        let meta = &self.meta[index];
        let bytes = &self.bytes[index * SLOT..][..meta.len];
        // An empty datagram is one, too.
        let empty = bytes.is_empty().then_some(bytes);
        empty.into_iter().chain(bytes.chunks(meta.stride.max(1)))
    }
}

/// The two directions' slots, and what sends.
#[derive(Debug)]
pub(super) struct Gso {
    /// Serves every socket: receiving changes nothing in it.
    state: UdpSocketState,
    up: Slots,
    down: Slots,
    clients: [Option<SockaddrIn>; BATCH],
    sender: Sender,
}

impl Gso {
    /// Prepares `listener` for merged datagrams, and for telling nothing else about them.
    pub(super) fn new(listener: &UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(listener))?;
        setsockopt(listener, Ipv4PacketInfo, &false)?;
        setsockopt(listener, IpRecvTos, &false)?;
        setsockopt(listener, ReceiveTimestampns, &false)?;
        Ok(Self {
            state,
            up: Slots::new(),
            down: Slots::new(),
            clients: [None; BATCH],
            sender: Sender::default(),
        })
    }

    /// Sends the payloads in the slots, all of a session together.
    fn send_up(&mut self, sessions: &Sessions) {
        let slots = &self.up;
        let mut ids = slots.ids;
        let mut trains = Trains::default();
        for first in 0..slots.filled {
            let Some(id) = ids[first] else { continue };
            let Some(session) = sessions.get(id) else {
                continue;
            };
            let rest = ids[..slots.filled].iter_mut().enumerate().skip(first);
            for (index, other) in rest {
                if other.take_if(|other| *other == id).is_none() {
                    continue;
                }
                let data = slots
                    .datagrams(index)
                    .filter(|all| Request::read(all).is_none());
                for payload in data.filter_map(|all| all.get(HEADER..)) {
                    let part = [IoSlice::new(payload)];
                    if !trains.push(&part, payload.len(), None) {
                        trains.send(&session.relay, &mut self.sender);
                        trains.push(&part, payload.len(), None);
                    }
                }
            }
            trains.send(&session.relay, &mut self.sender);
        }
    }
}

impl Path for Gso {
    fn serve_clients(&mut self, listener: &UdpSocket, sessions: &mut Sessions) -> io::Result<bool> {
        self.up.filled = 0;
        let got = match self.up.receive(&self.state, listener) {
            Ok(got) => got,
            Err(error) => return super::plain::nothing(error),
        };
        for index in 0..got {
            let SocketAddr::V4(from) = self.up.meta[index].addr else {
                continue;
            };
            let mut data = false;
            for datagram in self.up.datagrams(index) {
                data |= !sessions.obey(listener, from, datagram);
            }
            self.up.ids[index] = sessions.find(from).filter(|_| data);
        }
        self.send_up(sessions);
        Ok(got == BATCH)
    }

    fn serve_peer(
        &mut self,
        listener: &UdpSocket,
        sessions: &Sessions,
        id: u32,
    ) -> io::Result<bool> {
        let Some(session) = sessions.get(id) else {
            return Ok(false);
        };
        let first = self.down.filled;
        let got = match self.down.receive(&self.state, &session.relay) {
            Ok(got) => got,
            Err(error) => return super::plain::nothing(error),
        };
        self.clients[first..first + got].fill(Some(session.client));
        let full = self.down.filled == BATCH;
        if full {
            self.flush(listener)?;
        }
        Ok(full)
    }

    fn flush(&mut self, listener: &UdpSocket) -> io::Result<()> {
        let slots = &self.down;
        if slots.filled == 0 {
            return Ok(());
        }
        // Two headers of a slot are enough: all of a slot's datagrams but the last are of one length.
        let headers: [[[u8; HEADER]; 2]; BATCH] = array::from_fn(|index| {
            let meta = &slots.meta[index];
            let (length, stride) = (meta.len, meta.stride.max(1));
            let last = length - length.saturating_sub(1) / stride * stride;
            [header(stride.min(length)), header(last)]
        });
        let mut trains = Trains::default();
        for (index, [usual, last]) in headers.iter().enumerate().take(slots.filled) {
            let stride = slots.meta[index].stride;
            for payload in slots.datagrams(index) {
                let header = if payload.len() == stride { usual } else { last };
                let parts = [IoSlice::new(header), IoSlice::new(payload)];
                let length = HEADER + payload.len();
                if !trains.push(&parts, length, self.clients[index]) {
                    trains.send(listener, &mut self.sender);
                    trains.push(&parts, length, self.clients[index]);
                }
            }
        }
        trains.send(listener, &mut self.sender);
        self.down.filled = 0;
        Ok(())
    }
}
