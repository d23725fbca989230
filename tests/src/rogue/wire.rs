//! How a client's messages travel: over UDP as datagrams, over a stream one after another.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Protocol, Socket, Type};

use crate::process::Guard;
use crate::turnd::{REALM, certificate};

/// Largest message.
const MESSAGE: usize = 65_600;

/// A transport between client and server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A plain stream.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// DTLS over UDP.
    Dtls,
}

impl Transport {
    /// All that the relay serves.
    pub const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Dtls];
}

/// An open connection of one of these kinds.
#[derive(Debug)]
pub enum Wire {
    /// A connected socket.
    Udp(UdpSocket),
    /// Messages cut out of a stream.
    Tcp(Framed<TcpStream>),
    /// The same within TLS.
    Tls(Box<Framed<StreamOwned<ClientConnection, TcpStream>>>),
    /// OpenSSL's client.
    Dtls(Openssl),
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
            Transport::Tls => {
                let stream = secured(connect(server, from)?)?;
                Ok(Self::Tls(Box::new(Framed::new(stream))))
            }
            Transport::Dtls => Ok(Self::Dtls(Openssl::start(server)?)),
        }
    }

    /// Sends one whole message.
    ///
    /// # Errors
    /// What the system says.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Tcp(framed) => write_padded(&mut framed.stream, message),
            Self::Tls(framed) => {
                write_padded(&mut framed.stream, message)?;
                framed.stream.flush()
            }
            Self::Dtls(openssl) => openssl.socket.send(message).map(drop),
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
                datagram(|buffer| socket.recv(buffer))
            }
            Self::Dtls(openssl) => {
                openssl.socket.set_read_timeout(Some(left))?;
                datagram(|buffer| openssl.socket.recv(buffer))
            }
            Self::Tls(framed) => {
                framed.stream.sock.set_read_timeout(Some(left))?;
                framed.receive()
            }
            Self::Tcp(framed) => {
                framed.stream.set_read_timeout(Some(left))?;
                framed.receive()
            }
        }
    }

    /// Whether messages may be lost.
    pub fn is_lossy(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::Dtls(_))
    }

    /// The client's own address.
    ///
    /// # Errors
    /// What the system says; always where the socket is another process's.
    pub fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(framed) => framed.stream.local_addr(),
            Self::Tls(framed) => framed.stream.sock.local_addr(),
            Self::Dtls(_) => Err(ErrorKind::Unsupported.into()),
        }
    }
}

/// OpenSSL's DTLS client, which passes on one message for each read and each write.
#[derive(Debug)]
pub struct Openssl {
    socket: UnixDatagram,
    _child: Guard,
}

impl Openssl {
    fn start(server: SocketAddr) -> io::Result<Self> {
        // Datagrams, so that what is written at once stays apart.
        let (socket, other) = UnixDatagram::pair()?;
        let output = other.try_clone()?;
        let child = Command::new("openssl")
            .args(["s_client", "-quiet", "-dtls1_2", "-connect"])
            .arg(server.to_string())
            .stdin(OwnedFd::from(other))
            .stdout(OwnedFd::from(output))
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            socket,
            _child: Guard::new(child),
        })
    }
}

/// Shakes hands with a relay under test, insisting on its certificate.
fn secured(tcp: TcpStream) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_slice(certificate().0.as_bytes());
    roots
        .add(trusted.expect("a certificate"))
        .expect("it can be trusted");
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(REALM).expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut tls = StreamOwned::new(client, tcp);
    tls.sock.set_read_timeout(Some(Duration::from_secs(10)))?;
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

/// ChannelData is padded on streams (RFC 8656 section 12.5).
fn write_padded(stream: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let padding = message.len().next_multiple_of(4) - message.len();
    stream.write_all(message)?;
    stream.write_all(&[0; 3][..padding])
}

fn datagram(receive: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; MESSAGE];
    match receive(&mut buffer) {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(error) if is_wait(&error) => Ok(None),
        Err(error) => Err(error),
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
