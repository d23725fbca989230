//! A UDP listener and its datagrams, many with one system call.

use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, SockaddrIn6,
    SockaddrLike, recvmmsg, sendmmsg, sendmsg, setsockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::{RECEIVE_BATCH, RECEIVE_BUFFER, UDP_PAYLOAD};

/// A UDP listener bound to one address, one of several when the address has several workers.
#[derive(Debug)]
pub struct Listener {
    socket: UdpSocket,
    /// Whether it is bound to every address of the machine: then the kernel has to say which one a
    /// datagram came to, and to be told which one a reply leaves from.
    everywhere: bool,
    /// Whether it has IPv6, and only that.
    v6: bool,
    /// Whether it is for those who show a cookie.
    pub(super) preferred: bool,
}

impl Listener {
    /// Binds `address`, shared with the other sockets for the same address, of which this is the
    /// `first` or not.
    ///
    /// # Errors
    /// What the system says; also if it is to be the first, and others are there.
    pub fn bind(address: SocketAddr, first: bool) -> io::Result<UdpSocket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        socket.set_reuse_port(!first)?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        let everywhere = address.ip().is_unspecified();
        match address {
            _ if !everywhere => {}
            SocketAddr::V4(_) => setsockopt(&socket, Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvPacketInfo, &true)?,
        }
        socket.bind(&address.into())?;
        socket.set_reuse_port(true)?;
        Ok(socket.into())
    }

    /// Listens with a socket that [`Listener::bind`] made, here or in another process; `preferred`:
    /// it is for those who show a cookie.
    ///
    /// # Errors
    /// If it has no address.
    pub fn new(socket: UdpSocket, preferred: bool) -> io::Result<Self> {
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            everywhere: address.ip().is_unspecified(),
            v6: address.is_ipv6(),
            preferred,
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The address of this machine that a datagram came to.
#[derive(Clone, Copy)]
enum Local {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

/// An address as the kernel writes it, in no more room than it takes: what a batch touches has to fit
/// into the nearest cache.
#[derive(Clone, Copy)]
enum Peer {
    V4(SockaddrIn),
    V6(SockaddrIn6),
}

impl From<SockaddrIn> for Peer {
    fn from(v4: SockaddrIn) -> Self {
        Self::V4(v4)
    }
}

impl From<SockaddrIn6> for Peer {
    fn from(v6: SockaddrIn6) -> Self {
        Self::V6(v6)
    }
}

/// Where a datagram came from, and where it came to if that is in question.
pub(super) struct Way {
    from: Peer,
    local: Option<Local>,
}

impl Way {
    fn of<S: Copy + Into<Peer>>(got: &RecvMsg<'_, '_, S>, listener: &Listener) -> Option<Self> {
        let control = listener.everywhere.then(|| got.cmsgs().ok()).flatten();
        let local = |control| match control {
            // The kernel finds the interface by itself.
            ControlMessageOwned::Ipv4PacketInfo(to) => Some(Local::V4(in_pktinfo {
                ipi_ifindex: 0,
                ..to
            })),
            ControlMessageOwned::Ipv6PacketInfo(to) => Some(Local::V6(to)),
            _ => None,
        };
        Some(Self {
            from: got.address?.into(),
            local: control.into_iter().flatten().find_map(local),
        })
    }

    /// The sender.
    pub(super) fn client(&self) -> SocketAddr {
        match self.from {
            Peer::V4(v4) => SocketAddrV4::from(v4).into(),
            Peer::V6(v6) => SocketAddrV6::from(v6).into(),
        }
    }
}

/// Headers for the datagrams of one family.
enum Headers {
    V4(MultiHeaders<SockaddrIn>),
    V6(MultiHeaders<SockaddrIn6>),
}

/// Datagrams as they came.
pub(super) struct Inbox {
    /// By listener: the kernel writes into them how long an address and what comes with it are, and
    /// takes that for the room there is the next time.
    headers: Vec<Headers>,
    bytes: Box<[u8]>,
    got: Vec<(usize, Option<Way>)>,
}

impl Inbox {
    /// For these listeners.
    pub(super) fn new(listeners: &[Listener]) -> Self {
        let headers = |listener: &Listener| {
            let room = listener.everywhere.then(|| cmsg_space!(in6_pktinfo));
            if listener.v6 {
                Headers::V6(MultiHeaders::preallocate(RECEIVE_BATCH, room))
            } else {
                Headers::V4(MultiHeaders::preallocate(RECEIVE_BATCH, room))
            }
        };
        Self {
            headers: listeners.iter().map(headers).collect(),
            bytes: vec![0; RECEIVE_BATCH * RECEIVE_BUFFER].into(),
            got: Vec::with_capacity(RECEIVE_BATCH),
        }
    }

    /// Replaces the contents with what waits at a listener, the one with this index, or with the
    /// first datagrams of it: not more than `most`, nor than [`RECEIVE_BATCH`].
    ///
    /// # Errors
    /// What recvmmsg(2) says; that nothing waits is none.
    pub(super) fn receive(
        &mut self,
        index: usize,
        listener: &Listener,
        most: usize,
    ) -> io::Result<()> {
        self.got.clear();
        let mut rooms = self.bytes.chunks_exact_mut(RECEIVE_BUFFER);
        let mut slices: [[IoSliceMut<'_>; 1]; RECEIVE_BATCH] =
            array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let slices = slices.iter_mut().take(most);
        let got = &mut self.got;
        match &mut self.headers[index] {
            Headers::V4(headers) => receive(listener, headers, slices, got),
            Headers::V6(headers) => receive(listener, headers, slices, got),
        }
    }

    /// How many datagrams there are.
    pub(super) fn len(&self) -> usize {
        self.got.len()
    }

    /// Each with the way that it came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Way)> {
        let slots = self.bytes.chunks_exact(RECEIVE_BUFFER).zip(&self.got);
        slots.filter_map(|(slot, (length, way))| Some((slot.get(..*length)?, way.as_ref()?)))
    }
}

/// Puts into `got` what waits at a listener, how long each is and how it came.
fn receive<'s, S: SockaddrLike + Copy + Into<Peer>>(
    listener: &Listener,
    headers: &'s mut MultiHeaders<S>,
    slices: impl Iterator<Item = &'s mut [IoSliceMut<'s>; 1]>,
    got: &mut Vec<(usize, Option<Way>)>,
) -> io::Result<()> {
    let (socket, flags) = (listener.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
    match recvmmsg(socket, headers, slices, flags, None) {
        Ok(results) => {
            got.extend(results.map(|one| (one.bytes, Way::of(&one, listener))));
            Ok(())
        }
        Err(Errno::EAGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whom the replies of one family go to.
struct Recipients<S> {
    headers: MultiHeaders<S>,
    to: [Option<S>; RECEIVE_BATCH],
}

impl<S: SockaddrLike + Copy> Recipients<S> {
    fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(RECEIVE_BATCH, None),
            to: [None; RECEIVE_BATCH],
        }
    }

    /// Sends replies to those from `at` on. Tells how many the kernel took.
    fn send(
        &mut self,
        listener: &Listener,
        at: usize,
        replies: &[[IoSlice<'_>; 1]],
    ) -> nix::Result<usize> {
        let to = &self.to[at..at + replies.len()];
        let nothing: [ControlMessage<'_>; 0] = [];
        let (socket, flags) = (listener.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        sendmmsg(socket, &mut self.headers, replies, to, nothing, flags).map(Iterator::count)
    }

    /// Sends one reply from the address that its query came to.
    fn send_from(
        &self,
        listener: &Listener,
        at: usize,
        reply: &[IoSlice<'_>],
        local: Option<Local>,
    ) -> nix::Result<usize> {
        let from = match &local {
            None => None,
            Some(Local::V4(local)) => Some(ControlMessage::Ipv4PacketInfo(local)),
            Some(Local::V6(local)) => Some(ControlMessage::Ipv6PacketInfo(local)),
        };
        let (socket, flags) = (listener.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        sendmsg(socket, reply, from.as_slice(), flags, self.to[at].as_ref()).map(|_| 1)
    }
}

/// Replies on their way out.
pub(super) struct Outbox {
    v4: Recipients<SockaddrIn>,
    v6: Recipients<SockaddrIn6>,
    replies: [Vec<u8>; RECEIVE_BATCH],
    local: [Option<Local>; RECEIVE_BATCH],
    filled: usize,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            v4: Recipients::new(),
            v6: Recipients::new(),
            replies: array::from_fn(|_| Vec::with_capacity(UDP_PAYLOAD.into())),
            local: [None; RECEIVE_BATCH],
            filled: 0,
        }
    }

    /// Room for the next reply; the last one's when there is no more.
    pub(super) fn next(&mut self) -> &mut Vec<u8> {
        &mut self.replies[self.filled.min(RECEIVE_BATCH - 1)]
    }

    /// Takes what was written into [`Outbox::next`] as the reply to what came this way. There is
    /// room for one reply to each datagram of an [`Inbox`].
    pub(super) fn take(&mut self, way: &Way) {
        let place = self.filled.min(RECEIVE_BATCH - 1);
        match way.from {
            Peer::V4(v4) => self.v4.to[place] = Some(v4),
            Peer::V6(v6) => self.v6.to[place] = Some(v6),
        }
        self.local[place] = way.local;
        self.filled = place + 1;
    }

    /// Sends all of them and forgets them. Tells how many the kernel did not take.
    pub(super) fn send(&mut self, listener: &Listener) -> u64 {
        let filled = std::mem::take(&mut self.filled);
        let mut replies = self.replies.iter().take(filled);
        let slices: [[IoSlice<'_>; 1]; RECEIVE_BATCH] =
            array::from_fn(|_| [IoSlice::new(replies.next().map_or(&[], Vec::as_slice))]);
        let (mut at, mut lost) = (0, 0);
        while at < filled {
            let sent = match (listener.everywhere, listener.v6) {
                (false, false) => self.v4.send(listener, at, &slices[at..filled]),
                (false, true) => self.v6.send(listener, at, &slices[at..filled]),
                (true, false) => self.v4.send_from(listener, at, &slices[at], self.local[at]),
                (true, true) => self.v6.send_from(listener, at, &slices[at], self.local[at]),
            };
            match sent {
                Ok(sent) => at += sent.max(1),
                // No room for one is none for the others.
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return lost + (filled - at) as u64,
                Err(_) => {
                    lost += 1;
                    at += 1;
                }
            }
        }
        lost
    }
}
