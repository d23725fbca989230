//! STUN and ChannelData messages in a byte stream (RFC 8656 section 12.5), and never more bytes of
//! it than a probe may cost.

use std::io;
use std::net::SocketAddr;

use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, join, split,
};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::limits::PROBE_STREAM_BYTES;

/// Largest message that is taken, in bytes.
const MESSAGE: usize = 2048;
/// Length of the header that says how long a STUN message is (RFC 8489 section 5).
const STUN_HEADER: usize = 20;
/// Length of a ChannelData header (RFC 8656 section 12.4).
const CHANNEL_HEADER: usize = 4;

/// Bytes in both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that carries messages.
pub(super) struct Stream {
    reader: Mutex<Reader>,
    writer: Mutex<WriteHalf<Box<dyn Duplex>>>,
    local: SocketAddr,
}

struct Reader {
    half: ReadHalf<Box<dyn Duplex>>,
    /// What has come of messages that are not yet taken.
    pending: Vec<u8>,
}

impl Stream {
    pub(super) fn new(stream: Box<dyn Duplex>, local: SocketAddr) -> Self {
        let (half, writer) = split(stream);
        let pending = Vec::with_capacity(MESSAGE);
        Self {
            reader: Mutex::new(Reader { half, pending }),
            writer: Mutex::new(writer),
            local,
        }
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Sends one message. Its sender has padded it (RFC 8656 section 12.5).
    pub(super) async fn send(&self, message: &[u8]) -> io::Result<usize> {
        let mut writer = self.writer.lock().await;
        writer.write_all(message).await?;
        writer.flush().await?;
        Ok(message.len())
    }

    /// Receives one message. May be dropped at any time without losing any of it.
    pub(super) async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut reader = self.reader.lock().await;
        let Reader { half, pending } = &mut *reader;
        loop {
            if let Some((length, padded)) = framed(pending)?
                && pending.len() >= padded
            {
                let taken = length.min(buffer.len());
                buffer[..taken].copy_from_slice(&pending[..taken]);
                pending.drain(..padded);
                return Ok(taken);
            }
            // At most one message and what came with it: a message is no longer than `MESSAGE`.
            if half.read_buf(pending).await? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the relay closed the connection",
                ));
            }
        }
    }
}

/// Length of the message that `bytes` begin with, without and with its padding; `None` if that
/// cannot be told yet.
fn framed(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let [first, _, high, low, ..] = *bytes else {
        return Ok(None);
    };
    let body = usize::from(u16::from_be_bytes([high, low]));
    // The two leading bits tell them apart (RFC 8489 section 5, RFC 8656 section 12).
    let (length, padded) = match first >> 6 {
        0 => (STUN_HEADER + body, STUN_HEADER + body),
        1 => (
            CHANNEL_HEADER + body,
            CHANNEL_HEADER + body.next_multiple_of(4),
        ),
        _ => (usize::MAX, usize::MAX),
    };
    if padded > MESSAGE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "what answers is no TURN server",
        ));
    }
    Ok(Some((length, padded)))
}

/// A connection that ends when more has come than a probe may cost.
pub(super) fn metered(stream: TcpStream) -> impl Duplex + 'static {
    let (reader, writer) = stream.into_split();
    join(reader.take(PROBE_STREAM_BYTES), writer)
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// A Binding response without attributes, and ChannelData of five bytes with its padding.
    const STUN: [u8; 20] = [
        0x01, 0x01, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ];
    const CHANNEL: [u8; 12] = [0x40, 0, 0, 5, b'h', b'e', b'l', b'l', b'o', 0, 0, 0];

    #[tokio::test]
    async fn messages_come_whole_however_the_stream_is_cut() {
        let bytes: Vec<u8> = [&STUN[..], &CHANNEL, &STUN].concat();
        for cut in 1..bytes.len() {
            let (near, mut far) = duplex(4096);
            let stream = Stream::new(Box::new(near), ([127, 0, 0, 1], 1).into());
            let bytes = bytes.clone();
            tokio::spawn(async move {
                far.write_all(&bytes[..cut]).await.expect("sent");
                tokio::task::yield_now().await;
                far.write_all(&bytes[cut..]).await.expect("sent");
            });
            let mut buffer = [0; 64];
            for expected in [&STUN[..], &CHANNEL[..9], &STUN] {
                let length = stream.recv(&mut buffer).await.expect("a message");
                assert_eq!(&buffer[..length], expected, "cut at {cut}");
            }
            assert!(stream.recv(&mut buffer).await.is_err(), "the end");
        }
    }

    #[test]
    fn what_is_no_turn_is_told_by_its_first_bytes() {
        assert!(framed(b"HTTP/1.1 200 OK\r\n").is_err());
        assert!(framed(b"\xff\x00\x00\x00").is_err());
        assert!(matches!(framed(b"\x00\x01\x00"), Ok(None)));
        assert!(matches!(framed(&CHANNEL[..4]), Ok(Some((9, 12)))));
    }
}
