//! ChannelBind (RFC 8656 section 12.2): binds a channel to a peer and permits that peer.

use crate::address::AllocationId;
use crate::error::Reject;
use crate::wire::attribute::{CHANNEL_NUMBER, XOR_PEER_ADDRESS};

use super::{Exchange, Relay};

impl Relay {
    pub(super) fn channel_bind(
        &mut self,
        exchange: &Exchange<'_>,
        id: AllocationId,
    ) -> Result<(), Reject> {
        // Channels carry datagrams (RFC 6062 section 3).
        if self.table.get(id).is_some_and(|a| a.is_tcp) {
            return Err(Reject::Forbidden);
        }
        let message = &exchange.message;
        let number: [u8; 4] = message.fixed(CHANNEL_NUMBER)?.ok_or(Reject::BadRequest)?;
        let number = u16::from_be_bytes([number[0], number[1]]);
        let peer = message.attribute(XOR_PEER_ADDRESS);
        let peer = message.xor_address(peer.ok_or(Reject::BadRequest)?)?;
        // No datagram can be sent to port 0.
        if peer.port() == 0 {
            return Err(Reject::BadRequest);
        }
        // RFC 8656 section 12 ends at 0x4FFF. Clients in use follow RFC 5766, which went on to 0x7FFF:
        // coturn's and pjnath's draw from all of it.
        if !(0x4000..=0x7fff).contains(&number) {
            return Err(Reject::BadRequest);
        }
        let now = exchange.now.instant;
        self.refresh_peers(now, id);
        let allocation = self.table.get(id).ok_or(Reject::AllocationMismatch)?;
        let scope = self.scope_of(allocation, peer.ip())?;
        self.config
            .peers
            .check(peer)
            .map_err(|_| Reject::Forbidden)?;
        let bound = allocation.peers.binds(number, peer);
        let is_bound = bound.map_err(|_| Reject::BadRequest)?;
        let (permissions, channels) = allocation.peers.counts();
        let is_permitted = allocation.peers.permission(peer.ip(), now).is_some();
        let limits = &self.config.limits;
        if !is_bound && channels >= limits.channels()
            || !is_permitted && permissions >= limits.permissions()
        {
            return Err(Reject::Capacity);
        }
        self.welcome(now, id, usize::from(!is_permitted))?;
        self.permit(exchange, id, peer.ip(), scope);
        let lifetimes = &self.config.lifetimes;
        let (expires, permitted) = (now + lifetimes.channel, now + lifetimes.permission);
        if let Some(allocation) = self.table.get_mut(id)
            && let Some(change) = allocation.peers.bind(number, peer, expires, permitted)
        {
            self.counters.channels_bound += 1;
            self.tell(id, exchange.tuple, change);
        }
        self.table.arm(id);
        self.counters.channel_bind_replies += 1;
        self.succeed(exchange, |_| {});
        Ok(())
    }
}
