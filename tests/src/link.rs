//! How a test client reaches a server: over UDP or over a stream, one message at a time, with
//! deadlines.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::stun::HEADER_LEN;
use crate::subject::client_address;

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a server.
#[derive(Debug)]
pub enum Link {
    /// Datagrams.
    Udp(UdpSocket),
    /// A byte stream.
    Stream(Stream),
}

impl Link {
    /// A UDP socket of an address of its own, connected to `server`.
    ///
    /// # Panics
    /// When there is none.
    pub fn udp(server: SocketAddr) -> Self {
        Self::udp_from(local(server), server)
    }

    /// A UDP socket of the address `local`, connected to `server`.
    ///
    /// # Panics
    /// When there is none.
    pub fn udp_from(local: IpAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((local, 0)).expect("a socket");
        socket.connect(server).expect("connected");
        Self::Udp(socket)
    }

    /// A TCP connection from an address of its own to `server`.
    ///
    /// # Panics
    /// When it is refused.
    pub fn tcp(server: SocketAddr) -> Self {
        Self::Stream(Stream::new(Wire::Tcp(connect(server))))
    }

    /// A TLS connection over TCP to `server`, which has to show what `trusted`, a PEM file, holds.
    ///
    /// # Panics
    /// When the handshake fails.
    pub fn tls(server: SocketAddr, trusted: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        let trusted = CertificateDer::from_pem_file(trusted).expect("a certificate");
        roots.add(trusted).expect("it can be trusted");
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // RFC 7443.
        config.alpn_protocols = vec![b"stun.turn".to_vec()];
        let name = ServerName::IpAddress(server.ip().into());
        let client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut tls = StreamOwned::new(client, connect(server));
        tls.sock
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout");
        while tls.conn.is_handshaking() {
            tls.conn
                .complete_io(&mut tls.sock)
                .expect("a TLS handshake");
        }
        Self::Stream(Stream::new(Wire::Tls(Box::new(tls))))
    }

    /// The client's address as the server sees it.
    ///
    /// # Panics
    /// When the socket is gone.
    pub fn local(&self) -> SocketAddr {
        let local = match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Stream(stream) => stream.wire.tcp().local_addr(),
        };
        local.expect("an address")
    }

    /// Whether ChannelData is padded here (RFC 8656 section 12.5).
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Sends one message, or whatever `bytes` are.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(bytes).map(drop),
            Self::Stream(stream) => stream.write(bytes),
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// `TimedOut` when there is none within `patience`; others when the connection ends.
    pub fn receive(&mut self, patience: Duration) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + patience;
        match self {
            Self::Udp(socket) => loop {
                let mut buffer = vec![0; 65_536];
                socket.set_read_timeout(Some(left(deadline)?))?;
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        buffer.truncate(length);
                        return Ok(buffer);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            },
            Self::Stream(stream) => stream.receive(deadline),
        }
    }
}

/// A connection, cut into STUN messages and ChannelData.
#[derive(Debug)]
pub struct Stream {
    wire: Wire,
    /// What has arrived and is not a whole message yet.
    read: Vec<u8>,
}

#[derive(Debug)]
enum Wire {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => &tls.sock,
        }
    }
}

impl Stream {
    fn new(wire: Wire) -> Self {
        let read = Vec::new();
        Self { wire, read }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Tcp(tcp) => tcp.write_all(bytes),
            Wire::Tls(tls) => tls.write_all(bytes),
        }
    }

    fn receive(&mut self, deadline: Instant) -> io::Result<Vec<u8>> {
        loop {
            if let Some(length) = frame(&self.read).filter(|length| self.read.len() >= *length) {
                let rest = self.read.split_off(length);
                return Ok(std::mem::replace(&mut self.read, rest));
            }
            let mut buffer = [0; 4096];
            self.wire.tcp().set_read_timeout(Some(left(deadline)?))?;
            let read = match &mut self.wire {
                Wire::Tcp(tcp) => tcp.read(&mut buffer),
                Wire::Tls(tls) => tls.read(&mut buffer),
            };
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.read.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// How long the message is whose first bytes these are; ChannelData with its padding.
fn frame(bytes: &[u8]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
    Some(if bytes[0] & 0xc0 == 0x40 {
        4 + length.next_multiple_of(4)
    } else {
        HEADER_LEN + length
    })
}

fn connect(server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).expect("a socket");
    let local = SocketAddr::new(local(server), 0);
    socket.bind(&local.into()).expect("an address");
    socket
        .connect_timeout(&server.into(), PATIENCE)
        .expect("connected");
    socket.set_tcp_nodelay(true).expect("without delay");
    socket.into()
}

fn local(server: SocketAddr) -> IpAddr {
    match server {
        SocketAddr::V4(_) => IpAddr::V4(client_address()),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_by_the_messages_own_lengths() {
        assert_eq!(frame(&[0, 1, 0]), None);
        assert_eq!(frame(&[0, 1, 0, 8, 0x21]), Some(28));
        assert_eq!(frame(&[0x40, 0, 0, 5]), Some(12));
    }
}
