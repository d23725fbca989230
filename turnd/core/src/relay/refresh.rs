//! Refresh (RFC 8656 section 8.2): prolongs an allocation, or ends it.

use std::time::Duration;

use crate::address::{AllocationId, Family};
use crate::config::Drain;
use crate::error::Reject;
use crate::wire::attribute::{LIFETIME, REQUESTED_ADDRESS_FAMILY};

use super::{Exchange, Relay};

impl Relay {
    pub(super) fn refresh(
        &mut self,
        exchange: &Exchange<'_>,
        id: AllocationId,
    ) -> Result<(), Reject> {
        let now = exchange.now.instant;
        let lifetime = exchange.message.fixed(LIFETIME)?.map(u32::from_be_bytes);
        let family: Option<[u8; 4]> = exchange.message.fixed(REQUESTED_ADDRESS_FAMILY)?;
        let allocation = self.table.get(id).ok_or(Reject::AllocationMismatch)?;
        let expected = match allocation.family() {
            Family::V4 => 1,
            Family::V6 => 2,
        };
        if family.is_some_and(|value| value[0] != expected) {
            return Err(Reject::PeerFamily);
        }
        let granted = if lifetime == Some(0) {
            self.counters.allocations_deleted += 1;
            self.end(id);
            0
        } else {
            if self.drain.refuses_refresh() {
                return Err(Reject::RefreshRefused);
            }
            let left = allocation.session_end.saturating_duration_since(now);
            let granted = self.grant(exchange, lifetime, left).as_secs();
            self.prolong(exchange, id, granted)?;
            granted
        };
        self.counters.refresh_replies += 1;
        self.succeed(exchange, |reply| {
            reply.attribute(LIFETIME, &(granted as u32).to_be_bytes());
        });
        Ok(())
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

    fn prolong(
        &mut self,
        exchange: &Exchange<'_>,
        id: AllocationId,
        seconds: u64,
    ) -> Result<(), Reject> {
        if seconds == 0 {
            // The session's last second; a reply with lifetime 0 would mean something else.
            return Err(Reject::AllocationMismatch);
        }
        if let Some(allocation) = self.table.get_mut(id) {
            allocation.expires = exchange.now.instant + Duration::from_secs(seconds);
        }
        self.table.arm(id);
        Ok(())
    }
}
