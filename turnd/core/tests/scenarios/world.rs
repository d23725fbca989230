//! A relay with a clock, sockets that open by themselves, and clients that know the protocol.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use credentials::{Secret, SecretRing, UnixTime, issue};
use turnd_core::quota::{Ledger, Quotas};
use turnd_core::{
    Action, Admission, AllocationId, Charge, Config, Denied, Family, FiveTuple, HEADROOM, Headroom,
    Lifetimes, Limits, NonceKey, NonceKeys, Now, OpenError, PeerFilter, PortSlice, Realm, Relay,
    RelayAddresses, Revocations, TAILROOM, Transport, Verdict,
};

use crate::codec::{self, ALLOCATE, Build, NONCE, Parsed, REALM, TRANSPORT, USERNAME};

pub(crate) const REALM_NAME: &str = "turn.example";
pub(crate) const RELAY_V4: &str = "8.8.4.4";
pub(crate) const RELAY_V6: &str = "2a00::44";
pub(crate) const EPOCH: u64 = 1_800_000_000;

/// The beginning of time: any instant will do.
#[expect(clippy::disallowed_methods, reason = "an arbitrary beginning of time")]
fn origin() -> Instant {
    Instant::now()
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).unwrap()
}

pub(crate) fn ring(current: &str, previous: &[&str]) -> SecretRing {
    SecretRing::new(
        secret(current),
        previous.iter().map(|s| secret(s)).collect(),
    )
    .unwrap()
}

pub(crate) const SECRET: &str = "a secret of some length";

/// A configuration in which everything works.
pub(crate) fn config() -> Config {
    let own = RelayAddresses {
        v4: Some(RELAY_V4.parse().unwrap()),
        v6: Some(RELAY_V6.parse().unwrap()),
    };
    Config {
        realm: Realm::new(REALM_NAME).unwrap(),
        software: None,
        secrets: ring(SECRET, &[]),
        revoked: Revocations::default(),
        nonce_keys: NonceKeys {
            current: NonceKey::new(&[1; 32]),
            previous: None,
        },
        relay_addresses: own,
        external_addresses: RelayAddresses::default(),
        ports: PortSlice::new(50_000..=50_999, 0, 1).unwrap(),
        peers: PeerFilter::new(own, 50_000..=50_999).control([addr("8.8.4.4:3478")]),
        limits: Limits::default(),
        lifetimes: Lifetimes::default(),
        tcp_allocations: false,
        strict_expiry: false,
        mobility: false,
    }
}

/// The ledger behind a lock, as the shell has it.
#[expect(clippy::disallowed_types, reason = "stands for the shell")]
pub(crate) struct Shared(pub(crate) std::sync::Mutex<Ledger>);

impl Admission for Shared {
    fn charge(&self, user: &str, source: IpAddr) -> Result<Charge, Denied> {
        self.0.lock().unwrap().charge(user, source)
    }

    fn transfer(&self, charge: &Charge, source: IpAddr) -> Result<(), Denied> {
        self.0.lock().unwrap().transfer(charge, source)
    }

    fn release(&self, charge: Charge) {
        self.0.lock().unwrap().release(charge);
    }
}

