//! What carries a client's messages, as RFC 8489 section 6.2 and RFC 8656 section 12.5 say.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::time::Duration;

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
