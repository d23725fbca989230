//! The least that relaying can cost: datagrams go through as through a TURN server, and nothing is
//! asked, checked or counted.
//!
//! Measured beside a TURN server it says how much of that server's time the kernel takes for moving
//! the datagrams at all. Loopback only.

mod gso;
mod mmsg;
mod plain;
pub mod protocol;
mod sessions;
#[cfg(test)]
mod tests;
mod trains;

use std::{
    io,
    mem::swap,
    net::{SocketAddr, SocketAddrV4, UdpSocket},
    rc::Rc,
};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};
use socket2::{Domain, Socket, Type};

use sessions::Sessions;

/// Datagrams per system call.
const BATCH: usize = 32;
/// Sockets told ready at once.
const EVENTS: usize = 256;
/// Kernel buffers in bytes of the socket that all clients share, and of each relay socket.
const BUFFERS: (usize, usize) = (4 << 20, 1 << 20);
/// The length of a `ChannelData` header (RFC 8656 section 12.4).
const HEADER: usize = 4;
/// The listener's token; a session's is its number.
const LISTENER: u64 = u64::MAX;

/// How datagrams are received and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// One datagram per system call.
    Plain,
    /// `recvmmsg` and `sendmmsg`.
    Mmsg,
    /// The same with `UDP_GRO` and, to each receiver, `UDP_SEGMENT`.
    Gso,
}

/// One way to move datagrams that wait. Each call says whether more may wait on the socket than it
/// took: its next event only tells of what comes after.
trait Path: std::fmt::Debug {
    /// Takes from the clients and sends to their peers.
    fn serve_clients(&mut self, listener: &UdpSocket, sessions: &mut Sessions) -> io::Result<bool>;

    /// Takes from the peer of session `id` for its client.
    fn serve_peer(
        &mut self,
        listener: &UdpSocket,
        sessions: &Sessions,
        id: u32,
    ) -> io::Result<bool>;

    /// Sends what was kept for company.
    fn flush(&mut self, listener: &UdpSocket) -> io::Result<()>;
}

/// A forwarder with its sockets.
#[derive(Debug)]
pub struct Forwarder {
    listener: UdpSocket,
    sessions: Sessions,
    epoll: Rc<Epoll>,
    path: Box<dyn Path>,
    /// Sockets on which more may wait, and those of the turn before.
    unfinished: [Vec<u64>; 2],
}

impl Forwarder {
    /// Opens the listener on `address`, which has to be a loopback one.
    ///
    /// # Errors
    /// When the address is another one, or the system refuses a socket.
    pub fn bind(address: SocketAddrV4, mode: Mode) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            return Err(io::Error::other(format!("{address} is not on loopback")));
        }
        let listener = socket(address, BUFFERS.0)?;
        let epoll = Rc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        let path: Box<dyn Path> = match mode {
            Mode::Plain => Box::new(plain::Plain::default()),
            Mode::Mmsg => Box::new(mmsg::Mmsg::default()),
            Mode::Gso => Box::new(gso::Gso::new(&listener)?),
        };
        epoll.add(&listener, watched(LISTENER))?;
        Ok(Self {
            listener,
            sessions: Sessions::new(*address.ip(), epoll.clone(), mode == Mode::Gso),
            epoll,
            path,
            unfinished: [Vec::new(), Vec::new()],
        })
    }

    /// The address clients send to.
    ///
    /// # Errors
    /// When the socket has none, which the system does not do.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits until something came and moves it, or until `timeout`.
    ///
    /// # Errors
    /// When a socket fails otherwise than by being full or refused.
    pub fn turn(&mut self, timeout: EpollTimeout) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let [next, before] = &mut self.unfinished;
        swap(next, before);
        let timeout = if before.is_empty() {
            timeout
        } else {
            EpollTimeout::ZERO
        };
        let ready = match self.epoll.wait(&mut events, timeout) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let ready = events[..ready].iter().map(EpollEvent::data);
        for token in ready.chain(before.drain(..)) {
            let more = if token == LISTENER {
                self.path
                    .serve_clients(&self.listener, &mut self.sessions)?
            } else {
                let id = token as u32;
                self.path.serve_peer(&self.listener, &self.sessions, id)?
            };
            if more {
                next.push(token);
            }
        }
        self.path.flush(&self.listener)
    }
}

/// Edge-triggered: a socket that was emptied costs nothing until something comes.
fn watched(token: u64) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, token)
}

fn socket(address: SocketAddrV4, buffers: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // Best effort: the system's limit may be lower.
    let _ = socket.set_recv_buffer_size(buffers);
    let _ = socket.set_send_buffer_size(buffers);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Whether a call found nothing, or told of a peer that refused an earlier datagram.
fn is_nothing(error: Errno) -> bool {
    matches!(
        error,
        Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED | Errno::ENOBUFS
    )
}

/// The `ChannelData` header in front of `length` bytes.
fn header(length: usize) -> [u8; HEADER] {
    let length = (length as u16).to_be_bytes();
    [0x40, 0, length[0], length[1]]
}
