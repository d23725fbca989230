//! Which of a worker's sockets an event token stands for.
//!
//! The kinds interleave, so each can grow without meeting another, and the token of a socket stays
//! the same whatever else is opened or closed. An event of a socket that is closed may still be on
//! its way when its place has a new tenant: an event says "look", never what will be found.

use mio::Token;

/// A socket of a worker by its kind and place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Not a socket: the worker is woken to read its orders.
    Waker,
    /// The UDP listener in this place.
    Udp(usize),
    /// The TCP listener in this place.
    Tcp(usize),
    /// The connection of a client in this place.
    Stream(usize),
    /// The relayed socket in this place.
    Relayed(usize),
    /// The relayed TCP socket in this place, which listens.
    RelayedTcp(usize),
    /// The connection with a peer in this place.
    Peer(usize),
    /// The client's connection that is joined to the one in this place.
    Joined(usize),
}

/// Kinds of sources.
const KINDS: usize = 8;

impl Source {
    /// The token it is registered with.
    pub const fn token(self) -> Token {
        Token(match self {
            Self::Waker => 0,
            Self::Udp(place) => place * KINDS + 1,
            Self::Tcp(place) => place * KINDS + 2,
            Self::Stream(place) => place * KINDS + 3,
            Self::Relayed(place) => place * KINDS + 4,
            Self::RelayedTcp(place) => place * KINDS + 5,
            Self::Peer(place) => place * KINDS + 6,
            Self::Joined(place) => place * KINDS + 7,
        })
    }

    /// What `token` was made from.
    pub const fn of(token: Token) -> Self {
        let place = token.0 / KINDS;
        match token.0 % KINDS {
            0 => Self::Waker,
            1 => Self::Udp(place),
            2 => Self::Tcp(place),
            3 => Self::Stream(place),
            4 => Self::Relayed(place),
            5 => Self::RelayedTcp(place),
            6 => Self::Peer(place),
            _ => Self::Joined(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_source_has_its_own_token_and_is_found_by_it() {
        let places = (0..1000).flat_map(|place| {
            [
                Source::Udp(place),
                Source::Tcp(place),
                Source::Stream(place),
                Source::Relayed(place),
                Source::RelayedTcp(place),
                Source::Peer(place),
                Source::Joined(place),
            ]
        });
        let mut seen = HashSet::new();
        for source in places.chain([Source::Waker]) {
            assert_eq!(Source::of(source.token()), source);
            assert!(seen.insert(source.token()), "{source:?}");
        }
    }
}
