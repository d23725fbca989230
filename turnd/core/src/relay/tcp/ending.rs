//! How connections with peers end: by themselves, by time, by a new configuration, with their
//! allocation.

use crate::action::Action;
use crate::address::{AllocationId, Now};
use crate::connections::{ConnectionId, Stage};
use crate::limits::TIMEOUTS_PER_CALL;
use crate::relay::Relay;

impl Relay {
    /// A connection with a peer has ended, or the client's side of it; the shell has closed both.
    pub fn connection_gone(&mut self, now: Now, connection: ConnectionId) {
        self.last = Some(now.instant);
        if self.remove_connection(connection).is_some() {
            self.counters.peer_connections_ended += 1;
        }
    }

    /// Ends the connections whose time is over: connecting took too long, or the client did not
    /// come.
    pub(in crate::relay) fn expire_connections(&mut self, now: Now) {
        for _ in 0..TIMEOUTS_PER_CALL {
            let Some((_, connection)) = self
                .connections
                .first_due()
                .filter(|(at, _)| *at <= now.instant)
            else {
                return;
            };
            if !self.has_room() {
                return;
            }
            self.actions
                .push_back(Action::CloseConnection { connection });
            let stage = self.connections.get(connection).map(|c| &c.stage);
            if matches!(stage, Some(Stage::Connecting { .. })) {
                self.fail_connect(connection);
            } else {
                self.counters.peer_connections_unbound += 1;
                self.remove_connection(connection);
            }
        }
    }

    /// Ends the connections of `id` with peers that the configuration denies by now.
    pub(in crate::relay) fn judge_connections(&mut self, id: AllocationId) {
        let Some(allocation) = self.table.get(id) else {
            return;
        };
        let is_denied = |connection: &&ConnectionId| {
            let held = self.connections.get(**connection);
            held.is_some_and(|c| self.config.peers.check(c.peer).is_err())
        };
        let denied = allocation.terms.connections.iter().filter(is_denied);
        let denied: Vec<_> = denied.copied().collect();
        for connection in denied {
            self.counters.peer_connections_revoked += 1;
            self.actions
                .push_back(Action::CloseConnection { connection });
            let stage = self.connections.get(connection).map(|c| &c.stage);
            if matches!(stage, Some(Stage::Connecting { .. })) {
                self.fail_connect(connection);
            } else {
                self.remove_connection(connection);
            }
        }
    }

    /// Ends the connections of an allocation that has gone.
    pub(in crate::relay) fn close_connections(&mut self, held: &[ConnectionId]) {
        for &connection in held {
            self.connections.remove(connection);
            self.actions
                .push_back(Action::CloseConnection { connection });
        }
    }
}
