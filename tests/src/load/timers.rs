//! When a request is sent again (RFC 8489 section 6.2.1), for many clients at once.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

/// First wait for an answer over datagrams, doubled at each repetition: RTO.
const RTO: Duration = Duration::from_millis(500);
/// How often a request is sent over datagrams: Rc.
const TRIES: u32 = 7;
/// The wait after the last one in multiples of RTO: Rm.
const LAST: u32 = 16;
/// The wait over a stream, which repeats by itself: Ti.
const STREAM: Duration = Duration::from_millis(39_500);

/// What to do for a client whose wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Send its request again.
    Repeat(usize),
    /// Give up: the server is silent.
    Silent,
}

/// The waits of all clients.
#[derive(Debug)]
pub struct Timers {
    reliable: bool,
    /// How many requests each client has begun, and how often it has sent the last.
    clients: Vec<(u32, u32)>,
    /// When which client's wait for which request ends; outdated ones are passed over.
    waits: BinaryHeap<Reverse<(Instant, usize, u32)>>,
}

impl Timers {
    /// For `clients` clients; `reliable` over streams.
    pub fn new(clients: usize, reliable: bool) -> Self {
        Self {
            reliable,
            clients: vec![(0, 0); clients],
            waits: BinaryHeap::with_capacity(2 * clients),
        }
    }

    /// A client has sent a new request.
    pub fn sent(&mut self, client: usize, now: Instant) {
        let (request, tries) = &mut self.clients[client];
        (*request, *tries) = (*request + 1, 1);
        let wait = if self.reliable { STREAM } else { RTO };
        self.waits.push(Reverse((now + wait, client, *request)));
    }

    /// A client waits no more.
    pub fn answered(&mut self, client: usize) {
        self.clients[client].0 += 1;
    }

    /// The time of the next wait's end, if there is any.
    pub fn next(&self) -> Option<Instant> {
        self.waits.peek().map(|Reverse((at, ..))| *at)
    }

    /// A client whose wait is over by `now`.
    pub fn expired(&mut self, now: Instant) -> Option<Expired> {
        while let Some(&Reverse((at, client, request))) = self.waits.peek() {
            if at > now {
                return None;
            }
            self.waits.pop();
            let (current, tries) = &mut self.clients[client];
            if *current != request {
                continue;
            }
            if self.reliable || *tries == TRIES {
                return Some(Expired::Silent);
            }
            let wait = match *tries + 1 {
                TRIES => LAST,
                _ => 1 << *tries,
            };
            *tries += 1;
            self.waits.push(Reverse((at + RTO * wait, client, request)));
            return Some(Expired::Repeat(client));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_repeated_as_rfc_8489_section_6_2_1_has_it() {
        let start = Instant::now();
        let mut timers = Timers::new(2, false);
        timers.sent(1, start);
        let mut repeats = Vec::new();
        loop {
            let now = timers.next().unwrap();
            match timers.expired(now) {
                Some(Expired::Repeat(1)) => repeats.push((now - start).as_millis()),
                other => {
                    assert_eq!(other, Some(Expired::Silent));
                    assert_eq!((now - start).as_millis(), 39_500);
                    break;
                }
            }
        }
        assert_eq!(repeats, [500, 1500, 3500, 7500, 15_500, 31_500]);
    }

    #[test]
    fn an_answered_request_is_not_repeated_and_the_next_begins_anew() {
        let start = Instant::now();
        let mut timers = Timers::new(1, false);
        timers.sent(0, start);
        timers.answered(0);
        assert_eq!(timers.expired(start + RTO), None);
        timers.sent(0, start);
        timers.sent(0, start + RTO);
        assert_eq!(timers.expired(start + RTO), None);
        assert_eq!(timers.expired(start + 2 * RTO), Some(Expired::Repeat(0)));
        assert_eq!(timers.expired(start + 2 * RTO), None);
    }

    #[test]
    fn nothing_is_repeated_over_a_stream() {
        let start = Instant::now();
        let mut timers = Timers::new(1, true);
        timers.sent(0, start);
        assert_eq!(timers.expired(start + STREAM / 2), None);
        assert_eq!(timers.expired(start + STREAM), Some(Expired::Silent));
    }
}
