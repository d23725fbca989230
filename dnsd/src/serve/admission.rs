//! Who may have a connection, and who has to leave when others want one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::network;
use crate::clock;
use crate::limits::{TCP_PER_NETWORK, TCP_SPARED};
use crate::metrics::{Metrics, Transport};

/// The connections open now, shared by all listeners that draw on the same room.
#[derive(Debug)]
pub(super) struct Connections {
    begun: Instant,
    room: usize,
    open: Mutex<Open>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    held: HashMap<u64, Held>,
}

/// What is known here of one connection.
#[derive(Debug)]
struct Held {
    network: IpAddr,
    seat: Arc<Seat>,
}

/// What one connection shares with whoever might want its place.
#[derive(Debug)]
struct Seat {
    /// When it was last answered, or else admitted: milliseconds since [`Connections::begun`].
    /// What a client says without getting an answer does not count.
    answered: AtomicU64,
    leave: Notify,
}

/// One connection's place in [`Connections`]; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
    seat: Arc<Seat>,
    transport: Transport,
}

impl Connections {
    /// Room for so many connections, of each network [`TCP_PER_NETWORK`] at most.
    pub(super) fn new(room: usize, metrics: &Arc<Metrics>) -> Self {
        Self {
            begun: clock::now(),
            room,
            open: Mutex::default(),
            metrics: Arc::clone(metrics),
        }
    }

    /// Takes a place for `client`. Where none is left for it or its network, the connection that
    /// has been idle for longest loses its own, unless that was less than [`TCP_SPARED`].
    pub(super) fn enter(
        self: &Arc<Self>,
        client: IpAddr,
        transport: Transport,
        now: Instant,
    ) -> Option<Place> {
        let (network, now) = (network(client), self.since(now));
        let mut open = self.lock();
        if open.of(network) >= TCP_PER_NETWORK {
            open.evict(now, |held| held.network == network)?;
        } else if open.held.len() >= self.room {
            open.evict(now, |_| true)?;
        }
        let number = open.next;
        open.next += 1;
        let seat = Arc::new(Seat {
            answered: now.into(),
            leave: Notify::new(),
        });
        let held = Held {
            network,
            seat: Arc::clone(&seat),
        };
        open.held.insert(number, held);
        self.metrics.opened(transport);
        Some(Place {
            connections: Arc::clone(self),
            number,
            seat,
            transport,
        })
    }

    /// Whether somebody would have to leave for another connection of `client`.
    pub(super) fn is_crowded(&self, client: IpAddr) -> bool {
        let open = self.lock();
        open.held.len() >= self.room || open.of(network(client)) >= TCP_PER_NETWORK
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().held.is_empty()
    }

    fn since(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.begun).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Connections of one network. Counted, because there are few in all.
    fn of(&self, network: IpAddr) -> usize {
        let alike = |held: &&Held| held.network == network;
        self.held.values().filter(alike).count()
    }

    /// Has the longest idle of those that may go leave. `None` if it is not idle.
    fn evict(&mut self, now: u64, may: impl Fn(&Held) -> bool) -> Option<()> {
        let candidates = self.held.iter().filter(|(_, held)| may(held));
        let (answered, number) = candidates
            .map(|(number, held)| (held.seat.answered.load(Ordering::Relaxed), *number))
            .min()?;
        if u128::from(now.saturating_sub(answered)) < TCP_SPARED.as_millis() {
            return None;
        }
        let held = self.held.remove(&number)?;
        held.seat.leave.notify_one();
        Some(())
    }
}

impl Place {
    /// Notes that the client was answered.
    pub(super) fn answered(&self, now: Instant) {
        let now = self.connections.since(now);
        self.seat.answered.store(now, Ordering::Relaxed);
    }

    /// Waits until somebody else has the place.
    pub(super) async fn lost(&self) {
        self.seat.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().held.remove(&self.number);
        self.connections.metrics.closed(self.transport);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ROOM: usize = 100;

    fn connections() -> (Arc<Connections>, Instant) {
        let connections = Connections::new(ROOM, &Arc::default());
        let begun = connections.begun;
        (Arc::new(connections), begun)
    }

    fn client(network: u8, host: u8) -> IpAddr {
        IpAddr::from([192, 0, network, host])
    }

    fn enter(connections: &Arc<Connections>, client: IpAddr, now: Instant) -> Option<Place> {
        connections.enter(client, Transport::Tcp, now)
    }

    /// Whether it has been told to leave.
    fn lost(place: &Place) -> bool {
        let mut lost = std::pin::pin!(place.lost());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        lost.as_mut().poll(&mut context).is_ready()
    }

    #[test]
    fn one_network_cannot_take_all_places_and_gives_them_back() {
        let (connections, now) = connections();
        let held: Vec<_> = (0..TCP_PER_NETWORK as u8)
            .map(|host| enter(&connections, client(2, host), now).expect("a place"))
            .collect();
        assert!(connections.is_crowded(client(2, 200)) && !connections.is_crowded(client(3, 1)));
        assert!(enter(&connections, client(2, 200), now).is_none());
        assert!(enter(&connections, client(3, 1), now).is_some());
        drop(held);
        assert!(enter(&connections, client(2, 200), now).is_some());
        assert!(connections.lock().held.is_empty());
    }

    #[test]
    fn the_total_is_bounded() {
        let (connections, now) = connections();
        let enter = |network| enter(&connections, client(network, 1), now);
        let held: Vec<_> = (0..200).filter_map(enter).collect();
        assert_eq!(held.len(), ROOM);
    }

    #[test]
    fn whoever_was_not_answered_for_longest_makes_room() {
        let (connections, now) = connections();
        let held: Vec<_> = (0..ROOM as u8)
            .map(|network| enter(&connections, client(network, 1), now).expect("a place"))
            .collect();
        let later = now + TCP_SPARED;
        for (place, after) in held.iter().zip(0..).filter(|(_, after)| *after != 7) {
            place.answered(now + Duration::from_millis(1 + after));
        }
        let early = later.checked_sub(Duration::from_millis(1)).expect("a time");
        assert!(enter(&connections, client(200, 1), early).is_none());
        let first = enter(&connections, client(200, 1), later);
        assert!(first.is_some() && lost(&held[7]));
        assert_eq!(held.iter().filter(|place| lost(place)).count(), 0);
        assert!(enter(&connections, client(201, 1), later).is_none());
        assert_eq!(connections.lock().held.len(), ROOM);
        drop(held);
        assert_eq!(connections.lock().held.len(), 1);
    }

    #[test]
    fn a_network_that_has_its_share_makes_room_for_itself_alone() {
        let (connections, now) = connections();
        let other = enter(&connections, client(3, 1), now).expect("a place");
        let own: Vec<_> = (0..TCP_PER_NETWORK as u8)
            .map(|host| enter(&connections, client(2, host), now).expect("a place"))
            .collect();
        let place = enter(&connections, client(2, 200), now + TCP_SPARED);
        assert!(place.is_some() && !lost(&other));
        assert_eq!(own.iter().filter(|place| lost(place)).count(), 1);
    }
}
