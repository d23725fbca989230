//! A received datagram with free bytes around it, so that headers are written where it lies.

use std::ops::Range;

/// Free bytes needed before a peer's datagram: 48 hold the longest header, that of a Data
/// indication with an IPv6 peer; the rest is alignment and room for what may come.
pub const HEADROOM: usize = 64;

/// Free bytes needed after a peer's datagram: padding to a multiple of four.
pub const TAILROOM: usize = 4;

/// A peer's datagram inside a larger buffer of the shell.
#[derive(Debug)]
pub struct Headroom<'a> {
    buffer: &'a mut [u8],
    datagram: Range<usize>,
}

impl<'a> Headroom<'a> {
    /// Takes `buffer`, in which the datagram lies at `datagram`. `None` unless [`HEADROOM`] bytes
    /// are free before it and [`TAILROOM`] after it.
    pub fn new(buffer: &'a mut [u8], datagram: Range<usize>) -> Option<Self> {
        let fits = datagram.start >= HEADROOM
            && datagram.start <= datagram.end
            && buffer.len().checked_sub(TAILROOM)? >= datagram.end;
        fits.then_some(Self { buffer, datagram })
    }

    /// The datagram.
    pub fn payload(&self) -> &[u8] {
        &self.buffer[self.datagram.clone()]
    }

    /// The whole buffer, which the range in [`ToClient`](crate::ToClient) refers to.
    pub fn buffer(&self) -> &[u8] {
        self.buffer
    }

    /// Length of the datagram in bytes.
    pub(crate) fn len(&self) -> usize {
        self.datagram.len()
    }

    /// Writes `header` right before the datagram and `padding` zeros after it, and returns where
    /// the whole now lies.
    pub(crate) fn wrap(&mut self, header: &[u8], padding: usize) -> Range<usize> {
        debug_assert!(header.len() <= HEADROOM && padding <= TAILROOM);
        let start = self.datagram.start - header.len();
        let end = self.datagram.end + padding;
        self.buffer[start..self.datagram.start].copy_from_slice(header);
        self.buffer[self.datagram.end..end].fill(0);
        start..end
    }
}
