//! One client of the server: its allocation, made and given back over a blocking socket.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use super::{
    LoadError,
    plan::{Plan, Via},
};
use crate::stun::{Builder, Message, TransactionId, attribute, kind, long_term_key};

/// First wait for an answer; doubled at each repetition (RFC 8489 section 6.2.1).
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How often a request is sent before the server counts as silent.
const TRIES: u32 = 4;
/// Lowest channel number (RFC 8656 section 12).
const FIRST_CHANNEL: u16 = 0x4000;
/// REQUESTED-TRANSPORT's value for UDP (RFC 8656 section 18.7).
const TRANSPORT_UDP: [u8; 4] = [17, 0, 0, 0];
/// REQUESTED-ADDRESS-FAMILY's value for IPv6 (RFC 8656 section 18.6).
const FAMILY_IPV6: [u8; 4] = [2, 0, 0, 0];

/// A client with an allocation and a peer, which may send to each other.
#[derive(Debug)]
pub struct Session {
    /// The client's socket, connected to the server.
    pub client: UdpSocket,
    /// The peer's address.
    pub peer: SocketAddr,
    /// The relayed address, where the peer sends to.
    pub relayed: SocketAddr,
    /// The channel for the peer (RFC 8656 section 12); bound only where payloads travel by channel.
    pub channel: u16,
    /// `None` where the server is a bare forwarder.
    account: Option<Account>,
    requests: u64,
}

/// A client's credential and what the server told it.
#[derive(Debug)]
struct Account {
    username: String,
    password: String,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: [u8; 16],
}

impl Session {
    /// Opens the session at `index` of a plan, with its peer at `peer`; where its port was an earlier
    /// client's whose allocation the server still has, on another port (RFC 8656 section 7.4, error
    /// 437).
    ///
    /// # Errors
    /// When the server stays silent or refuses, or the relayed address is not a loopback one.
    pub fn open(plan: &Plan, index: usize, peer: SocketAddr) -> Result<Self, LoadError> {
        let mut tries = 1..TRIES;
        loop {
            match Self::open_once(plan, index, peer) {
                Err(LoadError::Refused { code: 437, .. }) if tries.next().is_some() => {}
                result => return result,
            }
        }
    }

    /// Makes the allocation and lets the peer in: by a channel, or by a mere permission where payloads
    /// travel in indications (a server uses a channel it has).
    fn open_once(plan: &Plan, index: usize, peer: SocketAddr) -> Result<Self, LoadError> {
        let client = UdpSocket::bind(SocketAddr::new(plan.source(index), 0))?;
        client.connect(plan.server)?;
        let account = plan.login.as_ref().map(|login| {
            let (username, password) = login.of(index);
            let (realm, nonce, key) = (Vec::new(), Vec::new(), [0; 16]);
            Account {
                username,
                password,
                realm,
                nonce,
                key,
            }
        });
        // A bare forwarder knows one channel.
        let channel = match account {
            Some(_) => FIRST_CHANNEL + (index % 0x0fff) as u16,
            None => FIRST_CHANNEL,
        };
        let mut session = Self {
            client,
            peer,
            relayed: peer,
            channel,
            account,
            requests: (index as u64) << 32,
        };
        session.relayed = match session.account {
            Some(_) => session.allocate()?,
            None => session.forward()?,
        };
        if !session.relayed.ip().is_loopback() {
            return Err(LoadError::NotLoopback(session.relayed));
        }
        match (&session.account, plan.via) {
            (None, _) => {}
            (_, Via::Channel) => session.bind_channel()?,
            (_, Via::Indication) => session.permit()?,
        }
        Ok(session)
    }

    /// Gives the allocation back: Refresh with a lifetime of 0, not repeated and not awaited.
    pub fn close(&mut self) {
        let request = match self.account {
            Some(_) => {
                self.request(kind::REFRESH, &[(attribute::LIFETIME, &[0; 4])])
                    .1
            }
            None => b"CLOSE".to_vec(),
        };
        let _ = self.client.send(&request);
    }

    /// Asks a bare forwarder for a way to the peer.
    fn forward(&mut self) -> Result<SocketAddr, LoadError> {
        let request = format!("FORWARD {}", self.peer);
        let reply = exchange(&self.client, request.as_bytes(), |reply| {
            reply.starts_with(b"FORWARDED ") || reply.starts_with(b"REFUSED ")
        })?;
        let text = String::from_utf8_lossy(&reply);
        let address = text.strip_prefix("FORWARDED ");
        let address = address.ok_or_else(|| LoadError::NotForwarded(text.to_string()))?;
        address.parse().map_err(|_| LoadError::Malformed)
    }

