//! Many datagrams in one system call: one buffer of what came, one of what goes.

use std::{
    array,
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

use nix::{
    errno::Errno,
    sys::socket::{
        ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, send, sendmmsg, sendto,
        setsockopt, sockopt,
    },
};

/// Most datagrams received by one system call.
pub const INCOMING: usize = 32;
/// Most packets sent by one system call: also the segments that the kernel takes for one GSO send.
pub const OUTGOING: usize = 64;
/// What a small window has.
const FEW: usize = 8;
/// Room for one received datagram: the longest, which a row of packets coalesced by GRO may be. The
/// odd rest keeps the beginnings of several from competing for the same lines of a cache.
const SLOT: usize = 65_536 + 192;
/// Most bytes of one GSO send: what fits a datagram over IPv4 and IPv6.
const LONGEST_TRAIN: usize = 65_000;
/// What is asked for as room for received packets; the system may give less.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How sockets treat rows of packets.
#[derive(Debug, Clone, Copy)]
pub struct Offload {
    /// Packets of this length leave in one piece (UDP GSO).
    pub send: Option<usize>,
    /// What arrives in one piece is taken so (UDP GRO).
    pub receive: bool,
}

/// Prepares a socket: nonblocking, with a large buffer and `offload`.
///
/// # Errors
/// When the system knows no such offload.
pub fn prepare(socket: &UdpSocket, offload: Offload) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    if let Some(length) = offload.send {
        prepare_sending(socket, length)?;
    }
    if offload.receive {
        setsockopt(socket, sockopt::UdpGroSegment, &true)?;
    }
    Ok(())
}

/// Lets packets of this length leave in one piece; each datagram by itself if it is 0.
///
/// # Errors
/// When the system knows no such offload.
pub fn prepare_sending(socket: &UdpSocket, length: usize) -> io::Result<()> {
    let length = i32::try_from(length).unwrap_or(i32::MAX);
    Ok(setsockopt(socket, sockopt::UdpGsoSegment, &length)?)
}

/// Received datagrams and their senders.
pub struct Inbox {
    headers: MultiHeaders<SockaddrStorage>,
    bytes: Box<[u8]>,
    got: Vec<(usize, Option<SockaddrStorage>)>,
    refused: bool,
    /// How many are asked for: mostly as many as there are, for every attempt costs.
    asks: usize,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let got = self.got.len();
        f.debug_struct("Inbox")
            .field("got", &got)
            .finish_non_exhaustive()
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            headers: MultiHeaders::preallocate(INCOMING, None),
            bytes: vec![0; INCOMING * SLOT].into_boxed_slice(),
            got: Vec::with_capacity(INCOMING),
            refused: false,
            asks: 1,
        }
    }
}

impl Inbox {
    /// Replaces the contents with what waits on `socket`, or the first part of it.
    ///
    /// # Errors
    /// What recvmmsg(2) says; that nothing waits and a peer's refusal (ICMP) are no errors.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.got.clear();
        self.refused = false;
        let mut rest = self.bytes.chunks_exact_mut(SLOT).take(self.asks);
        let mut slices: [[IoSliceMut<'_>; 1]; INCOMING] =
            array::from_fn(|_| [IoSliceMut::new(rest.next().unwrap_or_default())]);
        let slices = &mut slices[..self.asks];
        let (headers, flags) = (&mut self.headers, MsgFlags::MSG_DONTWAIT);
        match recvmmsg(socket.as_raw_fd(), headers, slices, flags, None) {
            Ok(results) => {
                self.got.extend(results.map(|got| (got.bytes, got.address)));
                let got = self.got.len();
                let more = if got == self.asks { 2 * got } else { got };
                self.asks = more.clamp(1, INCOMING);
                Ok(())
            }
            Err(error) => {
                self.refused = error == Errno::ECONNREFUSED;
                soft(error).map(|_| ())
            }
        }
    }

    /// Whether the last thing received was that nobody is there (ICMP).
    pub fn was_refused(&self) -> bool {
        self.refused
    }

    /// All of the room, for what is received in another way.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The datagrams, each with its sender. Several packets are in one where GRO joined them.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<SockaddrStorage>)> {
        let slots = self.bytes.chunks_exact(SLOT).zip(&self.got);
        slots.map(|(slot, (length, from))| (&slot[..(*length).min(SLOT)], *from))
    }
}

