//! Allocate (RFC 8656 section 7.2), from the request to the question for a socket.

use std::net::SocketAddr;

use rand::Rng;

use crate::action::Action;
use crate::address::{AllocationId, Family, Now, Transport};
use crate::admission::Charge;
use crate::allocation::{Allocation, Lease, Opening, Origin, Owner, Phase, Terms};
use crate::error::Reject;
use crate::limits::{OPEN_ATTEMPTS, OPEN_TIMEOUT, RESERVED};
use crate::meter::{Bucket, Meter};
use crate::peers::Peers;
use crate::ports::Parity;
use crate::reservations::{Reservation, Token};
use crate::wire::attribute::{
    ADDITIONAL_ADDRESS_FAMILY, DONT_FRAGMENT, EVEN_PORT, LIFETIME, MOBILITY_TICKET,
    REQUESTED_ADDRESS_FAMILY, REQUESTED_TRANSPORT, RESERVATION_TOKEN,
};
use crate::wire::{TRANSPORT_TCP, TRANSPORT_UDP};

use super::{Exchange, Relay};

/// What a well-formed request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    tcp: bool,
    address: Address,
    lifetime: Option<u32>,
    /// Wants a ticket to move by (RFC 8016).
    mobile: bool,
}

/// Which relayed transport addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Address {
    One(Family, Parity),
    /// One of each family, or at least one of them.
    Both(Parity),
    /// The one that was reserved by an earlier request.
    Reserved(Token),
}

/// Relayed transport addresses that are taken, not paid for yet.
#[derive(Debug, Default)]
struct Taken {
    leases: [Option<Lease>; 2],
    /// The family that was asked for in addition and could not be had, with the error code.
    missing: Option<(Family, u16)>,
}

impl Relay {
    pub(super) fn allocate(
        &mut self,
        exchange: &Exchange<'_>,
        id: Option<AllocationId>,
    ) -> Result<(), Reject> {
        if let Some(id) = id {
            return self.replay(exchange, id);
        }
        let wish = Wish::read(exchange, self.config.tcp_allocations)?;
        // It could be ignored, too, but whoever forbids it has to say so (RFC 8016 section 3.1.2). One
        // that relays TCP ends with its control connection (RFC 6062 section 5.1), so it cannot move.
        if wish.mobile && (!self.config.mobility || wish.tcp) {
            return Err(Reject::MobilityForbidden);
        }
        self.check_drain(exchange)?;
        if let Some(worker) = self.keeper(exchange, wish.address) {
            self.hand_over(exchange, worker);
            return Ok(());
        }
        let limits = &self.config.limits;
        if self.table.len() >= limits.allocations || self.table.opening() >= limits.pending_opens {
            return Err(Reject::Capacity);
        }
        let places = self.take(exchange, wish.address)?;
        let paid = self.pay(exchange, wish.address, &places);
        if paid.is_err() {
            self.free(&places.leases);
        }
        let (charge, token) = paid?;
        let now = exchange.now.instant;
        let max_session = self.config.lifetimes.max_session;
        let granted = self.grant(exchange, wish.lifetime, max_session);
        let terms = Terms {
            leases: places.leases,
            new_peers: Bucket::new(now),
            icmp: Bucket::new(now),
            connections: Vec::new(),
            owner: Owner::new(exchange.caller.username, exchange.caller.key.clone()),
            origin: Origin {
                transaction: exchange.message.transaction(),
                fingerprint: exchange.message.has_fingerprint(),
                granted: granted.as_secs() as u32,
                missing: places.missing,
                token,
            },
            mobility: None,
            session_end: now + max_session,
            charge,
        };
        let id = self.table.insert(Allocation {
            tuple: exchange.tuple,
            epoch: self.epoch,
            expires: now + OPEN_TIMEOUT,
            phase: Phase::Opening,
            is_tcp: wish.tcp,
            meter: Meter::new(now),
            peers: Peers::default(),
            terms: Box::new(terms),
            armed: None,
        });
        self.settle_challenge(exchange);
        if wish.mobile {
            self.issue_ticket(id, None);
        }
        for lease in places.leases.iter().flatten() {
            let address = lease.bound;
            let open = self.open_action(id, address);
            self.actions.push_back(open);
        }
        Ok(())
    }

    /// The other worker that keeps what is reserved under a token. A connection stays on the worker
    /// it came to; only datagrams can be handed over.
    fn keeper(&self, exchange: &Exchange<'_>, address: Address) -> Option<u16> {
        let Address::Reserved(token) = address else {
            return None;
        };
        let worker = self.config.nonce_keys.keeper(token);
        (self.is_other(worker) && exchange.tuple.transport == Transport::Udp).then_some(worker)
    }

    /// Whether `worker` is another worker of this process.
    pub(super) fn is_other(&self, worker: u16) -> bool {
        worker != self.config.ports.worker() && worker < self.config.ports.workers()
    }

