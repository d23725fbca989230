//! Receives many datagrams with one system call, each with free room in front of it.

use std::io::{self, IoSliceMut};
use std::ops::Range;

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef};
use turnd_core::HEADROOM;

use super::udp::Udp;

/// Free bytes behind a datagram: `ChannelData` padding, and a break in the power-of-two spacing
/// that would put the first bytes of every slot on the same cache sets.
const TAILROOM: usize = 64;

/// The longest receive the kernel can return: one datagram, or several it merged into one buffer.
const LONGEST: usize = 65_536;

/// One slot: room for a header, the datagram, room behind it.
const SLOT: usize = HEADROOM + LONGEST + TAILROOM;

/// Reused receive buffers, one set per worker.
pub struct Batch {
    storage: Box<[u8]>,
    meta: [RecvMeta; BATCH_SIZE],
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("slots", &BATCH_SIZE)
            .finish_non_exhaustive()
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            storage: vec![0; SLOT * BATCH_SIZE].into_boxed_slice(),
            meta: [RecvMeta::default(); BATCH_SIZE],
        }
    }
}

impl Batch {
    /// How many slots one receive can fill.
    pub const SLOTS: usize = BATCH_SIZE;

    /// Receives into the first `slots` slots and returns how many were filled. Fewer than that means
    /// that the socket is drained.
    pub fn receive(&mut self, udp: &Udp, slots: usize) -> io::Result<usize> {
        let mut rest = self.storage.chunks_exact_mut(SLOT);
        let wanted = slots.clamp(1, Self::SLOTS);
        let mut slots: [IoSliceMut<'_>; BATCH_SIZE] = std::array::from_fn(|_| {
            let slot = rest.next().unwrap_or_default();
            IoSliceMut::new(
                slot.get_mut(HEADROOM..HEADROOM + LONGEST)
                    .unwrap_or_default(),
            )
        });
        let socket = UdpSockRef::from(&udp.socket);
        let slots = &mut slots[..wanted];
        udp.state.recv(socket, slots, &mut self.meta[..wanted])
    }

    /// What is known of slot `index`, and its whole buffer with the free room.
    pub fn slot(&mut self, index: usize) -> (RecvMeta, &mut [u8]) {
        let start = index * SLOT;
        (self.meta[index], &mut self.storage[start..start + SLOT])
    }
}

/// The datagrams in one slot's buffer, first to last.
///
/// The kernel may merge datagrams of one sender that have the same length (GRO); the last may be
/// shorter. Each is used up before the next is looked at, so a header written in front of one may
/// overwrite the end of the one before.
pub fn datagrams(meta: &RecvMeta) -> impl Iterator<Item = Range<usize>> + use<> {
    let end = HEADROOM + meta.len;
    // An empty datagram is one too.
    let stride = meta.stride.clamp(1, meta.len.max(1));
    (HEADROOM..end.max(HEADROOM + 1))
        .step_by(stride)
        .map(move |start| start..(start + stride).min(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(len: usize, stride: usize) -> Vec<usize> {
        let mut meta = RecvMeta::default();
        meta.len = len;
        meta.stride = stride;
        datagrams(&meta).map(|range| range.len()).collect()
    }

    #[test]
    fn one_datagram() {
        assert_eq!(lengths(1200, 1200), [1200]);
    }

    #[test]
    fn an_empty_datagram_is_one() {
        assert_eq!(lengths(0, 0), [0]);
    }

    #[test]
    fn merged_datagrams_are_taken_apart() {
        assert_eq!(lengths(2500, 1000), [1000, 1000, 500]);
        assert_eq!(lengths(3000, 1000), [1000, 1000, 1000]);
    }

    #[test]
    fn they_follow_each_other_without_gap() {
        let mut meta = RecvMeta::default();
        meta.len = 2500;
        meta.stride = 1000;
        let ranges: Vec<_> = datagrams(&meta).collect();
        assert_eq!(ranges.first().map(|range| range.start), Some(HEADROOM));
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
    }
}
