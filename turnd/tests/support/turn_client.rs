//! A TURN client of a hundred lines, written from RFC 8489 and RFC 8656 alone.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use super::wire::Wire;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;

const COOKIE: u32 = 0x2112_a442;
const ALLOCATE: u16 = 0x0003;
const REFRESH: u16 = 0x0004;
const SEND: u16 = 0x0016;
const DATA: u16 = 0x0017;
const CREATE_PERMISSION: u16 = 0x0008;
const CHANNEL_BIND: u16 = 0x0009;
const CONNECT: u16 = 0x000a;
const CONNECTION_BIND: u16 = 0x000b;
const CONNECTION_ATTEMPT: u16 = 0x001c;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const CHANNEL_NUMBER: u16 = 0x000c;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const LIFETIME: u16 = 0x000d;
const DATA_ATTRIBUTE: u16 = 0x0013;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const EVEN_PORT: u16 = 0x0018;
const RESERVATION_TOKEN: u16 = 0x0022;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const CONNECTION_ID: u16 = 0x002a;
const DONT_FRAGMENT: u16 = 0x001a;
const ICMP: u16 = 0x8004;
const MOBILITY_TICKET: u16 = 0x8030;

type Attributes = Vec<(u16, Vec<u8>)>;

/// A client with an allocation.
pub(crate) struct TurnClient {
    pub(crate) wire: Box<dyn Wire>,
    username: String,
    password: String,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: [u8; 16],
    transactions: u64,
    pub(crate) relayed: SocketAddrV4,
}

impl TurnClient {
    /// Allocates at `server` with a long-term credential.
    pub(crate) fn allocate(server: SocketAddr, username: &str, password: &str) -> Self {
        Self::over(udp(server), username, password)
    }

    /// Allocates an even port at `server`; returns the token of the next higher one, too.
    pub(crate) fn reserve(server: SocketAddr, username: &str, password: &str) -> (Self, Vec<u8>) {
        let extra = (EVEN_PORT, vec![0x80]);
        let (client, answer) = Self::asking(udp(server), username, password, Some(extra));
        (client, find(&answer, RESERVATION_TOKEN))
    }

    /// Allocates the port that was reserved under `token`.
    pub(crate) fn redeem(server: SocketAddr, username: &str, password: &str, token: &[u8]) -> Self {
        let extra = (RESERVATION_TOKEN, token.to_vec());
        Self::asking(udp(server), username, password, Some(extra)).0
    }

    /// Allocates at `server`; returns the ticket to move by, too.
    pub(crate) fn mobile(server: SocketAddr, username: &str, password: &str) -> (Self, Vec<u8>) {
        let extra = (MOBILITY_TICKET, Vec::new());
        let (client, answer) = Self::asking(udp(server), username, password, Some(extra));
        (client, find(&answer, MOBILITY_TICKET))
    }

    /// Takes the session along to another port; returns the next ticket.
    pub(crate) fn move_on(&mut self, server: SocketAddr, ticket: &[u8]) -> Vec<u8> {
        self.wire = udp(server);
        let wish = vec![(MOBILITY_TICKET, ticket.to_vec())];
        let (class, stale) = self.request(REFRESH, wish.clone());
        assert_eq!(class, 0x0110, "a nonce is good for one address");
        self.nonce = find(&stale, NONCE);
        let (class, answer) = self.request(REFRESH, wish);
        assert_eq!(class, 0x0100);
        find(&answer, MOBILITY_TICKET)
    }

    /// Ends the session and begins another on the same five-tuple.
    pub(crate) fn release_and_allocate(mut self) -> Self {
        let (class, _) = self.request(REFRESH, vec![(LIFETIME, vec![0; 4])]);
        assert_eq!(class, 0x0100);
        let transport = vec![(REQUESTED_TRANSPORT, vec![17, 0, 0, 0])];
        let (class, answer) = self.request(ALLOCATE, transport);
        assert_eq!(class, 0x0100);
        self.relayed = unxor(&find(&answer, XOR_RELAYED_ADDRESS));
        self
    }

    /// Allocates over a connection that is there already.
    pub(crate) fn over(wire: Box<dyn Wire>, username: &str, password: &str) -> Self {
        Self::asking(wire, username, password, None).0
    }

    /// Allocates a relayed address for TCP (RFC 6062) over a connection.
    pub(crate) fn relaying_tcp(wire: Box<dyn Wire>, username: &str, password: &str) -> Self {
        let mut client = Self::new(wire, username);
        let wish = vec![(REQUESTED_TRANSPORT, vec![6, 0, 0, 0])];
        client.meet(password, ALLOCATE, wish.clone());
        let (class, answer) = client.request(ALLOCATE, wish);
        assert_eq!(class, 0x0100, "refused");
        client.relayed = unxor(&find(&answer, XOR_RELAYED_ADDRESS));
        client
    }

