//! The relayed sockets of one worker, found by the slot of their allocation and their family.

use std::io;
use std::net::SocketAddr;

use mio::{Interest, Registry};
use turnd_core::{AllocationId, Family, OpenError};

use super::descriptors::{Descriptor, Descriptors};
use super::tokens::Source;
use super::udp::{Buffers, Sharing, Udp};

/// A relayed socket and whose it is.
#[derive(Debug)]
pub struct Relayed {
    /// The allocation it belongs to.
    pub id: AllocationId,
    /// The socket, bound to the relayed transport address.
    pub udp: Udp,
    _descriptor: Descriptor,
}

/// Where the socket of one family of an allocation is found.
pub const fn place(id: AllocationId, family: Family) -> usize {
    id.slot() * Family::ALL.len() + family.index()
}

/// All relayed sockets of a worker. Grows to the most allocations there ever were, which the core
/// caps.
#[derive(Debug)]
pub struct RelayedSockets {
    places: Vec<Option<Relayed>>,
    open: usize,
    buffers: Buffers,
    descriptors: Descriptors,
}

impl RelayedSockets {
    /// No sockets yet.
    pub fn new(buffers: Buffers, descriptors: Descriptors) -> Self {
        Self {
            places: Vec::new(),
            open: 0,
            buffers,
            descriptors,
        }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// The socket in `place`.
    pub fn get(&self, place: usize) -> Option<&Relayed> {
        self.places.get(place)?.as_ref()
    }

    /// Binds `address` for `id` and watches it for datagrams.
    pub fn open(
        &mut self,
        registry: &Registry,
        id: AllocationId,
        address: SocketAddr,
    ) -> Result<SocketAddr, OpenError> {
        let place = place(id, Family::of(address.ip()));
        let descriptor = self.descriptors.take().ok_or(OpenError::Exhausted)?;
        let mut udp =
            Udp::bind(address, Sharing::Exclusive, self.buffers).map_err(|error| why(&error))?;
        udp.keep_errors().map_err(|error| why(&error))?;
        registry
            .register(
                &mut udp.socket,
                Source::Relayed(place).token(),
                Interest::READABLE,
            )
            .map_err(|error| why(&error))?;
        if self.places.len() <= place {
            self.places.resize_with(place + 1, || None);
        }
        let local = udp.local();
        debug_assert!(
            self.places[place].is_none(),
            "the core closes a place before it reuses it"
        );
        if self.places[place]
            .replace(Relayed {
                id,
                udp,
                _descriptor: descriptor,
            })
            .is_none()
        {
            self.open += 1;
        }
        Ok(local)
    }

    /// Closes one socket of `id`; the kernel takes it out of the event queue by itself.
    pub fn close(&mut self, id: AllocationId, family: Family) {
        let Some(place) = self.places.get_mut(place(id, family)) else {
            return;
        };
        if place.take_if(|relayed| relayed.id == id).is_some() {
            self.open -= 1;
        }
    }
}

/// The core's word for a failed bind: what it should try next depends on it.
pub(super) fn why(error: &io::Error) -> OpenError {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::AddrInUse, _) => OpenError::InUse,
        (_, Some(EMFILE | ENFILE | ENOBUFS | ENOMEM)) => OpenError::Exhausted,
        _ => OpenError::Failed,
    }
}
