//! A TURN client for tests: it does what a rule needs, also what no good client does, and hides
//! nothing of what the server answers.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::link::{Link, PATIENCE};
use crate::stun::{Builder, Message, TransactionId, attribute, kind, long_term_key};
use crate::subject::{Login, Subject};

/// REQUESTED-TRANSPORT's value for UDP (RFC 8656 section 18.7).
pub const UDP: [u8; 4] = [17, 0, 0, 0];
/// REQUESTED-ADDRESS-FAMILY's value for IPv4 (RFC 8656 section 18.6).
pub const IPV4: [u8; 4] = [1, 0, 0, 0];
/// REQUESTED-ADDRESS-FAMILY's value for IPv6 (RFC 8656 section 18.6).
pub const IPV6: [u8; 4] = [2, 0, 0, 0];

/// A transaction id nobody else has.
pub fn transaction() -> TransactionId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0; 12];
    id[..4].copy_from_slice(&std::process::id().to_be_bytes());
    id[4..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    id
}

/// Begins a request of `kind` under a fresh transaction id.
pub fn request(kind: u16) -> Builder {
    Builder::new(kind, transaction())
}

/// A message from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(Vec<u8>);

#[allow(
    clippy::return_self_not_must_use,
    reason = "what insists is done once it returns"
)]
impl Reply {
    /// Takes `bytes` that were received.
    ///
    /// # Panics
    /// When they are no STUN message.
    pub fn new(bytes: Vec<u8>) -> Self {
        assert!(
            Message::parse(&bytes).is_some(),
            "not a STUN message: {bytes:02x?}"
        );
        Self(bytes)
    }

    /// The message.
    ///
    /// # Panics
    /// Never: it was one when it came.
    pub fn message(&self) -> Message<'_> {
        Message::parse(&self.0).expect("it was a message before")
    }

    /// What it says: "success", or the code of its error.
    pub fn verdict(&self) -> String {
        match self.message().error_code() {
            Some(code) => code.to_string(),
            None if self.message().kind() & kind::ERROR == kind::SUCCESS => "success".to_owned(),
            None => format!("message {:#06x}", self.message().kind()),
        }
    }

    /// Insists on a success.
    ///
    /// # Panics
    /// When it is none.
    pub fn must_succeed(self) -> Self {
        assert!(
            self.verdict() == "success",
            "answered {}, not success",
            self.verdict()
        );
        self
    }

    /// Insists on the error `code`.
    ///
    /// # Panics
    /// When it is another, or none.
    pub fn must_be(self, code: u16) -> Self {
        assert!(
            self.message().error_code() == Some(code),
            "answered {}, not {code}",
            self.verdict()
        );
        self
    }

    /// LIFETIME in seconds.
    ///
    /// # Panics
    /// When it has none of four bytes.
    pub fn lifetime(&self) -> u32 {
        let value = self.message().get(attribute::LIFETIME).expect("a LIFETIME");
        u32::from_be_bytes(value.try_into().expect("four bytes"))
    }

    /// The relayed transport address, the first if there are two.
    ///
    /// # Panics
    /// When it has none.
    pub fn relayed(&self) -> SocketAddr {
        let relayed = self.message().address(attribute::XOR_RELAYED_ADDRESS);
        relayed.expect("an XOR-RELAYED-ADDRESS")
    }
}

/// What reaches a client from its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromPeer {
    /// By a Data indication.
    Indication(SocketAddr, Vec<u8>),
    /// By ChannelData.
    Channel(u16, Vec<u8>),
}

/// A client with its link, its credential and what the server told it.
#[derive(Debug)]
pub struct Client {
    /// Its way to the server.
    pub link: Link,
    /// Its credential.
    pub login: Login,
    /// REALM of the last challenge.
    pub realm: Vec<u8>,
    /// NONCE of the last challenge.
    pub nonce: Vec<u8>,
    /// What came while an answer was awaited.
    waiting: VecDeque<Vec<u8>>,
}

impl Client {
    /// A client over UDP and IPv4, of a user of its own.
    pub fn new(subject: &Subject) -> Self {
        Self::over(Link::udp(subject.v4()))
    }

