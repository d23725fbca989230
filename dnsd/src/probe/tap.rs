//! The way under the TURN client of an echo probe: sees how each datagram travelled, and can be
//! shut so that nothing the client spawned outlives the probe.
//!
//! The client spawns a reader and one retransmission timer per transaction. Both end when the
//! socket below them fails, so a shut tap fails every call: that is what bounds a probe.
//!
//! The client's first request carries no credential, and a relay answers few of those. Before each
//! such request goes the proof of who asks ([`signed`](super::signed)).

use std::any::Any;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use dnsd_core::health::Outcome;
use stun_types::attribute::{AttributeStaticType as _, ErrorCode, MessageIntegrity};
use stun_types::message::{Message, MessageClass, Method};
use tokio::sync::{Notify, watch};
use webrtc_util::Conn;

use super::stun::{heard, unsent};
use super::way::Link;

/// Type of a Send indication (RFC 8656 section 18.1) as it stands on the wire.
const SEND_INDICATION: [u8; 2] = [0x00, 0x16];
/// Method numbers of RFC 8656 section 18.1.
const ALLOCATE: Method = Method::new(0x003);
const REFRESH: Method = Method::new(0x004);
const CREATE_PERMISSION: Method = Method::new(0x008);
const CHANNEL_BIND: Method = Method::new(0x009);

/// An error response of the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    method: Method,
    /// The error code (RFC 8489 section 14.8).
    pub(super) code: u16,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match self.method {
            ALLOCATE => "Allocate",
            REFRESH => "Refresh",
            CREATE_PERMISSION => "CreatePermission",
            CHANNEL_BIND => "ChannelBind",
            _ => "a request",
        };
        write!(f, "{method} was answered with error {}", self.code)
    }
}

/// How application data left for the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// In a Send indication (RFC 8656 section 11).
    Indication,
    /// In a ChannelData message (RFC 8656 section 12).
    Channel,
}

/// An open way that watches the TURN messages passing.
#[derive(Debug)]
pub(super) struct Tap {
    link: Link,
    relay: SocketAddr,
    /// A signed Binding request.
    proof: Vec<u8>,
    last_data: AtomicU8,
    refusal: Mutex<Option<Refusal>>,
    refreshed: Notify,
    shut: watch::Sender<bool>,
    error: Mutex<Option<Outcome>>,
}

impl Tap {
    /// Wraps an open way to `relay`; `proof` is a signed Binding request.
    pub(super) fn new(link: Link, relay: SocketAddr, proof: Vec<u8>) -> Self {
        Self {
            link,
            relay,
            proof,
            last_data: AtomicU8::new(0),
            refusal: Mutex::new(None),
            refreshed: Notify::new(),
            shut: watch::Sender::new(false),
            error: Mutex::new(None),
        }
    }

    /// How the last application datagram left, if one did.
    pub(super) fn last_data(&self) -> Option<Via> {
        match self.last_data.load(Ordering::Acquire) {
            1 => Some(Via::Indication),
            2 => Some(Via::Channel),
            _ => None,
        }
    }

    /// The last request the relay answered with an error other than the challenge for credentials.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.lock().ok().and_then(|refusal| *refusal)
    }

    /// What an error of the socket says about the relay, if there was one.
    pub(super) fn error(&self) -> Option<Outcome> {
        self.error.lock().ok().and_then(|error| error.clone())
    }

    /// Waits for the answer to a Refresh, which a probe sends only to free its allocation.
    pub(super) async fn refreshed(&self) {
        self.refreshed.notified().await;
    }

    /// Waits until the socket met an I/O error.
    pub(super) async fn failed(&self) {
        let mut shut = self.shut.subscribe();
        // The sender lives in `self`.
        let _ = shut.wait_for(|shut| *shut).await;
    }

    /// Fails every call from now on, those that wait included.
    pub(super) fn shut(&self) {
        self.shut.send_replace(true);
    }

    fn note_outgoing(&self, datagram: &[u8]) {
        let via = match datagram {
            [first, ..] if (0x40..0x80).contains(first) => 2,
            [a, b, ..] if [*a, *b] == SEND_INDICATION => 1,
            _ => return,
        };
        self.last_data.store(via, Ordering::Release);
    }

    fn note_incoming(&self, datagram: &[u8]) {
        // Data and ChannelData fail here at their first bytes.
        let Ok(message) = Message::from_bytes(datagram) else {
            return;
        };
        let method = message.method();
        if message.is_response() && method == REFRESH {
            self.refreshed.notify_one();
        }
        if message.class() == MessageClass::Error
            && let Ok(error) = message.attribute::<ErrorCode>()
            && let Ok(mut refusal) = self.refusal.lock()
        {
            *refusal = Some(Refusal {
                method,
                code: error.code(),
            });
        }
    }

    /// Keeps the first error and shuts the tap: on a connected socket it is about the relay.
    fn fail(&self, error: io::Error, outcome: Outcome) -> webrtc_util::Error {
        if let Ok(mut kept) = self.error.lock() {
            kept.get_or_insert(outcome);
        }
        self.shut();
        error.into()
    }
}

fn is_unsigned_request(datagram: &[u8]) -> bool {
    Message::from_bytes(datagram).is_ok_and(|message| {
        message.has_class(MessageClass::Request) && !message.has_attribute(MessageIntegrity::TYPE)
    })
}

fn closed() -> webrtc_util::Error {
    io::Error::from(io::ErrorKind::NotConnected).into()
}

#[async_trait]
impl Conn for Tap {
    async fn connect(&self, _: SocketAddr) -> Result<(), webrtc_util::Error> {
        Ok(())
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, webrtc_util::Error> {
        let mut shut = self.shut.subscribe();
        tokio::select! {
            biased;
            _ = shut.wait_for(|shut| *shut) => Err(closed()),
            received = self.link.recv(buffer) => match received {
                Ok(length) => {
                    self.note_incoming(buffer.get(..length).unwrap_or_default());
                    Ok(length)
                }
                Err(error) => {
                    let outcome = heard(&error);
                    Err(self.fail(error, outcome))
                }
            },
        }
    }

    async fn recv_from(
        &self,
        buffer: &mut [u8],
    ) -> Result<(usize, SocketAddr), webrtc_util::Error> {
        Ok((self.recv(buffer).await?, self.relay))
    }

    async fn send(&self, datagram: &[u8]) -> Result<usize, webrtc_util::Error> {
        if *self.shut.borrow() {
            return Err(closed());
        }
        self.note_outgoing(datagram);
        let sent = async {
            if is_unsigned_request(datagram) {
                self.link.send(&self.proof).await?;
            }
            self.link.send(datagram).await
        };
        sent.await.map_err(|error| {
            let outcome = unsent(&error);
            self.fail(error, outcome)
        })
    }

    async fn send_to(&self, datagram: &[u8], _: SocketAddr) -> Result<usize, webrtc_util::Error> {
        self.send(datagram).await
    }

    fn local_addr(&self) -> Result<SocketAddr, webrtc_util::Error> {
        Ok(self.link.local_addr()?)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Some(self.relay)
    }

    async fn close(&self) -> Result<(), webrtc_util::Error> {
        self.shut();
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
