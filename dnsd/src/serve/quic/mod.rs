//! DNS over QUIC (RFC 9250): admission before quinn, which has no bounds of its own that suit a
//! nameserver; hickory-server's own loop takes every connection and answers one query at a time.
//!
//! What strangers can make this hold: [`DOQ_INCOMING`] first packets, [`DOQ_UNPROVEN`] handshakes of
//! addresses that may be forged, and [`TCP_CONNECTIONS`] connections with [`DOQ_STREAMS`] streams.

mod query;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, Endpoint, EndpointConfig, IdleTimeout, Incoming, TokioRuntime, TransportConfig,
    VarInt,
};
use rustls::ServerConfig;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::Served;
use super::admission::{Connections, Place};
use crate::clock;
use crate::limits::{
    DOQ_INCOMING, DOQ_INCOMING_BYTES, DOQ_QUERY, DOQ_RECEIVE_WINDOW, DOQ_SEND_WINDOW, DOQ_SILENCE,
    DOQ_STREAMS, DOQ_UNPROVEN, TCP_CONNECTIONS, TCP_IDLE, TCP_LIFETIME, TLS_HANDSHAKE,
    TLS_HANDSHAKES,
};
use crate::metrics::{Drop, Transport};

/// Why a stream or connection ends (RFC 9250 section 4.3).
mod code {
    use quinn::VarInt;

    pub(super) const NO_ERROR: VarInt = VarInt::from_u32(0);
    pub(super) const INTERNAL_ERROR: VarInt = VarInt::from_u32(1);
    pub(super) const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
    pub(super) const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);
    pub(super) const UNSPECIFIED_ERROR: VarInt = VarInt::from_u32(5);
}

/// The listeners, running.
#[derive(Debug)]
pub struct Front {
    listeners: Vec<(Endpoint, JoinHandle<()>)>,
}

/// What the front's tasks share.
#[derive(Debug)]
struct Shared {
    connections: Arc<Connections>,
    served: Arc<Served>,
    handshakes: Arc<Semaphore>,
}

impl Front {
    /// Serves `sockets`, shaking hands as `tls` says.
    ///
    /// # Errors
    /// What the system or the library refuses.
    pub fn start(
        sockets: Vec<UdpSocket>,
        tls: Arc<ServerConfig>,
        served: &Arc<Served>,
    ) -> io::Result<Self> {
        let config = config(tls)?;
        let shared = Arc::new(Shared {
            connections: Arc::new(Connections::new(TCP_CONNECTIONS, &served.metrics)),
            served: Arc::clone(served),
            handshakes: Arc::new(Semaphore::new(TLS_HANDSHAKES)),
        });
        let start = |socket| {
            let (own, config) = (EndpointConfig::default(), Some(config.clone()));
            let endpoint = Endpoint::new(own, config, socket, Arc::new(TokioRuntime))?;
            let accepting = tokio::spawn(accept(endpoint.clone(), Arc::clone(&shared)));
            Ok((endpoint, accepting))
        };
        let listeners = sockets.into_iter().map(start);
        Ok(Self {
            listeners: listeners.collect::<io::Result<_>>()?,
        })
    }

    /// Ends every connection, and tells the clients.
    pub async fn stop(self) {
        for (endpoint, _) in &self.listeners {
            endpoint.close(code::NO_ERROR, b"");
        }
        for (endpoint, accepting) in self.listeners {
            // What is left of it after this nobody waits for.
            let _ = timeout(STOP, endpoint.wait_idle()).await;
            accepting.abort();
        }
    }
}

/// How long the end waits for connections to be closed on both sides.
const STOP: std::time::Duration = std::time::Duration::from_millis(500);

fn config(tls: Arc<ServerConfig>) -> io::Result<quinn::ServerConfig> {
    let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(DOQ_STREAMS.into())
        // Nobody may open one (RFC 9250 section 4.2).
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(DOQ_QUERY as u32 + 2))
        .receive_window(DOQ_RECEIVE_WINDOW.into())
        .send_window(DOQ_SEND_WINDOW)
        .max_idle_timeout(Some(
            IdleTimeout::try_from(DOQ_SILENCE).map_err(io::Error::other)?,
        ));
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport))
        // Else a place would not be its network's any more.
        .migration(false)
        .max_incoming(DOQ_INCOMING)
        .incoming_buffer_size(DOQ_INCOMING_BYTES)
        .incoming_buffer_size_total(DOQ_INCOMING_BYTES * DOQ_INCOMING as u64);
    Ok(config)
}

/// Admits connections until the endpoint is closed.
async fn accept(endpoint: Endpoint, shared: Arc<Shared>) {
    while let Some(incoming) = endpoint.accept().await {
        shared.admit(incoming);
    }
}

impl Shared {
    fn admit(self: &Arc<Self>, incoming: Incoming) {
        let client = incoming.remote_address();
        let ip = client.ip().to_canonical();
        if !incoming.remote_address_validated() && self.is_under_load(ip) {
            // It comes again with a token that shows that it gets what is sent to it. If even this
            // cannot be sent, it is gone, and tries again.
            let _ = incoming.retry();
            return;
        }
        let place = self.connections.enter(ip, Transport::Quic, clock::now());
        let turn = Arc::clone(&self.handshakes).try_acquire_owned();
        let (Some(place), Ok(turn)) = (place, turn) else {
            self.served.dropped(Drop::Connections, Transport::Quic);
            incoming.refuse();
            return;
        };
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let shaken = timeout(TLS_HANDSHAKE, incoming);
            let connection = tokio::select! {
                shaken = shaken => shaken,
                () = place.lost() => {
                    shared.served.dropped(Drop::Evicted, Transport::Quic);
                    return;
                }
            };
            drop(turn);
            match connection {
                Ok(Ok(connection)) => shared.attend(connection, client, place).await,
                Ok(Err(_)) | Err(_) => shared.served.dropped(Drop::Handshake, Transport::Quic),
            }
        });
    }

    /// Whether addresses have to be shown to be their senders': a forged one takes nobody's place.
    fn is_under_load(&self, ip: IpAddr) -> bool {
        TLS_HANDSHAKES - self.handshakes.available_permits() >= DOQ_UNPROVEN
            || self.connections.is_crowded(ip)
    }

    /// Answers a connection's queries, each on a stream of its own, until it ends, asks nothing for
    /// [`TCP_IDLE`], or has lasted for [`TCP_LIFETIME`].
    async fn attend(self: Arc<Self>, connection: Connection, client: SocketAddr, place: Place) {
        let place = Arc::new(place);
        let mut queries = JoinSet::new();
        let mut end = std::pin::pin!(sleep(TCP_LIFETIME));
        loop {
            tokio::select! {
                stream = connection.accept_bi() => {
                    let Ok(stream) = stream else { return };
                    let (shared, place) = (Arc::clone(&self), Arc::clone(&place));
                    let connection = connection.clone();
                    queries.spawn(async move {
                        shared.query(&connection, stream, client, &place).await;
                    });
                }
                Some(_) = queries.join_next() => {}
                () = place.lost() => {
                    self.served.dropped(Drop::Evicted, Transport::Quic);
                    return connection.close(code::EXCESSIVE_LOAD, b"");
                }
                () = sleep(TCP_IDLE), if queries.is_empty() => {
                    return connection.close(code::NO_ERROR, b"");
                }
                () = &mut end => return connection.close(code::NO_ERROR, b""),
            }
        }
    }
}
