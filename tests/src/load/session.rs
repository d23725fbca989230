//! One client of the server: its allocation, made and given back over a blocking socket.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{LoadError, Via};
use crate::stun::{
    Builder, Message, TransactionId, attribute, kind, long_term_key, rest_password_bytes,
};

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

/// How clients log in.
#[derive(Clone)]
pub enum Login {
    /// Time-limited credentials under the server's shared secret: a user of its own for each client.
    Secret {
        /// The shared secret.
        secret: String,
        /// When the credentials expire, in seconds since 1970.
        expires: u64,
    },
    /// One configured user for all clients.
    Password {
        /// The user name.
        username: String,
        /// The user's password.
        password: String,
    },
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret { expires, .. } => write!(f, "Secret(expires {expires})"),
            Self::Password { username, .. } => write!(f, "Password(of {username})"),
        }
    }
}

impl Login {
    /// User name and password of the client at `index`.
    fn of(&self, index: usize) -> (String, String) {
        match self {
            Self::Secret { secret, expires } => {
                let username = format!("{expires}:load-{index}");
                let password = STANDARD.encode(rest_password_bytes(secret.as_bytes(), &username));
                (username, password)
            }
            Self::Password { username, password } => (username.clone(), password.clone()),
        }
    }
}

/// A client with an allocation and a peer of its own, which may send to each other.
#[derive(Debug)]
pub struct Session {
    /// The client's socket, connected to the server.
    pub client: UdpSocket,
    /// The peer's socket, connected to the relayed address.
    pub peer: UdpSocket,
    /// The channel for the peer (RFC 8656 section 12); bound only where payloads travel by channel.
    pub channel: u16,
    username: String,
    password: String,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: [u8; 16],
    requests: u64,
}

impl Session {
    /// Opens the session at `index`; where its port was an earlier client's whose allocation the
    /// server still has, on another port (RFC 8656 section 7.4, error 437).
    ///
    /// # Errors
    /// When the server stays silent or refuses, or the relayed address is not a loopback one.
    pub fn open(
        server: SocketAddr,
        peer_ip: IpAddr,
        index: usize,
        login: &Login,
        via: Via,
    ) -> Result<Self, LoadError> {
        let mut tries = 1..TRIES;
        loop {
            match Self::open_once(server, peer_ip, index, login, via) {
                Err(LoadError::Refused { code: 437, .. }) if tries.next().is_some() => {}
                result => return result,
            }
        }
    }

    /// Makes the allocation at `index`, with a peer on `peer_ip`, and lets it in: by a channel, or by
    /// a mere permission where payloads travel in indications (a server uses a channel it has).
    fn open_once(
        server: SocketAddr,
        peer_ip: IpAddr,
        index: usize,
        login: &Login,
        via: Via,
    ) -> Result<Self, LoadError> {
        let client = connected(SocketAddr::new(local_side(server.ip()), 0), server)?;
        let (username, password) = login.of(index);
        let peer = UdpSocket::bind(SocketAddr::new(peer_ip, 0))?;
        let channel = FIRST_CHANNEL + (index % 0x0fff) as u16;
        let (realm, nonce, key) = (Vec::new(), Vec::new(), [0; 16]);
        let requests = (index as u64) << 32;
        let mut session = Self {
            client,
            peer,
            channel,
            username,
            password,
            realm,
            nonce,
            key,
            requests,
        };
        let relayed = session.allocate(peer_ip)?;
        if !relayed.ip().is_loopback() {
            return Err(LoadError::NotLoopback(relayed));
        }
        session.peer.connect(relayed)?;
        match via {
            Via::Channel => session.bind_channel()?,
            Via::Indication => session.permit()?,
        }
        Ok(session)
    }

    /// Gives the allocation back: Refresh with a lifetime of 0, not repeated and not awaited.
    pub fn close(&mut self) {
        let request = self.request(kind::REFRESH, &[(attribute::LIFETIME, &[0; 4])]);
        let _ = self.client.send(&request.1);
    }

    /// The address of the peer, as the server sees it.
    ///
    /// # Errors
    /// When the socket has no local address, which the system does not do.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        self.peer.local_addr()
    }

    /// Allocates, with the challenge in between (RFC 8656 section 7, RFC 8489 section 9.2).
    fn allocate(&mut self, peer_ip: IpAddr) -> Result<SocketAddr, LoadError> {
        let mut wanted = vec![(attribute::REQUESTED_TRANSPORT, &TRANSPORT_UDP[..])];
        if peer_ip.is_ipv6() {
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
            let reply = exchange(&self.client, transaction, &request)?;
            let message = Message::parse(&reply).ok_or(LoadError::Malformed)?;
            if message.kind() == method + kind::SUCCESS {
                return Ok(reply);
            }
            let code = message.error_code().ok_or(LoadError::Malformed)?;
            let unsigned = self.realm.is_empty();
            if !(code == 438 || code == 401 && unsigned) {
                return Err(LoadError::Refused { method, code });
            }
            let realm = message.get(attribute::REALM).ok_or(LoadError::Malformed)?;
            self.realm = realm.to_vec();
            self.nonce = message
                .get(attribute::NONCE)
                .ok_or(LoadError::Malformed)?
                .to_vec();
            let realm = String::from_utf8_lossy(realm);
            self.key = long_term_key(&self.username, &realm, &self.password);
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
            builder = match self.peer.local_addr() {
                Ok(peer) if number == attribute::XOR_PEER_ADDRESS => builder.peer(peer),
                _ => builder.attribute(number, value),
            };
        }
        if self.realm.is_empty() {
            return (transaction, builder.unsigned());
        }
        let signed = builder
            .attribute(attribute::USERNAME, self.username.as_bytes())
            .attribute(attribute::REALM, &self.realm)
            .attribute(attribute::NONCE, &self.nonce)
            .signed(&self.key);
        (transaction, signed)
    }
}

/// The loopback address that speaks to `server`.
fn local_side(server: IpAddr) -> IpAddr {
    if server.is_ipv6() {
        server
    } else {
        IpAddr::from([127, 0, 0, 1])
    }
}

fn connected(from: SocketAddr, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    Ok(socket)
}

/// One transaction over UDP (RFC 8489 section 6.2.1); anything but its answer is passed over.
fn exchange(
    socket: &UdpSocket,
    transaction: TransactionId,
    request: &[u8],
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
                Ok(length) => {
                    let reply = &buffer[..length];
                    if Message::parse(reply).is_some_and(|m| m.transaction() == transaction) {
                        return Ok(reply.to_vec());
                    }
                }
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
