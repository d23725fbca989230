//! Binding (RFC 8489 section 12, RFC 8656 section 4): tells anybody its own address, and no more.

use crate::address::{FiveTuple, Now};
use crate::auth::is_probe;
use crate::wire::attribute::XOR_MAPPED_ADDRESS;
use crate::wire::message::Message;
use crate::wire::writer::Writer;
use crate::wire::{Class, method};

use super::Relay;

impl Relay {
    pub(super) fn binding(&mut self, now: Now, tuple: FiveTuple, message: &Message<'_>) {
        if is_probe(&self.config, now, message) {
            self.counters.probes_proved += 1;
            self.proven.note(tuple.client, now.instant);
        }
        let unknown = message.unknown();
        let is_known = unknown.as_slice().is_empty();
        let class = if is_known {
            Class::Success
        } else {
            Class::Error
        };
        let mut reply = Writer::new(method::BINDING, class, &message.transaction());
        if is_known {
            reply.xor_address(XOR_MAPPED_ADDRESS, tuple.client);
        } else {
            reply.error_code(420, "");
            reply.unknown_attributes(unknown.as_slice());
        }
        if self.send_unverified(now, tuple, message, reply) {
            if is_known {
                self.counters.binding_replies += 1;
            } else {
                self.counters.errors_unknown_attribute += 1;
            }
        }
    }
}
