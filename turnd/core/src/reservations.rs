//! Ports that EVEN-PORT reserved for a second allocation (RFC 8656 section 7.2).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use crate::admission::Charge;
use crate::limits::RESERVATIONS;
use crate::nonce::NonceKeys;

/// The value of RESERVATION-TOKEN (RFC 8656 section 18.9): 48 random bits, and which worker keeps
/// the reservation, which only this process can read.
pub(crate) type Token = [u8; RANDOM + 2];

/// Random bytes of a token.
const RANDOM: usize = 6;

impl NonceKeys {
    /// The token of a reservation that `worker` keeps.
    pub(crate) fn token(&self, random: [u8; RANDOM], worker: u16) -> Token {
        let mut token = Token::default();
        token[..RANDOM].copy_from_slice(&random);
        let hidden = worker ^ self.worker_mask(&random);
        token[RANDOM..].copy_from_slice(&hidden.to_be_bytes());
        token
    }

    /// The worker that keeps the reservation under `token`; any number if it is none of ours.
    pub(crate) fn keeper(&self, token: Token) -> u16 {
        let hidden = u16::from_be_bytes([token[RANDOM], token[RANDOM + 1]]);
        hidden ^ self.worker_mask(&token[..RANDOM])
    }

    fn worker_mask(&self, random: &[u8]) -> u16 {
        (self.current.mask(random) >> 48) as u16
    }
}

/// A port that waits for whoever has its token. It is charged like the allocation it stands for,
/// so that nobody holds more ports than the quota grants.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) token: Token,
    pub(crate) username: Box<str>,
    /// The relayed transport address it is for.
    pub(crate) address: SocketAddr,
    pub(crate) expires: Instant,
    pub(crate) charge: Charge,
}

/// The reservations of one worker, at most [`RESERVATIONS`]. All live equally long, so the oldest
/// expires first.
#[derive(Debug, Default)]
pub(crate) struct Reservations(VecDeque<Reservation>);

impl Reservations {
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= RESERVATIONS
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds one that expires after all others.
    pub(crate) fn add(&mut self, reservation: Reservation) {
        debug_assert!(!self.is_full());
        debug_assert!(
            self.0
                .back()
                .is_none_or(|last| last.expires <= reservation.expires)
        );
        self.0.push_back(reservation);
    }

    /// Takes out the one that `user` holds under `token`.
    pub(crate) fn take(&mut self, token: Token, user: &str) -> Option<Reservation> {
        let is_it = |r: &Reservation| r.token == token && *r.username == *user;
        let at = self.0.iter().position(is_it)?;
        self.0.remove(at)
    }

    /// Moves the one under `token` to another address. Returns which address nothing is reserved
    /// at any more: the one before, or `address` itself where the reservation has expired.
    pub(crate) fn relocate(&mut self, token: Token, address: SocketAddr) -> SocketAddr {
        let reservation = self.0.iter_mut().find(|r| r.token == token);
        reservation.map_or(address, |r| std::mem::replace(&mut r.address, address))
    }

    /// Takes out one whose time is over.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<Reservation> {
        self.0.pop_front_if(|oldest| oldest.expires <= now)
    }

    /// When the next one expires.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.front().map(|oldest| oldest.expires)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Reservation> {
        self.0.iter()
    }
}
