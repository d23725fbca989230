//! What goes over a Unix socket between two daemons: texts with their length in front, the first
//! with sockets.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

use crate::limits::{HANDOVER_BYTES, HANDOVER_SOCKETS};

/// Room for the descriptors of one message.
const SPACE: usize = cmsg_space!(ScmRights(HANDOVER_SOCKETS));

/// Sends a text.
pub(super) async fn send(stream: &mut UnixStream, text: &[u8]) -> io::Result<()> {
    stream.write_all(&length(text)?).await?;
    stream.write_all(text).await
}

/// Reads a text.
pub(super) async fn receive(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    body(stream, length).await
}

/// Sends a text, with sockets that the receiver has from then on too.
pub(super) async fn send_with(
    stream: &mut UnixStream,
    sockets: &[BorrowedFd<'_>],
    text: &[u8],
) -> io::Result<()> {
    let length = length(text)?;
    stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); SPACE];
            let mut along = SendAncillaryBuffer::new(&mut space);
            if !along.push(SendAncillaryMessage::ScmRights(sockets)) {
                return Err(io::Error::other(format!(
                    "more than {HANDOVER_SOCKETS} sockets cannot be handed over"
                )));
            }
            let sent = sendmsg(
                &*stream,
                &[IoSlice::new(&length)],
                &mut along,
                SendFlags::NOSIGNAL,
            )?;
            // The kernel takes four bytes whole or not at all.
            debug_assert_eq!(sent, length.len());
            Ok(())
        })
        .await?;
    stream.write_all(text).await
}

/// Reads a text and the sockets that come with it.
pub(super) async fn receive_with(stream: &mut UnixStream) -> io::Result<(Vec<OwnedFd>, Vec<u8>)> {
    let (sockets, length) = stream
        .async_io(Interest::READABLE, || {
            let (mut space, mut length) = ([MaybeUninit::uninit(); SPACE], [0; 4]);
            let mut along = RecvAncillaryBuffer::new(&mut space);
            let read = recvmsg(
                &*stream,
                &mut [IoSliceMut::new(&mut length)],
                &mut along,
                RecvFlags::CMSG_CLOEXEC,
            )?;
            if read.bytes != length.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut sockets = Vec::new();
            for message in along.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    sockets.extend(descriptors);
                }
            }
            Ok((sockets, length))
        })
        .await?;
    Ok((sockets, body(stream, length).await?))
}

fn length(text: &[u8]) -> io::Result<[u8; 4]> {
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    Ok(length.to_be_bytes())
}

async fn body(stream: &mut UnixStream, length: [u8; 4]) -> io::Result<Vec<u8>> {
    let length = u64::from(u32::from_be_bytes(length));
    if length > HANDOVER_BYTES {
        return Err(io::Error::other("it is too long"));
    }
    let mut text = Vec::new();
    stream.take(length).read_to_end(&mut text).await?;
    if text.len() as u64 == length {
        Ok(text)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;

    use super::*;

    #[tokio::test]
    async fn sockets_arrive_with_their_text_and_are_the_same() {
        let (mut here, mut there) = UnixStream::pair().expect("a pair");
        let sockets = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        let text = vec![7; 300_000];
        let borrowed: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
        let both = tokio::join!(
            send_with(&mut here, &borrowed, &text),
            receive_with(&mut there)
        );
        let (received, read) = both.1.expect("received");
        both.0.expect("sent");
        assert_eq!(read, text);
        let address = |socket: &UdpSocket| socket.local_addr().expect("an address");
        let received: Vec<_> = received.into_iter().map(UdpSocket::from).collect();
        assert_eq!(
            received.iter().map(address).collect::<Vec<_>>(),
            sockets.iter().map(address).collect::<Vec<_>>()
        );
        send(&mut here, b"").await.expect("sent");
        assert_eq!(receive(&mut there).await.expect("received"), b"");
        drop(here);
        assert!(receive(&mut there).await.is_err());
    }

    #[tokio::test]
    async fn what_is_too_long_is_not_read() {
        let (mut here, mut there) = UnixStream::pair().expect("a pair");
        here.write_all(&[0xff; 8]).await.expect("sent");
        let error = receive(&mut there).await.expect_err("refused");
        assert_eq!(error.to_string(), "it is too long");
    }
}