/// Packets of one length on their way out, end to end, so that they may leave in one piece.
pub struct Outbox {
    headers: MultiHeaders<SockaddrStorage>,
    bytes: Box<[u8]>,
    to: [Option<SockaddrStorage>; OUTGOING],
    filled: usize,
    length: usize,
    coalesce: bool,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox")
            .field("filled", &self.filled)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// For packets of `length` bytes, which leave in one piece where `coalesce`: their sockets are
    /// prepared for it.
    pub fn new(length: usize, coalesce: bool) -> Self {
        Self {
            headers: MultiHeaders::preallocate(OUTGOING, None),
            bytes: vec![0; OUTGOING * length].into_boxed_slice(),
            to: [None; OUTGOING],
            filled: 0,
            length,
            coalesce,
        }
    }

    /// Whether no further packet fits.
    pub fn is_full(&self) -> bool {
        self.filled == OUTGOING
    }

    /// Adds a packet `to` an address, or to where the socket is connected, and returns its bytes,
    /// which are those of an earlier one; the last is replaced when full.
    pub fn push(&mut self, to: Option<SockaddrStorage>) -> &mut [u8] {
        let at = self.filled.min(OUTGOING - 1);
        self.to[at] = to;
        self.filled = at + 1;
        &mut self.bytes[at * self.length..][..self.length]
    }

    /// Sends all and forgets them; returns how many the kernel took.
    ///
    /// # Errors
    /// What sendmmsg(2) says; a full buffer or a peer's refusal (ICMP) is not an error but 0.
    pub fn send(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let filled = std::mem::take(&mut self.filled);
        match filled {
            _ if self.coalesce => self.send_rows(socket, filled),
            0 | 1 => self.send_rows(socket, filled),
            // What few packets need is prepared for few.
            ..=FEW => self.send_each::<FEW>(socket, filled),
            _ => self.send_each::<OUTGOING>(socket, filled),
        }
    }

    /// Forgets all packets and returns how many there were, and their bytes, for another way out.
    pub fn take(&mut self) -> (usize, &[u8]) {
        let filled = std::mem::take(&mut self.filled);
        (filled, &self.bytes[..filled * self.length])
    }

    /// One system call for each row of packets to the same address.
    fn send_rows(&self, socket: &UdpSocket, filled: usize) -> io::Result<usize> {
        let most = (LONGEST_TRAIN / self.length).clamp(1, OUTGOING);
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let (mut at, mut took) = (0, 0);
        while at < filled {
            let rest = &self.to[at..filled];
            let same = rest.iter().take(most).take_while(|to| **to == rest[0]);
            let row = same.count();
            let bytes = &self.bytes[at * self.length..][..row * self.length];
            let sent = match &rest[0] {
                None => send(fd, bytes, flags),
                Some(to) => sendto(fd, bytes, to, flags),
            };
            took += sent.map_or_else(soft, |_| Ok(row))?;
            at += row;
        }
        Ok(took)
    }

    /// One system call, a datagram for each packet.
    fn send_each<const MOST: usize>(
        &mut self,
        socket: &UdpSocket,
        filled: usize,
    ) -> io::Result<usize> {
        let mut packets = self.bytes.chunks_exact(self.length).take(filled);
        let slices: [[IoSlice<'_>; 1]; MOST] =
            array::from_fn(|_| [IoSlice::new(packets.next().unwrap_or_default())]);
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            &slices[..filled],
            &self.to[..filled],
            [] as [ControlMessage<'_>; 0],
            MsgFlags::MSG_DONTWAIT,
        );
        sent.map_or_else(soft, |results| Ok(results.count()))
    }
}

/// What happens to datagrams is no error of a run.
fn soft(error: Errno) -> io::Result<usize> {
    match error {
        Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS | Errno::ECONNREFUSED => Ok(0),
        error => Err(error.into()),
    }
}

/// An address as the system calls take it.
pub fn system_address(address: SocketAddr) -> SockaddrStorage {
    address.into()
}

#[cfg(test)]
mod tests;
