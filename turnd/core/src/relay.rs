//! One worker's TURN server: inputs in, actions out. This file decides who handles what.

mod allocate;
mod binding;
mod channel_bind;
mod channel_data;
mod icmp;
mod indication;
mod lifecycle;
mod mobility;
mod opening;
mod permission;
mod refresh;
mod reply;
mod tcp;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::action::{Action, Verdict};
use crate::address::{AllocationId, Family, FiveTuple, Now};
use crate::admission::Admission;
use crate::auth::{Caller, Challenge, authenticate};
use crate::config::{Config, Drain};
use crate::connections::Connections;
use crate::counters::Counters;
use crate::deletions::Deletions;
use crate::error::Reject;
use crate::limits::{ACTION_QUEUE, ACTIONS_PER_INPUT, DELETIONS, RESERVATIONS};
use crate::ports::Ports;
use crate::proven::Proven;
use crate::reservations::Reservations;
use crate::source_limit::SourceLimit;
use crate::table::Table;
use crate::wire::attribute::MOBILITY_TICKET;
use crate::wire::message::{Malformed, Message};
use crate::wire::{Class, data, method};

pub use icmp::Icmp;
pub use tcp::Direction;

/// The TURN server of one worker. See the crate's page for how to drive it.
pub struct Relay {
    config: Arc<Config>,
    /// Rises with every configuration; allocations note by which they were judged.
    epoch: u32,
    /// The slot that the sweep after a new configuration looks at next.
    sweep: Option<usize>,
    admission: Arc<dyn Admission>,
    drain: Drain,
    table: Table,
    ports_v4: Ports,
    ports_v6: Ports,
    reservations: Reservations,
    deletions: Deletions,
    connections: Connections,
    sources: SourceLimit,
    proven: Proven,
    rng: ChaCha12Rng,
    actions: VecDeque<Action>,
    counters: Counters,
    /// When the latest input happened.
    last: Option<Instant>,
}

/// Sizes of everything that could grow, for tests and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Slots ever used for allocations.
    pub slots: usize,
    /// Allocations indexed by their five-tuple.
    pub allocations: usize,
    /// Of those, allocations whose relay socket is being opened.
    pub opening: usize,
    /// Relayed transport addresses of all allocations; one may have one of each family.
    pub relayed: usize,
    /// Ports reserved for a second allocation, which have their place in the quotas.
    pub reservations: usize,
    /// Connections of TCP allocations with peers.
    pub connections: usize,
    /// Deadlines registered.
    pub deadlines: usize,
    /// Relayed ports in use.
    pub ports: usize,
    /// Entries of the tables that limit replies to unverified senders.
    pub sources: usize,
    /// Actions waiting.
    pub actions: usize,
}

/// An authentic request, and all that answering it needs.
#[derive(Debug)]
struct Exchange<'a> {
    now: Now,
    tuple: FiveTuple,
    message: Message<'a>,
    caller: Caller<'a>,
}

impl Relay {
    /// A relay without allocations. `seed` must come from the system's random source: ports,
    /// transaction ids and hash seeds follow from it.
    pub fn new(config: Arc<Config>, admission: Arc<dyn Admission>, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        // Every allocation needs a port of one of two families.
        let capacity = config.limits.allocations.min(2 * config.ports.count());
        Self {
            table: Table::new(capacity, rng.next_u64()),
            sources: SourceLimit::new(rng.next_u64()),
            proven: Proven::new(rng.next_u64()),
            config,
            epoch: 0,
            sweep: None,
            admission,
            drain: Drain::default(),
            ports_v4: Ports::new(),
            ports_v6: Ports::new(),
            reservations: Reservations::default(),
            deletions: Deletions::new(rng.next_u64()),
            connections: Connections::default(),
            rng,
            actions: VecDeque::with_capacity(ACTIONS_PER_INPUT),
            counters: Counters::default(),
            last: None,
        }
    }

