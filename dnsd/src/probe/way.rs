//! One way to a relay as probes go it: a socket or a connection that carries whole messages.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dnsd_core::health::Outcome;
use dnsd_core::paths::Transport;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::stream::{Stream, metered};
use super::stun::{heard, unsent};
use super::tls::Judge;

/// From where to where, and over what.
#[derive(Debug, Clone)]
pub struct Way {
    /// Source of the probe, of the relay address's family.
    pub client: IpAddr,
    /// The relay's listener.
    pub relay: SocketAddr,
    /// What it speaks there.
    pub transport: Transport,
    /// Judges its certificate, where it has to show one.
    pub judge: Arc<Judge>,
}

/// A way that is open.
pub(super) enum Link {
    Udp(UdpSocket),
    Stream(Stream),
}

/// A way that is open, and what is left of the life of the certificate that was shown there.
pub(super) struct Opened {
    pub(super) link: Link,
    pub(super) certificate_left: Option<Duration>,
}

/// A way that could not be opened. A certificate may have been seen all the same.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) outcome: Outcome,
    pub(super) certificate_left: Option<Duration>,
}

impl From<Outcome> for Closed {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            certificate_left: None,
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp(_) => "Link::Udp",
            Self::Stream(_) => "Link::Stream",
        })
    }
}

impl Way {
    /// Opens it: at once for UDP, after the handshakes for TCP and TLS. Has no bound of its own.
    pub(super) async fn open(&self) -> Result<Opened, Closed> {
        if self.transport == Transport::Udp {
            let local = |error: io::Error| unsent(&error);
            let socket = UdpSocket::bind((self.client, 0)).await.map_err(local)?;
            socket.connect(self.relay).await.map_err(local)?;
            return Ok(Opened {
                link: Link::Udp(socket),
                certificate_left: None,
            });
        }
        let stream = self.connect().await.map_err(|error| unreached(&error))?;
        let local = stream.local_addr().map_err(|error| unsent(&error))?;
        let metered = metered(stream);
        if self.transport == Transport::Tcp {
            return Ok(Opened {
                link: Link::Stream(Stream::new(Box::new(metered), local)),
                certificate_left: None,
            });
        }
        let (stream, seen) = self.judge.handshake(metered, self.relay.ip()).await?;
        if let Some(wrong) = seen.wrong {
            return Err(Closed {
                outcome: Outcome::Failed(wrong),
                certificate_left: seen.left,
            });
        }
        Ok(Opened {
            link: Link::Stream(Stream::new(Box::new(stream), local)),
            certificate_left: seen.left,
        })
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = match self.relay {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind((self.client, 0).into())?;
        let stream = socket.connect(self.relay).await?;
        // A probe's messages are answers to each other.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// How an error of connecting counts: the network's word about the host speaks against the relay,
/// what keeps this machine from trying does not.
fn unreached(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::TimedOut => Outcome::Timeout,
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::HostUnreachable => heard(error),
        _ => unsent(error),
    }
}

impl Link {
    /// Sends one message.
    pub(super) async fn send(&self, message: &[u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send(message).await,
            Self::Stream(stream) => stream.send(message).await,
        }
    }

    /// Receives one message.
    pub(super) async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.recv(buffer).await,
            Self::Stream(stream) => stream.recv(buffer).await,
        }
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Stream(stream) => Ok(stream.local_addr()),
        }
    }
}
