//! What carries a client's messages, as RFC 8489 section 6.2 and RFC 8656 section 12.5 say.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// A connection to the server that keeps messages apart.
pub(crate) trait Wire: Send {
    /// Sends one message.
    fn send(&self, message: &[u8]);
    /// The next message, without padding.
    fn receive(&self) -> Vec<u8>;
    /// The next message, unless none comes in time. On a stream none ever gets lost.
    fn receive_within(&self, _time: Duration) -> Option<Vec<u8>> {
        Some(self.receive())
    }
}

impl Wire for UdpSocket {
    fn send(&self, message: &[u8]) {
        assert_eq!(Self::send(self, message).expect("sent"), message.len());
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65536];
        let len = self.recv(&mut buffer).expect("an answer");
        buffer.truncate(len);
        buffer
    }

    fn receive_within(&self, time: Duration) -> Option<Vec<u8>> {
        self.set_read_timeout(Some(time)).expect("a timeout");
        let mut buffer = vec![0; 65536];
        let len = self.recv(&mut buffer).ok()?;
        buffer.truncate(len);
        Some(buffer)
    }
}

/// Messages in a byte stream.
pub(crate) struct Stream<S>(pub(crate) RefCell<S>);

impl<S: Read + Write + Send> Wire for Stream<S> {
    fn send(&self, message: &[u8]) {
        let mut bytes = message.to_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let mut stream = self.0.borrow_mut();
        stream.write_all(&bytes).expect("sent");
        stream.flush().expect("sent");
    }

    fn receive(&self) -> Vec<u8> {
        let mut stream = self.0.borrow_mut();
        let mut message = vec![0; 4];
        stream.read_exact(&mut message).expect("a header");
        let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
        let (size, padded) = match message[0] {
            0x00..=0x3f => (20 + length, 20 + length),
            0x40..=0x7f => (4 + length, (4 + length).next_multiple_of(4)),
            other => panic!("no message begins with {other:#04x}"),
        };
        message.resize(padded, 0);
        stream.read_exact(&mut message[4..]).expect("the rest");
        message.truncate(size);
        message
    }
}

/// A connection from another loopback address.
pub(crate) fn connect_from(server: SocketAddr, from: Ipv4Addr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((from, 0)).into())
        .expect("bound");
    socket.connect(&server.into()).expect("connected");
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    stream
}

/// A Binding request with its number in the transaction id.
pub(crate) fn binding(number: u32) -> Vec<u8> {
    let mut bytes = vec![0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42];
    bytes.extend([0; 8]);
    bytes.extend(number.to_be_bytes());
    bytes
}

/// The number of the Binding request that the next message answers.
pub(crate) fn answered(wire: &dyn Wire) -> u32 {
    let answer = wire.receive();
    assert_eq!(answer[..2], [0x01, 0x01]);
    u32::from_be_bytes(answer[16..20].try_into().expect("four bytes"))
}

/// Whether the server has ended the connection; waits for it.
pub(crate) fn ended(stream: &mut impl Read) -> bool {
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}