pub(crate) struct World {
    pub(crate) relay: Relay,
    pub(crate) ledger: Arc<Shared>,
    start: Instant,
    pub(crate) elapsed: Duration,
    /// Sockets the shell holds open.
    pub(crate) sockets: BTreeMap<(AllocationId, Family), SocketAddr>,
    /// Asked for and not answered, when `auto_open` is off.
    pub(crate) asked: VecDeque<(AllocationId, SocketAddr)>,
    pub(crate) auto_open: bool,
    /// Every Allocate that was granted, and when: some while others were asked something.
    pub(crate) granted: VecDeque<(Duration, FiveTuple, Parsed)>,
    /// Replies not yet looked at.
    pub(crate) replies: VecDeque<(FiveTuple, Parsed)>,
    /// Everything announced about peers, in order.
    pub(crate) announced: Vec<Action>,
    pub(crate) closed: Vec<AllocationId>,
    /// What was said of the last datagram to a peer.
    pub(crate) dont_fragment: bool,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::with_quotas(
            config,
            Quotas {
                total: 1000,
                per_user: 100,
                per_source: 100,
            },
        )
    }

    pub(crate) fn with_quotas(config: Config, quotas: Quotas) -> Self {
        #[expect(clippy::disallowed_types, reason = "stands for the shell")]
        let ledger = Arc::new(Shared(std::sync::Mutex::new(Ledger::new(quotas))));
        Self {
            relay: Relay::new(Arc::new(config), ledger.clone(), [9; 32]),
            ledger,
            start: origin(),
            elapsed: Duration::ZERO,
            sockets: BTreeMap::new(),
            asked: VecDeque::new(),
            auto_open: true,
            granted: VecDeque::new(),
            replies: VecDeque::new(),
            announced: Vec::new(),
            closed: Vec::new(),
            dont_fragment: false,
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            instant: self.start + self.elapsed,
            unix: UnixTime(EPOCH + self.elapsed.as_secs()),
        }
    }

    /// Carries out all actions, then looks whether everything still fits together.
    pub(crate) fn drain(&mut self) {
        while let Some(action) = self.relay.poll_action() {
            match action {
                Action::Send { tuple, bytes } => {
                    let reply = Parsed::new(&bytes);
                    if reply.kind == ALLOCATE | 0x100 {
                        let granted = (self.elapsed, tuple, reply.clone());
                        self.granted.push_back(granted);
                    }
                    self.replies.push_back((tuple, reply));
                }
                Action::OpenRelay { id, address } | Action::ListenRelay { id, address }
                    if self.auto_open =>
                {
                    self.opened(id, address, Ok(()));
                }
                Action::OpenRelay { id, address } | Action::ListenRelay { id, address } => {
                    self.asked.push_back((id, address));
                }
                Action::CloseRelay { id } => {
                    self.sockets.retain(|(closed, _), _| *closed != id);
                    self.asked.retain(|(asked, _)| *asked != id);
                    self.closed.push(id);
                }
                Action::CloseFamily { id, family } => {
                    self.sockets.remove(&(id, family));
                    let of_family = |address: &SocketAddr| Family::of(address.ip()) == family;
                    self.asked
                        .retain(|(asked, a)| *asked != id || !of_family(a));
                }
                other => self.announced.push(other),
            }
        }
        self.relay.check_invariants();
        let footprint = self.relay.footprint();
        let charged = footprint.allocations + footprint.reservations;
        assert_eq!(self.ledger.0.lock().unwrap().total(), charged);
        assert_eq!(
            self.sockets.len() + self.asked.len(),
            footprint.relayed,
            "a socket leaked"
        );
    }

    /// What the shell does when a socket was opened, or not.
    pub(crate) fn opened(
        &mut self,
        id: AllocationId,
        address: SocketAddr,
        result: Result<(), OpenError>,
    ) {
        let family = Family::of(address.ip());
        if result.is_ok() {
            self.sockets.insert((id, family), address);
        }
        let now = self.now();
        let result = result.map(|()| address);
        self.relay.socket_opened(now, id, family, result);
    }

    /// Answers the oldest question for a socket.
    pub(crate) fn answer(&mut self, result: Result<(), OpenError>) {
        let (id, address) = self.asked.pop_front().expect("a socket was asked for");
        self.opened(id, address, result);
        self.drain();
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.elapsed + by;
        for _ in 0..100_000 {
            let due = self
                .relay
                .poll_timeout()
                .map(|at| at.saturating_duration_since(self.start));
            let Some(due) = due.filter(|due| *due <= end) else {
                self.elapsed = end;
                return;
            };
            self.elapsed = self.elapsed.max(due);
            let now = self.now();
            self.relay.handle_timeout(now);
            self.drain();
        }
        panic!("the relay does not come to rest");
    }

    pub(crate) fn advance_secs(&mut self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// Gives the relay a packet that is not data.
    pub(crate) fn give(&mut self, tuple: FiveTuple, bytes: &[u8]) {
        let now = self.now();
        let verdict = self.relay.handle_client(now, tuple, bytes);
        assert_eq!(verdict, Verdict::Handled);
        self.drain();
    }

    /// Gives the relay a packet and takes the one reply to it.
    pub(crate) fn ask(&mut self, tuple: FiveTuple, bytes: &[u8]) -> Parsed {
        self.replies.clear();
        self.give(tuple, bytes);
        // An earlier Allocate may be answered now, because one of its sockets took too long.
        let late = |r: &Parsed| r.error() == Some(508) || r.kind == ALLOCATE | 0x100;
        self.replies
            .retain(|(_, r)| r.transaction == bytes[8..20] || !late(r));
        let (to, reply) = self.replies.pop_front().expect("a reply");
        assert_eq!(to, tuple);
        assert_eq!(reply.transaction, bytes[8..20]);
        assert!(self.replies.is_empty(), "one reply only");
        reply
    }

    /// Data of a client: what reaches which peer, if anything does.
    pub(crate) fn data(&mut self, tuple: FiveTuple, bytes: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let now = self.now();
        let verdict = self.relay.handle_client(now, tuple, bytes);
        self.drain();
        match verdict {
            Verdict::ToPeer {
                relay,
                peer,
                payload,
                dont_fragment,
            } => {
                self.dont_fragment = dont_fragment;
                let socket = (relay, Family::of(peer.ip()));
                assert!(self.sockets.contains_key(&socket), "no such socket");
                Some((peer, bytes[payload].to_vec()))
            }
            Verdict::Handled => None,
        }
    }

    /// A datagram from a peer: what reaches which client, if anything does.
    pub(crate) fn peer_sends(
        &mut self,
        id: AllocationId,
        peer: SocketAddr,
        payload: &[u8],
    ) -> Option<(FiveTuple, Vec<u8>)> {
        let mut buffer = vec![0xaa; HEADROOM];
        buffer.extend(payload);
        buffer.extend([0xaa; TAILROOM]);
        let datagram = HEADROOM..HEADROOM + payload.len();
        let mut packet = Headroom::new(&mut buffer, datagram).unwrap();
        let now = self.now();
        let to_client = self.relay.handle_peer(now, id, peer, &mut packet);
        self.drain();
        to_client.map(|to| (to.tuple, buffer[to.bytes].to_vec()))
    }

    /// The allocation whose relayed address is `relayed`.
    pub(crate) fn id_of(&self, relayed: SocketAddr) -> AllocationId {
        let found = self.sockets.iter().find(|(_, bound)| **bound == relayed);
        found.expect("a relayed address").0.0
    }
}