    /// A client of a user of its own on `link`.
    pub fn over(link: Link) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let user = format!("user-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self {
            link,
            login: Login::of(&user),
            realm: Vec::new(),
            nonce: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// A client with an allocation over IPv4.
    pub fn allocated(subject: &Subject) -> (Self, SocketAddr) {
        let mut client = Self::new(subject);
        let relayed = client.allocate();
        (client, relayed)
    }

    /// Makes the usual allocation and returns its relayed transport address.
    pub fn allocate(&mut self) -> SocketAddr {
        self.ask(allocate()).must_succeed().relayed()
    }

    /// Its key: MD5 (RFC 8489 section 9.2.2).
    pub fn key(&self) -> [u8; 16] {
        let realm = String::from_utf8_lossy(&self.realm);
        long_term_key(&self.login.username, &realm, &self.login.password)
    }

    /// Gets itself a nonce, if it has none.
    ///
    /// # Panics
    /// When the server gives none.
    pub fn challenged(&mut self) {
        if self.nonce.is_empty() {
            let reply = self.exchange(&allocate().unsigned());
            self.learn(&reply);
        }
    }

    /// Keeps realm and nonce of a challenge.
    ///
    /// # Panics
    /// When it has none.
    pub fn learn(&mut self, challenge: &Reply) {
        let text = |number| challenge.message().get(number).map(<[u8]>::to_vec);
        self.realm = text(attribute::REALM).expect("a REALM");
        self.nonce = text(attribute::NONCE).expect("a NONCE");
    }

    /// Adds USERNAME, REALM and NONCE.
    #[must_use]
    pub fn identify(&self, builder: Builder) -> Builder {
        builder
            .attribute(attribute::USERNAME, self.login.username.as_bytes())
            .attribute(attribute::REALM, &self.realm)
            .attribute(attribute::NONCE, &self.nonce)
    }

    /// Signs a request as this client.
    pub fn sign(&mut self, builder: Builder) -> Vec<u8> {
        self.challenged();
        self.identify(builder).signed(&self.key())
    }

    /// Sends a request as this client and waits for its answer.
    pub fn ask(&mut self, builder: Builder) -> Reply {
        let bytes = self.sign(builder);
        self.exchange(&bytes)
    }

    /// Sends `bytes`, a request, and waits for the answer of its transaction.
    ///
    /// # Panics
    /// When there is none.
    pub fn exchange(&mut self, bytes: &[u8]) -> Reply {
        self.send(bytes);
        self.reply_to(bytes)
    }

    /// Waits for an answer to `request`, which was sent.
    ///
    /// # Panics
    /// When there is none.
    pub fn reply_to(&mut self, request: &[u8]) -> Reply {
        loop {
            let bytes = self.link.receive(PATIENCE).unwrap_or_else(|error| {
                panic!(
                    "no answer to {:02x?}: {error}",
                    &request[..2.min(request.len())]
                )
            });
            if bytes[0] & 0xc0 == 0 && bytes.get(8..20) == request.get(8..20) {
                return Reply::new(bytes);
            }
            self.waiting.push_back(bytes);
        }
    }

    /// Sends `bytes`, whatever they are.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) {
        self.link.send(bytes).expect("it is sent");
    }

    /// Everything the server has sent by now: it answers a Binding request after all that came
    /// before on this five-tuple.
    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        let request = request(kind::BINDING).unsigned();
        self.exchange(&request);
        self.waiting.drain(..).collect()
    }

    /// Sends `bytes` and insists that nothing comes back.
    ///
    /// # Panics
    /// When something does.
    pub fn unanswered(&mut self, bytes: &[u8]) {
        self.send(bytes);
        let came = self.drain();
        assert!(came.is_empty(), "answered with {:02x?}", came[0]);
    }

    /// Permits `ip`.
    pub fn permit(&mut self, ip: IpAddr) {
        let peer = SocketAddr::new(ip, 0);
        self.ask(request(kind::CREATE_PERMISSION).peer(peer))
            .must_succeed();
    }

    /// Asks for `channel` to `peer`.
    pub fn bind(&mut self, channel: u16, peer: SocketAddr) -> Reply {
        self.ask(channel_bind(channel, peer))
    }

    /// Sends `payload` to `peer` by a Send indication.
    pub fn send_to(&mut self, peer: SocketAddr, payload: &[u8]) {
        let builder = request(kind::SEND).peer(peer);
        self.send(&builder.attribute(attribute::DATA, payload).unsigned());
    }

    /// Sends `payload` on `channel`.
    pub fn send_on(&mut self, channel: u16, payload: &[u8]) {
        let mut bytes = channel.to_be_bytes().to_vec();
        bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        bytes.extend_from_slice(payload);
        if self.link.is_stream() {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        self.send(&bytes);
    }

    /// The next payload of a peer.
    ///
    /// # Panics
    /// When there is none, or something else comes first.
    pub fn from_peer(&mut self) -> FromPeer {
        let bytes = self.message_within(PATIENCE).expect("data of a peer");
        from_peer(&bytes).unwrap_or_else(|| panic!("not data of a peer: {bytes:02x?}"))
    }

    /// The next message that is no answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn message(&mut self) -> Vec<u8> {
        self.message_within(PATIENCE).expect("a message")
    }

    /// The next message that is no answer, if it comes soon enough.
    pub fn message_within(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let waited = self.waiting.pop_front();
        waited.or_else(|| self.link.receive(patience).ok())
    }
}

