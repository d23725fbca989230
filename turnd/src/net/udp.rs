//! One non-blocking UDP socket of the data plane: how it is opened and its options.
//!
//! Never connected, so the kernel reports no ICMP error on it, unless asked to.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6DontFrag, Ipv6RecvErr};
use quinn_udp::{EcnCodepoint, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};

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

/// What became of a datagram handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The kernel took it.
    Taken,
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
            state,
            local,
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

    /// How many datagrams one segmented send may carry; 1 where the kernel has no segmentation.
    pub fn segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Sends `bytes`, as datagrams of `segment` bytes when given. Never blocks.
    pub fn send(&self, envelope: &Envelope, bytes: &[u8], segment: Option<usize>) -> Sent {
        let transmit = Transmit {
            destination: envelope.to,
            ecn: envelope.ecn,
            contents: bytes,
            segment_size: segment,
            src_ip: envelope.from,
        };
        let socket = UdpSockRef::from(&self.socket);
        let sent = match self.state.try_send(socket, &transmit) {
            Err(error) if !is_full(&error) => {
                // It may have been an ICMP message about an earlier datagram, told once; or it is
                // too long for the path, which shows again.
                let socket = UdpSockRef::from(&self.socket);
                self.state.try_send(socket, &transmit)
            }
            sent => sent,
        };
        match sent {
            Ok(()) => Sent::Taken,
            Err(error) if is_full(&error) => Sent::Full,
            Err(error) => {
                tracing::trace!(%error, to = %envelope.to, "datagram refused");
                Sent::Refused
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(nix::libc::ENOBUFS)
}
