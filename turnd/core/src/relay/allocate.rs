//! Allocate (RFC 8656 section 7.2), from the request to the reply once the socket is open.

use std::net::SocketAddr;

use crate::action::{Action, OpenError};
use crate::address::{AllocationId, Family, Now, Transport};
use crate::allocation::{Allocation, Origin, Owner, Phase};
use crate::error::Reject;
use crate::limits::{OPEN_ATTEMPTS, OPEN_TIMEOUT};
use crate::peers::Peers;
use crate::ports::Parity;
use crate::wire::attribute::{
    EVEN_PORT, LIFETIME, REQUESTED_ADDRESS_FAMILY, REQUESTED_TRANSPORT, RESERVATION_TOKEN,
    XOR_MAPPED_ADDRESS, XOR_RELAYED_ADDRESS,
};
use crate::wire::writer::Writer;
use crate::wire::{Class, TRANSPORT_UDP, method};

use super::{Exchange, Relay};

/// What a well-formed request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    family: Family,
    parity: Parity,
    lifetime: Option<u32>,
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
        let wish = Wish::read(exchange)?;
        self.check_drain(exchange)?;
        let address = self.config.relay_addresses.of(wish.family);
        let address = address.ok_or(Reject::AddressFamily)?;
        let limits = &self.config.limits;
        if self.table.len() >= limits.allocations || self.table.opening() >= limits.pending_opens {
            return Err(Reject::Capacity);
        }
        let source = exchange.tuple.client.ip();
        let charge = self
            .admission
            .charge(exchange.caller.quota_name(), source)?;
        let Some(port) = self.take_port(wish.family, wish.parity) else {
            self.admission.release(charge);
            return Err(Reject::Capacity);
        };
        let now = exchange.now.instant;
        let max_session = self.config.lifetimes.max_session;
        let granted = self.grant(exchange, wish.lifetime, max_session);
        let relayed = SocketAddr::new(address, port);
        let id = self.table.insert(Allocation {
            tuple: exchange.tuple,
            expires: now + OPEN_TIMEOUT,
            phase: Phase::Opening {
                attempts: OPEN_ATTEMPTS - 1,
                parity: wish.parity,
            },
            epoch: self.epoch,
            peers: Peers::default(),
            relayed,
            owner: Owner::new(exchange.caller.username, exchange.caller.key.clone()),
            origin: Origin {
                transaction: exchange.message.transaction(),
                fingerprint: exchange.message.has_fingerprint(),
                granted: granted.as_secs() as u32,
            },
            session_end: now + max_session,
            charge,
            armed: None,
        });
        self.actions.push_back(Action::OpenRelay {
            id,
            address: relayed,
        });
        Ok(())
    }

    /// There is an allocation already: the same request gets the same reply again, any other 437
    /// (RFC 8656 section 7.2, the "stateful" variant). While the socket is being opened, the
    /// reply to the first copy answers all of them.
    fn replay(&mut self, exchange: &Exchange<'_>, id: AllocationId) -> Result<(), Reject> {
        let allocation = self.table.get(id).ok_or(Reject::AllocationMismatch)?;
        let same = allocation.origin.transaction == exchange.message.transaction()
            && *allocation.owner.username == *exchange.caller.username;
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

    fn take_port(&mut self, family: Family, parity: Parity) -> Option<u16> {
        let config = &self.config;
        let ports = match family {
            Family::V4 => &mut self.ports_v4,
            Family::V6 => &mut self.ports_v6,
        };
        ports.take(&config.ports, parity, &mut self.rng)
    }

    /// Takes the answer to [`Action::OpenRelay`]: the address the socket is bound to.
    pub fn socket_opened(
        &mut self,
        now: Now,
        id: AllocationId,
        result: Result<SocketAddr, OpenError>,
    ) {
        self.last = Some(now.instant);
        let phase = self.table.get(id).map(|a| (a.phase, a.relayed));
        let Some((Phase::Opening { attempts, parity }, relayed)) = phase else {
            // Given up meanwhile: nobody will use that socket.
            if phase.is_none() && result.is_ok() && self.has_room() {
                self.actions.push_back(Action::CloseRelay { id });
            }
            return;
        };
        match result {
            Ok(bound) if bound.port() == relayed.port() => self.opened(now, id),
            Ok(_) => {
                debug_assert!(false, "the socket is bound elsewhere");
                self.actions.push_back(Action::CloseRelay { id });
                self.fail_open(id);
            }
            Err(OpenError::InUse) if attempts > 0 => self.retry_open(id, attempts - 1, parity),
            Err(_) => self.fail_open(id),
        }
    }

    fn opened(&mut self, now: Now, id: AllocationId) {
        self.table.set_open(id);
        if let Some(allocation) = self.table.get_mut(id) {
            let granted = std::time::Duration::from_secs(allocation.origin.granted.into());
            allocation.expires = (now.instant + granted).min(allocation.session_end);
        }
        self.table.arm(id);
        self.counters.allocations_created += 1;
        self.announce(id);
    }

    fn retry_open(&mut self, id: AllocationId, attempts: u8, parity: Parity) {
        let Some(relayed) = self.table.get(id).map(|a| a.relayed) else {
            return;
        };
        let family = Family::of(relayed.ip());
        // The new one first, so that it is not the old one again.
        let Some(port) = self.take_port(family, parity) else {
            return self.fail_open(id);
        };
        self.ports(family).free(relayed.port());
        self.counters.ports_retried += 1;
        let address = SocketAddr::new(relayed.ip(), port);
        if let Some(allocation) = self.table.get_mut(id) {
            allocation.relayed = address;
        }
        self.table
            .set_opening(id, Phase::Opening { attempts, parity });
        self.actions.push_back(Action::OpenRelay { id, address });
    }

    /// The success reply. Made from the allocation alone, so that a replayed one is the same.
    fn announce(&mut self, id: AllocationId) {
        let Some(allocation) = self.table.get(id) else {
            return;
        };
        let (tuple, origin) = (allocation.tuple, allocation.origin);
        let mut reply = Writer::new(method::ALLOCATE, Class::Success, &origin.transaction);
        reply.xor_address(XOR_RELAYED_ADDRESS, self.config.told(allocation.relayed));
        reply.attribute(LIFETIME, &origin.granted.to_be_bytes());
        reply.xor_address(XOR_MAPPED_ADDRESS, tuple.client);
        self.add_software(&mut reply);
        let bytes = reply.finish(Some(&allocation.owner.key), origin.fingerprint);
        self.counters.allocate_replies += 1;
        self.send(tuple, bytes);
    }

    /// No socket: 508, and nothing remains.
    pub(super) fn fail_open(&mut self, id: AllocationId) {
        let Some(allocation) = self.table.get(id) else {
            return;
        };
        let (tuple, origin) = (allocation.tuple, allocation.origin);
        let mut reply = Writer::new(method::ALLOCATE, Class::Error, &origin.transaction);
        let (code, reason) = Reject::Capacity.code();
        reply.error_code(code, reason);
        self.add_software(&mut reply);
        let bytes = reply.finish(Some(&allocation.owner.key), origin.fingerprint);
        Reject::Capacity.count(&mut self.counters);
        self.counters.allocations_abandoned += 1;
        self.send(tuple, bytes);
        self.forget(id);
    }
}

