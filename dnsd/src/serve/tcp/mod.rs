//! DNS over TCP (RFC 7766) and TLS (RFC 7858): hickory-server behind a front that bounds what
//! clients can hold.
//!
//! hickory-server frames, decodes, encodes and times out; but its accept loop takes every
//! connection there is, and spins once there are no descriptors left, of which a daemon that
//! probes needs some. It accepts from listeners only, so a bound can only stand before them:
//!
//! ```text
//! client ──► listener ─ front: places, TLS ──► private listener on loopback ─ hickory-server ─ handler
//! ```
//!
//! The front admits, opens a private connection for each client and carries bytes both ways, in
//! clear, so many and so long. The handler finds the client by the port that its private connection
//! comes from. Connections that local processes make past the front have no entry, are not
//! answered, and end like idle ones.

mod clients;
mod convey;
mod handler;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::clients::{Client, Clients};
use self::convey::convey;
use self::handler::Handler;
use super::Served;
use super::admission::{Connections, Place};
use crate::clock;
use crate::limits::{
    TCP_CONNECTIONS, TCP_DESCRIPTORS, TCP_IDLE, TCP_PAUSE, TCP_REPLIES, TCP_SEND_BUFFER,
    TLS_HANDSHAKE, TLS_HANDSHAKES,
};
use crate::metrics::{Drop, Transport};

/// What is listened on.
#[derive(Debug, Default)]
pub struct Listeners {
    /// In clear.
    pub tcp: Vec<TcpListener>,
    /// Over TLS, and how hands are shaken there.
    pub tls: Option<(Vec<TcpListener>, Arc<ServerConfig>)>,
}

/// The listeners, running.
#[derive(Debug)]
pub struct Front {
    accepting: JoinSet<()>,
    connections: Arc<Connections>,
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
    handshakes: Semaphore,
}

impl Front {
    /// Serves `listeners` in a process that may have so many `descriptors` open.
    pub fn start(
        listeners: Listeners,
        descriptors: usize,
        served: &Arc<Served>,
    ) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        // Accepted connections inherit it: replies to pipelined queries must not wait for ACKs.
        SockRef::from(&listener).set_tcp_nodelay(true)?;
        let shared = Arc::new(Shared {
            connections: Arc::new(Connections::new(room(descriptors), &served.metrics)),
            clients: Arc::default(),
            served: Arc::clone(served),
            private: listener.local_addr()?,
            handshakes: Semaphore::new(TLS_HANDSHAKES),
        });
        let handler = Handler {
            clients: Arc::clone(&shared.clients),
            served: Arc::clone(served),
        };
        let (stop, stopped) = oneshot::channel();
        let mut accepting = JoinSet::new();
        for listener in listeners.tcp {
            accepting.spawn(accept(listener, None, Arc::clone(&shared)));
        }
        if let Some((listeners, config)) = listeners.tls {
            for listener in listeners {
                let acceptor = Some(TlsAcceptor::from(Arc::clone(&config)));
                accepting.spawn(accept(listener, acceptor, Arc::clone(&shared)));
            }
        }
        Ok(Self {
            accepting,
            connections: Arc::clone(&shared.connections),
            answering: tokio::spawn(answer(listener, handler, stopped)),
            stop,
        })
    }

    /// Accepts no more, and ends every connection when its client has, or is idle, or `limit` is over.
    pub async fn drain(mut self, limit: Duration) {
        self.accepting.shutdown().await;
        let emptied = async {
            while !self.connections.is_empty() {
                sleep(TCP_PAUSE).await;
            }
        };
        // Those that are left then end as at any end.
        let _ = timeout(limit, emptied).await;
        self.stop().await;
    }

    /// Accepts no more and ends every connection.
    pub async fn stop(mut self) {
        self.accepting.shutdown().await;
        // Fails only if answering has ended, which is what this asks for.
        let _ = self.stop.send(());
        let _ = self.answering.await;
    }
}

/// Connections that half of `descriptors` allow, but no more than [`TCP_CONNECTIONS`]: the other
/// half is for probes and everything else.
fn room(descriptors: usize) -> usize {
    (descriptors / 2 / TCP_DESCRIPTORS).clamp(1, TCP_CONNECTIONS)
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
async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let transport = match acceptor {
        None => Transport::Tcp,
        Some(_) => Transport::Tls,
    };
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a DNS connection failed");
                sleep(TCP_PAUSE).await;
                continue;
            }
        };
        let (ip, now) = (client.ip().to_canonical(), clock::now());
        let Some(place) = shared.connections.enter(ip, transport, now) else {
            shared.served.dropped(Drop::Connections, transport);
            continue;
        };
        let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
        tokio::spawn(async move {
            let client = (client, transport);
            tokio::select! {
                ended = shared.attend(stream, acceptor, client, &place) => {
                    // A client that goes away is not an event; one that does not read is.
                    if ended.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
                        shared.served.dropped(Drop::Send, transport);
                    }
                }
                () = place.lost() => shared.served.dropped(Drop::Evicted, transport),
            }
        });
    }
}

impl Shared {
    async fn attend(
        &self,
        stream: TcpStream,
        acceptor: Option<TlsAcceptor>,
        client: Client,
        place: &Place,
    ) -> io::Result<()> {
        SockRef::from(&stream).set_send_buffer_size(TCP_SEND_BUFFER)?;
        stream.set_nodelay(true)?;
        let Some(acceptor) = acceptor else {
            return convey(self, stream, client, place).await;
        };
        let shaken = timeout(TLS_HANDSHAKE, self.shake_hands(stream, &acceptor)).await;
        let Ok(Ok(stream)) = shaken else {
            self.served.dropped(Drop::Handshake, client.1);
            return Ok(());
        };
        convey(self, stream, client, place).await
    }

    /// One of a bounded number, and only for those who have begun to speak: who does not costs no
    /// memory but for the connection.
    async fn shake_hands(
        &self,
        stream: TcpStream,
        acceptor: &TlsAcceptor,
    ) -> io::Result<TlsStream<TcpStream>> {
        // Not `readable`, which takes every new connection to be so until it was read from.
        stream.peek(&mut [0]).await?;
        let _turn = self.handshakes.acquire().await;
        acceptor.accept(stream).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_make_few_places() {
        assert_eq!(room(1024), 170);
        assert_eq!(room(0), 1);
        assert_eq!(room(1 << 20), TCP_CONNECTIONS);
    }
}
