//! What is inside a sealed datagram: who says it to whom, in which order, and one part of a message.
//!
//! ```text
//!  | length, sender | boot 8 | echo 8 | sequence 8 | kind | part | parts | payload ... |
//! ```
//!
//! `boot` is drawn anew at every start. `echo` is the boot of the one it is meant for, and so the
//! proof that the datagram is not older than that: no clock has to be right for it.

use liveness::{ID_MAX, NodeId};

use super::seal::OVERHEAD;
use crate::limits::{SHARE_DATAGRAM, SHARE_PARTS};

/// The longest header of a frame, in bytes.
const HEADER_MAX: usize = 1 + ID_MAX + 3 * 8 + 3;
/// The longest frame, in bytes.
pub const FRAME_MAX: usize = SHARE_DATAGRAM - OVERHEAD;
/// The longest payload of one frame, in bytes.
pub const PAYLOAD_MAX: usize = FRAME_MAX - HEADER_MAX;
/// The longest message, in bytes.
pub const MESSAGE_MAX: usize = PAYLOAD_MAX * SHARE_PARTS;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No more than that the sender is there; it carries the boots that both need.
    Hello,
    /// A ballot.
    Ballot,
    /// The generation last taken of the receiver's ballots, whose newest was not above it.
    Stale,
    /// A digest of the decisions that the sender knows.
    Digest,
    /// Decisions that the sender knows.
    Entries,
    /// Digests of the revocations that the sender knows.
    RevocationDigests,
    /// Revocations that the sender knows.
    Revocations,
    /// Relays that the sender does not hear.
    Unheard,
    /// Reports of relays that the receiver does not hear, as they came.
    Hearsay,
}

impl Kind {
    /// Every kind, in the order of its number on the wire.
    pub const ALL: [Self; 9] = [
        Self::Hello,
        Self::Ballot,
        Self::Stale,
        Self::Digest,
        Self::Entries,
        Self::RevocationDigests,
        Self::Revocations,
        Self::Unheard,
        Self::Hearsay,
    ];
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Who says it.
    pub sender: NodeId,
    /// The sender's boot.
    pub boot: u64,
    /// The boot of the one it is meant for; 0 if the sender does not know it.
    pub echo: u64,
    /// Rises by one with every frame of this boot, whomever it is meant for.
    pub sequence: u64,
    /// What the message is.
    pub kind: Kind,
    /// Which part of the message this is.
    pub part: u8,
    /// Of how many: 1 to [`SHARE_PARTS`].
    pub parts: u8,
    /// The part itself: at most [`PAYLOAD_MAX`] bytes.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let sender = self.sender.as_str().as_bytes();
        let mut out = Vec::with_capacity(HEADER_MAX + self.payload.len());
        out.push(sender.len() as u8);
        out.extend(sender);
        for number in [self.boot, self.echo, self.sequence] {
            out.extend(number.to_be_bytes());
        }
        out.extend([self.kind as u8, self.part, self.parts]);
        out.extend(&self.payload);
        out
    }

    /// Reads what has been unsealed; `None` if it is no frame.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first()?;
        let (sender, rest) = rest.split_at_checked(usize::from(*length))?;
        let sender = std::str::from_utf8(sender).ok()?.parse().ok()?;
        let (boot, rest) = rest.split_first_chunk()?;
        let (echo, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let ([kind, part, parts], payload) = rest.split_first_chunk()?;
        let frame = Self {
            sender,
            boot: u64::from_be_bytes(*boot),
            echo: u64::from_be_bytes(*echo),
            sequence: u64::from_be_bytes(*sequence),
            kind: *Kind::ALL.get(usize::from(*kind))?,
            part: *part,
            parts: *parts,
            payload: payload.to_vec(),
        };
        let whole = part < parts
            && usize::from(*parts) <= SHARE_PARTS
            && frame.sequence >= u64::from(*part)
            && payload.len() <= PAYLOAD_MAX;
        whole.then_some(frame)
    }
}

/// A message in parts that each fit a frame; `None` if it is longer than [`MESSAGE_MAX`].
pub fn parts(message: &[u8]) -> Option<Vec<&[u8]>> {
    if message.is_empty() {
        return Some(vec![&[]]);
    }
    (message.len() <= MESSAGE_MAX).then(|| message.chunks(PAYLOAD_MAX).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_header_and_payload_make_the_longest_frame() {
        let frame = Frame {
            sender: "n".repeat(ID_MAX).parse().expect("id"),
            boot: 1,
            echo: 2,
            sequence: 3,
            kind: Kind::Stale,
            part: 1,
            parts: 3,
            payload: vec![9; PAYLOAD_MAX],
        };
        let bytes = frame.encode();
        assert_eq!(bytes.len(), FRAME_MAX);
        assert_eq!(Frame::decode(&bytes), Some(frame));
    }

    #[test]
    fn messages_are_cut_without_loss_and_too_long_ones_refused() {
        for length in [0, 1, PAYLOAD_MAX, PAYLOAD_MAX + 1, MESSAGE_MAX] {
            let message = vec![5; length];
            let parts = parts(&message).expect("fits");
            assert!(!parts.is_empty() && parts.len() <= SHARE_PARTS);
            assert_eq!(parts.concat(), message);
        }
        assert_eq!(parts(&vec![5; MESSAGE_MAX + 1]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_a_frame_of_these_bytes_or_as_none(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Some(frame) = Frame::decode(&bytes) {
                prop_assert_eq!(frame.encode(), bytes);
            }
        }
    }
}
