//! A relay with two clients, one of which has an allocation, put back after whatever changed it.

use std::cell::RefCell;

use credentials::{UnixTime, issue};
use stun_types::message::{LongTermCredentials, MessageIntegrityCredentials};
use turnd_core::{AllocationId, FiveTuple, Transport};

use crate::model::unhurried;
use crate::world::{Client, EPOCH, REALM_NAME, SECRET, World, ring};

/// The channel of every client with an allocation.
pub(crate) const CHANNEL: u16 = 0x4000;
/// What it is bound to.
pub(crate) const BOUND: &str = "9.9.9.9:1";
/// Only permitted.
pub(crate) const PERMITTED: &str = "1.1.1.1:1";

/// What a target works with.
pub(crate) struct Fixture {
    pub(crate) world: World,
    /// Has nothing but a nonce.
    pub(crate) stranger: Client,
    /// Has an allocation, over UDP.
    pub(crate) tenant: Client,
    /// Likewise, over TCP.
    pub(crate) streamer: Client,
    pub(crate) tenant_relay: AllocationId,
    pub(crate) streamer_relay: AllocationId,
    /// What all of them have, for the oracle.
    pub(crate) credential: MessageIntegrityCredentials,
}

thread_local! {
    static FIXTURE: RefCell<Option<Fixture>> = const { RefCell::new(None) };
}

/// Whether an input left the relay as it was.
pub(crate) enum Left {
    AsItWas,
    Changed,
}

/// Lets `act` work with a fixture that no earlier input has changed.
pub(crate) fn with(act: impl FnOnce(&mut Fixture) -> Left) {
    FIXTURE.with_borrow_mut(|kept| {
        let fixture = kept.get_or_insert_with(Fixture::new);
        if matches!(act(fixture), Left::Changed) {
            *kept = None;
        }
    });
}

impl Fixture {
    fn new() -> Self {
        let mut config = unhurried();
        config.limits.allocations = 8;
        config.limits.unverified_per_address.burst = 0;
        config.limits.unverified_per_network.burst = 0;
        let mut world = World::with(config);
        let mut stranger = Client::new("192.0.2.1:5000", "alice");
        stranger.learn_nonce(&mut world);
        let mut tenant = Client::new("192.0.2.2:5000", "alice");
        let tenant_relay = settle(&mut world, &mut tenant);
        let mut streamer = Client::new("192.0.2.3:5000", "alice");
        streamer.tuple = FiveTuple {
            transport: Transport::Tcp,
            ..streamer.tuple
        };
        let streamer_relay = settle(&mut world, &mut streamer);
        Self {
            world,
            stranger,
            tenant,
            streamer,
            tenant_relay,
            streamer_relay,
            credential: credential(),
        }
    }
}

fn settle(world: &mut World, client: &mut Client) -> AllocationId {
    let relayed = client.allocate(world);
    assert!(client.permit(world, &[PERMITTED]).is_success());
    assert!(client.bind(world, CHANNEL, BOUND).is_success());
    world.id_of(relayed)
}

/// What `Client::new(_, "alice")` has.
fn credential() -> MessageIntegrityCredentials {
    let made = issue(&ring(SECRET, &[]), Some("alice"), 3600, UnixTime(EPOCH)).unwrap();
    LongTermCredentials::new(made.username, made.password.to_string())
        .to_key(REALM_NAME.into())
        .into()
}
