//! The TCP listener of one worker, and how the connections it accepts are set up.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::limits::{DELIVERY, KEEPALIVE, KEEPALIVE_INTERVAL, UNSENT};
use crate::net::udp::Sharing;

/// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// An open TCP socket that clients connect to.
#[derive(Debug)]
pub struct Tcp {
    pub(crate) socket: mio::net::TcpListener,
    local: SocketAddr,
}

impl Tcp {
    /// Opens and binds a listener. IPv6 ones take IPv6 only.
    pub fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Connections of an earlier run may linger.
        socket.set_reuse_address(true)?;
        if sharing == Sharing::PerWorker {
            socket.set_reuse_port(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = mio::net::TcpListener::from_std(socket.into());
        let local = socket.local_addr()?;
        Ok(Self { socket, local })
    }

    /// The bound address. Its IP is unspecified when bound to a wildcard.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The next connection that waits, with its client's and its own address.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr, SocketAddr)> {
        let (stream, client) = self.socket.accept()?;
        let server = stream.local_addr()?;
        set_up(&stream);
        Ok((stream, client, server))
    }
}

/// Best effort: a connection works without any of it.
fn set_up(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    // What is gathered leaves at once; nothing is gained by waiting for more.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    let _ = socket.set_tcp_user_timeout(Some(DELIVERY));
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL);
    let _ = socket.set_tcp_keepalive(&keepalive);
}