    /// Comes over a new connection for one with a peer, with the same credential; `behind` is sent
    /// together with the request. What the server said: nothing, or an error code.
    pub(crate) fn join(&self, wire: Box<dyn Wire>, id: &[u8], behind: &[u8]) -> Result<(), u16> {
        assert!(behind.len().is_multiple_of(4), "or it would be padded");
        let mut client = Self::new(wire, &self.username);
        let wish = vec![(CONNECTION_ID, id.to_vec())];
        client.meet(&self.password, CONNECTION_BIND, wish.clone());
        let mut bytes = client.message(CONNECTION_BIND, wish, true);
        bytes.extend(behind);
        client.wire.send(&bytes);
        let (kind, answer) = client.read();
        if kind & 0x0110 == 0x0100 {
            return Ok(());
        }
        Err(code(&answer))
    }

    /// Asks for a connection with a peer: its id, or the error code.
    pub(crate) fn connect(&mut self, peer: SocketAddrV4) -> Result<Vec<u8>, u16> {
        let (class, answer) = self.request(CONNECT, vec![(XOR_PEER_ADDRESS, xor(peer))]);
        if class == 0x0100 {
            return Ok(find(&answer, CONNECTION_ID));
        }
        Err(code(&answer))
    }

    /// Waits to be told of a peer that connects: the connection's id, and who it is.
    pub(crate) fn attempt(&self) -> (Vec<u8>, SocketAddrV4) {
        let (kind, attributes) = self.read();
        assert_eq!(kind, CONNECTION_ATTEMPT);
        let peer = unxor(&find(&attributes, XOR_PEER_ADDRESS));
        (find(&attributes, CONNECTION_ID), peer)
    }

    fn new(wire: Box<dyn Wire>, username: &str) -> Self {
        Self {
            wire,
            username: username.to_owned(),
            password: String::new(),
            realm: Vec::new(),
            nonce: Vec::new(),
            key: [0; 16],
            transactions: 0,
            relayed: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        }
    }

    /// Asks without a credential, to learn what to sign with.
    fn meet(&mut self, password: &str, method: u16, wish: Attributes) {
        password.clone_into(&mut self.password);
        let (_, challenge) = self.request(method, wish);
        self.realm = find(&challenge, REALM);
        self.nonce = find(&challenge, NONCE);
        let realm = String::from_utf8(self.realm.clone()).expect("UTF-8");
        let text = format!("{}:{realm}:{password}", self.username);
        self.key = Md5::digest(text).into();
    }

    /// Allocates with one attribute more than needed, if there is one; returns the answer, too.
    fn asking(
        wire: Box<dyn Wire>,
        username: &str,
        password: &str,
        extra: Option<(u16, Vec<u8>)>,
    ) -> (Self, Attributes) {
        let mut client = Self::new(wire, username);
        let mut wish = vec![(REQUESTED_TRANSPORT, vec![17, 0, 0, 0])];
        client.meet(password, ALLOCATE, wish.clone());
        wish.extend(extra);
        let (class, answer) = client.request(ALLOCATE, wish);
        assert_eq!(
            class,
            0x0100,
            "refused: {:?}",
            answer.iter().find(|(t, _)| *t == ERROR_CODE)
        );
        client.relayed = unxor(&find(&answer, XOR_RELAYED_ADDRESS));
        (client, answer)
    }

    /// Permits a peer.
    pub(crate) fn permit(&mut self, peer: SocketAddrV4) {
        let (class, _) = self.request(CREATE_PERMISSION, vec![(XOR_PEER_ADDRESS, xor(peer))]);
        assert_eq!(class, 0x0100);
    }

    /// Binds a channel to a peer.
    pub(crate) fn bind(&mut self, channel: u16, peer: SocketAddrV4) {
        let number = [channel.to_be_bytes(), [0, 0]].concat();
        let attributes = vec![(CHANNEL_NUMBER, number), (XOR_PEER_ADDRESS, xor(peer))];
        assert_eq!(self.request(CHANNEL_BIND, attributes).0, 0x0100);
    }

    /// The error code that binding a channel to a peer gets.
    pub(crate) fn refused(&mut self, peer: SocketAddrV4) -> u16 {
        let number = vec![0x40, 0, 0, 0];
        let attributes = vec![(CHANNEL_NUMBER, number), (XOR_PEER_ADDRESS, xor(peer))];
        let (class, answer) = self.request(CHANNEL_BIND, attributes);
        assert_eq!(class, 0x0110, "it was not refused");
        code(&answer)
    }

    /// Ends the session.
    pub(crate) fn release(mut self) {
        let (class, _) = self.request(REFRESH, vec![(LIFETIME, vec![0; 4])]);
        assert_eq!(class, 0x0100);
    }

    /// A Send indication.
    pub(crate) fn send(&mut self, peer: SocketAddrV4, data: &[u8]) {
        let attributes = vec![
            (XOR_PEER_ADDRESS, xor(peer)),
            (DATA_ATTRIBUTE, data.to_vec()),
        ];
        let bytes = self.message(SEND, attributes, false);
        self.wire.send(&bytes);
    }