    /// Replaces the configuration under running allocations. Permissions and channels to peers
    /// that are denied now are dropped before anything more is relayed to them, and allocations
    /// whose owner is revoked now end before they relay anything more. A denial or revocation that
    /// the next configuration lifts before anything is relayed and before
    /// [`handle_timeout`](Self::handle_timeout) came to it changes nothing.
    pub fn reconfigure(&mut self, config: Arc<Config>) {
        self.config = config;
        self.epoch = self.epoch.wrapping_add(1);
        self.sweep = Some(0);
    }

    /// Takes or refuses new work from now on.
    pub fn drain_mode(&mut self, drain: Drain) {
        self.drain = drain;
    }

    /// Takes one message of a client: a datagram, or one frame of a stream.
    ///
    /// The first two bits tell ChannelData from STUN (RFC 8656 section 12).
    #[inline]
    pub fn handle_client(&mut self, now: Now, tuple: FiveTuple, packet: &[u8]) -> Verdict {
        self.last = Some(now.instant);
        // Only a forged datagram comes from port 0, and the system would refuse the reply.
        if tuple.client.port() == 0 {
            self.counters.dropped_port_zero += 1;
            return Verdict::Handled;
        }
        let verdict = match packet.first() {
            Some(0x40..=0x7f) => self.channel_data(now.instant, &tuple, packet),
            Some(0x00..=0x3f) if data::is_send(packet) => {
                self.send_indication(now.instant, &tuple, packet)
            }
            Some(0x00..=0x3f) => {
                self.stun(now, tuple, packet);
                None
            }
            _ => {
                self.counters.dropped_not_turn += 1;
                None
            }
        };
        verdict.unwrap_or(Verdict::Handled)
    }

    fn stun(&mut self, now: Now, tuple: FiveTuple, packet: &[u8]) {
        let message = match Message::parse(packet) {
            Ok(message) => message,
            Err(Malformed::NotStun) => return self.counters.dropped_not_turn += 1,
            Err(Malformed::Shape) => return self.counters.dropped_malformed += 1,
            Err(Malformed::Fingerprint) => return self.counters.dropped_fingerprint += 1,
        };
        match (message.class(), message.method()) {
            // A keep-alive (RFC 8489 section 2).
            (Class::Indication, method::BINDING) => {}
            (Class::Request, method::BINDING) => self.binding(now, tuple, &message),
            (
                Class::Request,
                method::ALLOCATE
                | method::REFRESH
                | method::CREATE_PERMISSION
                | method::CHANNEL_BIND,
            ) => {
                if self.has_room() {
                    self.request(now, tuple, message);
                } else {
                    self.counters.dropped_queue_full += 1;
                }
            }
            (Class::Request, method::CONNECT | method::CONNECTION_BIND)
                if self.config.tcp_allocations && self.has_room() =>
            {
                let is_bind = message.method() == method::CONNECTION_BIND;
                if !is_bind || !self.is_elsewhere(tuple, &message) {
                    self.request(now, tuple, message);
                }
            }
            // Never answered: an answer could be answered.
            _ => self.counters.dropped_unexpected += 1,
        }
    }

    fn request(&mut self, now: Now, tuple: FiveTuple, message: Message<'_>) {
        let id = self.live(now, &tuple);
        let owner = || {
            let id = id.or_else(|| self.claimed(now, &message))?;
            self.table.get(id).map(|allocation| &allocation.terms.owner)
        };
        let mut caller = authenticate(&self.config, now, &tuple, &message, owner);
        if matches!(caller, Err(Challenge::StaleNonce))
            && let Some(control) = self.control_of(&message)
        {
            caller = authenticate(&self.config, now, &control, &message, || None);
        }
        let caller = match caller {
            Ok(caller) => caller,
            Err(challenge) => return self.challenge(now, tuple, &message, challenge),
        };
        let owner = id
            .or_else(|| self.claimed(now, &message))
            .and_then(|id| self.table.get_mut(id))
            .map(|allocation| &mut allocation.terms.owner)
            .filter(|owner| *owner.username == *caller.username);
        if let Some(owner) = owner {
            owner.remember(&caller.key);
        }
        let exchange = Exchange {
            now,
            tuple,
            message,
            caller,
        };
        if let Err(reject) = self.serve(&exchange, id) {
            self.reject(&exchange, reject);
        }
    }

