//! How allocations end, by themselves or otherwise, and how their peers are judged again.

use std::time::Instant;

use crate::action::Action;
use crate::address::{AllocationId, Family, FiveTuple, Now};
use crate::allocation::{Allocation, Phase};
use crate::auth::user_id;
use crate::limits::TIMEOUTS_PER_CALL;
use crate::peers::Change;

use super::Relay;

impl Relay {
    /// Ends what is due at `now`, as much as the queue takes.
    pub fn handle_timeout(&mut self, now: Now) {
        self.last = Some(now.instant);
        for _ in 0..TIMEOUTS_PER_CALL {
            let Some((at, id)) = self.table.first_due() else {
                break;
            };
            if at > now.instant || !self.has_room() {
                break;
            }
            self.due(now, id);
        }
        self.expire_reservations(now.instant);
        self.expire_connections(now);
        self.sweep();
    }

    fn due(&mut self, now: Now, id: AllocationId) {
        let Some(allocation) = self.table.get(id) else {
            return;
        };
        if now.instant < allocation.expires {
            self.purge_peers(now.instant, id);
            self.table.arm(id);
        } else if allocation.phase == Phase::Opening {
            self.give_up_opening(now, id);
        } else if let Some(family) = allocation.outlived(now.instant) {
            self.drop_family(id, family);
            self.purge_peers(now.instant, id);
            self.table.arm(id);
        } else {
            self.counters.allocations_expired += 1;
            self.end(id);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called, at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        // A sweep goes on at once: the latest input's time is in the past.
        let sweep = self.sweep.and(self.last);
        let due = self.table.first_due().map(|(at, _)| at);
        let reserved = self.reservations.deadline();
        let connections = self.connections_due();
        sweep
            .into_iter()
            .chain(due)
            .chain(reserved)
            .chain(connections)
            .min()
    }

    /// Ends the allocations whose five-tuples are `gone` because the shell closes the listener they
    /// came to, as many as the queue takes. False while some are left: then the actions are to be
    /// drained, and this called again.
    pub fn unserve(&mut self, gone: impl Fn(&FiveTuple) -> bool) -> bool {
        for slot in 0..self.table.slots() {
            let Some(id) = self.table.at_slot(slot) else {
                continue;
            };
            let is_served = |a: &Allocation| a.phase != Phase::Away && gone(&a.tuple);
            if !self.table.get(id).is_some_and(is_served) {
                continue;
            }
            if !self.has_room() {
                return false;
            }
            self.counters.allocations_unserved += 1;
            self.end(id);
        }
        true
    }

    /// The allocation of `tuple`, ended first if its time is over but no timeout has said so yet.
    pub(super) fn live(&mut self, now: Now, tuple: &FiveTuple) -> Option<AllocationId> {
        let id = self.table.find(tuple)?;
        self.alive(now, id)
    }

    /// The same by the allocation's name.
    pub(super) fn alive(&mut self, now: Now, id: AllocationId) -> Option<AllocationId> {
        if self.table.get(id)?.expires <= now.instant {
            self.due(now, id);
            // One address of two may go on.
            self.table
                .get(id)
                .filter(|a| now.instant < a.expires && a.phase != Phase::Opening)?;
        }
        Some(id)
    }

    /// The connection of `tuple` has ended. Its allocation ends with it (RFC 8656 section 3.1), or
    /// waits for a client that can come back with a ticket (RFC 8016) until it expires.
    pub fn client_gone(&mut self, now: Now, tuple: &FiveTuple) {
        self.last = Some(now.instant);
        let Some(id) = self.table.find(tuple) else {
            return;
        };
        let waits = |a: &Allocation| a.terms.mobility.is_some() && a.is_open(now.instant);
        if self.has_room() && self.config.mobility && self.table.get(id).is_some_and(waits) {
            self.counters.clients_away += 1;
            self.table.detach(id);
            let (from, to) = (*tuple, None);
            self.actions.push_back(Action::ClientMoved { id, from, to });
            return;
        }
        self.counters.allocations_disconnected += 1;
        if self.has_room() {
            self.actions.push_back(Action::CloseRelay { id });
            return self.abandon(id);
        }
        // Nothing more is relayed, and the next timeout ends it.
        if let Some(allocation) = self.table.get_mut(id) {
            allocation.prolong(None, now.instant);
        }
        self.table.arm(id);
    }

    /// Whether the client of `tuple` has an allocation, or one that is being opened.
    pub fn serves(&self, tuple: &FiveTuple) -> bool {
        self.table.find(tuple).is_some()
    }

    /// Ends an allocation, without an answer to anybody.
    pub(super) fn end(&mut self, id: AllocationId) {
        self.actions.push_back(Action::CloseRelay { id });
        self.forget(id);
    }

    /// Gives back one of an allocation's two addresses, with all that went over it.
    pub(super) fn drop_family(&mut self, id: AllocationId, family: Family) {
        let Some(allocation) = self.table.get_mut(id) else {
            return;
        };
        let tuple = allocation.tuple;
        let actions = &mut self.actions;
        allocation.peers.drop_family(family, |change| {
            actions.push_back(change.into_action(id, tuple));
        });
        actions.push_back(Action::CloseFamily { id, family });
        let dropped = allocation.terms.leases[family.index()].take();
        allocation.settle();
        self.free(&[dropped, None]);
        self.table.arm(id);
    }

    /// Takes an allocation out of every table and gives back what it held.
    pub(super) fn forget(&mut self, id: AllocationId) {
        if let Some(allocation) = self.table.remove(id) {
            self.close_connections(&allocation.terms.connections);
            self.free(&allocation.terms.leases);
            self.admission.release(allocation.terms.charge);
        }
    }

    /// Drops expired permissions and channels, and those denied by now, before new ones come.
    pub(super) fn refresh_peers(&mut self, now: Instant, id: AllocationId) {
        if self.table.get(id).is_some_and(|a| a.epoch != self.epoch) {
            self.judge(id);
        }
        self.purge_peers(now, id);
    }

    fn purge_peers(&mut self, now: Instant, id: AllocationId) {
        let Some(allocation) = self.table.get_mut(id) else {
            return;
        };
        let tuple = allocation.tuple;
        let actions = &mut self.actions;
        allocation.peers.purge(now, |change| {
            actions.push_back(change.into_action(id, tuple));
        });
    }

    /// Judges an allocation by the current configuration: its owner, then its peers. False if it
    /// ended, or if the queue has no room for what could come of it: then nothing may be relayed.
    pub(super) fn judge(&mut self, id: AllocationId) -> bool {
        if !self.has_room() {
            self.counters.dropped_queue_full += 1;
            return false;
        }
        let Some(allocation) = self.table.get_mut(id) else {
            return false;
        };
        if self
            .config
            .revoked
            .cover(user_id(&allocation.terms.owner.username))
        {
            self.counters.allocations_revoked += 1;
            self.end(id);
            return false;
        }
        let (tuple, filter) = (allocation.tuple, &self.config.peers);
        let (actions, counters) = (&mut self.actions, &mut self.counters);
        allocation.epoch = self.epoch;
        allocation.peers.judge_again(
            |address| filter.check_address(address).ok(),
            |peer| filter.check(peer).is_ok(),
            |change| {
                counters.permissions_revoked += u64::from(matches!(change, Change::Forbidden(_)));
                actions.push_back(change.into_action(id, tuple));
            },
        );
        self.table.arm(id);
        self.judge_connections(id);
        true
    }

    /// After a new configuration: goes through all allocations, a few at a time. Those that relay
    /// something before their turn are judged then.
    fn sweep(&mut self) {
        let Some(start) = self.sweep else {
            return;
        };
        let end = start + TIMEOUTS_PER_CALL;
        for slot in start..end {
            if let Some(id) = self.table.at_slot(slot)
                && self.table.get(id).is_some_and(|a| a.epoch != self.epoch)
                && !self.judge(id)
                && self.table.get(id).is_some()
            {
                self.sweep = Some(slot);
                return;
            }
        }
        self.sweep = (end < self.table.slots()).then_some(end);
    }

    /// Announces a change.
    pub(super) fn tell(&mut self, id: AllocationId, tuple: FiveTuple, change: Change) {
        self.actions.push_back(change.into_action(id, tuple));
    }
}

impl Change {
    fn into_action(self, id: AllocationId, tuple: FiveTuple) -> Action {
        match self {
            Self::Permitted(peer) => Action::PermissionChanged {
                id,
                peer,
                permitted: true,
            },
            Self::Forbidden(peer) => Action::PermissionChanged {
                id,
                peer,
                permitted: false,
            },
            Self::Bound(channel, peer) => Action::ChannelBound {
                id,
                tuple,
                channel,
                peer,
            },
            Self::Unbound(channel, peer) => Action::ChannelUnbound {
                id,
                tuple,
                channel,
                peer,
            },
        }
    }
}
