//! Who may have a TCP connection, and whose each is.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{TCP_CONNECTIONS, TCP_DESCRIPTORS, TCP_PER_NETWORK};
use crate::serve::network;

/// The connections open now, shared by every TCP listener of the daemon.
#[derive(Debug)]
pub(super) struct Connections {
    all: Arc<Semaphore>,
    networks: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place in [`Connections`]; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    network: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// Room for as many connections as half of `descriptors` allow, but no more than
    /// [`TCP_CONNECTIONS`]: the other half is for probes and everything else.
    pub(super) fn new(descriptors: usize) -> Self {
        let room = (descriptors / 2 / TCP_DESCRIPTORS).clamp(1, TCP_CONNECTIONS);
        Self {
            all: Arc::new(Semaphore::new(room)),
            networks: Mutex::default(),
        }
    }

    /// Takes a place for `client`, if it and its network may have another.
    pub(super) fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let network = network(client);
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let count = networks.entry(network).or_default();
        if *count >= TCP_PER_NETWORK {
            return None;
        }
        *count += 1;
        Some(Place {
            connections: Arc::clone(self),
            network,
            _permit: permit,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let networks = &self.connections.networks;
        let mut networks = networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = networks.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                networks.remove(&self.network);
            }
        }
    }
}

/// The clients behind the private connections, by the port each of these comes from. Never more
/// than there are [`Place`]s.
#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<HashMap<u16, SocketAddr>>);

/// A client's entry in [`Clients`]; taken out when dropped.
#[derive(Debug)]
pub(super) struct Entry {
    clients: Arc<Clients>,
    port: u16,
}

impl Clients {
    /// Notes that the private connection from `port` is `client`'s. The entry has to go before the
    /// connection is closed, for then the port may be another's.
    pub(super) fn enter(self: &Arc<Self>, port: u16, client: SocketAddr) -> Entry {
        self.lock().insert(port, client);
        let clients = Arc::clone(self);
        Entry { clients, port }
    }

    /// Whose private connection comes from `port`.
    pub(super) fn get(&self, port: u16) -> Option<SocketAddr> {
        self.lock().get(&port).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u16, SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.clients.lock().remove(&self.port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_cannot_take_all_places_and_gives_them_back() {
        let connections = Arc::new(Connections::new(usize::MAX));
        let address = |host: u8| IpAddr::from([192, 0, 2, host]);
        let held: Vec<_> = (0..TCP_PER_NETWORK)
            .filter_map(|i| connections.enter(address(i as u8)))
            .collect();
        assert_eq!(held.len(), TCP_PER_NETWORK);
        assert!(connections.enter(address(200)).is_none());
        assert!(connections.enter([198, 51, 100, 1].into()).is_some());
        drop(held);
        assert!(connections.enter(address(200)).is_some());
        assert_eq!(connections.all.available_permits(), TCP_CONNECTIONS);
    }

    #[test]
    fn the_total_is_bounded() {
        let connections = Arc::new(Connections::new(usize::MAX));
        let held: Vec<_> = (0..2000u32)
            .filter_map(|i| connections.enter(IpAddr::V4((i << 8).into())))
            .collect();
        assert_eq!(held.len(), TCP_CONNECTIONS);
    }

    #[test]
    fn few_descriptors_make_few_places() {
        let room = |descriptors| Connections::new(descriptors).all.available_permits();
        assert_eq!(room(1024), 170);
        assert_eq!(room(0), 1);
        assert_eq!(room(1 << 20), TCP_CONNECTIONS);
    }

    #[test]
    fn a_port_is_a_clients_as_long_as_its_entry_lives() {
        let clients = Arc::new(Clients::default());
        let client = SocketAddr::from(([192, 0, 2, 1], 40_000));
        let entry = clients.enter(7, client);
        assert_eq!((clients.get(7), clients.get(8)), (Some(client), None));
        drop(entry);
        assert_eq!(clients.get(7), None);
    }
}