    /// A Send indication whose datagram must not be fragmented.
    pub(crate) fn send_whole(&mut self, peer: SocketAddrV4, data: &[u8]) {
        let attributes = vec![
            (XOR_PEER_ADDRESS, xor(peer)),
            (DONT_FRAGMENT, Vec::new()),
            (DATA_ATTRIBUTE, data.to_vec()),
        ];
        let bytes = self.message(SEND, attributes, false);
        self.wire.send(&bytes);
    }

    /// The next Data indication with an ICMP attribute: about whom, and its value.
    pub(crate) fn receive_icmp(&self) -> (SocketAddrV4, Vec<u8>) {
        loop {
            let (kind, attributes) = self.read();
            if kind == DATA && attributes.iter().any(|(kind, _)| *kind == ICMP) {
                let peer = unxor(&find(&attributes, XOR_PEER_ADDRESS));
                return (peer, find(&attributes, ICMP));
            }
        }
    }

    /// The next Data indication: whom from, and what.
    pub(crate) fn receive(&self) -> (SocketAddrV4, Vec<u8>) {
        loop {
            let (kind, attributes) = self.read();
            if kind == DATA && attributes.iter().any(|(kind, _)| *kind == DATA_ATTRIBUTE) {
                let peer = unxor(&find(&attributes, XOR_PEER_ADDRESS));
                return (peer, find(&attributes, DATA_ATTRIBUTE));
            }
        }
    }

    /// What the next Data indication carries, unless none comes in time.
    pub(crate) fn receive_within(&self, time: Duration) -> Option<Vec<u8>> {
        let (kind, attributes) = parse(&self.wire.receive_within(time)?);
        (kind == DATA).then(|| find(&attributes, DATA_ATTRIBUTE))
    }

    /// A request and its answer: class bits and attributes.
    fn request(&mut self, method: u16, attributes: Attributes) -> (u16, Attributes) {
        let bytes = self.message(method, attributes, !self.nonce.is_empty());
        self.wire.send(&bytes);
        loop {
            let (kind, attributes) = self.read();
            if kind & 0x3eef == method {
                return (kind & 0x0110, attributes);
            }
        }
    }

    fn message(&mut self, kind: u16, mut attributes: Attributes, signed: bool) -> Vec<u8> {
        if signed {
            attributes.push((USERNAME, self.username.clone().into_bytes()));
            attributes.push((REALM, self.realm.clone()));
            attributes.push((NONCE, self.nonce.clone()));
        }
        self.transactions += 1;
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(COOKIE.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.transactions.to_be_bytes());
        for (kind, value) in attributes {
            attribute(&mut bytes, kind, &value);
        }
        if signed {
            // The length covers the integrity attribute that is still to come (RFC 8489, 14.5).
            set_length(&mut bytes, 24);
            let mut mac = Hmac::<Sha1>::new_from_slice(&self.key).expect("any length");
            mac.update(&bytes);
            attribute(&mut bytes, MESSAGE_INTEGRITY, &mac.finalize().into_bytes());
        }
        set_length(&mut bytes, 0);
        bytes
    }

    fn read(&self) -> (u16, Attributes) {
        parse(&self.wire.receive())
    }
}

/// The type and the attributes of a message.
fn parse(bytes: &[u8]) -> (u16, Attributes) {
    let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    assert_eq!(
        usize::from(word(2)) + 20,
        bytes.len(),
        "the length is right"
    );
    let (mut at, mut attributes) = (20, Vec::new());
    while at < bytes.len() {
        let size = usize::from(word(at + 2));
        attributes.push((word(at), bytes[at + 4..at + 4 + size].to_vec()));
        at += 4 + size.next_multiple_of(4);
    }
    (word(0), attributes)
}

/// A socket towards `server`.
fn udp(server: SocketAddr) -> Box<dyn Wire> {
    let socket = UdpSocket::bind((server.ip(), 0)).expect("a socket");
    socket.connect(server).expect("connected");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    Box::new(socket)
}

fn set_length(bytes: &mut [u8], to_come: usize) {
    let length = (bytes.len() - 20 + to_come) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend(kind.to_be_bytes());
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn find(attributes: &Attributes, kind: u16) -> Vec<u8> {
    let found = attributes.iter().find(|(other, _)| *other == kind);
    found
        .unwrap_or_else(|| panic!("no attribute {kind:#06x}"))
        .1
        .clone()
}

/// The code of an error.
fn code(answer: &Attributes) -> u16 {
    let code = find(answer, ERROR_CODE);
    u16::from(code[2]) * 100 + u16::from(code[3])
}

fn xor(address: SocketAddrV4) -> Vec<u8> {
    let mut bytes = vec![0, 1];
    bytes.extend((address.port() ^ (COOKIE >> 16) as u16).to_be_bytes());
    bytes.extend((address.ip().to_bits() ^ COOKIE).to_be_bytes());
    bytes
}

fn unxor(bytes: &[u8]) -> SocketAddrV4 {
    let port = u16::from_be_bytes([bytes[2], bytes[3]]) ^ (COOKIE >> 16) as u16;
    let ip = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) ^ COOKIE;
    SocketAddrV4::new(Ipv4Addr::from_bits(ip), port)
}
