//! ConnectionBind (RFC 6062 section 5.4): a client comes over a new connection for one with a peer.

use crate::action::Action;
use crate::address::{AllocationId, FiveTuple};
use crate::connections::{ConnectionId, Stage};
use crate::error::Reject;
use crate::relay::{Exchange, Relay};
use crate::wire::attribute::CONNECTION_ID;
use crate::wire::message::Message;
use crate::wire::method;

impl Relay {
    /// Sends a client to the worker that has what it comes for, and says whether it did. Who it is is
    /// found out there: only there it is known which nonce it may have from its control connection.
    pub(in crate::relay) fn is_elsewhere(
        &mut self,
        tuple: FiveTuple,
        message: &Message<'_>,
    ) -> bool {
        let Some(connection) = named(message) else {
            return false;
        };
        let ports = &self.config.ports;
        let worker = connection.worker(ports);
        if worker == ports.worker() || !tuple.transport.is_stream() || self.serves(&tuple) {
            return false;
        }
        self.counters.clients_moved += 1;
        self.actions.push_back(Action::MoveClient {
            worker,
            tuple,
            bytes: message.bytes().to_vec(),
        });
        true
    }

    /// The control connection of what a client comes for. Its nonces are good for the new connection,
    /// too: there are clients that use them, and know no answer to a 438.
    pub(in crate::relay) fn control_of(&self, message: &Message<'_>) -> Option<FiveTuple> {
        if message.method() != method::CONNECTION_BIND {
            return None;
        }
        let held = self.connections.get(named(message)?)?;
        self.table.get(held.allocation).map(|a| a.tuple)
    }

    pub(in crate::relay) fn connection_bind(
        &mut self,
        exchange: &Exchange<'_>,
        id: Option<AllocationId>,
    ) -> Result<(), Reject> {
        let tuple = exchange.tuple;
        // A control connection cannot carry anything else.
        if !tuple.transport.is_stream() || id.is_some() {
            return Err(Reject::BadRequest);
        }
        let value = exchange.message.fixed(CONNECTION_ID)?;
        let connection = ConnectionId::from_wire(value.ok_or(Reject::BadRequest)?);
        let now = exchange.now.instant;
        let held = self.connections.get(connection);
        let owner = held.ok_or(Reject::BadRequest)?.allocation;
        // May end the connection, or all of them.
        if !self.is_fit(now, owner, |_, _| {}) {
            return Err(Reject::BadRequest);
        }
        let stage = self.connections.get(connection).map(|c| &c.stage);
        if !matches!(stage, Some(Stage::Waiting { until }) if now < *until) {
            return Err(Reject::BadRequest);
        }
        let username = self.table.get(owner).map(|a| &*a.terms.owner.username);
        if username != Some(exchange.caller.username) {
            return Err(Reject::WrongCredentials);
        }
        self.connections.advance(connection, Stage::Bound);
        self.counters.connection_bind_replies += 1;
        self.succeed(exchange, |reply| {
            reply.attribute(CONNECTION_ID, &connection.to_wire());
        });
        self.actions
            .push_back(Action::JoinClient { connection, tuple });
        Ok(())
    }
}

/// The connection that a message names.
fn named(message: &Message<'_>) -> Option<ConnectionId> {
    let value = message.fixed(CONNECTION_ID).ok().flatten();
    value.map(ConnectionId::from_wire)
}