    /// Lets another worker serve an authentic request.
    pub(super) fn hand_over(&mut self, exchange: &Exchange<'_>, worker: u16) {
        self.counters.requests_forwarded += 1;
        self.actions.push_back(Action::Forward {
            worker,
            tuple: exchange.tuple,
            bytes: exchange.message.bytes().to_vec(),
        });
    }

    /// Takes the ports of the addresses asked for.
    fn take(&mut self, exchange: &Exchange<'_>, address: Address) -> Result<Taken, Reject> {
        let now = exchange.now;
        let mut places = Taken::default();
        match address {
            Address::One(family, parity) => {
                places.leases[family.index()] = Some(self.lease(now, family, parity)?);
            }
            Address::Both(parity) => {
                for family in Family::ALL {
                    match self.lease(now, family, parity) {
                        Ok(lease) => places.leases[family.index()] = Some(lease),
                        Err(reject) if places.missing.is_some() => return Err(reject),
                        Err(reject) => places.missing = Some((family, reject.code().0)),
                    }
                }
            }
            Address::Reserved(token) => {
                self.expire_reservations(now.instant);
                let username = exchange.caller.username;
                let reserved = self.reservations.take(token, username);
                let reserved = reserved.ok_or(Reject::Capacity)?;
                // Its place in the quota is taken by the allocation, charged to where it is now.
                self.admission.release(reserved.charge);
                self.counters.reservations_redeemed += 1;
                let family = Family::of(reserved.address.ip());
                let opening = Opening {
                    attempts: 0,
                    parity: Parity::Any,
                };
                places.leases[family.index()] = Some(self.lease_of(now, reserved.address, opening));
            }
        }
        Ok(places)
    }

    fn lease(&mut self, now: Now, family: Family, parity: Parity) -> Result<Lease, Reject> {
        let address = self.config.relay_addresses.of(family);
        let address = address.ok_or(Reject::AddressFamily)?;
        let port = self.take_port(family, parity).ok_or(Reject::Capacity)?;
        let opening = Opening {
            attempts: OPEN_ATTEMPTS - 1,
            parity,
        };
        Ok(self.lease_of(now, SocketAddr::new(address, port), opening))
    }

    fn lease_of(&self, now: Now, bound: SocketAddr, opening: Opening) -> Lease {
        Lease {
            bound,
            told: self.config.told(bound),
            expires: now.instant + OPEN_TIMEOUT,
            opening: Some(opening),
        }
    }

    /// Charges the allocation, and the port above it where that is reserved, too.
    fn pay(
        &mut self,
        exchange: &Exchange<'_>,
        address: Address,
        places: &Taken,
    ) -> Result<(Charge, Option<Token>), Reject> {
        let pair = match address {
            Address::One(family, Parity::Pair) => places.leases[family.index()],
            _ => None,
        };
        let token = pair
            .map(|lease| self.reserve(exchange, above(lease.bound)))
            .transpose()?;
        let charge = self.charge(exchange);
        if let (Err(_), Some(token)) = (&charge, token) {
            self.unreserve(token, exchange.caller.username);
        }
        Ok((charge?, token))
    }

    fn charge(&self, exchange: &Exchange<'_>) -> Result<Charge, Reject> {
        let source = exchange.tuple.client.ip();
        let charge = self
            .admission
            .charge(exchange.caller.quota_name(), source)?;
        Ok(charge)
    }

    /// Keeps `address`, whose port is taken already; gives it back where it cannot be kept.
    fn reserve(&mut self, exchange: &Exchange<'_>, address: SocketAddr) -> Result<Token, Reject> {
        let now = exchange.now.instant;
        self.expire_reservations(now);
        let charge = if self.reservations.is_full() {
            Err(Reject::Capacity)
        } else {
            self.charge(exchange)
        };
        let Ok(charge) = charge else {
            self.ports(Family::of(address.ip())).free(address.port());
            return charge.map(|_| Token::default());
        };
        let mut random = [0; 6];
        self.rng.fill_bytes(&mut random);
        let worker = self.config.ports.worker();
        let token = self.config.nonce_keys.token(random, worker);
        self.reservations.add(Reservation {
            token,
            username: exchange.caller.username.into(),
            address,
            expires: now + RESERVED,
            charge,
        });
        self.counters.reservations_made += 1;
        Ok(token)
    }

    /// Gives up what is reserved under `token`, if it still is.
    pub(super) fn unreserve(&mut self, token: Token, username: &str) {
        if let Some(reservation) = self.reservations.take(token, username) {
            self.release(reservation);
        }
    }

    /// Gives up reservations whose time is over.
    pub(super) fn expire_reservations(&mut self, now: std::time::Instant) {
        while let Some(reservation) = self.reservations.take_expired(now) {
            self.counters.reservations_expired += 1;
            self.release(reservation);
        }
    }