/// A client that has a credential.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) tuple: FiveTuple,
    pub(crate) username: String,
    pub(crate) key: [u8; 16],
    pub(crate) nonce: Vec<u8>,
    pub(crate) transaction: u64,
}

impl Client {
    /// A client with a credential for an hour, and without a nonce.
    pub(crate) fn new(address: &str, user: &str) -> Self {
        Self::with_credential(address, user, 3600, SECRET)
    }

    pub(crate) fn with_credential(address: &str, user: &str, ttl: u32, under: &str) -> Self {
        let credential = issue(&ring(under, &[]), Some(user), ttl, UnixTime(EPOCH)).unwrap();
        let client = addr(address);
        let server = if client.is_ipv4() {
            "8.8.4.4:3478"
        } else {
            "[2a00::44]:3478"
        };
        Self {
            tuple: FiveTuple {
                client,
                server: addr(server),
                transport: Transport::Udp,
            },
            key: codec::key(&credential.username, REALM_NAME, &credential.password),
            username: credential.username,
            nonce: Vec::new(),
            transaction: u64::from(client.port()) << 32,
        }
    }

    /// An unsigned request with a fresh transaction id.
    pub(crate) fn request(&mut self, method: u16) -> Build {
        self.transaction += 1;
        Build::request(method, self.transaction)
    }

    /// Says who asks.
    pub(crate) fn name(&self, build: Build) -> Build {
        build
            .attr(USERNAME, self.username.as_bytes())
            .attr(REALM, REALM_NAME.as_bytes())
            .attr(NONCE, &self.nonce)
    }

    /// Adds the credential.
    pub(crate) fn sign(&self, build: Build) -> Build {
        self.name(build).sign(&self.key)
    }

    /// Signs and sends; the reply must be signed, too.
    pub(crate) fn ask(&self, world: &mut World, build: Build) -> Parsed {
        let reply = world.ask(self.tuple, &self.sign(build).bytes);
        assert!(reply.is_signed(&self.key), "{reply:?}");
        reply
    }

    /// Learns a nonce from a 401.
    pub(crate) fn learn_nonce(&mut self, world: &mut World) {
        let request = self.request(ALLOCATE).attr(TRANSPORT, &[17, 0, 0, 0]);
        let reply = world.ask(self.tuple, &request.bytes);
        assert_eq!(reply.error(), Some(401));
        assert_eq!(reply.get(REALM), Some(REALM_NAME.as_bytes()));
        self.nonce = reply.get(NONCE).unwrap().to_vec();
    }

    pub(crate) fn allocate_request(&mut self) -> Build {
        self.request(ALLOCATE).attr(TRANSPORT, &[17, 0, 0, 0])
    }

    /// Gets an allocation; returns its relayed address.
    pub(crate) fn allocate(&mut self, world: &mut World) -> SocketAddr {
        self.learn_nonce(world);
        let request = self.allocate_request();
        let reply = self.ask(world, request);
        assert!(reply.is_success(), "{:?}", reply.error());
        reply.address(codec::RELAYED).unwrap()
    }

    pub(crate) fn permit(&mut self, world: &mut World, peers: &[&str]) -> Parsed {
        let mut request = self.request(codec::CREATE_PERMISSION);
        for peer in peers {
            request = request.peer(addr(peer));
        }
        self.ask(world, request)
    }

    pub(crate) fn bind(&mut self, world: &mut World, channel: u16, peer: &str) -> Parsed {
        let mut number = channel.to_be_bytes().to_vec();
        number.extend([0, 0]);
        let request = self.request(codec::CHANNEL_BIND);
        let request = request
            .attr(codec::CHANNEL_NUMBER, &number)
            .peer(addr(peer));
        self.ask(world, request)
    }

    pub(crate) fn refresh(&mut self, world: &mut World, lifetime: Option<u32>) -> Parsed {
        let request = self.refresh_request(lifetime);
        self.ask(world, request)
    }

    pub(crate) fn refresh_request(&mut self, lifetime: Option<u32>) -> Build {
        let request = self.request(codec::REFRESH);
        match lifetime {
            Some(seconds) => request.attr(codec::LIFETIME, &seconds.to_be_bytes()),
            None => request,
        }
    }

    /// A Send indication.
    pub(crate) fn send(&mut self, peer: &str, data: &[u8]) -> Vec<u8> {
        self.transaction += 1;
        Build::indication(6, self.transaction)
            .peer(addr(peer))
            .attr(codec::DATA, data)
            .bytes
    }
}
