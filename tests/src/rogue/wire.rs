//! How a client's messages travel: over UDP as datagrams, over a stream one after another.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// Largest message.
const MESSAGE: usize = 65_600;

/// A transport between client and server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A plain stream.
    Tcp,
}

impl Transport {
    /// All that the relay serves.
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];
}

/// An open connection of one of these kinds.
#[derive(Debug)]
pub enum Wire {
    /// A connected socket.
    Udp(UdpSocket),
    /// Messages cut out of a stream.
    Tcp(Framed<TcpStream>),
}

impl Wire {
    /// Opens one from the address `from` (any port), or from where the system likes.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(
        transport: Transport,
        server: SocketAddr,
        from: Option<IpAddr>,
    ) -> io::Result<Self> {
        match transport {
            Transport::Udp => {
                let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                let any = if server.is_ipv4() {
                    any
                } else {
                    Ipv6Addr::UNSPECIFIED.into()
                };
                let any = from.unwrap_or(any);
                let socket = UdpSocket::bind((any, 0))?;
                socket.connect(server)?;
                Ok(Self::Udp(socket))
            }
            Transport::Tcp => Ok(Self::Tcp(Framed::new(connect(server, from)?))),
        }
    }

    /// Sends one whole message.
    ///
    /// # Errors
    /// What the system says.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Tcp(framed) => {
                let stream = &mut framed.stream;
                stream.write_all(message)?;
                // ChannelData is padded on streams (RFC 8656 section 12.5).
                let padding = message.len().next_multiple_of(4) - message.len();
                stream.write_all(&[0; 3][..padding])
            }
        }
    }

    /// The next whole message, or `None` when none comes until `deadline`.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn receive(&mut self, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        match self {
            Self::Udp(socket) => {
                socket.set_read_timeout(Some(left))?;
                let mut buffer = vec![0; MESSAGE];
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        buffer.truncate(length);
                        Ok(Some(buffer))
                    }
                    Err(error) if is_wait(&error) => Ok(None),
                    Err(error) => Err(error),
                }
            }
            Self::Tcp(framed) => {
                framed.stream.set_read_timeout(Some(left))?;
                framed.receive()
            }
        }
    }

    /// Whether messages may be lost.
    pub fn is_lossy(&self) -> bool {
        matches!(self, Self::Udp(_))
    }

    /// The client's own address.
    ///
    /// # Errors
    /// What the system says.
    pub fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(framed) => framed.stream.local_addr(),
        }
    }
}

/// A stream and what of it is not a whole message yet.
#[derive(Debug)]
pub struct Framed<S> {
    /// The stream itself.
    pub stream: S,
    pending: Vec<u8>,
}

impl<S: Read> Framed<S> {
    /// Nothing read so far.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            pending: Vec::new(),
        }
    }

    /// Reads until a message is whole or the stream has nothing for now.
    fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some((length, padded)) = framed_length(&self.pending)
                && self.pending.len() >= padded
            {
                let rest = self.pending.split_off(padded);
                let mut message = std::mem::replace(&mut self.pending, rest);
                message.truncate(length);
                return Ok(Some(message));
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.pending.extend_from_slice(&buffer[..length]),
                Err(error) if is_wait(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Length of the first message in `bytes`, without and with padding (RFC 8656 section 12.5).
fn framed_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let [kind, _, high, low, ..] = *bytes else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    Some(if kind & 0xc0 == 0x40 {
        (4 + length, (4 + length).next_multiple_of(4))
    } else {
        (20 + length, 20 + length)
    })
}

fn connect(server: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(server),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if let Some(from) = from {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    socket.connect_timeout(&server.into(), Duration::from_secs(10))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

fn is_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
    )
}
