//! Tickets by which a client takes its allocation along to another five-tuple (RFC 8016).

use data_encoding::BASE64URL_NOPAD;

use crate::nonce::{NonceKey, NonceKeys};
use crate::wire::TransactionId;

/// The value of MOBILITY-TICKET (RFC 8016 section 5.1): 128 random bits, and where the allocation
/// is, which only the relay can read. An allocation has one at a time, kept as it was told, so
/// none can be made up, none is good twice, and none outlives its allocation or the process.
/// It is base64url text, because there are clients that handle it as text.
pub(crate) type Ticket = [u8; RAW / 3 * 4];

const RAW: usize = RANDOM + PLACE;
const _: () = assert!(RAW.is_multiple_of(3));

/// Random bytes of a ticket.
pub(crate) const RANDOM: usize = 16;

/// Bytes for the worker, the slot, and zeros that tell the key they are hidden under: 16, 32 and 16
/// bits.
const PLACE: usize = 8;

/// Where the allocation of a ticket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) worker: u16,
    pub(crate) slot: u32,
}

/// What an allocation knows of its client's moves.
#[derive(Debug)]
pub(crate) struct Mobility {
    pub(crate) ticket: Ticket,
    /// The latest move, for its retransmissions: a server has to know them for 30 s at least
    /// (RFC 8016 section 3.2.2).
    pub(crate) latest: Option<Move>,
}

/// A move that was carried out.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) transaction: TransactionId,
    /// The ticket it used up.
    pub(crate) ticket: Ticket,
    /// Seconds granted, which a repeated reply repeats.
    pub(crate) granted: u32,
}

impl NonceKeys {
    /// The ticket of the allocation at `place`.
    pub(crate) fn ticket(&self, random: [u8; RANDOM], place: Place) -> Ticket {
        let plain = u64::from(place.worker) << 48 | u64::from(place.slot) << 16;
        let hidden = plain ^ self.current.mask(&random);
        let mut raw = [0; RAW];
        raw[..RANDOM].copy_from_slice(&random);
        raw[RANDOM..].copy_from_slice(&hidden.to_be_bytes());
        let mut ticket = Ticket::default();
        BASE64URL_NOPAD.encode_mut(&raw, &mut ticket);
        ticket
    }

    /// Where the allocation of `ticket` is, if it was made under one of these keys. Strangers'
    /// tickets may pass: only the allocation knows which is its own.
    pub(crate) fn place(&self, ticket: &Ticket) -> Option<Place> {
        let mut raw = [0; RAW];
        BASE64URL_NOPAD.decode_mut(ticket, &mut raw).ok()?;
        let (random, hidden) = raw.split_first_chunk::<RANDOM>()?;
        let hidden = u64::from_be_bytes(hidden.try_into().ok()?);
        let reveal = |key: &NonceKey| {
            let plain = hidden ^ key.mask(random);
            let is_key = plain.trailing_zeros() >= 16;
            is_key.then_some(Place {
                worker: (plain >> 48) as u16,
                slot: (plain >> 16) as u32,
            })
        };
        let previous = self.previous.as_ref();
        reveal(&self.current).or_else(|| previous.and_then(reveal))
    }
}