/// The usual Allocate request.
pub fn allocate() -> Builder {
    request(kind::ALLOCATE).attribute(attribute::REQUESTED_TRANSPORT, &UDP)
}

/// A Refresh that asks for `lifetime` seconds.
pub fn refresh(lifetime: u32) -> Builder {
    request(kind::REFRESH).attribute(attribute::LIFETIME, &lifetime.to_be_bytes())
}

/// A `ChannelBind` request.
pub fn channel_bind(channel: u16, peer: SocketAddr) -> Builder {
    let mut number = [0; 4];
    number[..2].copy_from_slice(&channel.to_be_bytes());
    request(kind::CHANNEL_BIND)
        .attribute(attribute::CHANNEL_NUMBER, &number)
        .peer(peer)
}

/// Reads ChannelData or a Data indication.
pub fn from_peer(bytes: &[u8]) -> Option<FromPeer> {
    if bytes.first()? & 0xc0 == 0x40 {
        let number = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let payload = bytes.get(4..4 + usize::from(number(2)?))?;
        return Some(FromPeer::Channel(number(0)?, payload.to_vec()));
    }
    let message = Message::parse(bytes).filter(|message| message.kind() == kind::DATA)?;
    let peer = message.address(attribute::XOR_PEER_ADDRESS)?;
    let data = message.get(attribute::DATA)?;
    Some(FromPeer::Indication(peer, data.to_vec()))
}

/// A peer: a UDP socket that is patient.
#[derive(Debug)]
pub struct Peer(UdpSocket);

impl Peer {
    /// A peer on `ip`.
    ///
    /// # Panics
    /// When it has no such address.
    pub fn on(ip: impl Into<IpAddr>) -> Self {
        Self(UdpSocket::bind((ip.into(), 0)).expect("a socket"))
    }

    /// Its address.
    ///
    /// # Panics
    /// When the socket is gone.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    /// The next datagram and where it came from.
    ///
    /// # Panics
    /// When there is none.
    pub fn receive(&self) -> (Vec<u8>, SocketAddr) {
        self.within(PATIENCE).expect("a datagram")
    }

    /// What has arrived by now.
    pub fn arrived(&self) -> Option<Vec<u8>> {
        let soon = Duration::from_millis(1);
        self.within(soon).ok().map(|(payload, _)| payload)
    }

    fn within(&self, patience: Duration) -> io::Result<(Vec<u8>, SocketAddr)> {
        self.0.set_read_timeout(Some(patience))?;
        let mut buffer = vec![0; 65_536];
        let (length, from) = self.0.recv_from(&mut buffer)?;
        buffer.truncate(length);
        Ok((buffer, from))
    }

    /// Sends to `to` only from now on, and learns when nobody is there.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn connect(&self, to: SocketAddr) {
        self.0.connect(to).expect("connected");
    }

    /// Whether the system says that nobody takes `payload` where this peer is connected to.
    pub fn is_refused(&self, payload: &[u8]) -> bool {
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        self.0.send(payload).is_err_and(refused)
    }

    /// Sends `payload` to `to`.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn send(&self, payload: &[u8], to: SocketAddr) {
        self.0.send_to(payload, to).expect("it is sent");
    }
}

/// A peer that sends everything back; ends when dropped.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
}

impl Echo {
    /// A peer on `ip`.
    ///
    /// # Panics
    /// When it has no such address.
    pub fn on(ip: impl Into<IpAddr>) -> Self {
        Self::at(SocketAddr::new(ip.into(), 0))
    }

    /// A peer at `address`.
    ///
    /// # Panics
    /// When it is somebody else's.
    pub fn at(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).expect("a socket");
        let wait = Duration::from_millis(100);
        socket.set_read_timeout(Some(wait)).expect("a timeout");
        let address = socket.local_addr().expect("an address");
        let ends = Arc::new(AtomicBool::new(false));
        let ended = ends.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !ended.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    // Whoever sent may be gone.
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
        });
        Self { address, ends }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}
