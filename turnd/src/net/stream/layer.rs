//! What lies between a connection's bytes and its messages: a proxy's header, then TLS or nothing.
//!
//! TLS and plain clients share a port: a TLS record of a handshake begins with 22, which neither STUN
//! nor ChannelData does.

use std::io::{self, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{ServerConfig, ServerConnection};
use turnd_core::Transport;

use super::counters::End;
use super::frame;
use super::limits::{GATHERED, HANDSHAKE_BYTES};
use super::proxy::{self, Header};

/// The content type of a TLS record that carries a handshake (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// How far a connection has come.
#[derive(Debug)]
pub enum Layer {
    /// A proxy's header comes first; this much of it has come.
    Proxied(Vec<u8>),
    /// The first byte tells.
    Unknown,
    /// Messages.
    Plain,
    /// Messages under TLS.
    Tls(Box<Tls>),
}

/// A TLS connection.
#[derive(Debug)]
pub struct Tls {
    session: ServerConnection,
    /// Bytes received before the handshake was done.
    before: usize,
}

impl Layer {
    /// What is carried; `None` as long as it is not known.
    pub fn transport(&self) -> Option<Transport> {
        match self {
            Self::Proxied(_) | Self::Unknown => None,
            Self::Plain => Some(Transport::Tcp),
            Self::Tls(_) => Some(Transport::Tls),
        }
    }

    /// Takes a proxy's header from the front of `bytes`. `None` when it is not whole yet.
    pub fn unwrap(&mut self, bytes: &mut &[u8]) -> Result<Option<Header>, End> {
        let Self::Proxied(begun) = self else {
            return Ok(None);
        };
        let header = proxy::take(begun, bytes).map_err(|_| End::Proxy)?;
        if header.is_some() {
            *self = Self::Unknown;
        }
        Ok(header)
    }

    /// Decides by the first byte. `config` is what TLS is served with, where it is.
    pub fn decide(
        &mut self,
        bytes: &[u8],
        config: impl FnOnce() -> Option<Arc<ServerConfig>>,
    ) -> Result<(), End> {
        let (Self::Unknown, Some(first)) = (&self, bytes.first()) else {
            return Ok(());
        };
        let config = (*first == TLS_HANDSHAKE).then(config).flatten();
        *self = match config {
            Some(config) => Self::Tls(Box::new(Tls::new(config)?)),
            None => Self::Plain,
        };
        Ok(())
    }
}

impl Tls {
    fn new(config: Arc<ServerConfig>) -> Result<Self, End> {
        let mut session = ServerConnection::new(config).map_err(|_| End::Tls)?;
        // What is written is bounded by whoever writes, and has to be taken as whole messages.
        session.set_buffer_limit(None);
        Ok(Self { session, before: 0 })
    }

    /// Opens what has come: takes records from the front of `bytes` and returns how much of `plain`
    /// it has filled; `None` when `bytes` are used up.
    pub fn open(&mut self, bytes: &mut &[u8], plain: &mut [u8]) -> Result<Option<usize>, End> {
        loop {
            match self.session.reader().read(plain) {
                // The client said that it is done.
                Ok(0) => return Err(End::Client),
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(End::Tls),
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            let taken = self.session.read_tls(bytes).map_err(|_| End::Tls)?;
            if self.session.is_handshaking() {
                self.before += taken;
                if self.before > HANDSHAKE_BYTES {
                    return Err(End::TooLong);
                }
            }
            // An alert that says why is left to be sent.
            self.session.process_new_packets().map_err(|_| End::Tls)?;
        }
    }

    /// Says that nothing more will be sent.
    pub fn close(&mut self) {
        self.session.send_close_notify();
    }

    /// The bytes written to it go to `socket` under TLS, cut anywhere.
    pub fn raw<'a>(&'a mut self, socket: &'a mut TcpStream) -> Raw<'a> {
        Raw { tls: self, socket }
    }

    fn flush(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(socket)?;
        }
        Ok(())
    }

    /// What is written to it goes to `socket` under TLS.
    pub fn over<'a>(&'a mut self, socket: &'a mut TcpStream) -> Sealed<'a> {
        Sealed { tls: self, socket }
    }
}

/// Where whole messages are written to that leave as records.
#[derive(Debug)]
pub struct Sealed<'a> {
    tls: &'a mut Tls,
    socket: &'a mut TcpStream,
}

impl Write for Sealed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Records wait only when the kernel is full, so that what is late is noticed.
        self.flush()?;
        // A record for each message: there are clients that look at one message per record.
        let mut rest = bytes;
        while !rest.is_empty() && bytes.len() - rest.len() < GATHERED {
            let (message, later) = frame::split(rest);
            self.tls.session.writer().write_all(message)?;
            rest = later;
        }
        Ok(bytes.len() - rest.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tls.flush(self.socket)
    }
}

/// Where bytes are written to that are no messages.
#[derive(Debug)]
pub struct Raw<'a> {
    tls: &'a mut Tls,
    socket: &'a mut TcpStream,
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Records wait only when the kernel is full, so that no more than one write does.
        self.flush()?;
        let now = bytes.get(..GATHERED).unwrap_or(bytes);
        self.tls.session.writer().write_all(now)?;
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tls.flush(self.socket)
    }
}
