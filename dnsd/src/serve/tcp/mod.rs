//! DNS over TCP (RFC 7766): hickory-server behind a front that bounds what clients can hold.
//!
//! hickory-server frames, decodes, encodes and times out; but its accept loop takes every
//! connection there is, and spins once there are no descriptors left, of which a daemon that
//! probes needs some. It accepts from listeners only, so a bound can only stand before them:
//!
//! ```text
//! client ──► listener ─ front: places ──► private listener on loopback ─ hickory-server ─ handler
//! ```
//!
//! The front admits ([`admission`]), opens a private connection for each client and carries bytes
//! both ways, so many and so long. The handler finds the client by the port that its private
//! connection comes from. Connections that local processes make past the front have no entry, are
//! not answered, and end like idle ones.

mod admission;
mod handler;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hickory_server::Server;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use self::admission::{Clients, Connections};
use self::handler::Handler;
use super::Served;
use crate::limits::{
    TCP_BYTES, TCP_IDLE, TCP_LIFETIME, TCP_PAUSE, TCP_REPLIES, TCP_SEND_BUFFER, TCP_WRITE,
};
use crate::metrics::{Drop, Tally, Transport};

/// Bytes of replies carried to a client at once.
const CHUNK: usize = 4096;

/// The TCP listeners, running.
#[derive(Debug)]
pub struct Front {
    accepting: JoinSet<()>,
    answering: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// What the front's tasks share.
#[derive(Debug)]
struct Shared {
    connections: Arc<Connections>,
    clients: Arc<Clients>,
    served: Arc<Served>,
    /// Where hickory-server listens.
    private: SocketAddr,
}

impl Front {
    /// Serves `listeners` in a process that may have so many `descriptors` open.
    pub fn start(
        listeners: Vec<TcpListener>,
        descriptors: usize,
        served: &Arc<Served>,
    ) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        // Accepted connections inherit it: replies to pipelined queries must not wait for ACKs.
        SockRef::from(&listener).set_tcp_nodelay(true)?;
        let shared = Arc::new(Shared {
            connections: Arc::new(Connections::new(descriptors)),
            clients: Arc::default(),
            served: Arc::clone(served),
            private: listener.local_addr()?,
        });
        let handler = Handler {
            clients: Arc::clone(&shared.clients),
            served: Arc::clone(served),
        };
        let (stop, stopped) = oneshot::channel();
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(accept(listener, Arc::clone(&shared)));
        }
        Ok(Self {
            accepting,
            answering: tokio::spawn(answer(listener, handler, stopped)),
            stop,
        })
    }

    /// Accepts no more and ends every connection.
    pub async fn stop(mut self) {
        self.accepting.shutdown().await;
        // Fails only if answering has ended, which is what this asks for.
        let _ = self.stop.send(());
        let _ = self.answering.await;
    }
}

/// Runs hickory-server on the private listener until it is told to stop. Some errors of accepting
/// end it, and must not end the nameserver.
async fn answer(
    listener: std::net::TcpListener,
    handler: Handler,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let mut server = Server::new(handler.clone());
        match listener.try_clone().and_then(TcpListener::from_std) {
            Ok(listener) => server.register_listener(listener, TCP_IDLE, TCP_REPLIES),
            Err(error) => tracing::warn!(%error, "the DNS server for connections cannot start"),
        }
        tokio::select! {
            _ = &mut stopped => {
                if let Err(error) = server.shutdown_gracefully().await {
                    tracing::debug!(%error, "the DNS server for connections ended badly");
                }
                return;
            }
            ended = server.block_until_done() => {
                tracing::warn!(?ended, "the DNS server for connections ended; it is started again");
                sleep(TCP_PAUSE).await;
            }
        }
    }
}

/// Accepts connections until the task is dropped.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a DNS connection failed");
                sleep(TCP_PAUSE).await;
                continue;
            }
        };
        let Some(place) = shared.connections.enter(client.ip().to_canonical()) else {
            shared.dropped(Drop::Connections);
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _place = place;
            // A client that goes away is not an event; one that does not read is.
            if let Err(error) = shared.convey(stream, client).await
                && error.kind() == io::ErrorKind::TimedOut
            {
                shared.dropped(Drop::Send);
            }
        });
    }
}

impl Shared {
    /// Carries what `client` and hickory-server say to each other, until the latter has nothing
    /// more to say: after the client's end, [`TCP_BYTES`] of queries, or [`TCP_IDLE`] without one.
    async fn convey(&self, mut stream: TcpStream, client: SocketAddr) -> io::Result<()> {
        let mut private = TcpStream::connect(self.private).await?;
        // Dropped before the connection, whose port it names.
        let _entry = self.clients.enter(private.local_addr()?.port(), client);
        SockRef::from(&stream).set_send_buffer_size(TCP_SEND_BUFFER)?;
        stream.set_nodelay(true)?;
        private.set_nodelay(true)?;
        let (from_client, to_client) = stream.split();
        let (from_server, to_server) = private.split();
        tokio::select! {
            ended = replies(from_server, to_client) => ended,
            Err(error) = queries(from_client, to_server) => Err(error),
            () = sleep(TCP_LIFETIME) => Ok(()),
        }
    }

    fn dropped(&self, reason: Drop) {
        let mut tally = Tally::default();
        tally.drop(reason);
        self.served.metrics.fold(Transport::Tcp, &mut tally);
    }
}

async fn queries(from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
    tokio::io::copy(&mut from.take(TCP_BYTES), &mut to).await?;
    to.shutdown().await
}

async fn replies(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
    let mut buffer = [0; CHUNK];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        timeout(TCP_WRITE, to.write_all(&buffer[..length])).await??;
    }
}
