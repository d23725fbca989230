//! Refresh (RFC 8656 section 8.2): prolongs an allocation or one of its addresses, or ends it.

use std::time::Duration;

use crate::address::{AllocationId, Family};
use crate::config::Drain;
use crate::error::Reject;
use crate::mobility::Ticket;
use crate::wire::attribute::{LIFETIME, MOBILITY_TICKET, REQUESTED_ADDRESS_FAMILY};

use super::{Exchange, Relay};

impl Relay {
    /// `used` is the ticket by which a client on another five-tuple refers to its allocation.
    pub(super) fn refresh(
        &mut self,
        exchange: &Exchange<'_>,
        id: AllocationId,
        used: Option<Ticket>,
    ) -> Result<(), Reject> {
        let now = exchange.now.instant;
        let lifetime = exchange.message.fixed(LIFETIME)?.map(u32::from_be_bytes);
        let family: Option<[u8; 4]> = exchange.message.fixed(REQUESTED_ADDRESS_FAMILY)?;
        let allocation = self.table.get(id).ok_or(Reject::AllocationMismatch)?;
        let family = match family {
            None => None,
            Some([family, ..]) => {
                let family = Family::from_wire(family);
                let family = family.filter(|family| allocation.lease(*family).is_some());
                Some(family.ok_or(Reject::PeerFamily)?)
            }
        };
        let mut ticket = None;
        let granted = if lifetime == Some(0) {
            // Moves nothing; from where is of no matter to what ends.
            self.delete(exchange, id, family);
            0
        } else {
            if self.drain.refuses_refresh() {
                return Err(Reject::RefreshRefused);
            }
            let left = allocation.terms.session_end.saturating_duration_since(now);
            let granted = self.grant(exchange, lifetime, left).as_secs();
            if granted == 0 {
                // The session's last second; a reply with lifetime 0 would mean something else.
                return Err(Reject::AllocationMismatch);
            }
            if let Some(used) = used {
                ticket = Some(self.move_in(exchange, id, used, granted as u32)?);
            }
            self.prolong(exchange, id, family, granted);
            granted
        };
        self.refreshed(exchange, granted as u32, ticket);
        Ok(())
    }

    /// Answers a deletion that has been carried out already and is retransmitted, whatever is on
    /// its five-tuple by now.
    pub(super) fn was_deleted(&mut self, exchange: &Exchange<'_>) -> Result<bool, Reject> {
        let transaction = exchange.message.transaction();
        let is_repeated = exchange.message.fixed(LIFETIME)? == Some([0; 4])
            && self.deletions.has(
                exchange.now.instant,
                &exchange.tuple,
                &transaction,
                exchange.caller.username,
            );
        if is_repeated {
            self.counters.deletion_replays += 1;
            self.refreshed(exchange, 0, None);
        }
        Ok(is_repeated)
    }

    pub(super) fn refreshed(
        &mut self,
        exchange: &Exchange<'_>,
        granted: u32,
        ticket: Option<Ticket>,
    ) {
        self.counters.refresh_replies += 1;
        self.succeed(exchange, |reply| {
            reply.attribute(LIFETIME, &granted.to_be_bytes());
            if let Some(ticket) = ticket {
                reply.attribute(MOBILITY_TICKET, &ticket);
            }
        });
    }

    /// What is granted for a requested LIFETIME when the session may go on for `left`.
    pub(super) fn grant(
        &self,
        exchange: &Exchange<'_>,
        requested: Option<u32>,
        left: Duration,
    ) -> Duration {
        let lifetimes = &self.config.lifetimes;
        let granted = lifetimes.grant(requested).min(left);
        // Whoever asks for more would not come back before the drain ends, to be refused and move.
        let granted = match self.drain {
            Drain::Serving => granted,
            Drain::Draining { .. } | Drain::RefuseRefresh { .. } => granted.min(lifetimes.default),
        };
        match exchange.caller.ends {
            Some(ends) => {
                let left = ends.0.saturating_sub(exchange.now.unix.0);
                granted.min(Duration::from_secs(left))
            }
            None => granted,
        }
    }

    /// Ends the allocation, or gives back one of its two addresses.
    fn delete(&mut self, exchange: &Exchange<'_>, id: AllocationId, family: Option<Family>) {
        let transaction = exchange.message.transaction();
        let username = exchange.caller.username;
        self.deletions
            .note(exchange.now.instant, exchange.tuple, transaction, username);
        let rest = self.table.get(id).map_or(0, |a| a.leases().count());
        match family {
            Some(family) if rest > 1 => self.drop_family(id, family),
            _ => {
                self.counters.allocations_deleted += 1;
                self.end(id);
            }
        }
    }

    fn prolong(
        &mut self,
        exchange: &Exchange<'_>,
        id: AllocationId,
        family: Option<Family>,
        seconds: u64,
    ) {
        if let Some(allocation) = self.table.get_mut(id) {
            let expires = exchange.now.instant + Duration::from_secs(seconds);
            allocation.prolong(family, expires);
        }
        self.table.arm(id);
    }
}
