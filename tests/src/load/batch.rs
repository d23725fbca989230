//! Many datagrams in one system call, on connected sockets.

use std::{
    array,
    io::{self, IoSlice, IoSliceMut},
    net::UdpSocket,
    os::fd::AsRawFd,
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, MsgFlags, MultiHeaders, recvmmsg, sendmmsg},
};

/// Datagrams per system call.
pub const BATCH: usize = 32;
/// Longest datagram, in bytes: an Ethernet frame's worth.
pub const SLOT: usize = 1536;

/// Buffers for one batch.
pub struct Batch {
    headers: MultiHeaders<()>,
    bytes: Box<[u8]>,
    lengths: [usize; BATCH],
    filled: usize,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            bytes: vec![0; BATCH * SLOT].into_boxed_slice(),
            lengths: [0; BATCH],
            filled: 0,
        }
    }
}

impl Batch {
    /// Forgets the datagrams.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// Datagrams held.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Whether no further one fits.
    pub fn is_full(&self) -> bool {
        self.filled == BATCH
    }

    /// The datagram at `index`.
    pub fn get(&self, index: usize) -> &[u8] {
        &self.bytes[index * SLOT..][..self.lengths[index]]
    }

    /// Adds a datagram of `length` bytes, written by `write`; ignored when full.
    pub fn push(&mut self, length: usize, write: impl FnOnce(&mut [u8])) {
        if !self.is_full() && length <= SLOT {
            write(&mut self.bytes[self.filled * SLOT..][..length]);
            self.lengths[self.filled] = length;
            self.filled += 1;
        }
    }

    /// Drops the datagrams that `keep` refuses.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let mut kept = 0;
        for index in 0..self.filled {
            if keep(self.get(index)) {
                if kept != index {
                    let (from, length) = (index * SLOT, self.lengths[index]);
                    self.bytes.copy_within(from..from + length, kept * SLOT);
                    self.lengths[kept] = length;
                }
                kept += 1;
            }
        }
        self.filled = kept;
    }

    /// Replaces the contents with what waits on `socket`; returns how many there were.
    ///
    /// # Errors
    /// What recvmmsg(2) says; "nothing waits" and a peer's refusal (ICMP) are not errors but 0.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.filled = 0;
        let mut rest = self.bytes.chunks_exact_mut(SLOT);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            array::from_fn(|_| [IoSliceMut::new(rest.next().unwrap_or_default())]);
        let got = recvmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            &mut slices,
            MsgFlags::MSG_DONTWAIT,
            None,
        );
        match got {
            Ok(results) => {
                for (length, message) in self.lengths.iter_mut().zip(results) {
                    *length = message.bytes;
                    self.filled += 1;
                }
                Ok(self.filled)
            }
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends all; returns how many the kernel took.
    ///
    /// # Errors
    /// What sendmmsg(2) says; a full buffer or a peer's refusal (ICMP) is not an error but 0.
    pub fn send(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        if self.is_empty() {
            return Ok(0);
        }
        let slices: [[IoSlice<'_>; 1]; BATCH] = array::from_fn(|index| {
            [IoSlice::new(
                &self.bytes[index * SLOT..][..self.lengths[index]],
            )]
        });
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            &slices[..self.filled],
            [None; BATCH],
            [] as [ControlMessage<'_>; 0],
            MsgFlags::MSG_DONTWAIT,
        );
        match sent {
            Ok(results) => Ok(results.count()),
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS | Errno::ECONNREFUSED) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_cross_whole_and_in_order() {
        let a = UdpSocket::bind("127.0.0.1:0").unwrap();
        let b = UdpSocket::bind("127.0.0.1:0").unwrap();
        a.connect(b.local_addr().unwrap()).unwrap();
        b.connect(a.local_addr().unwrap()).unwrap();
        let mut batch = Batch::default();
        assert_eq!(batch.receive(&b).unwrap(), 0);
        for index in 0..=BATCH {
            batch.push(index + 1, |bytes| bytes.fill(index as u8));
        }
        assert!(batch.is_full());
        assert_eq!(batch.send(&a).unwrap(), BATCH);
        let mut got = Batch::default();
        assert_eq!(got.receive(&b).unwrap(), BATCH);
        for index in 0..BATCH {
            assert_eq!(got.get(index), vec![index as u8; index + 1]);
        }
    }
}