impl Wish {
    /// The checks of RFC 8656 section 7.2 that need nothing but the request.
    fn read(exchange: &Exchange<'_>) -> Result<Self, Reject> {
        let message = &exchange.message;
        let transport: [u8; 4] = message
            .fixed(REQUESTED_TRANSPORT)?
            .ok_or(Reject::BadRequest)?;
        if transport[0] != TRANSPORT_UDP {
            return Err(Reject::Transport);
        }
        let family: Option<[u8; 4]> = message.fixed(REQUESTED_ADDRESS_FAMILY)?;
        let even: Option<[u8; 1]> = message.fixed(EVEN_PORT)?;
        if message.fixed::<8>(RESERVATION_TOKEN)?.is_some() {
            // With either of the others it is a contradiction; alone it is a token this relay
            // never gave.
            let contradicts = even.is_some() || family.is_some();
            return Err(if contradicts {
                Reject::BadRequest
            } else {
                Reject::Capacity
            });
        }
        let family = match family.map(|value| value[0]) {
            None | Some(1) => Family::V4,
            Some(2) => Family::V6,
            Some(_) => return Err(Reject::AddressFamily),
        };
        let parity = match even {
            None => Parity::Any,
            Some([flags]) if flags & 0x80 == 0 => Parity::Even,
            // The next higher port cannot be reserved.
            Some(_) => return Err(Reject::Capacity),
        };
        let lifetime = message.fixed(LIFETIME)?.map(u32::from_be_bytes);
        Ok(Self {
            family,
            parity,
            lifetime,
        })
    }
}
