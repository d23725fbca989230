//! A client that takes its allocation along to another five-tuple (RFC 8016).
//!
//! From an authenticated move on, the old five-tuple is nobody's: requests on it get 437, data is
//! dropped, and it is free for another allocation. RFC 8016 section 3.2.2 wants data to be taken
//! and sent there until the client is heard on the new one. To this server the signed request is
//! just that, and what peers send meanwhile does not go to whoever may have the old address by now.

use rand::Rng;

use crate::action::Action;
use crate::address::{AllocationId, Now, Transport};
use crate::allocation::{Allocation, Phase};
use crate::error::Reject;
use crate::mobility::{Mobility, Move, Place, RANDOM, Ticket};
use crate::wire::attribute::MOBILITY_TICKET;
use crate::wire::message::Message;
use crate::wire::method;

use super::{Exchange, Relay};

impl Relay {
    /// Serves a Refresh with MOBILITY-TICKET. `id` is what is on its five-tuple already.
    pub(super) fn refresh_by_ticket(
        &mut self,
        exchange: &Exchange<'_>,
        id: Option<AllocationId>,
        ticket: &[u8],
    ) -> Result<(), Reject> {
        if !self.config.mobility {
            return Err(Reject::MobilityForbidden);
        }
        let ticket: Ticket = ticket.try_into().map_err(|_| Reject::BadRequest)?;
        if id.is_some() {
            return self.repeat_move(exchange, id, ticket);
        }
        let place = self.config.nonce_keys.place(&ticket);
        let place = place.ok_or(Reject::BadRequest)?;
        if self.is_other(place.worker) {
            // A connection stays on the worker it came to; only datagrams can be handed over.
            if exchange.tuple.transport != Transport::Udp {
                return Err(Reject::Capacity);
            }
            self.hand_over(exchange, place.worker);
            return Ok(());
        }
        let id = self
            .holder(&ticket)
            .and_then(|id| self.alive(exchange.now, id))
            .ok_or(Reject::BadRequest)?;
        let allocation = self.table.get(id).ok_or(Reject::BadRequest)?;
        if *allocation.terms.owner.username != *exchange.caller.username {
            return Err(Reject::WrongCredentials);
        }
        self.refresh(exchange, id, Some(ticket))
    }

    /// A client that has not moved must not show a ticket (RFC 8016 section 3.2.1), unless its
    /// move is retransmitted: that gets the same reply.
    fn repeat_move(
        &mut self,
        exchange: &Exchange<'_>,
        id: Option<AllocationId>,
        ticket: Ticket,
    ) -> Result<(), Reject> {
        let id = self.owned(exchange, id)?;
        let transaction = exchange.message.transaction();
        let mobility = self.table.get(id).and_then(|a| a.terms.mobility.as_ref());
        let repeated = mobility.and_then(|mobility| {
            let latest = mobility.latest.as_ref()?;
            let is_it = latest.transaction == transaction && latest.ticket == ticket;
            is_it.then_some((latest.granted, mobility.ticket))
        });
        let (granted, newer) = repeated.ok_or(Reject::BadRequest)?;
        self.counters.move_replays += 1;
        self.refreshed(exchange, granted, Some(newer));
        Ok(())
    }

    /// The allocation that a request from elsewhere shows the ticket of. Its owner's key may be
    /// known while the secret it was made of is not any more.
    pub(super) fn claimed(&self, now: Now, message: &Message<'_>) -> Option<AllocationId> {
        if message.method() != method::REFRESH {
            return None;
        }
        let ticket: Ticket = message.attribute(MOBILITY_TICKET)?.try_into().ok()?;
        let id = self.holder(&ticket)?;
        let allocation = self.table.get(id)?;
        (now.instant < allocation.expires).then_some(id)
    }

    /// The allocation whose newest ticket this is.
    fn holder(&self, ticket: &Ticket) -> Option<AllocationId> {
        let place = self.config.nonce_keys.place(ticket)?;
        let id = self.table.at_slot(place.slot as usize)?;
        let is_its = |allocation: &Allocation| {
            let mobility = allocation.terms.mobility.as_ref();
            allocation.phase != Phase::Opening && mobility.is_some_and(|m| m.ticket == *ticket)
        };
        self.table.get(id).is_some_and(is_its).then_some(id)
    }

    /// Moves an allocation to the five-tuple of the request. It holds the one place in its user's
    /// quota that it held before, and one of its new source's.
    pub(super) fn move_in(
        &mut self,
        exchange: &Exchange<'_>,
        id: AllocationId,
        used: Ticket,
        granted: u32,
    ) -> Result<Ticket, Reject> {
        let allocation = self.table.get(id).ok_or(Reject::BadRequest)?;
        let (from, to) = (allocation.tuple, exchange.tuple);
        self.admission
            .transfer(&allocation.terms.charge, to.client.ip())?;
        self.table.relocate(id, to);
        self.counters.allocations_moved += 1;
        let to = Some(to);
        self.actions.push_back(Action::ClientMoved { id, from, to });
        let latest = Move {
            transaction: exchange.message.transaction(),
            ticket: used,
            granted,
        };
        Ok(self.issue_ticket(id, Some(latest)))
    }

    /// Gives an allocation a ticket, in place of the one it has.
    pub(super) fn issue_ticket(&mut self, id: AllocationId, latest: Option<Move>) -> Ticket {
        let mut random = [0; RANDOM];
        self.rng.fill_bytes(&mut random);
        let place = Place {
            worker: self.config.ports.worker(),
            slot: id.slot,
        };
        let ticket = self.config.nonce_keys.ticket(random, place);
        if let Some(allocation) = self.table.get_mut(id) {
            allocation.terms.mobility = Some(Box::new(Mobility { ticket, latest }));
        }
        ticket
    }
}
