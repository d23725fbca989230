//! Carrying what a client and hickory-server say to each other.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink, split};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{sleep, timeout};

use super::Shared;
use super::clients::Client;
use crate::clock;
use crate::limits::{TCP_BYTES, TCP_LIFETIME, TCP_LINGER, TCP_WRITE};
use crate::serve::admission::Place;

/// Bytes of replies carried to a client at once.
const CHUNK: usize = 4096;

/// Carries what `client` and hickory-server say to each other, until the latter has nothing more to
/// say: after the client's end, [`TCP_BYTES`] of queries, or some time without one.
pub(super) async fn convey<S: AsyncRead + AsyncWrite>(
    shared: &Shared,
    stream: S,
    client: Client,
    place: &Place,
) -> io::Result<()> {
    let mut private = TcpStream::connect(shared.private).await?;
    // Dropped before the connection, whose port it names.
    let _entry = shared.clients.enter(private.local_addr()?.port(), client);
    private.set_nodelay(true)?;
    let (mut from_client, to_client) = split(stream);
    let (from_server, to_server) = private.split();
    tokio::select! {
        ended = replies(from_server, to_client, place) => ended?,
        Err(error) = queries(&mut from_client, to_server) => return Err(error),
        () = sleep(TCP_LIFETIME) => return Ok(()),
    }
    // A connection that ends while something waits to be read from it is reset, and what was sent
    // last is lost: replies that the client has yet to read.
    let mut rest = from_client.take(TCP_BYTES);
    let _ = timeout(TCP_LINGER, copy(&mut rest, &mut sink())).await;
    Ok(())
}

async fn queries(from: &mut (impl AsyncRead + Unpin), mut to: WriteHalf<'_>) -> io::Result<()> {
    copy(&mut from.take(TCP_BYTES), &mut to).await?;
    to.shutdown().await
}

async fn replies(mut from: ReadHalf<'_>, to: impl AsyncWrite, place: &Place) -> io::Result<()> {
    let mut to = std::pin::pin!(to);
    let mut buffer = [0; CHUNK];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let sent = async {
            to.write_all(&buffer[..length]).await?;
            // What a layer of TLS has taken has not left.
            to.flush().await
        };
        timeout(TCP_WRITE, sent).await??;
        place.answered(clock::now());
    }
}
