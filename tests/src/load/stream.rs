//! A client's connection over TCP or TLS, cut into messages, and never waited for.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use rustls::{CipherSuite, ClientConnection};
use socket2::{Domain, Socket, Type};

use super::{
    LoadError,
    payload::framed_length,
    plan::{Plan, Transport},
    tls,
};

/// How long the connection and a handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes taken by one system call.
const READ: usize = 256 * 1024;

/// A connection and what is under way on it.
#[derive(Debug)]
pub struct Stream {
    tcp: TcpStream,
    tls: Option<ClientConnection>,
    /// The beginning of a message whose rest has not come.
    rest: Vec<u8>,
    /// What the kernel has not taken yet, without TLS: that keeps its own.
    backlog: Vec<u8>,
}

impl Stream {
    /// Connects from an address to the server of a plan, and shakes hands where it is TLS.
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn open(plan: &Plan, from: SocketAddr) -> Result<Self, LoadError> {
        let socket = Socket::new(Domain::for_address(from), Type::STREAM, None)?;
        socket.bind(&from.into())?;
        socket.connect_timeout(&plan.server.into(), PATIENCE)?;
        socket.set_tcp_nodelay(true)?;
        let mut tcp = TcpStream::from(socket);
        let tls = match plan.transport {
            Transport::Tls => {
                tcp.set_read_timeout(Some(PATIENCE))?;
                Some(tls::shake_hands(&mut tcp, plan.server.ip())?)
            }
            Transport::Tcp | Transport::Udp => None,
        };
        tcp.set_nonblocking(true)?;
        Ok(Self {
            tcp,
            tls,
            rest: Vec::new(),
            backlog: Vec::new(),
        })
    }

    /// The cipher suite, of TLS.
    pub fn suite(&self) -> Option<CipherSuite> {
        let suite = self.tls.as_ref()?.negotiated_cipher_suite()?;
        Some(suite.suite())
    }

    /// Whether the kernel has not taken all that was sent.
    pub fn is_behind(&self) -> bool {
        match &self.tls {
            Some(tls) => tls.wants_write(),
            None => !self.backlog.is_empty(),
        }
    }

    /// Sends whole messages; what the kernel does not take waits.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(bytes)?,
            // Mostly the kernel takes all: nothing is copied then.
            None if self.backlog.is_empty() => {
                let took = or_none(self.tcp.write(bytes))?.unwrap_or(0);
                self.backlog.extend_from_slice(&bytes[took..]);
                return Ok(());
            }
            None => self.backlog.extend_from_slice(bytes),
        }
        self.flush()
    }

    /// Sends what waits, as far as the kernel takes it.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.is_behind() {
            let took = match &mut self.tls {
                Some(tls) => or_none(tls.write_tls(&mut self.tcp))?,
                None => or_none(self.tcp.write(&self.backlog))?.inspect(|took| {
                    self.backlog.drain(..took);
                }),
            };
            if took.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Gives every whole message that waits to `each`, with `room` to read into.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub fn receive(&mut self, room: &mut [u8], each: &mut impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let kept = self.rest.len();
            room[..kept].copy_from_slice(&self.rest);
            let end = room.len().min(kept + READ);
            let Some(got) = self.read(&mut room[kept..end])? else {
                return Ok(());
            };
            let mut bytes = &room[..kept + got];
            while let Some(length) = framed_length(bytes).filter(|length| bytes.len() >= *length) {
                let (message, after) = bytes.split_at(length);
                each(message);
                bytes = after;
            }
            self.rest.clear();
            self.rest.extend_from_slice(bytes);
            if self.tls.is_none() && got < end - kept {
                return Ok(());
            }
        }
    }

    /// Reads what has come, decrypted; `None` if nothing has.
    fn read(&mut self, room: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else {
            return not_ended(or_none(self.tcp.read(room))?);
        };
        loop {
            if let Some(got) = or_none(tls.reader().read(room))? {
                return not_ended(Some(got));
            }
            if not_ended(or_none(tls.read_tls(&mut self.tcp))?)?.is_none() {
                return Ok(None);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

/// `None` where there is nothing to read, or no room to write.
fn or_none(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// A server that closes a connection has failed.
fn not_ended(read: Option<usize>) -> io::Result<Option<usize>> {
    match read {
        Some(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        read => Ok(read),
    }
}
