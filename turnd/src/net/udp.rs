//! One non-blocking UDP socket of the data plane: how it is opened and its options.
//!
//! Never connected, so the kernel reports no ICMP error on it, unless asked to.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use mio::net::UdpSocket;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6DontFrag, Ipv6RecvErr};
use quinn_udp::{EcnCodepoint, UdpSocketState};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};

use super::mmsg::{self, Message};
use super::options::{self, allow_fragments};

/// Kernel buffer sizes asked for, in bytes. Best effort: the kernel caps them at
/// `net.core.rmem_max` and `net.core.wmem_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffers {
    /// `SO_RCVBUF`.
    pub receive: usize,
    /// `SO_SNDBUF`.
    pub send: usize,
}

/// Whether other sockets of this process may bind the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody else: relayed sockets, and the look whether a listener's address is free.
    Exclusive,
    /// `SO_REUSEPORT`: one listener per worker on one address.
    PerWorker,
}

/// Why the kernel did not take a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// The socket's send buffer is full; the datagram is gone, as on any congested link.
    Full,
    /// The kernel refused it: no route, too big, forbidden destination.
    Refused,
}

/// Where a datagram goes and how it is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// The destination.
    pub to: SocketAddr,
    /// The source address to use, for sockets bound to a wildcard address.
    pub from: Option<IpAddr>,
    /// The ECN mark carried over from the datagram that is relayed (RFC 8656, section 15).
    pub ecn: Option<EcnCodepoint>,
    /// Whether nobody on the way may fragment it.
    pub dont_fragment: bool,
}

/// An open socket and what the batching library knows about it.
#[derive(Debug)]
pub struct Udp {
    pub(crate) socket: UdpSocket,
    pub(crate) state: &'static UdpSocketState,
    local: SocketAddr,
    segments: Cell<usize>,
}

impl Udp {
    /// Opens and binds a socket; port 0 lets the kernel choose.
    ///
    /// IPv6 sockets carry IPv6 only: an IPv4 client always shows as an IPv4 address.
    pub fn bind(address: SocketAddr, sharing: Sharing, buffers: Buffers) -> io::Result<Self> {
        let socket = options::open(address, sharing, buffers)?;
        let local = match address.port() {
            0 => socket.local_addr()?.as_socket().unwrap_or(address),
            _ => address,
        };
        let socket = UdpSocket::from_std(socket.into());
        let state = options::kernel()?;
        Ok(Self {
            socket,
            local,
            segments: Cell::new(state.max_gso_segments()),
            state,
        })
    }

    /// Lets the kernel keep ICMP messages about what is sent, see [`super::errors`].
    pub fn keep_errors(&self) -> io::Result<()> {
        if self.local.is_ipv4() {
            setsockopt(&self.socket, Ipv4RecvErr, &true)?;
        } else {
            setsockopt(&self.socket, Ipv6RecvErr, &true)?;
        }
        Ok(())
    }

    /// Forbids fragments for what is sent from now on, or allows them again.
    pub fn forbid_fragments(&self, forbid: bool) -> io::Result<()> {
        if !forbid {
            return allow_fragments(&self.socket, self.local);
        }
        // PROBE: whatever the path was once said to carry, it is asked again; its answer goes to
        // the client.
        if self.local.is_ipv4() {
            set_ip_mtu_discover(&self.socket, Ipv4PathMtuDiscovery::PROBE)?;
        } else {
            set_ipv6_mtu_discover(&self.socket, Ipv6PathMtuDiscovery::PROBE)?;
            setsockopt(&self.socket, Ipv6DontFrag, &true)?;
        }
        Ok(())
    }

    /// The bound address. Its IP is unspecified when bound to a wildcard.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The real local address a datagram with destination `ip` arrived on.
    pub fn local_for(&self, ip: Option<IpAddr>) -> SocketAddr {
        match ip {
            Some(ip) if self.local.ip().is_unspecified() => SocketAddr::new(ip, self.local.port()),
            _ => self.local,
        }
    }

    /// The source address to name when answering from `server`; `None` when the socket has only one.
    pub fn source(&self, server: SocketAddr) -> Option<IpAddr> {
        self.local.ip().is_unspecified().then(|| server.ip())
    }

    /// How many datagrams a train may have; 1 where the kernel does not take trains apart.
    pub fn segments(&self) -> usize {
        self.segments.get()
    }

    /// Sends messages in order, [`mmsg::MOST`] at most, and never blocks. Returns how many the kernel
    /// took, which may be fewer than given: ask again for the next one, whose error then shows.
    ///
    /// # Errors
    /// What became of the first one, if the kernel did not take it.
    pub fn send<'m>(
        &self,
        messages: impl Iterator<Item = Message<'m>> + Clone,
    ) -> Result<usize, Unsent> {
        let socket = self.socket.as_fd();
        let sent = match mmsg::send(socket, messages.clone()) {
            Err(error) if !is_full(&error) => {
                // It may have been an ICMP message about an earlier datagram, told once; or it is
                // too long for the path, which shows again.
                mmsg::send(socket, messages)
            }
            sent => sent,
        };
        sent.map_err(|error| {
            if is_full(&error) {
                Unsent::Full
            } else {
                if error.raw_os_error() == Some(nix::libc::EIO) {
                    // The interface cannot be given trains; it cannot add checksums either.
                    self.segments.set(1);
                }
                tracing::trace!(%error, "datagram refused");
                Unsent::Refused
            }
        })
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(nix::libc::ENOBUFS)
}
