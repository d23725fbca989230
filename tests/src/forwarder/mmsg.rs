//! Many datagrams per system call.

use std::{
    array,
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddrV4, UdpSocket},
    os::fd::AsRawFd,
};

use nix::{
    errno::Errno,
    sys::socket::{
        ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, SockaddrLike, recvmmsg, send, sendmmsg,
    },
};

use super::{BATCH, HEADER, Path, header, is_nothing, sessions::Sessions};

/// One slot, for a header and a datagram: 31 cache lines, so that the slots' first bytes fall into
/// different cache sets. What is longer is cut.
const SLOT: usize = 31 * 64;

/// Slots that one call fills and another empties.
struct Slots<S> {
    headers: MultiHeaders<S>,
    bytes: Box<[u8]>,
    lengths: [usize; BATCH],
    filled: usize,
}

impl<S: SockaddrLike + Copy> Slots<S> {
    fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            bytes: vec![0; SLOT * BATCH].into(),
            lengths: [0; BATCH],
            filled: 0,
        }
    }

    /// Fills the free slots from `offset` bytes within each on, telling `from` each one's number and
    /// sender; returns how many were filled.
    fn receive(
        &mut self,
        socket: &UdpSocket,
        offset: usize,
        mut from: impl FnMut(usize, Option<S>),
    ) -> Result<usize, Errno> {
        let first = self.filled;
        let mut rest = self.bytes[first * SLOT..].chunks_exact_mut(SLOT);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = array::from_fn(|_| {
            let slot = rest.next().unwrap_or_default();
            [IoSliceMut::new(slot.get_mut(offset..).unwrap_or_default())]
        });
        let results = recvmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            &mut slices[..BATCH - first],
            MsgFlags::MSG_DONTWAIT,
            None,
        )?;
        for message in results {
            self.lengths[self.filled] = message.bytes;
            from(self.filled, message.address);
            self.filled += 1;
        }
        Ok(self.filled - first)
    }

    fn slot(&self, index: usize) -> &[u8] {
        &self.bytes[index * SLOT..][..SLOT]
    }
}

/// Sends all, passing over what the socket does not take.
fn send_all<S: SockaddrLike + Copy>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<S>,
    messages: &[[IoSlice<'_>; 1]],
    addresses: &[Option<S>],
) {
    let mut sent = 0;
    while sent < messages.len() {
        let took = sendmmsg(
            socket.as_raw_fd(),
            headers,
            &messages[sent..],
            &addresses[sent..],
            [] as [ControlMessage<'_>; 0],
            MsgFlags::MSG_DONTWAIT,
        )
        .map(Iterator::count);
        sent += match took {
            Ok(count) => count.max(1),
            Err(Errno::EINTR) => 0,
            Err(_) => 1,
        };
    }
}

/// The two directions' slots, and headers for what goes to one peer.
pub(super) struct Mmsg {
    up: Slots<SockaddrIn>,
    down: Slots<()>,
    to_peer: MultiHeaders<()>,
    to_clients: MultiHeaders<SockaddrIn>,
    clients: [Option<SockaddrIn>; BATCH],
}

impl std::fmt::Debug for Mmsg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mmsg")
    }
}

impl Default for Mmsg {
    fn default() -> Self {
        Self {
            up: Slots::new(),
            down: Slots::new(),
            to_peer: MultiHeaders::preallocate(BATCH, None),
            to_clients: MultiHeaders::preallocate(BATCH, None),
            clients: [None; BATCH],
        }
    }
}

impl Mmsg {
    /// Sends the payloads of `ids`' sessions in the slots: all of one session with one call.
    fn send_up(&mut self, sessions: &Sessions, ids: &[Option<u32>]) {
        let slots = &self.up;
        let payload = |index: usize| IoSlice::new(&slots.slot(index)[HEADER..slots.lengths[index]]);
        let mut done = [false; BATCH];
        let mut messages = [[IoSlice::new(&[])]; BATCH];
        for first in 0..ids.len() {
            let Some(id) = ids[first].filter(|_| !done[first]) else {
                continue;
            };
            let Some(session) = sessions.get(id) else {
                continue;
            };
            let mut count = 0;
            for index in first..ids.len() {
                if ids[index] == Some(id) {
                    (messages[count], done[index]) = ([payload(index)], true);
                    count += 1;
                }
            }
            if count == 1 {
                // One alone is cheaper without the headers.
                let fd = session.relay.as_raw_fd();
                let _ = send(fd, &payload(first), MsgFlags::MSG_DONTWAIT);
            } else {
                let nowhere = [None; BATCH];
                send_all(
                    &session.relay,
                    &mut self.to_peer,
                    &messages[..count],
                    &nowhere,
                );
            }
        }
    }
}

impl Path for Mmsg {
    fn serve_clients(&mut self, listener: &UdpSocket, sessions: &mut Sessions) -> io::Result<bool> {
        let mut senders = [None; BATCH];
        self.up.filled = 0;
        let got = match self.up.receive(listener, 0, |at, from| senders[at] = from) {
            Ok(got) => got,
            Err(error) => return nothing(error),
        };
        let mut ids = [None; BATCH];
        for index in 0..got {
            let Some(from) = senders[index].map(SocketAddrV4::from) else {
                continue;
            };
            let datagram = &self.up.slot(index)[..self.up.lengths[index]];
            if datagram.len() >= HEADER && !sessions.obey(listener, from, datagram) {
                ids[index] = sessions.find(from);
            }
        }
        self.send_up(sessions, &ids[..got]);
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
        let (first, clients) = (self.down.filled, &mut self.clients);
        let got = self.down.receive(&session.relay, HEADER, |at, _| {
            clients[at] = Some(session.client);
        });
        let got = match got {
            Ok(got) => got,
            Err(error) => return nothing(error),
        };
        for index in first..first + got {
            let written = header(self.down.lengths[index]);
            self.down.bytes[index * SLOT..][..HEADER].copy_from_slice(&written);
        }
        let full = self.down.filled == BATCH;
        if full {
            self.flush(listener)?;
        }
        Ok(full)
    }

    fn flush(&mut self, listener: &UdpSocket) -> io::Result<()> {
        if self.down.filled == 0 {
            return Ok(());
        }
        let slots = &self.down;
        let messages: [[IoSlice<'_>; 1]; BATCH] = array::from_fn(|index| {
            let length = HEADER + slots.lengths[index];
            [IoSlice::new(&slots.slot(index)[..length])]
        });
        let (headers, filled) = (&mut self.to_clients, slots.filled);
        send_all(listener, headers, &messages[..filled], &self.clients);
        self.down.filled = 0;
        Ok(())
    }
}

fn nothing(error: Errno) -> io::Result<bool> {
    match error {
        // A peer refused an earlier datagram; others may wait.
        Errno::ECONNREFUSED | Errno::EINTR => Ok(true),
        error if is_nothing(error) => Ok(false),
        error => Err(error.into()),
    }
}
