//! The loop that keeps packets going both ways through every allocation.

use std::{
    io,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use super::{
    Pace,
    batch::{BATCH, Batch},
    payload::{Stamp, Wrapping},
    session::Session,
    tally::{COUNTS, Tally},
};

/// Sockets looked at between two readings of the clock.
const EVENTS: usize = 64;
/// Silence after which a window's packets count as lost and are replaced.
const STALL: Duration = Duration::from_millis(200);
/// How far behind a fixed rate may fall before it gives packets up.
const RATE_BACKLOG: Duration = Duration::from_millis(50);

/// One allocation's traffic.
#[derive(Debug)]
struct Flow {
    session: Session,
    wrapping: Wrapping,
    /// Next sequence number.
    next: u64,
    /// Lowest sequence number not yet overtaken at the client.
    expected: u64,
    in_flight: u32,
    /// When something last came back, or the window was last filled.
    heard: Duration,
}

/// All flows and their counters.
#[derive(Debug)]
pub struct Traffic {
    flows: Vec<Flow>,
    epoll: Epoll,
    batch: Batch,
    /// What was counted so far.
    pub tally: Tally,
    payload: usize,
    pace: Pace,
    start: Instant,
    counts: bool,
    /// A fixed rate's packets sent or given up so far, and whose turn is next.
    paced: u64,
    turn: usize,
}

impl Traffic {
    /// Prepares the loop over open sessions; `wrap` says how each wraps its payloads.
    ///
    /// # Errors
    /// When a socket cannot be watched.
    pub fn new(
        sessions: Vec<Session>,
        wrap: impl Fn(u32, &Session) -> io::Result<Wrapping>,
        payload: usize,
        pace: Pace,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut flows = Vec::with_capacity(sessions.len());
        for (index, session) in sessions.into_iter().enumerate() {
            let token = index as u64 * 2;
            epoll.add(&session.client, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
            epoll.add(
                &session.peer,
                EpollEvent::new(EpollFlags::EPOLLIN, token + 1),
            )?;
            let wrapping = wrap(index as u32, &session)?;
            let heard = Duration::ZERO;
            flows.push(Flow {
                session,
                wrapping,
                next: 0,
                expected: 0,
                in_flight: 0,
                heard,
            });
        }
        let (batch, tally, start) = (Batch::default(), Tally::new(), Instant::now());
        let (counts, paced, turn) = (false, 0, 0);
        Ok(Self {
            flows,
            epoll,
            batch,
            tally,
            payload,
            pace,
            start,
            counts,
            paced,
            turn,
        })
    }

    /// Keeps traffic going for `time`; `counts` is false during warm-up.
    ///
    /// # Errors
    /// When a socket fails otherwise than by being full or refused.
    pub fn run(&mut self, time: Duration, counts: bool) -> io::Result<()> {
        self.counts = counts;
        self.tally.start_interval();
        let began = self.start.elapsed();
        let mut check_at = Duration::ZERO;
        self.paced = 0;
        loop {
            let now = self.start.elapsed();
            if now >= began + time {
                return Ok(());
            }
            match self.pace {
                Pace::Rate(rate) => self.send_due(now.saturating_sub(began), rate)?,
                Pace::Window(window) if check_at <= now => {
                    check_at = now + STALL / 4;
                    self.fill_stalled(now, window)?;
                }
                Pace::Window(_) => {}
            }
            self.poll(true)?;
        }
    }

    /// Sends nothing new and takes in what is still on its way, until `time` has passed in silence.
    ///
    /// # Errors
    /// When a socket fails otherwise than by being full or refused.
    pub fn drain(&mut self, time: Duration) -> io::Result<()> {
        let deadline = Instant::now() + 10 * time;
        let mut quiet = Instant::now();
        while quiet.elapsed() < time && Instant::now() < deadline {
            if self.poll(false)? {
                quiet = Instant::now();
            }
        }
        Ok(())
    }

    /// Gives every allocation back.
    pub fn close(&mut self) {
        for flow in &mut self.flows {
            flow.session.close();
        }
    }

    /// Waits up to a millisecond and serves the sockets that have something; false if none had.
    fn poll(&mut self, refill: bool) -> io::Result<bool> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let ready = match self.epoll.wait(&mut events, EpollTimeout::from(1_u8)) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..ready] {
            let index = (event.data() / 2) as usize;
            if event.data() % 2 == 1 {
                self.serve_peer(index)?;
            } else {
                self.serve_client(index, refill)?;
            }
        }
        Ok(ready > 0)
    }

    /// A peer sends back what it gets.
    fn serve_peer(&mut self, index: usize) -> io::Result<()> {
        let peer = &self.flows[index].session.peer;
        self.batch.receive(peer)?;
        let tally = &mut self.tally;
        let mut counted = 0;
        self.batch.retain(|packet| match Stamp::read(packet) {
            Some(stamp) if stamp.flow == index as u32 && packet.len() == self.payload => {
                tally.at_peer(stamp);
                counted += u64::from(stamp.sequence & COUNTS != 0);
                true
            }
            _ => {
                tally.foreign += 1;
                false
            }
        });
        let sent = self.batch.send(peer)? as u64;
        // All of a batch count or none do, but for the one batch at the boundary.
        self.tally.down.sent += sent.min(counted);
        Ok(())
    }

    /// A client takes in what came back and, in a closed window, replaces it.
    fn serve_client(&mut self, index: usize, refill: bool) -> io::Result<()> {
        let flow = &mut self.flows[index];
        let got = self.batch.receive(&flow.session.client)?;
        let now = self.start.elapsed();
        for packet in (0..got).map(|at| self.batch.get(at)) {
            match flow.wrapping.unwrap(packet).and_then(Stamp::read) {
                Some(stamp) if stamp.flow == index as u32 => {
                    let sequence = stamp.sequence & !COUNTS;
                    self.tally.reordered += u64::from(sequence < flow.expected);
                    flow.expected = flow.expected.max(sequence + 1);
                    flow.in_flight = flow.in_flight.saturating_sub(1);
                    self.tally.at_client(stamp, now.as_nanos() as u64);
                }
                _ => self.tally.foreign += 1,
            }
        }
        flow.heard = now;
        match self.pace {
            Pace::Window(window) if refill => self.fill(index, window),
            _ => Ok(()),
        }
    }

    /// Sends until `window` packets of this flow are on their way.
    fn fill(&mut self, index: usize, window: u32) -> io::Result<()> {
        while self.flows[index].in_flight < window {
            let wanted = (window - self.flows[index].in_flight) as usize;
            if self.send(index, wanted.min(BATCH))? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Fills the windows of flows that have been silent: at the start, and after losses.
    fn fill_stalled(&mut self, now: Duration, window: u32) -> io::Result<()> {
        for index in 0..self.flows.len() {
            let flow = &mut self.flows[index];
            if flow.next == 0 || flow.heard + STALL < now {
                (flow.in_flight, flow.heard) = (0, now);
                self.fill(index, window)?;
            }
        }
        Ok(())
    }

    /// Sends what the fixed rate owes since the phase began, one packet of each flow in turn.
    fn send_due(&mut self, elapsed: Duration, rate: u32) -> io::Result<()> {
        let owed = |time: Duration| (time.as_micros() * u128::from(rate) / 1_000_000) as u64;
        let backlog = owed(RATE_BACKLOG).max(1);
        let due = owed(elapsed);
        if due > self.paced + backlog {
            let skipped = due - self.paced - backlog;
            self.tally.skipped += skipped;
            self.paced += skipped;
        }
        while self.paced < due {
            self.turn = (self.turn + 1) % self.flows.len();
            self.send(self.turn, 1)?;
            self.paced += 1;
        }
        Ok(())
    }

    /// Sends `count` new packets of one flow; returns how many the kernel took.
    fn send(&mut self, index: usize, count: usize) -> io::Result<usize> {
        let flow = &mut self.flows[index];
        let sent = self.start.elapsed().as_nanos() as u64;
        let mark = if self.counts { COUNTS } else { 0 };
        let length = flow.wrapping.wire_length(self.payload);
        self.batch.clear();
        for number in flow.next..flow.next + count as u64 {
            let stamp = Stamp {
                flow: index as u32,
                sequence: number | mark,
                sent,
            };
            self.batch.push(length, |packet| {
                flow.wrapping.write(packet, self.payload, stamp);
            });
        }
        let took = self.batch.send(&flow.session.client)?;
        flow.next += took as u64;
        flow.in_flight += took as u32;
        if self.counts {
            self.tally.up.sent += took as u64;
        }
        Ok(took)
    }
}
