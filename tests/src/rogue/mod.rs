//! A TURN client that does what it is told, also what no honest client does.
//!
//! Its codec is the tests' own ([`crate::stun`]), which shares nothing with the server.

pub mod wire;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::stun::{Builder, Message, TransactionId, attribute, kind, long_term_key};
pub use wire::{Transport, Wire};

/// First wait for an answer over UDP; doubled at each repetition (RFC 8489 section 6.2.1).
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// REQUESTED-TRANSPORT's value for UDP (RFC 8656 section 18.7).
pub const UDP: [u8; 4] = [17, 0, 0, 0];
/// REQUESTED-TRANSPORT's value for TCP (RFC 6062 section 4.1).
pub const TCP: [u8; 4] = [6, 0, 0, 0];

/// An answer: a whole, well-formed message.
#[derive(Debug, Clone)]
pub struct Reply(Vec<u8>);

impl Reply {
    /// Reads it.
    ///
    /// # Panics
    /// Never: it was read before.
    pub fn message(&self) -> Message<'_> {
        Message::parse(&self.0).expect("it was well-formed")
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// 0 for a success, otherwise ERROR-CODE.
    ///
    /// # Panics
    /// When it is neither a success nor an error.
    pub fn code(&self) -> u16 {
        let message = self.message();
        match message.kind() & kind::ERROR {
            kind::SUCCESS => 0,
            kind::ERROR => message.error_code().expect("an error has a code"),
            _ => panic!("not a response: {message:?}"),
        }
    }
}

/// A client, with the nonce it was given last.
#[derive(Debug)]
pub struct Client {
    /// How its messages travel.
    pub wire: Wire,
    /// USERNAME.
    pub username: String,
    /// The server's realm; empty before the first challenge.
    pub realm: Vec<u8>,
    /// The latest nonce.
    pub nonce: Vec<u8>,
    password: String,
    key: [u8; 16],
}

impl Client {
    /// A client that has sent nothing yet.
    ///
    /// # Errors
    /// When the connection cannot be made.
    pub fn open(
        transport: Transport,
        server: SocketAddr,
        from: Option<IpAddr>,
        (username, password): (String, String),
    ) -> io::Result<Self> {
        Ok(Self {
            wire: Wire::open(transport, server, from)?,
            username,
            realm: Vec::new(),
            nonce: Vec::new(),
            password,
            key: [0; 16],
        })
    }

    /// From now on under another name.
    pub fn log_in(&mut self, (username, password): (String, String)) {
        (self.username, self.password) = (username, password);
        self.rekey();
    }

    fn rekey(&mut self) {
        let realm = String::from_utf8_lossy(&self.realm);
        self.key = long_term_key(&self.username, &realm, &self.password);
    }

    /// A transaction id that no client of this process has used: one that comes to another's port
    /// must not look like its repetition.
    pub fn transaction(&self) -> TransactionId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut id = TransactionId::default();
        id[..4].copy_from_slice(&std::process::id().to_be_bytes());
        id[4..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        id
    }

    /// Begins a message.
    pub fn build(&self, kind: u16) -> Builder {
        Builder::new(kind, self.transaction())
    }

    /// Ends a request: with credential and integrity once the realm is known.
    pub fn sign(&self, builder: Builder) -> Vec<u8> {
        if self.realm.is_empty() {
            return builder.unsigned();
        }
        builder
            .attribute(attribute::USERNAME, self.username.as_bytes())
            .attribute(attribute::REALM, &self.realm)
            .attribute(attribute::NONCE, &self.nonce)
            .signed(&self.key)
    }

    /// Sends bytes as they are, and waits for the answer to them.
    ///
    /// # Panics
    /// When the connection ends, or no answer comes.
    pub fn transact(&mut self, request: &[u8]) -> Reply {
        let answer = self.try_transact(request, PATIENCE);
        answer.expect("the connection lives").expect("an answer")
    }

