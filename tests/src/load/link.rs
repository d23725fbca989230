//! A client's way to the server: datagrams, or a stream.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
};

use nix::sys::epoll::EpollFlags;
use rustls::CipherSuite;

use super::{
    LoadError,
    datagrams::{Inbox, Offload, Outbox, prepare, prepare_sending},
    payload::messages,
    plan::{Plan, Transport},
    stream::Stream,
};

/// One client's connection.
#[derive(Debug)]
pub enum Link {
    /// UDP: a connected socket.
    Datagrams(UdpSocket),
    /// TCP, or TLS over it.
    Stream(Box<Stream>),
}

impl Link {
    /// Connects the client at `index` of a plan.
    ///
    /// # Errors
    /// When the server does not take the connection, or the system gives no socket.
    pub fn open(plan: &Plan, index: usize) -> Result<Self, LoadError> {
        let from = SocketAddr::new(plan.source(index), 0);
        if plan.transport != Transport::Udp {
            return Ok(Self::Stream(Box::new(Stream::open(plan, from)?)));
        }
        let socket = UdpSocket::bind(from)?;
        socket.connect(plan.server)?;
        let offload = Offload {
            send: None,
            receive: plan.gro,
        };
        prepare(&socket, offload)?;
        Ok(Self::Datagrams(socket))
    }

    /// Lets rows of packets of `length` bytes leave in one piece from now on, or nothing. A message that
    /// is longer would leave in pieces.
    ///
    /// # Errors
    /// When the system knows no such offload.
    pub fn coalesce(&self, length: Option<usize>) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => prepare_sending(socket, length.unwrap_or(0)),
            Self::Stream(_) => Ok(()),
        }
    }

    /// The cipher suite, of TLS.
    pub fn suite(&self) -> Option<CipherSuite> {
        match self {
            Self::Datagrams(_) => None,
            Self::Stream(stream) => stream.suite(),
        }
    }

    /// What to watch it for. A stream is looked at once for each change: it is read until nothing
    /// waits, and what it could not send goes when there is room again.
    pub fn events(&self) -> EpollFlags {
        match self {
            Self::Datagrams(_) => EpollFlags::EPOLLIN,
            Self::Stream(_) => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET,
        }
    }

    /// Sends one message; a datagram for which there is no room is lost.
    ///
    /// # Errors
    /// When the server refuses datagrams or has closed the connection.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => match socket.send(message) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                _ => Ok(()),
            },
            Self::Stream(stream) => stream.send(message),
        }
    }

    /// Sends the packets of an outbox; returns how many were taken. A stream takes none before all
    /// earlier ones are on their way.
    ///
    /// # Errors
    /// When the socket fails otherwise than by being full or refused.
    pub fn send_packets(&mut self, outbox: &mut Outbox) -> io::Result<usize> {
        match self {
            Self::Datagrams(socket) => outbox.send(socket),
            Self::Stream(stream) => {
                let (packets, bytes) = outbox.take();
                if stream.is_behind() {
                    return Ok(0);
                }
                stream.send(bytes).map(|()| packets)
            }
        }
    }

    /// Gives every message that waits to `each`, with `inbox` for room, and sends what could not be
    /// sent before.
    ///
    /// # Errors
    /// When the socket fails otherwise than by being refused, or the server has closed the connection.
    pub fn receive(&mut self, inbox: &mut Inbox, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => {
                inbox.receive(socket)?;
                let datagrams = inbox.iter().map(|(datagram, _)| datagram);
                datagrams.flat_map(messages).for_each(each);
                Ok(())
            }
            Self::Stream(stream) => {
                stream.flush()?;
                stream.receive(inbox.room(), &mut each)
            }
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Datagrams(socket) => socket.as_fd(),
            Self::Stream(stream) => stream.as_fd(),
        }
    }
}
