//! Simulated time: events in order, and chance from a seed.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

struct Entry<E> {
    at: u64,
    tie: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    // The heap gives the greatest first: the earliest is to be that.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.tie).cmp(&(self.at, self.tie))
    }
}

/// Events by the microsecond at which they happen; those of one microsecond in the order given.
pub struct Queue<E> {
    now: u64,
    tie: u64,
    heap: BinaryHeap<Entry<E>>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            now: 0,
            tie: 0,
            heap: BinaryHeap::new(),
        }
    }
}

impl<E> Queue<E> {
    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn push(&mut self, after: u64, event: E) {
        self.tie += 1;
        self.heap.push(Entry {
            at: self.now + after,
            tie: self.tie,
            event,
        });
    }

    /// The next event, unless it is later than `end`; time goes on to it, or to `end`.
    pub fn pop_until(&mut self, end: u64) -> Option<E> {
        if self.heap.peek().is_none_or(|entry| entry.at > end) {
            self.now = end;
            return None;
        }
        let entry = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}

/// A stream of numbers (`xorshift64*`).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// At least 0, less than `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}
