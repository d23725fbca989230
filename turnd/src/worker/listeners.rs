//! The listeners of one worker, each in a place that stays the same while others come and go.

use std::io;
use std::net::SocketAddr;

use mio::{Interest, Registry, Token};
use turnd_core::{FiveTuple, Transport};

use crate::net::stream::listener::Tcp;
use crate::net::tokens::Source;
use crate::net::udp::{Buffers, Sharing, Udp};

/// An open socket that clients come to, not yet watched by a worker. Each worker gets one of its
/// own for an address (`SO_REUSEPORT`).
#[derive(Debug)]
pub enum Listener {
    /// TURN over UDP.
    Udp(Udp),
    /// TURN over TCP.
    Tcp(Tcp),
}

/// What names a listener of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listening {
    /// TURN over UDP on this address.
    Udp(SocketAddr),
    /// TURN over TCP on this address.
    Tcp(SocketAddr),
}

impl Listening {
    /// The configuration key that lists it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Udp(_) => "relay.listen",
            Self::Tcp(_) => "relay.listen_tcp",
        }
    }

    /// The address that is listened on.
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Udp(address) | Self::Tcp(address) => address,
        }
    }

    /// Whether a client with this five-tuple is served on it. A connection is served without the
    /// listener that accepted it.
    pub(super) fn serves(self, tuple: &FiveTuple) -> bool {
        let transport = match self {
            Self::Udp(_) => matches!(tuple.transport, Transport::Udp | Transport::Dtls),
            Self::Tcp(_) => false,
        };
        transport && covers(self.address(), tuple.server)
    }
}

/// Whether a socket bound to `local` has the address `server`.
fn covers(local: SocketAddr, server: SocketAddr) -> bool {
    local.port() == server.port()
        && local.is_ipv4() == server.is_ipv4()
        && (local.ip() == server.ip() || local.ip().is_unspecified())
}

impl Listener {
    /// Opens a listener.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn open(at: Listening, buffers: Buffers) -> io::Result<Self> {
        match at {
            Listening::Udp(address) => {
                Udp::bind(address, Sharing::PerWorker, buffers).map(Self::Udp)
            }
            Listening::Tcp(address) => Tcp::bind(address, Sharing::PerWorker).map(Self::Tcp),
        }
    }
}

/// All listeners of a worker. Their number is capped by the configuration.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    udp: Vec<Option<Udp>>,
    tcp: Vec<Option<Tcp>>,
}

impl Listeners {
    /// Watches one more listener.
    pub(super) fn add(&mut self, registry: &Registry, listener: Listener) -> io::Result<()> {
        match listener {
            Listener::Udp(mut udp) => {
                let place = free_place(&mut self.udp);
                let token = Source::Udp(place).token();
                registry.register(&mut udp.socket, token, Interest::READABLE)?;
                self.udp[place] = Some(udp);
            }
            Listener::Tcp(mut tcp) => {
                let place = free_place(&mut self.tcp);
                let token = Source::Tcp(place).token();
                registry.register(&mut tcp.socket, token, Interest::READABLE)?;
                self.tcp[place] = Some(tcp);
            }
        }
        Ok(())
    }

    /// Closes a listener; the kernel takes it out of the event queue by itself.
    pub(super) fn remove(&mut self, at: Listening) {
        match at {
            Listening::Udp(address) => {
                for place in &mut self.udp {
                    place.take_if(|udp| udp.local() == address);
                }
            }
            Listening::Tcp(address) => {
                for place in &mut self.tcp {
                    place.take_if(|tcp| tcp.local() == address);
                }
            }
        }
    }

    /// The UDP listener in a place.
    pub(super) fn udp(&self, place: usize) -> Option<&Udp> {
        self.udp.get(place)?.as_ref()
    }

    /// The TCP listener in a place.
    pub(super) fn tcp(&self, place: usize) -> Option<&Tcp> {
        self.tcp.get(place)?.as_ref()
    }

    /// The tokens of all TCP listeners.
    pub(super) fn tcp_tokens(&self) -> impl Iterator<Item = Token> {
        (0..self.tcp.len()).map(|place| Source::Tcp(place).token())
    }

    /// The UDP listener that `server`, a local address, belongs to.
    pub(super) fn udp_of(&self, server: SocketAddr) -> Option<(usize, &Udp)> {
        let places = self.udp.iter().enumerate();
        let mut open = places.filter_map(|(place, udp)| Some((place, udp.as_ref()?)));
        open.find(|(_, udp)| covers(udp.local(), server))
    }
}

/// The first place without a tenant, made when there is none.
fn free_place<T>(places: &mut Vec<Option<T>>) -> usize {
    places.iter().position(Option::is_none).unwrap_or_else(|| {
        places.push(None);
        places.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use mio::Poll;

    use super::*;

    fn udp() -> (Listener, SocketAddr) {
        let buffers = Buffers {
            receive: 65536,
            send: 65536,
        };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let opened = Listener::open(Listening::Udp(any), buffers).expect("opened");
        let Listener::Udp(udp) = &opened else {
            panic!("not what was asked for: {opened:?}");
        };
        let local = udp.local();
        (opened, local)
    }

    #[test]
    fn a_listener_keeps_its_place_while_others_come_and_go() {
        let poll = Poll::new().expect("poll");
        let mut listeners = Listeners::default();
        let add = |listeners: &mut Listeners| {
            let (listener, address) = udp();
            listeners.add(poll.registry(), listener).expect("added");
            address
        };
        let first = add(&mut listeners);
        let second = add(&mut listeners);
        let place = |listeners: &Listeners, at| listeners.udp_of(at).map(|(place, _)| place);
        assert_eq!(place(&listeners, second), Some(1));
        listeners.remove(Listening::Udp(first));
        assert_eq!(place(&listeners, first), None);
        assert!(listeners.udp(0).is_none());
        assert_eq!(place(&listeners, second), Some(1));
        let third = add(&mut listeners);
        assert_eq!(place(&listeners, third), Some(0));
        assert_eq!(place(&listeners, second), Some(1));
    }
}
