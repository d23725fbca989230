//! Binding every listener, with errors that say which address and which key of the file.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use nix::sys::stat::{Mode, umask};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::config::{Node, Tls};
use crate::limits::UDP_WORKERS;
use crate::serve::udp;

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 512;

/// A listener that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("`{key}`: cannot listen on {place}: {source}{}", hint(source))]
pub struct Error {
    key: &'static str,
    place: String,
    source: io::Error,
}

/// What usually helps.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (another process has it; `ss -lnptu` shows which)",
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need CAP_NET_BIND_SERVICE, files a directory this user may write)"
        }
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has the address)",
        _ => "",
    }
}

fn at(key: &'static str, place: String) -> impl FnOnce(io::Error) -> Error {
    move |source| Error { key, place, source }
}

/// The listeners for DNS: one TCP listener per address, and per worker one UDP listener each.
#[derive(Debug)]
pub struct Dns {
    /// TCP.
    pub tcp: Vec<TcpListener>,
    /// UDP, by worker.
    pub udp: Vec<Vec<udp::Listener>>,
}

/// Binds `node.listen`.
pub fn dns(node: &Node) -> Result<Dns, Error> {
    let mut tcp = Vec::new();
    let mut udp: Vec<Vec<udp::Listener>> = (0..workers(node)).map(|_| Vec::new()).collect();
    for address in &node.listen {
        // TCP first: UDP sockets of two daemons of one user may share an address, TCP's may not.
        let place = format!("{address} (TCP)");
        tcp.push(stream(*address).map_err(at("node.listen", place))?);
        for worker in &mut udp {
            let listener = udp::Listener::bind(*address);
            worker.push(listener.map_err(at("node.listen", format!("{address} (UDP)")))?);
        }
    }
    Ok(Dns { tcp, udp })
}

/// The listeners of encrypted transports.
#[derive(Debug, Default)]
pub struct Encrypted {
    /// DNS over TLS.
    pub dot: Vec<TcpListener>,
    /// DNS over QUIC.
    pub doq: Vec<UdpSocket>,
}

/// Binds `tls.dot` and `tls.doq`.
pub fn encrypted(tls: &Tls) -> Result<Encrypted, Error> {
    let quic = |address: &SocketAddr| {
        let place = format!("{address} (UDP)");
        datagrams(*address).map_err(at("tls.doq", place))
    };
    let dot = tls.dot.iter().map(|address| tcp("tls.dot", *address));
    Ok(Encrypted {
        dot: dot.collect::<Result<_, _>>()?,
        doq: tls.doq.iter().map(quic).collect::<Result<_, _>>()?,
    })
}

fn datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// How many UDP workers a configuration means.
fn workers(node: &Node) -> usize {
    match node.workers {
        0 => std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(UDP_WORKERS),
        workers => usize::from(workers),
    }
}

/// Binds a TCP listener for `key`.
pub fn tcp(key: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    stream(address).map_err(at(key, format!("{address} (TCP)")))
}

fn stream(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of a daemon that just ended must not keep the next from starting.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Names `node.reports` in the error of a socket bound elsewhere.
pub fn reports(address: SocketAddr) -> impl FnOnce(io::Error) -> Error {
    at("node.reports", format!("{address} (UDP)"))
}

/// Names `sharing.listen` in the error of a socket bound elsewhere.
pub fn sharing(address: SocketAddr) -> impl FnOnce(io::Error) -> Error {
    at("sharing.listen", format!("{address} (UDP)"))
}

/// Binds the control socket, for its owner only. A socket file that nobody listens on any more is
/// replaced; one that is in use is not.
pub fn control(path: &Path) -> Result<UnixListener, Error> {
    unix(path).map_err(at("node.control", path.display().to_string()))
}

fn unix(path: &Path) -> io::Result<UnixListener> {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Nobody else gets to it, not even before its mode could be changed.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    listener
}
