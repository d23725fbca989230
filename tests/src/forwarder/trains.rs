//! Datagrams of one length for one receiver, sent as one segmented datagram (`UDP_SEGMENT`).

use std::{array, io::IoSlice, net::UdpSocket, os::fd::AsRawFd};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, send, sendmmsg},
};

use super::BATCH;

/// Most datagrams in a train, and most bytes: what the kernel takes as one datagram.
const LONGEST: (usize, usize) = (64, 65_000);
/// Most slices in all trains together.
const PARTS: usize = 256;

/// One train: its slices, its receiver, and the length of all its datagrams but the last, which may
/// be shorter.
#[derive(Debug, Clone, Copy, Default)]
struct Train {
    first: usize,
    end: usize,
    to: Option<SockaddrIn>,
    segment: usize,
    count: usize,
    bytes: usize,
    closed: bool,
}

impl Train {
    fn takes(&self, length: usize, to: Option<SockaddrIn>) -> bool {
        !self.closed
            && self.to == to
            && (1..=self.segment).contains(&length)
            && self.count < LONGEST.0
            && self.bytes + length <= LONGEST.1
    }

    /// What the kernel has to be told: nothing where there is one datagram.
    fn segmented(&self) -> Option<usize> {
        (self.count > 1).then_some(self.segment)
    }
}

/// Trains that leave by one socket, in order.
#[derive(Debug)]
pub(super) struct Trains<'a> {
    parts: [IoSlice<'a>; PARTS],
    used: usize,
    each: [Train; BATCH],
    count: usize,
}

impl Default for Trains<'_> {
    fn default() -> Self {
        Self {
            parts: [IoSlice::new(&[]); PARTS],
            used: 0,
            each: [Train::default(); BATCH],
            count: 0,
        }
    }
}

impl<'a> Trains<'a> {
    /// Adds a datagram of `length` bytes in `parts` for `to`, behind all others; false when there is
    /// no room until what is there was sent.
    pub(super) fn push(
        &mut self,
        parts: &[IoSlice<'a>],
        length: usize,
        to: Option<SockaddrIn>,
    ) -> bool {
        let end = self.used + parts.len();
        let Some(room) = self.parts.get_mut(self.used..end) else {
            return false;
        };
        let last = self.each[..self.count].last_mut();
        if let Some(train) = last.filter(|train| train.takes(length, to)) {
            train.closed = length < train.segment;
            (train.count, train.bytes, train.end) = (train.count + 1, train.bytes + length, end);
        } else {
            let Some(train) = self.each.get_mut(self.count) else {
                return false;
            };
            *train = Train {
                first: self.used,
                end,
                to,
                segment: length,
                count: 1,
                bytes: length,
                closed: false,
            };
            self.count += 1;
        }
        room.copy_from_slice(parts);
        self.used = end;
        true
    }

    /// Sends all, passing over what the socket does not take, and is empty.
    pub(super) fn send(&mut self, socket: &UdpSocket, sender: &mut Sender) {
        let trains = &self.each[..self.count];
        if let (
            [
                Train {
                    count: 1, to: None, ..
                },
            ],
            [payload],
        ) = (trains, &self.parts[..self.used])
        {
            // One alone is cheaper without the headers.
            let _ = send(socket.as_raw_fd(), payload, MsgFlags::MSG_DONTWAIT);
            (self.used, self.count) = (0, 0);
            return;
        }
        for run in trains.chunk_by(|a, b| a.segmented() == b.segmented()) {
            let mut slices: [&[IoSlice<'_>]; BATCH] = [&[]; BATCH];
            for (slice, train) in slices.iter_mut().zip(run) {
                *slice = &self.parts[train.first..train.end];
            }
            let to: [_; BATCH] = array::from_fn(|index| run.get(index).and_then(|one| one.to));
            sender.send(socket, &slices[..run.len()], &to, run[0].segmented());
        }
        (self.used, self.count) = (0, 0);
    }
}

/// Headers for messages without and with a segment's length.
pub(super) struct Sender {
    whole: MultiHeaders<SockaddrIn>,
    segmented: MultiHeaders<SockaddrIn>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl Default for Sender {
    fn default() -> Self {
        Self {
            whole: MultiHeaders::preallocate(BATCH, None),
            segmented: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(u16))),
        }
    }
}

impl Sender {
    fn send(
        &mut self,
        socket: &UdpSocket,
        messages: &[&[IoSlice<'_>]],
        to: &[Option<SockaddrIn>],
        segment: Option<usize>,
    ) {
        let length = segment.unwrap_or_default() as u16;
        let told = [ControlMessage::UdpGsoSegments(&length)];
        let (headers, told) = match segment {
            Some(_) => (&mut self.segmented, &told[..]),
            None => (&mut self.whole, &told[..0]),
        };
        let mut sent = 0;
        while sent < messages.len() {
            let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            let took = sendmmsg(fd, headers, &messages[sent..], &to[sent..], told, flags);
            sent += match took.map(Iterator::count) {
                Ok(count) => count.max(1),
                Err(Errno::EINTR) => 0,
                Err(_) => 1,
            };
        }
    }
}
