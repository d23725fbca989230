//! TCP sockets of relayed transport addresses: one listens, others connect from the same address and
//! port to peers.

use std::io;
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use nix::libc::EINPROGRESS;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::limits::BACKLOG;
use crate::net::stream::limits::{KEEPALIVE, KEEPALIVE_INTERVAL};

/// Binds a socket that shares its address with others of this relay.
fn bind(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Listens on a relayed transport address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bind(address)?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Begins to connect from a relayed transport address to a peer.
pub fn connect(from: SocketAddr, peer: SocketAddr) -> io::Result<TcpStream> {
    let socket = bind(from)?;
    match socket.connect(&peer.into()) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(error),
        _ => {}
    }
    let stream = TcpStream::from_std(socket.into());
    set_up(&stream);
    Ok(stream)
}

/// Best effort: a connection works without any of it. A side that does not read for a while is no
/// reason to give up on it, as long as it is there.
pub fn set_up(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_user_timeout(None);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

/// Closes a connection so that its other side notices at once.
pub fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
    drop(stream);
}
