//! The client's side of one allocation's traffic.

use std::{io, time::Duration};

use super::{
    datagrams::{Inbox, Outbox},
    payload::{Stamp, Wrapping},
    session::Session,
    tally::{COUNTS, Tally},
};

/// One allocation's client and what it has sent.
#[derive(Debug)]
pub struct Flow {
    /// The client.
    pub session: Session,
    /// How its payloads travel.
    pub wrapping: Wrapping,
    number: u32,
    /// Next sequence number.
    next: u64,
    /// Lowest sequence number not yet overtaken.
    expected: u64,
    /// Lowest sequence number that is still on its way: the network keeps the order, so what is
    /// overtaken is lost.
    settled: u64,
    /// When something last came back, or was sent while nothing was on its way.
    heard: Duration,
}

/// What is sent, and as of when.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Number of packets.
    pub packets: u32,
    /// When they are due, since the run's start: a round trip counts from then.
    pub due: Duration,
    /// Whether they count (no warm-up).
    pub counts: bool,
    /// Payload in bytes.
    pub payload: usize,
}

impl Flow {
    /// The flow of this number.
    pub fn new(number: u32, session: Session, wrapping: Wrapping) -> Self {
        Self {
            session,
            wrapping,
            number,
            next: 0,
            expected: 0,
            settled: 0,
            heard: Duration::ZERO,
        }
    }

    /// Packets on their way.
    pub fn in_flight(&self) -> u32 {
        (self.next - self.settled) as u32
    }

    /// Gives up what is on its way when nothing came back for `time`; returns how many packets.
    pub fn give_up(&mut self, now: Duration, time: Duration) -> u32 {
        let lost = self.in_flight();
        if lost == 0 || now < self.heard + time {
            return 0;
        }
        self.settled = self.next;
        lost
    }

    /// How many packets a window has room for; none before all of a train came back.
    pub fn room(&self, window: u32, train: bool) -> u32 {
        match (train, self.in_flight()) {
            (true, 1..) => 0,
            (_, in_flight) => window.saturating_sub(in_flight),
        }
    }

    /// Takes in what came back by `now`.
    ///
    /// # Errors
    /// When the socket fails otherwise than by being refused.
    pub fn receive(
        &mut self,
        inbox: &mut Inbox,
        tally: &mut Tally,
        now: impl Fn() -> Duration,
    ) -> io::Result<Duration> {
        let Self {
            session, wrapping, ..
        } = self;
        // The clock is read once for all that waited, after the system call.
        let mut at = None;
        session.link.receive(inbox, |packet| {
            let now = *at.get_or_insert_with(&now);
            match wrapping.stamp(packet) {
                Some(stamp) if stamp.flow == self.number => {
                    let sequence = stamp.sequence & !COUNTS;
                    tally.reordered += u64::from(sequence < self.expected);
                    self.expected = self.expected.max(sequence + 1);
                    self.settled = self.settled.max(sequence + 1);
                    tally.at_client(stamp, now.as_nanos() as u64);
                }
                _ => tally.foreign += 1,
            }
        })?;
        self.heard = at.unwrap_or_else(now);
        Ok(self.heard)
    }

    /// Sends new packets; returns how many the kernel took. Their numbers are used up either way, so
    /// that trains begin at multiples of their size.
    ///
    /// # Errors
    /// When the socket fails otherwise than by being full or refused.
    pub fn send(&mut self, outbox: &mut Outbox, order: Order) -> io::Result<u32> {
        let mark = if order.counts { COUNTS } else { 0 };
        let mut took = 0;
        if self.in_flight() == 0 {
            self.heard = order.due;
        }
        for left in (0..order.packets).rev() {
            let stamp = Stamp {
                flow: self.number,
                sequence: self.next | mark,
                sent: order.due.as_nanos() as u64,
            };
            self.next += 1;
            self.wrapping.write(outbox.push(None), order.payload, stamp);
            if left == 0 || outbox.is_full() {
                took += self.session.link.send_packets(outbox)? as u32;
            }
        }
        Ok(took)
    }
}
