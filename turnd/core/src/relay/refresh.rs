//! Refresh (RFC 8656 section 8.2): prolongs an allocation, or ends it.

use std::time::Duration;

use crate::address::{AllocationId, Family};
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
            let granted = self.config.lifetimes.grant(lifetime).min(left).as_secs();
            self.prolong(exchange, id, granted)?;
            granted
        };
        self.counters.refresh_replies += 1;
        self.succeed(exchange, |reply| {
            reply.attribute(LIFETIME, &(granted as u32).to_be_bytes());
        });
        Ok(())
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
