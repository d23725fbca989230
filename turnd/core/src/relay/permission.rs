//! CreatePermission (RFC 8656 section 10.2): all its peers or none.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::address::{AllocationId, Family};
use crate::allocation::Allocation;
use crate::error::Reject;
use crate::limits::NEW_PEERS_BURST;
use crate::peer_filter::Scope;
use crate::wire::attribute::XOR_PEER_ADDRESS;

use super::{Exchange, Relay};

impl Relay {
    pub(super) fn create_permission(
        &mut self,
        exchange: &Exchange<'_>,
        id: AllocationId,
    ) -> Result<(), Reject> {
        if peers(exchange).next().is_none() {
            return Err(Reject::BadRequest);
        }
        let now = exchange.now.instant;
        self.refresh_peers(now, id);
        let allocation = self.table.get(id).ok_or(Reject::AllocationMismatch)?;
        let mut added = 0;
        for (index, peer) in peers(exchange).enumerate() {
            let address = peer?.ip();
            self.scope_of(allocation, address)?;
            let is_earlier = |p: Result<SocketAddr, Reject>| p.is_ok_and(|p| p.ip() == address);
            let is_new = allocation.peers.permission(address, now).is_none()
                && !peers(exchange).take(index).any(is_earlier);
            added += usize::from(is_new);
        }
        let (held, _) = allocation.peers.counts();
        if held + added > self.config.limits.permissions() && added > 0 {
            return Err(Reject::Capacity);
        }
        self.welcome(now, id, added)?;
        for peer in peers(exchange) {
            let address = peer?.ip();
            let allocation = self.table.get(id).ok_or(Reject::AllocationMismatch)?;
            let scope = self.scope_of(allocation, address)?;
            self.permit(exchange, id, address, scope);
        }
        self.table.arm(id);
        self.counters.permission_replies += 1;
        self.succeed(exchange, |_| {});
        Ok(())
    }

    /// Counts peers that are new to an allocation, unless they come too fast.
    pub(super) fn welcome(
        &mut self,
        now: Instant,
        id: AllocationId,
        peers: usize,
    ) -> Result<(), Reject> {
        let rate = u64::from(self.config.limits.new_peers);
        if rate == 0 || peers == 0 {
            return Ok(());
        }
        let allocation = self.table.get_mut(id).ok_or(Reject::AllocationMismatch)?;
        let burst = rate.max(NEW_PEERS_BURST);
        let granted = allocation
            .terms
            .new_peers
            .take(now, rate, burst, peers as u64);
        granted.then_some(()).ok_or(Reject::NewPeers)
    }

    /// What a permission for `address` may cover: 443 and 403 (RFC 8656 sections 9 and 10.2).
    pub(super) fn scope_of(
        &self,
        allocation: &Allocation,
        address: IpAddr,
    ) -> Result<Scope, Reject> {
        if allocation.lease(Family::of(address)).is_none() {
            return Err(Reject::PeerFamily);
        }
        self.config
            .peers
            .check_address(address)
            .map_err(|_| Reject::Forbidden)
    }

    /// Installs or refreshes one permission that has passed every check.
    pub(super) fn permit(
        &mut self,
        exchange: &Exchange<'_>,
        id: AllocationId,
        address: IpAddr,
        scope: Scope,
    ) {
        let expires = exchange.now.instant + self.config.lifetimes.permission;
        let Some(allocation) = self.table.get_mut(id) else {
            return;
        };
        if let Some(change) = allocation.peers.permit(address, scope, expires) {
            self.counters.permissions_installed += 1;
            self.tell(id, exchange.tuple, change);
        }
    }
}

fn peers<'a>(exchange: &'a Exchange<'_>) -> impl Iterator<Item = Result<SocketAddr, Reject>> + 'a {
    let message = &exchange.message;
    message
        .attributes()
        .filter(|(kind, _)| *kind == XOR_PEER_ADDRESS)
        .map(|(_, value)| Ok(message.xor_address(value)?))
}