    fn serve(&mut self, exchange: &Exchange<'_>, id: Option<AllocationId>) -> Result<(), Reject> {
        let unknown = exchange.message.unknown();
        if !unknown.as_slice().is_empty() {
            return Err(Reject::UnknownAttributes(unknown));
        }
        if exchange.message.method() == method::ALLOCATE {
            return self.allocate(exchange, id);
        }
        if exchange.message.method() == method::REFRESH && self.was_deleted(exchange)? {
            return Ok(());
        }
        if exchange.message.method() == method::REFRESH
            && let Some(ticket) = exchange.message.attribute(MOBILITY_TICKET)
        {
            return self.refresh_by_ticket(exchange, id, ticket);
        }
        if exchange.message.method() == method::CONNECTION_BIND {
            return self.connection_bind(exchange, id);
        }
        let id = self.owned(exchange, id)?;
        match exchange.message.method() {
            method::REFRESH => self.refresh(exchange, id, None),
            method::CREATE_PERMISSION => self.create_permission(exchange, id),
            method::CONNECT => self.connect(exchange, id),
            _ => self.channel_bind(exchange, id),
        }
    }

    /// The allocation a request is about: 437 if there is none, 441 if it is another user's
    /// (RFC 8656 section 5).
    fn owned(
        &self,
        exchange: &Exchange<'_>,
        id: Option<AllocationId>,
    ) -> Result<AllocationId, Reject> {
        let open = id.filter(|id| {
            let allocation = self.table.get(*id);
            allocation.is_some_and(|a| a.is_open(exchange.now.instant))
        });
        let id = open.ok_or(Reject::AllocationMismatch)?;
        let owner = self.table.get(id).map(|a| &*a.terms.owner.username);
        if owner == Some(exchange.caller.username) {
            Ok(id)
        } else {
            Err(Reject::WrongCredentials)
        }
    }

    /// The next thing the shell must do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether one more input may queue all it can.
    fn has_room(&self) -> bool {
        self.actions.len() + ACTIONS_PER_INPUT <= ACTION_QUEUE
    }

    fn ports(&mut self, family: Family) -> &mut Ports {
        match family {
            Family::V4 => &mut self.ports_v4,
            Family::V6 => &mut self.ports_v6,
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Live allocations, with those whose socket is being opened.
    pub fn sessions(&self) -> usize {
        self.table.len()
    }

    /// How large everything is that could grow.
    pub fn footprint(&self) -> Footprint {
        Footprint {
            slots: self.table.slots(),
            allocations: self.table.len(),
            opening: self.table.opening(),
            relayed: self.ports_v4.in_use() + self.ports_v6.in_use() - self.reservations.len(),
            reservations: self.reservations.len(),
            connections: self.connections.len(),
            deadlines: self.table.deadlines(),
            ports: self.ports_v4.in_use() + self.ports_v6.in_use(),
            sources: self.sources.len(),
            actions: self.actions.len(),
        }
    }

    /// Panics if the relay's own state contradicts itself. For tests and simulations, after every
    /// step; input can never make it panic.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        self.check_connections();
        assert!(self.actions.len() <= ACTION_QUEUE);
        let reserved = self.reservations.iter();
        assert!(self.reservations.len() <= RESERVATIONS);
        assert!(self.deletions.len() <= DELETIONS);
        assert!(reserved.is_sorted_by_key(|r| r.expires));
        for (family, ports) in [(Family::V4, &self.ports_v4), (Family::V6, &self.ports_v6)] {
            let mut count = 0;
            let leased = self.table.allocations().filter_map(|a| a.lease(family));
            let leased = leased.map(|lease| lease.bound);
            let reserved = self.reservations.iter().map(|r| r.address);
            for address in leased.chain(reserved.filter(|a| Family::of(a.ip()) == family)) {
                assert_eq!(Family::of(address.ip()), family);
                assert!(ports.is_used(address.port()));
                count += 1;
            }
            assert_eq!(count, ports.in_use(), "a port leaked");
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("drain", &self.drain)
            .field("footprint", &self.footprint())
            .finish_non_exhaustive()
    }
}
