//! Whose each private connection is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metrics::Transport;

/// Who is at the other end, and how it came.
pub(super) type Client = (SocketAddr, Transport);

/// The clients behind the private connections, by the port each of these comes from. Never more
/// than there are places.
#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<HashMap<u16, Client>>);

/// A client's entry in [`Clients`]; taken out when dropped.
#[derive(Debug)]
pub(super) struct Entry {
    clients: Arc<Clients>,
    port: u16,
}

impl Clients {
    /// Notes that the private connection from `port` is `client`'s. The entry has to go before the
    /// connection is closed, for then the port may be another's.
    pub(super) fn enter(self: &Arc<Self>, port: u16, client: Client) -> Entry {
        self.lock().insert(port, client);
        let clients = Arc::clone(self);
        Entry { clients, port }
    }

    /// Whose private connection comes from `port`.
    pub(super) fn get(&self, port: u16) -> Option<Client> {
        self.lock().get(&port).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u16, Client>> {
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
    fn a_port_is_a_clients_as_long_as_its_entry_lives() {
        let clients = Arc::new(Clients::default());
        let client = (SocketAddr::from(([192, 0, 2, 1], 40_000)), Transport::Tls);
        let entry = clients.enter(7, client);
        assert_eq!((clients.get(7), clients.get(8)), (Some(client), None));
        drop(entry);
        assert_eq!(clients.get(7), None);
    }
}
