//! One datagram per system call.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, SocketAddrV4, UdpSocket},
};

use super::{BATCH, HEADER, Path, header, sessions::Sessions};

/// Room for the longest datagram, and a header before it.
#[derive(Debug)]
pub(super) struct Plain {
    buffer: Box<[u8]>,
}

impl Default for Plain {
    fn default() -> Self {
        Self {
            buffer: vec![0; HEADER + (1 << 16)].into(),
        }
    }
}

impl Path for Plain {
    fn serve_clients(&mut self, listener: &UdpSocket, sessions: &mut Sessions) -> io::Result<bool> {
        for _ in 0..BATCH {
            let (length, from) = match listener.recv_from(&mut self.buffer) {
                Ok((length, SocketAddr::V4(from))) => (length, from),
                Ok(_) => continue,
                Err(error) => return nothing(error),
            };
            let datagram = &self.buffer[..length];
            if sessions.obey(listener, from, datagram) {
                continue;
            }
            let session = sessions.find(from).and_then(|id| sessions.get(id));
            if let (Some(session), Some(payload)) = (session, datagram.get(HEADER..)) {
                // What a socket does not take is lost, as anywhere.
                let _ = session.relay.send(payload);
            }
        }
        Ok(true)
    }

    fn serve_peer(
        &mut self,
        listener: &UdpSocket,
        sessions: &Sessions,
        id: u32,
    ) -> io::Result<bool> {
        let Some(session) = sessions.get(id) else {
            return Ok(false);
        };
        let client = SocketAddrV4::from(session.client);
        for _ in 0..BATCH {
            let length = match session.relay.recv(&mut self.buffer[HEADER..]) {
                Ok(length) => length,
                Err(error) => return nothing(error),
            };
            self.buffer[..HEADER].copy_from_slice(&header(length));
            let _ = listener.send_to(&self.buffer[..HEADER + length], client);
        }
        Ok(true)
    }

    fn flush(&mut self, _: &UdpSocket) -> io::Result<()> {
        Ok(())
    }
}

/// Whether more may wait on a socket whose receive failed so.
pub(super) fn nothing(error: io::Error) -> io::Result<bool> {
    match error.kind() {
        ErrorKind::WouldBlock => Ok(false),
        // A peer refused an earlier datagram; others may wait.
        ErrorKind::ConnectionRefused | ErrorKind::Interrupted => Ok(true),
        _ => Err(error),
    }
}
