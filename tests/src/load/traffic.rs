//! The loop that keeps packets going both ways through every allocation.

use std::{
    io,
    time::{Duration, Instant},
};

use nix::sys::epoll::EpollFlags;

use super::{
    datagrams::{Inbox, Outbox},
    echo::Echo,
    flow::{Flow, Order},
    plan::{Pace, Plan},
    schedule::Schedule,
    session::Session,
    tally::Tally,
    waiter::Waiter,
};

/// Silence after which a window's packets count as lost and are replaced.
const STALL: Duration = Duration::from_millis(200);
/// How far behind its schedule the generator may fall before it gives packets up: what it sent at once
/// to catch up would be a flood of its own, and no server's loss.
const BACKLOG: Duration = Duration::from_millis(10);
/// Turns taken before sockets are looked at again.
const TURNS: usize = 32;
/// Sockets' tokens: clients are numbers below, peers from here.
const PEERS: u64 = 1 << 32;

/// All flows, their peers and their counters.
#[derive(Debug)]
pub struct Traffic {
    flows: Vec<Flow>,
    echo: Echo,
    waiter: Waiter,
    inbox: Inbox,
    outbox: Outbox,
    /// What was counted so far.
    pub tally: Tally,
    payload: usize,
    pace: Pace,
    train: bool,
    schedule: Option<Schedule>,
    start: Instant,
    counts: bool,
    /// Whose turn it is where allocations take turns, and how many packets are on their way then.
    turn: usize,
    aloft: u32,
}

impl Traffic {
    /// Prepares the loop.
    ///
    /// # Errors
    /// When a socket cannot be watched.
    pub fn new(flows: Vec<Flow>, echo: Echo, plan: &Plan) -> io::Result<Self> {
        let waiter = Waiter::new(plan.spin)?;
        for (number, flow) in (0..).zip(&flows) {
            let link = &flow.session.link;
            waiter.watch(link, link.events(), number)?;
        }
        for (number, socket) in (PEERS..).zip(echo.sockets()) {
            waiter.watch(socket, EpollFlags::EPOLLIN, number)?;
        }
        let wire = flows
            .first()
            .map(|flow| flow.wrapping.wire_length(plan.payload));
        Ok(Self {
            flows,
            echo,
            waiter,
            inbox: Inbox::default(),
            outbox: Outbox::new(wire.unwrap_or(plan.payload), plan.coalesce),
            tally: Tally::new(),
            payload: plan.payload,
            pace: plan.pace,
            train: plan.train().is_some(),
            schedule: plan.schedule(),
            start: Instant::now(),
            counts: false,
            turn: 0,
            aloft: 0,
        })
    }

    /// How long it was awake so far without anything to do.
    pub fn idled(&self) -> Duration {
        self.waiter.idled
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
        let mut turn = 0;
        loop {
            let now = self.start.elapsed();
            if now >= began + time {
                return Ok(());
            }
            let next = if let Some(schedule) = self.schedule {
                turn = self.send_due(schedule, turn, began, now)?;
                began + schedule.due(turn)
            } else {
                if check_at <= now {
                    check_at = now + STALL / 4;
                    self.refill(now)?;
                }
                check_at
            };
            self.poll(next.min(began + time), true)?;
        }
    }

    /// Sends nothing new and takes in what is still on its way, until all came back or `time` has passed
    /// in silence.
    ///
    /// # Errors
    /// When a socket fails otherwise than by being full or refused.
    pub fn drain(&mut self, time: Duration) -> io::Result<()> {
        let deadline = Instant::now() + 10 * time;
        let mut quiet = Instant::now();
        while Instant::now() < deadline && self.flows.iter().any(|flow| flow.in_flight() > 0) {
            let soon = self.start.elapsed() + Duration::from_millis(1);
            if self.poll(soon, false)? {
                quiet = Instant::now();
            } else if quiet.elapsed() >= time {
                if !self.echo.release(&mut self.tally)? {
                    break;
                }
                quiet = Instant::now();
            }
        }
        Ok(())
    }