    /// Allocates, with the challenge in between (RFC 8656 section 7, RFC 8489 section 9.2).
    fn allocate(&mut self) -> Result<SocketAddr, LoadError> {
        let mut wanted = vec![(attribute::REQUESTED_TRANSPORT, &TRANSPORT_UDP[..])];
        if self.peer.is_ipv6() {
            wanted.push((attribute::REQUESTED_ADDRESS_FAMILY, &FAMILY_IPV6[..]));
        }
        let reply = self.ask(kind::ALLOCATE, &wanted)?;
        let message = Message::parse(&reply).ok_or(LoadError::Malformed)?;
        message
            .address(attribute::XOR_RELAYED_ADDRESS)
            .ok_or(LoadError::Malformed)
    }

    fn bind_channel(&mut self) -> Result<(), LoadError> {
        let mut number = [0; 4];
        number[..2].copy_from_slice(&self.channel.to_be_bytes());
        // The peer's address goes in by itself: see `request`.
        self.ask(
            kind::CHANNEL_BIND,
            &[
                (attribute::CHANNEL_NUMBER, &number),
                (attribute::XOR_PEER_ADDRESS, &[]),
            ],
        )?;
        Ok(())
    }

    fn permit(&mut self) -> Result<(), LoadError> {
        self.ask(
            kind::CREATE_PERMISSION,
            &[(attribute::XOR_PEER_ADDRESS, &[])],
        )?;
        Ok(())
    }

    /// Sends a request until it is answered; a challenge or a stale nonce is answered once each.
    fn ask(&mut self, method: u16, attributes: &[(u16, &[u8])]) -> Result<Vec<u8>, LoadError> {
        for _ in 0..3 {
            let (transaction, request) = self.request(method, attributes);
            let reply = exchange(&self.client, &request, |reply| {
                Message::parse(reply).is_some_and(|m| m.transaction() == transaction)
            })?;
            let message = Message::parse(&reply).ok_or(LoadError::Malformed)?;
            if message.kind() == method + kind::SUCCESS {
                return Ok(reply);
            }
            let code = message.error_code().ok_or(LoadError::Malformed)?;
            let account = self.account.as_mut().ok_or(LoadError::Malformed)?;
            let unsigned = account.realm.is_empty();
            if !(code == 438 || code == 401 && unsigned) {
                return Err(LoadError::Refused { method, code });
            }
            account.learn(message)?;
        }
        Err(LoadError::Refused { method, code: 438 })
    }

    /// Writes a request; signed as soon as the server's realm is known.
    fn request(&mut self, method: u16, attributes: &[(u16, &[u8])]) -> (TransactionId, Vec<u8>) {
        self.requests += 1;
        let mut transaction = *b"load\0\0\0\0\0\0\0\0";
        transaction[4..].copy_from_slice(&self.requests.to_be_bytes());
        let mut builder = Builder::new(method, transaction);
        for &(number, value) in attributes {
            builder = match number {
                attribute::XOR_PEER_ADDRESS => builder.peer(self.peer),
                _ => builder.attribute(number, value),
            };
        }
        let signed = match &self.account {
            Some(account) if !account.realm.is_empty() => account.sign(builder),
            _ => builder.unsigned(),
        };
        (transaction, signed)
    }
}

impl Account {
    /// Keeps realm and nonce of a challenge.
    fn learn(&mut self, challenge: Message<'_>) -> Result<(), LoadError> {
        let text = |number| challenge.get(number).ok_or(LoadError::Malformed);
        self.realm = text(attribute::REALM)?.to_vec();
        self.nonce = text(attribute::NONCE)?.to_vec();
        let realm = String::from_utf8_lossy(&self.realm);
        self.key = long_term_key(&self.username, &realm, &self.password);
        Ok(())
    }

    fn sign(&self, builder: Builder) -> Vec<u8> {
        builder
            .attribute(attribute::USERNAME, self.username.as_bytes())
            .attribute(attribute::REALM, &self.realm)
            .attribute(attribute::NONCE, &self.nonce)
            .signed(&self.key)
    }
}

/// One transaction over UDP (RFC 8489 section 6.2.1); anything but its answer is passed over.
fn exchange(
    socket: &UdpSocket,
    request: &[u8],
    is_answer: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>, LoadError> {
    let mut buffer = [0; 2048];
    for attempt in 0..TRIES {
        socket.send(request)?;
        let deadline = Instant::now() + FIRST_WAIT * 2_u32.pow(attempt);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left))?;
            match socket.recv(&mut buffer) {
                Ok(length) if is_answer(&buffer[..length]) => return Ok(buffer[..length].to_vec()),
                Ok(_) => {}
                Err(error) if is_wait(&error) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Err(LoadError::Silent)
}

fn is_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
