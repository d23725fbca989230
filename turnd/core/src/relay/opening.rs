//! Allocate, from the answer about a socket to the reply (RFC 8656 section 7.2).

use std::net::SocketAddr;
use std::time::Duration;

use crate::action::{Action, OpenError};
use crate::address::{AllocationId, Family, Now};
use crate::allocation::{Opening, Phase};
use crate::error::Reject;
use crate::ports::Parity;
use crate::wire::attribute::{
    LIFETIME, MOBILITY_TICKET, RESERVATION_TOKEN, XOR_MAPPED_ADDRESS, XOR_RELAYED_ADDRESS,
};
use crate::wire::writer::Writer;
use crate::wire::{Class, method};

use super::Relay;
use super::allocate::above;

impl Relay {
    /// Takes the answer to [`Action::OpenRelay`] for one family: the address the socket is bound
    /// to.
    pub fn socket_opened(
        &mut self,
        now: Now,
        id: AllocationId,
        family: Family,
        result: Result<SocketAddr, OpenError>,
    ) {
        self.last = Some(now.instant);
        let allocation = self.table.get(id);
        let lease = allocation.and_then(|a| a.lease(family)).copied();
        let Some((bound, opening)) = lease.and_then(|lease| Some((lease.bound, lease.opening?)))
        else {
            // Given up meanwhile: nobody will use that socket.
            if lease.is_none() && result.is_ok() && self.has_room() {
                let close = match allocation {
                    Some(_) => Action::CloseFamily { id, family },
                    None => Action::CloseRelay { id },
                };
                self.actions.push_back(close);
            }
            return;
        };
        match result {
            Ok(address) if address.port() == bound.port() => self.opened(now, id, family),
            Ok(_) => {
                debug_assert!(false, "the socket is bound elsewhere");
                self.actions.push_back(Action::CloseFamily { id, family });
                self.lose(now, id, family);
            }
            Err(OpenError::InUse) if opening.attempts > 0 => {
                self.retry_open(now, id, bound, opening);
            }
            Err(_) => self.lose(now, id, family),
        }
    }

    fn opened(&mut self, now: Now, id: AllocationId, family: Family) {
        if let Some(allocation) = self.table.get_mut(id)
            && let Some(lease) = &mut allocation.terms.leases[family.index()]
        {
            lease.opening = None;
        }
        self.complete(now, id);
    }

    /// Announces the allocation once all its sockets are open.
    fn complete(&mut self, now: Now, id: AllocationId) {
        let Some(allocation) = self.table.get_mut(id) else {
            return;
        };
        if allocation.opening().next().is_some() {
            return;
        }
        let granted = Duration::from_secs(allocation.terms.origin.granted.into());
        let expires = (now.instant + granted).min(allocation.terms.session_end);
        allocation.prolong(None, expires);
        self.table.set_open(id);
        self.table.arm(id);
        self.counters.allocations_created += 1;
        self.announce(id);
    }

    fn retry_open(&mut self, now: Now, id: AllocationId, bound: SocketAddr, opening: Opening) {
        let family = Family::of(bound.ip());
        // The new one first, so that it is not the old one again.
        let Some(port) = self.take_port(family, opening.parity) else {
            return self.lose(now, id, family);
        };
        let address = SocketAddr::new(bound.ip(), port);
        self.ports(family).free(bound.port());
        let told = self.config.told(address);
        let Some(allocation) = self.table.get_mut(id) else {
            return;
        };
        if let Some(lease) = &mut allocation.terms.leases[family.index()] {
            lease.bound = address;
            lease.told = told;
            lease.opening = Some(Opening {
                attempts: opening.attempts - 1,
                ..opening
            });
        }
        if let Some(token) = allocation.terms.origin.token
            && opening.parity == Parity::Pair
        {
            let given_up = self.reservations.relocate(token, above(address));
            self.ports(family).free(given_up.port());
        }
        self.counters.ports_retried += 1;
        let open = self.open_action(id, address);
        self.actions.push_back(open);
    }

    /// The socket of `family` cannot be had: the other one is enough, if there is one.
    fn lose(&mut self, now: Now, id: AllocationId, family: Family) {
        let Some(allocation) = self.table.get_mut(id) else {
            return;
        };
        if allocation.leases().count() < 2 {
            return self.fail_open(id);
        }
        allocation.terms.origin.missing = Some((family, Reject::Capacity.code().0));
        let lost = allocation.terms.leases[family.index()].take();
        self.free(&[lost, None]);
        self.complete(now, id);
    }

    /// The shell has taken too long for a socket.
    pub(super) fn give_up_opening(&mut self, now: Now, id: AllocationId) {
        let Some(allocation) = self.table.get(id) else {
            return;
        };
        debug_assert!(allocation.phase == Phase::Opening);
        if allocation.opening().count() == allocation.leases().count() {
            self.actions.push_back(Action::CloseRelay { id });
            return self.fail_open(id);
        }
        let late: Vec<Family> = allocation.opening().collect();
        for family in late {
            self.actions.push_back(Action::CloseFamily { id, family });
            self.lose(now, id, family);
        }
    }

    /// The success reply. Made from the allocation alone, so that a replayed one is the same.
    pub(super) fn announce(&mut self, id: AllocationId) {
        let Some(allocation) = self.table.get(id) else {
            return;
        };
        let (tuple, origin) = (allocation.tuple, allocation.terms.origin);
        let mut reply = Writer::new(method::ALLOCATE, Class::Success, &origin.transaction);
        for lease in allocation.leases() {
            reply.xor_address(XOR_RELAYED_ADDRESS, lease.told);
        }
        if let Some((family, code)) = origin.missing {
            reply.address_error_code(family, code);
        }
        reply.attribute(LIFETIME, &origin.granted.to_be_bytes());
        if let Some(token) = origin.token {
            reply.attribute(RESERVATION_TOKEN, &token);
        }
        if let Some(mobility) = &allocation.terms.mobility {
            reply.attribute(MOBILITY_TICKET, &mobility.ticket);
        }
        reply.xor_address(XOR_MAPPED_ADDRESS, tuple.client);
        self.add_software(&mut reply);
        let bytes = reply.finish(Some(&allocation.terms.owner.key), origin.fingerprint);
        self.counters.allocate_replies += 1;
        self.send(tuple, bytes);
    }

    /// No socket: 508, and nothing remains.
    fn fail_open(&mut self, id: AllocationId) {
        let Some(allocation) = self.table.get(id) else {
            return;
        };
        let (tuple, origin) = (allocation.tuple, allocation.terms.origin);
        let mut reply = Writer::new(method::ALLOCATE, Class::Error, &origin.transaction);
        let (code, reason) = Reject::Capacity.code();
        reply.error_code(code, reason);
        self.add_software(&mut reply);
        let bytes = reply.finish(Some(&allocation.terms.owner.key), origin.fingerprint);
        Reject::Capacity.count(&mut self.counters);
        self.counters.allocations_abandoned += 1;
        self.send(tuple, bytes);
        self.abandon(id);
    }

    /// Ends an allocation that was never announced, with what it reserved.
    pub(super) fn abandon(&mut self, id: AllocationId) {
        let reserved = self
            .table
            .get(id)
            .and_then(|a| Some((a.terms.origin.token?, a.terms.owner.username.clone())));
        if let Some((token, username)) = reserved {
            self.unreserve(token, &username);
        }
        self.forget(id);
    }
}
