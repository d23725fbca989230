//! What waits to be sent on a connection: gathered, written with few calls, never without end.

use std::io::{self, ErrorKind, Write};

use super::limits::{GATHERED, PAUSE, SPARE, SPARES, STRANGERS_WAITING, WAITING};

/// Emptied buffers of a worker. Few connections have something to send at the same time, so none
/// needs memory of its own for it, and what was grown once serves the next.
#[derive(Debug, Default)]
pub struct Spares(Vec<Vec<u8>>);

impl Spares {
    fn keep(&mut self, emptied: Vec<u8>) {
        if self.0.len() < SPARES && (1..=SPARE).contains(&emptied.capacity()) {
            self.0.push(emptied);
        }
    }
}

/// How bad it is when something is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A reply: the client waits for it.
    Reply,
    /// Relayed data: late is as good as lost, and its sender is told by the loss.
    Media,
}

/// What became of something to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It waits for the next write.
    Gathered,
    /// It waits, and there is enough for a write.
    Enough,
    /// It is dropped: the client does not keep up.
    Dropped,
    /// It is dropped, and too many replies wait: the connection has to end.
    Overflow,
}

/// Bytes that wait, first in first out.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// How many of them are written.
    written: usize,
    /// The kernel took no more; it tells when it does.
    blocked: bool,
}

impl Output {
    /// Adds one whole message.
    pub fn push(&mut self, bytes: &[u8], kind: Kind, stranger: bool) -> Pushed {
        let waiting = self.waiting() + bytes.len();
        let most = if stranger { STRANGERS_WAITING } else { WAITING };
        match kind {
            Kind::Media if self.blocked => return Pushed::Dropped,
            Kind::Reply if waiting > most => return Pushed::Overflow,
            Kind::Media | Kind::Reply => {}
        }
        self.bytes.extend_from_slice(bytes);
        let enough = match kind {
            Kind::Reply => PAUSE,
            Kind::Media => GATHERED,
        };
        if waiting >= enough && !self.blocked {
            Pushed::Enough
        } else {
            Pushed::Gathered
        }
    }