    fn release(&mut self, reservation: Reservation) {
        let address = reservation.address;
        self.ports(Family::of(address.ip())).free(address.port());
        self.admission.release(reservation.charge);
    }

    /// Gives the ports of `leases` back.
    pub(super) fn free(&mut self, leases: &[Option<Lease>; 2]) {
        for lease in leases.iter().flatten() {
            self.ports(Family::of(lease.bound.ip()))
                .free(lease.bound.port());
        }
    }

    /// There is an allocation already: the same request gets the same reply again, any other 437
    /// (RFC 8656 section 7.2, the "stateful" variant). While the socket is being opened, the
    /// reply to the first copy answers all of them.
    fn replay(&mut self, exchange: &Exchange<'_>, id: AllocationId) -> Result<(), Reject> {
        let allocation = self.table.get(id).ok_or(Reject::AllocationMismatch)?;
        let same = allocation.terms.origin.transaction == exchange.message.transaction()
            && *allocation.terms.owner.username == *exchange.caller.username;
        if !same {
            return Err(Reject::AllocationMismatch);
        }
        if allocation.phase == Phase::Open {
            self.counters.allocate_replays += 1;
            self.announce(id);
        }
        Ok(())
    }

    /// While draining: another relay for those who can go there, else 508. Clients of TLS and DTLS
    /// check names and could not follow an address.
    fn check_drain(&self, exchange: &Exchange<'_>) -> Result<(), Reject> {
        let Some(alternates) = self.drain.alternates() else {
            return Ok(());
        };
        let draw = exchange.message.transaction()[11];
        let (family, other) = match Family::of(exchange.tuple.client.ip()) {
            Family::V4 => (Family::V4, Family::V6),
            Family::V6 => (Family::V6, Family::V4),
        };
        let other = alternates.pick(other, draw.into());
        let alternate = alternates
            .pick(family, draw.into())
            .filter(|_| matches!(exchange.tuple.transport, Transport::Udp | Transport::Tcp))
            .map(|first| Reject::TryAlternate { first, other });
        Err(alternate.unwrap_or(Reject::Capacity))
    }

    pub(super) fn take_port(&mut self, family: Family, parity: Parity) -> Option<u16> {
        let config = &self.config;
        let ports = match family {
            Family::V4 => &mut self.ports_v4,
            Family::V6 => &mut self.ports_v6,
        };
        ports.take(&config.ports, parity, &mut self.rng)
    }
}

/// The next higher port.
pub(super) fn above(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() | 1)
}

impl Wish {
    /// The checks of RFC 8656 section 7.2 that need nothing but the request.
    fn read(exchange: &Exchange<'_>, serves_tcp: bool) -> Result<Self, Reject> {
        let message = &exchange.message;
        let transport: [u8; 4] = message
            .fixed(REQUESTED_TRANSPORT)?
            .ok_or(Reject::BadRequest)?;
        let tcp = match transport[0] {
            TRANSPORT_UDP => false,
            TRANSPORT_TCP if serves_tcp => true,
            _ => return Err(Reject::Transport),
        };
        let family: Option<[u8; 4]> = message.fixed(REQUESTED_ADDRESS_FAMILY)?;
        let additional: Option<[u8; 4]> = message.fixed(ADDITIONAL_ADDRESS_FAMILY)?;
        let even: Option<[u8; 1]> = message.fixed(EVEN_PORT)?;
        let token: Option<Token> = message.fixed(RESERVATION_TOKEN)?;
        // RFC 6062 section 5.1. It leaves a second family open; such allocations have one.
        let wants_datagrams = message.attribute(DONT_FRAGMENT).is_some()
            || even.is_some()
            || token.is_some()
            || additional.is_some();
        if tcp && (wants_datagrams || !exchange.tuple.transport.is_stream()) {
            return Err(Reject::BadRequest);
        }
        let parity = match even {
            None => Parity::Any,
            Some([flags]) if flags & 0x80 == 0 => Parity::Even,
            Some(_) => Parity::Pair,
        };
        let address = match (token, additional, family) {
            (Some(token), None, None) if even.is_none() => Address::Reserved(token),
            // Only IPv6 can be had in addition, and no pair of ports.
            (None, Some([2, ..]), None) if parity != Parity::Pair => Address::Both(parity),
            (None, None, None) => Address::One(Family::V4, parity),
            (None, None, Some([family, ..])) => {
                let family = Family::from_wire(family).ok_or(Reject::AddressFamily)?;
                Address::One(family, parity)
            }
            _ => return Err(Reject::BadRequest),
        };
        let lifetime = message.fixed(LIFETIME)?.map(u32::from_be_bytes);
        let ticket = message.attribute(MOBILITY_TICKET);
        if ticket.is_some_and(|ticket| !ticket.is_empty()) {
            return Err(Reject::BadRequest);
        }
        Ok(Self {
            tcp,
            address,
            lifetime,
            mobile: ticket.is_some(),
        })
    }
}