    /// The clients, and what was counted.
    ///
    /// # Errors
    /// When a socket cannot be brought back to sending what it is given as one datagram.
    pub fn end(self) -> io::Result<(Vec<Session>, Tally)> {
        let sessions: Vec<_> = self.flows.into_iter().map(|flow| flow.session).collect();
        for session in &sessions {
            session.link.coalesce(None)?;
        }
        Ok((sessions, self.tally))
    }

    /// Waits until `next`, and serves the sockets that have something; false if none had.
    fn poll(&mut self, next: Duration, refill: bool) -> io::Result<bool> {
        let mut any = false;
        for place in 0..self.waiter.wait(self.start + next)? {
            // The timer is no socket: its time alone breaks no silence.
            let Some(token) = self.waiter.token(place) else {
                continue;
            };
            any = true;
            if token >= PEERS {
                let number = (token - PEERS) as usize;
                self.echo.serve(number, &mut self.inbox, &mut self.tally)?;
            } else {
                self.serve_client(token as usize, refill)?;
            }
        }
        Ok(any)
    }

    /// A client takes in what came back; in a closed window it is replaced.
    fn serve_client(&mut self, index: usize, refill: bool) -> io::Result<()> {
        let flow = &mut self.flows[index];
        let aloft = flow.in_flight();
        let now = flow.receive(&mut self.inbox, &mut self.tally, || self.start.elapsed())?;
        self.aloft -= aloft.saturating_sub(flow.in_flight());
        match self.pace {
            Pace::Window(window) if refill => self.fill(index, window, now),
            Pace::InFlight(packets) if refill => self.take_turns(packets, now),
            _ => Ok(()),
        }
    }

    /// Sends until `window` packets of this flow are on their way.
    fn fill(&mut self, index: usize, window: u32, now: Duration) -> io::Result<()> {
        match self.flows[index].room(window, self.train) {
            0 => Ok(()),
            packets => self.send(index, packets, now).map(|_| ()),
        }
    }

    /// Sends, one allocation after the other, until so many packets of all are on their way.
    fn take_turns(&mut self, packets: u32, now: Duration) -> io::Result<()> {
        for _ in self.aloft..packets {
            self.turn = (self.turn + 1) % self.flows.len();
            self.send(self.turn, 1, now)?;
        }
        Ok(())
    }

    /// Gives up what has been on its way for too long, and fills what has room: at the start, and after
    /// losses.
    fn refill(&mut self, now: Duration) -> io::Result<()> {
        for index in 0..self.flows.len() {
            self.aloft -= self.flows[index].give_up(now, STALL);
            if let Pace::Window(window) = self.pace {
                self.fill(index, window, self.start.elapsed())?;
            }
        }
        match self.pace {
            Pace::InFlight(packets) => self.take_turns(packets, self.start.elapsed()),
            _ => Ok(()),
        }
    }

    /// Takes the turns from `turn` on that are due `now`, not too many at once; returns the next one.
    fn send_due(
        &mut self,
        schedule: Schedule,
        turn: u64,
        began: Duration,
        now: Duration,
    ) -> io::Result<u64> {
        let elapsed = now.saturating_sub(began);
        let too_late = schedule.owed(elapsed.saturating_sub(BACKLOG));
        let first = turn.max(too_late);
        self.skip((first - turn) * u64::from(schedule.packets));
        let end = schedule.owed(elapsed).min(first + TURNS as u64);
        for turn in first..end {
            let due = began + schedule.due(turn);
            let took = self.send(schedule.flow(turn), schedule.packets, due)?;
            self.skip(u64::from(schedule.packets - took));
        }
        Ok(end)
    }

    fn skip(&mut self, packets: u64) {
        self.tally.skipped += packets;
    }

    /// Sends `packets` new packets of one flow; returns how many the kernel took.
    fn send(&mut self, index: usize, packets: u32, due: Duration) -> io::Result<u32> {
        let order = Order {
            packets,
            due,
            counts: self.counts,
            payload: self.payload,
        };
        let took = self.flows[index].send(&mut self.outbox, order)?;
        self.aloft += packets;
        if self.counts {
            self.tally.up.sent += u64::from(took);
        }
        Ok(took)
    }
}