    /// Hands what waits to `sink`, as much as it takes.
    pub fn write(&mut self, sink: &mut impl Write) -> io::Result<()> {
        self.blocked = false;
        while self.waiting() > 0 {
            match sink.write(self.bytes.get(self.written..).unwrap_or_default()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => self.written += taken,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        match sink.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.blocked = true,
            flushed => flushed?,
        }
        self.bytes.drain(..self.written);
        self.written = 0;
        Ok(())
    }

    /// Takes a buffer for what is pushed next, unless it has one. Not for what will wait for long.
    pub fn borrow(&mut self, spares: &mut Spares) {
        if self.bytes.capacity() == 0 && !self.blocked {
            self.bytes = spares.0.pop().unwrap_or_default();
        }
    }

    /// Gives the buffer back when nothing waits in it; what waits keeps no more memory than it needs.
    pub fn give_back(&mut self, spares: &mut Spares) {
        if self.bytes.is_empty() {
            spares.keep(std::mem::take(&mut self.bytes));
        } else {
            self.bytes.shrink_to_fit();
        }
    }

    /// What waits, to be sent in another way.
    pub fn into_waiting(mut self) -> Vec<u8> {
        self.bytes.split_off(self.written)
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Whether the kernel took not all of it the last time.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether so much waits that its client should first read.
    pub fn is_pressed(&self) -> bool {
        self.blocked && self.waiting() >= PAUSE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then blocks.
    struct Sink {
        room: usize,
        taken: Vec<u8>,
        calls: usize,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            let now = bytes.len().min(self.room);
            if now == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.room -= now;
            self.taken.extend_from_slice(&bytes[..now]);
            Ok(now)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink(room: usize) -> Sink {
        Sink {
            room,
            taken: Vec::new(),
            calls: 0,
        }
    }

    #[test]
    fn what_is_gathered_leaves_with_one_call_and_leaves_no_memory() {
        let (mut output, mut sink) = (Output::default(), sink(1 << 20));
        for byte in 0..200 {
            assert_eq!(
                output.push(&[byte; 100], Kind::Media, false),
                Pushed::Gathered
            );
        }
        output.write(&mut sink).expect("written");
        assert_eq!((sink.calls, sink.taken.len()), (1, 20_000));
        assert!(!output.is_blocked() && output.waiting() == 0);
    }

    #[test]
    fn memory_is_held_by_what_waits_and_lent_to_the_next() {
        let (mut spares, mut sink) = (Spares::default(), sink(20_100));
        let mut outputs: Vec<_> = (0..2 * SPARES).map(|_| Output::default()).collect();
        for output in &mut outputs {
            output.borrow(&mut spares);
            output.push(&[1; 200], Kind::Media, false);
        }
        for output in &mut outputs {
            output.write(&mut sink).expect("written");
            output.give_back(&mut spares);
        }
        let (written, blocked) = outputs.split_at(100);
        assert!(written.iter().all(|output| output.bytes.capacity() == 0));
        assert_eq!(spares.0.len(), SPARES);
        // Half of the next was written.
        assert_eq!(
            (blocked[0].waiting(), blocked[0].bytes.capacity()),
            (100, 100)
        );
        assert!(blocked[1..].iter().all(|output| output.waiting() == 200));
        // A buffer comes back empty, and one that has grown too large does not.
        let mut next = Output::default();
        next.borrow(&mut spares);
        assert!(next.waiting() == 0 && next.bytes.capacity() >= 200);
        assert_eq!(spares.0.len(), SPARES - 1);
        spares.keep(Vec::with_capacity(SPARE + 1));
        assert_eq!(spares.0.len(), SPARES - 1);
        // Where there was nothing to send, there is nothing to give back.
        Output::default().give_back(&mut spares);
        assert_eq!(spares.0.len(), SPARES - 1);
        // Who cannot send borrows nothing.
        let mut blocked = Output {
            blocked: true,
            ..Output::default()
        };
        blocked.borrow(&mut spares);
        assert_eq!((blocked.bytes.capacity(), spares.0.len()), (0, SPARES - 1));
    }

    #[test]
    fn media_never_queues_behind_a_full_kernel_and_replies_do_to_a_limit() {
        let (mut output, mut sink) = (Output::default(), sink(150));
        output.push(&[1; 100], Kind::Media, false);
        output.push(&[2; 100], Kind::Media, false);
        output.write(&mut sink).expect("written");
        assert!(output.is_blocked());
        assert_eq!(output.push(&[3; 100], Kind::Media, false), Pushed::Dropped);
        assert_eq!(output.waiting(), 50);
        let mut replies = 0;
        while output.push(&[4; 100], Kind::Reply, false) == Pushed::Gathered {
            replies += 1;
        }
        assert_eq!(replies, (WAITING - 50) / 100);
        assert!(output.is_pressed());
        assert_eq!(output.push(&[4; 100], Kind::Reply, false), Pushed::Overflow);
        // Nothing that was taken is lost or changes its order.
        sink.room = 1 << 20;
        output.write(&mut sink).expect("written");
        let expected = [vec![1; 100], vec![2; 100], vec![4; 100 * replies]].concat();
        assert_eq!(sink.taken, expected);
        assert_eq!(output.push(&[5; 100], Kind::Media, false), Pushed::Gathered);
    }

    #[test]
    fn a_stranger_may_leave_less_unread() {
        let mut output = Output::default();
        assert_eq!(
            output.push(&vec![0; STRANGERS_WAITING], Kind::Reply, true),
            Pushed::Enough
        );
        assert_eq!(output.push(&[0], Kind::Reply, true), Pushed::Overflow);
        assert_eq!(output.push(&[0], Kind::Reply, false), Pushed::Enough);
    }

    #[test]
    fn enough_for_a_write_is_said() {
        let mut output = Output::default();
        let most = vec![0; GATHERED];
        assert_eq!(output.push(&most, Kind::Media, false), Pushed::Enough);
    }
}
