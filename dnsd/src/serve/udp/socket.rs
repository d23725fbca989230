//! A UDP listener and its datagrams, many with one system call.

use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage,
    recvmmsg, sendmmsg, sendmsg, setsockopt,
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
        let everywhere = socket.local_addr()?.ip().is_unspecified();
        Ok(Self {
            socket,
            everywhere,
            preferred,
        })
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

/// Where a datagram came from, and where it came to if that is in question.
pub(super) struct Way {
    from: SockaddrStorage,
    local: Option<Local>,
}

impl Way {
    fn of(got: &RecvMsg<'_, '_, SockaddrStorage>, listener: &Listener) -> Option<Self> {
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
            from: got.address?,
            local: control.into_iter().flatten().find_map(local),
        })
    }

    /// The sender.
    pub(super) fn client(&self) -> Option<SocketAddr> {
        let v4 = self.from.as_sockaddr_in();
        let v4 = v4.map(|address| SocketAddrV4::from(*address).into());
        v4.or_else(|| {
            let v6 = self.from.as_sockaddr_in6()?;
            Some(SocketAddrV6::from(*v6).into())
        })
    }
}

/// Datagrams as they came.
pub(super) struct Inbox {
    /// By listener: the kernel writes into them how long an address and what comes with it are, and
    /// takes that for the room there is the next time.
    headers: Vec<MultiHeaders<SockaddrStorage>>,
    bytes: Box<[u8]>,
    got: Vec<(usize, Option<Way>)>,
}

impl Inbox {
    /// For these listeners.
    pub(super) fn new(listeners: &[Listener]) -> Self {
        let headers = |listener: &Listener| {
            let room = listener.everywhere.then(|| cmsg_space!(in6_pktinfo));
            MultiHeaders::preallocate(RECEIVE_BATCH, room)
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
        let headers = &mut self.headers[index];
        let mut rooms = self.bytes.chunks_exact_mut(RECEIVE_BUFFER);
        let mut slices: [[IoSliceMut<'_>; 1]; RECEIVE_BATCH] =
            array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let flags = MsgFlags::MSG_DONTWAIT;
        let socket = listener.as_raw_fd();
        match recvmmsg(socket, headers, slices.iter_mut().take(most), flags, None) {
            Ok(results) => {
                let got = results.map(|got| (got.bytes, Way::of(&got, listener)));
                self.got.extend(got);
                Ok(())
            }
            Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
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

/// Replies on their way out.
pub(super) struct Outbox {
    headers: MultiHeaders<SockaddrStorage>,
    replies: [Vec<u8>; RECEIVE_BATCH],
    to: [Option<SockaddrStorage>; RECEIVE_BATCH],
    local: [Option<Local>; RECEIVE_BATCH],
    filled: usize,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(RECEIVE_BATCH, None),
            replies: array::from_fn(|_| Vec::with_capacity(UDP_PAYLOAD.into())),
            to: [None; RECEIVE_BATCH],
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
        self.to[place] = Some(way.from);
        self.local[place] = way.local;
        self.filled = place + 1;
    }

    /// Sends all of them and forgets them. Tells how many the kernel did not take.
    pub(super) fn send(&mut self, listener: &Listener) -> u64 {
        let filled = std::mem::take(&mut self.filled);
        let mut replies = self.replies.iter().take(filled);
        let slices: [[IoSlice<'_>; 1]; RECEIVE_BATCH] =
            array::from_fn(|_| [IoSlice::new(replies.next().map_or(&[], Vec::as_slice))]);
        let socket = listener.as_raw_fd();
        let (mut at, mut lost) = (0, 0);
        while at < filled {
            let (slices, to) = (&slices[at..filled], &self.to[at..filled]);
            let sent = if listener.everywhere {
                send_one(socket, &slices[0], to[0].as_ref(), self.local[at])
            } else {
                let nothing: [ControlMessage<'_>; 0] = [];
                let flags = MsgFlags::MSG_DONTWAIT;
                let sent = sendmmsg(socket, &mut self.headers, slices, to, nothing, flags);
                sent.map(Iterator::count)
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

/// Sends a reply from the address that its query came to.
fn send_one(
    socket: RawFd,
    reply: &[IoSlice<'_>],
    to: Option<&SockaddrStorage>,
    local: Option<Local>,
) -> nix::Result<usize> {
    let from = match &local {
        None => None,
        Some(Local::V4(local)) => Some(ControlMessage::Ipv4PacketInfo(local)),
        Some(Local::V6(local)) => Some(ControlMessage::Ipv6PacketInfo(local)),
    };
    let flags = MsgFlags::MSG_DONTWAIT;
    sendmsg(socket, reply, from.as_slice(), flags, to).map(|_| 1)
}
