//! Binding every listener, with errors that say which address and which key of the file.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::Path;

use nix::sys::stat::{Mode, umask};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::config::{Node, Tls};
use crate::handover::Sockets;
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

fn purpose(key: &'static str, place: &str) -> String {
    format!("{key} {place}")
}

/// The socket for `key` at `place`: one that is there already, or else a new one.
fn have<S: From<OwnedFd> + AsFd>(
    sockets: &mut Sockets,
    key: &'static str,
    place: String,
    bind: impl FnOnce() -> io::Result<S>,
) -> Result<S, Error> {
    let purpose = purpose(key, &place);
    sockets.take(purpose, bind).map_err(at(key, place))
}

/// The listeners for DNS: one TCP listener per address, and per worker UDP listeners for each.
#[derive(Debug)]
pub struct Dns {
    /// TCP.
    pub tcp: Vec<TcpListener>,
    /// UDP, by worker.
    pub udp: Vec<Vec<udp::Listener>>,
    /// The UDP listeners of each address.
    pub groups: Vec<udp::Group>,
}

/// Binds `node.listen`.
pub fn dns(sockets: &mut Sockets, node: &Node) -> Result<Dns, Error> {
    let mut tcp = Vec::new();
    let workers = workers(node);
    let mut udp: Vec<Vec<udp::Listener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut groups = Vec::new();
    for address in &node.listen {
        // TCP first: UDP sockets of two daemons of one user may share an address, TCP's may not.
        tcp.push(self::tcp(sockets, "node.listen", *address)?);
        let place = format!("{address} (UDP)");
        // More than are needed are read all the same: what waits in one that is closed is lost, and
        // others change their numbers.
        let there = sockets.waiting(&purpose("node.listen", &place));
        let failed = |error| at("node.listen", place.clone())(error);
        for number in 0..there.max(udp::SOCKETS * workers) {
            let bind = || udp::Listener::bind(*address, number == 0);
            let socket = have(sockets, "node.listen", place.clone(), bind)?;
            if number == 0 {
                groups.push(udp::Group::of(&socket, workers).map_err(failed)?);
            }
            let preferred = udp::Group::is_preferred(number, workers);
            let listener = udp::Listener::new(socket, preferred).map_err(failed)?;
            udp[number / udp::SOCKETS % workers].push(listener);
        }
    }
    Ok(Dns { tcp, udp, groups })
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
pub fn encrypted(sockets: &mut Sockets, tls: &Tls) -> Result<Encrypted, Error> {
    let dot = tls.dot.iter();
    let dot = dot.map(|address| tcp(sockets, "tls.dot", *address));
    let dot = dot.collect::<Result<_, _>>()?;
    let doq = tls.doq.iter().map(|address| {
        let place = format!("{address} (UDP)");
        have(sockets, "tls.doq", place, || quic(*address))
    });
    let doq = doq.collect::<Result<_, _>>()?;
    Ok(Encrypted { dot, doq })
}

fn quic(address: SocketAddr) -> io::Result<UdpSocket> {
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
pub fn tcp(
    sockets: &mut Sockets,
    key: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, Error> {
    let place = format!("{address} (TCP)");
    let listener = have(sockets, key, place.clone(), || stream(address))?;
    TcpListener::from_std(listener).map_err(at(key, place))
}

fn stream(address: SocketAddr) -> io::Result<std::net::TcpListener> {
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
    Ok(socket.into())
}

/// Binds a UDP socket for `key`.
pub fn datagrams(
    sockets: &mut Sockets,
    key: &'static str,
    address: SocketAddr,
) -> Result<UdpSocket, Error> {
    let place = format!("{address} (UDP)");
    have(sockets, key, place, || UdpSocket::bind(address))
}

/// Binds the control socket, for its owner only. A socket file that nobody listens on any more is
/// replaced; one that is in use is not.
pub fn control(sockets: &mut Sockets, path: &Path) -> Result<UnixListener, Error> {
    let (key, place) = ("node.control", path.display().to_string());
    let listener = have(sockets, key, place.clone(), || unix(path))?;
    UnixListener::from_std(listener).map_err(at(key, place))
}

fn unix(path: &Path) -> io::Result<StdUnixListener> {
    match UnixStream::connect(path) {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Nobody else gets to it, not even before its mode could be changed.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = StdUnixListener::bind(path);
    umask(before);
    let listener = listener?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