    /// The same, where silence for `patience` is an answer, too.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn try_transact(
        &mut self,
        request: &[u8],
        patience: Duration,
    ) -> io::Result<Option<Reply>> {
        let end = Instant::now() + patience;
        let mut wait = FIRST_WAIT;
        self.wire.send(request)?;
        loop {
            let until = if self.wire.is_lossy() {
                end.min(Instant::now() + wait)
            } else {
                end
            };
            while let Some(bytes) = self.wire.receive(until)? {
                let message = Message::parse(&bytes);
                let id = message.map(Message::transaction);
                let is_response = message.is_some_and(|m| m.kind() & 0x0100 != 0);
                if is_response && id.is_some_and(|id| request.get(8..20) == Some(&id)) {
                    return Ok(Some(Reply(bytes)));
                }
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            // A read that a signal ends is no loss: over a stream the server would see it twice.
            if self.wire.is_lossy() {
                wait *= 2;
                self.wire.send(request)?;
            }
        }
    }

    /// A request with these attributes, repeated once with what a challenge brings.
    pub fn request(&mut self, kind: u16, fill: impl Fn(Builder) -> Builder) -> Reply {
        for _ in 0..2 {
            let builder = fill(self.build(kind));
            let request = self.sign(builder);
            let reply = self.transact(&request);
            if !self.is_challenge(&reply) {
                return reply;
            }
        }
        let builder = fill(self.build(kind));
        let request = self.sign(builder);
        self.transact(&request)
    }

    /// Takes realm and nonce from a challenge; says whether there is reason to try again.
    fn is_challenge(&mut self, reply: &Reply) -> bool {
        let first = self.realm.is_empty();
        let message = reply.message();
        if let (401 | 438, Some(realm), Some(nonce)) = (
            reply.code(),
            message.get(attribute::REALM),
            message.get(attribute::NONCE),
        ) {
            (self.realm, self.nonce) = (realm.to_vec(), nonce.to_vec());
            self.rekey();
            return first || reply.code() == 438;
        }
        false
    }

    /// Asks for an allocation whose relayed address is of the family of `like`.
    pub fn allocate(&mut self, like: IpAddr) -> Reply {
        self.request(kind::ALLOCATE, |builder| allocate(builder, like))
    }

    /// Allocates, which must succeed; returns the relayed transport address.
    ///
    /// # Panics
    /// When it does not.
    pub fn allocated(&mut self, like: IpAddr) -> SocketAddr {
        let reply = self.allocate(like);
        assert_eq!(reply.code(), 0, "allocate");
        let relayed = reply.message().address(attribute::XOR_RELAYED_ADDRESS);
        relayed.expect("a relayed address")
    }

    /// Asks for permissions; 0 or an error code.
    pub fn permit(&mut self, peers: &[IpAddr]) -> u16 {
        let add = |builder: Builder, ip: &IpAddr| builder.peer(SocketAddr::new(*ip, 0));
        let reply = self.request(kind::CREATE_PERMISSION, |b| peers.iter().fold(b, add));
        reply.code()
    }

    /// Binds a channel; 0 or an error code.
    pub fn bind(&mut self, channel: u16, peer: SocketAddr) -> u16 {
        let reply = self.request(kind::CHANNEL_BIND, |b| bind(b, channel, peer));
        reply.code()
    }

    /// Asks for a connection with a peer, of a TCP allocation (RFC 6062); 0 or an error code.
    pub fn connect(&mut self, peer: SocketAddr) -> u16 {
        self.request(kind::CONNECT, |b| b.peer(peer)).code()
    }

    /// Refreshes to `seconds`; 0 or an error code.
    pub fn refresh(&mut self, seconds: u32) -> u16 {
        let lifetime = seconds.to_be_bytes();
        let reply = self.request(kind::REFRESH, |b| {
            b.attribute(attribute::LIFETIME, &lifetime)
        });
        reply.code()
    }

    /// A Send indication.
    ///
    /// # Panics
    /// When the connection has ended.
    pub fn indicate(&mut self, peer: SocketAddr, data: &[u8]) {
        let builder = self.build(kind::SEND).peer(peer);
        let bytes = builder.attribute(attribute::DATA, data).unsigned();
        self.wire.send(&bytes).expect("the connection lives");
    }

    /// ChannelData.
    ///
    /// # Panics
    /// When the connection has ended.
    pub fn channel_data(&mut self, channel: u16, data: &[u8]) {
        let mut bytes = channel.to_be_bytes().to_vec();
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
        self.wire.send(&bytes).expect("the connection lives");
    }

    /// What comes next, if it comes within `patience`.
    ///
    /// # Panics
    /// When the connection has ended.
    pub fn receive(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + patience;
        self.wire.receive(deadline).expect("the connection lives")
    }

    /// Waits until the server has dealt with all that this client sent before.
    pub fn settle(&mut self) {
        // What the first answer left with has left, too, when the second is made.
        for _ in 0..2 {
            let request = self.build(kind::BINDING).unsigned();
            self.transact(&request);
        }
    }
}

/// The attributes of an Allocate request.
pub fn allocate(builder: Builder, like: IpAddr) -> Builder {
    allocate_for(builder, UDP, like)
}

/// The same for relaying over `transport`, [`UDP`] or [`TCP`].
pub fn allocate_for(builder: Builder, transport: [u8; 4], like: IpAddr) -> Builder {
    let builder = builder.attribute(attribute::REQUESTED_TRANSPORT, &transport);
    match like {
        IpAddr::V4(_) => builder,
        IpAddr::V6(_) => builder.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]),
    }
}

/// The attributes of a `ChannelBind` request.
pub fn bind(builder: Builder, channel: u16, peer: SocketAddr) -> Builder {
    let [high, low] = channel.to_be_bytes();
    builder
        .attribute(attribute::CHANNEL_NUMBER, &[high, low, 0, 0])
        .peer(peer)
}
