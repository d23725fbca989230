//! The loop that keeps packets going both ways through every allocation.

use std::{
    io,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};

use super::{
    datagrams::{Inbox, Outbox},
    echo::Echo,
    flow::{Flow, Order},
    plan::{Pace, Plan},
    schedule::Schedule,
    session::Session,
    tally::Tally,
};

/// Sockets looked at between two readings of the clock.
const EVENTS: usize = 64;
/// Silence after which a window's packets count as lost and are replaced.
const STALL: Duration = Duration::from_millis(200);
/// How far behind its schedule the generator may fall before it gives packets up.
const BACKLOG: Duration = Duration::from_millis(50);
/// Turns taken before sockets are looked at again.
const TURNS: usize = 32;
/// What is due sooner is waited for awake: to go to sleep and come back takes as long.
const AWAKE: Duration = Duration::from_micros(15);
/// Tokens of the epoll: clients are numbers below, peers from here, then the timer.
const PEERS: u64 = 1 << 32;
const TIMER: u64 = 1 << 33;

/// All flows, their peers and their counters.
#[derive(Debug)]
pub struct Traffic {
    flows: Vec<Flow>,
    echo: Echo,
    epoll: Epoll,
    timer: TimerFd,
    /// What the timer was last set to.
    wakes: Duration,
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
}

impl Traffic {
    /// Prepares the loop.
    ///
    /// # Errors
    /// When a socket cannot be watched.
    pub fn new(flows: Vec<Flow>, echo: Echo, plan: &Plan) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let readable = |token| EpollEvent::new(EpollFlags::EPOLLIN, token);
        for (number, flow) in (0..).zip(&flows) {
            let events = flow.session.link.events();
            epoll.add(&flow.session.link, EpollEvent::new(events, number))?;
        }
        for (number, socket) in (PEERS..).zip(echo.sockets()) {
            epoll.add(socket, readable(number))?;
        }
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        // Each expiry is one edge, so that nobody has to read it.
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&timer, EpollEvent::new(edge, TIMER))?;
        let wire = flows
            .first()
            .map(|flow| flow.wrapping.wire_length(plan.payload));
        Ok(Self {
            flows,
            echo,
            epoll,
            timer,
            wakes: Duration::ZERO,
            inbox: Inbox::default(),
            outbox: Outbox::new(wire.unwrap_or(plan.payload), plan.coalesce),
            tally: Tally::new(),
            payload: plan.payload,
            pace: plan.pace,
            train: plan.train().is_some(),
            schedule: plan.schedule(),
            start: Instant::now(),
            counts: false,
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
        let mut turn = 0;
        loop {
            let now = self.start.elapsed();
            if now >= began + time {
                return Ok(());
            }
            let next = match (self.schedule, self.pace) {
                (Some(schedule), _) => {
                    turn = self.send_due(schedule, turn, began, now)?;
                    began + schedule.due(turn)
                }
                (None, Pace::Window(window)) if check_at <= now => {
                    check_at = now + STALL / 4;
                    self.fill_stalled(now, window)?;
                    check_at
                }
                (None, _) => check_at,
            };
            self.poll(Some(next.min(began + time)), true)?;
        }
    }

    /// Sends nothing new and takes in what is still on its way, until `time` has passed in silence.
    ///
    /// # Errors
    /// When a socket fails otherwise than by being full or refused.
    pub fn drain(&mut self, time: Duration) -> io::Result<()> {
        let deadline = Instant::now() + 10 * time;
        let mut quiet = Instant::now();
        while Instant::now() < deadline {
            if self.poll(None, false)? {
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

    /// Waits, until `next` if that is told and else a millisecond, and serves the sockets that have
    /// something; false if none had.
    fn poll(&mut self, next: Option<Duration>, refill: bool) -> io::Result<bool> {
        let timeout = match next.map(|next| (next, next.saturating_sub(self.start.elapsed()))) {
            Some((_, left)) if left < AWAKE => EpollTimeout::ZERO,
            Some((next, left)) => {
                self.wake_at(next, left)?;
                EpollTimeout::NONE
            }
            None => EpollTimeout::from(1_u8),
        };
        let mut events = [EpollEvent::empty(); EVENTS];
        let ready = match self.epoll.wait(&mut events, timeout) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..ready] {
            match event.data() {
                TIMER => {}
                token if token >= PEERS => {
                    let number = (token - PEERS) as usize;
                    self.echo.serve(number, &mut self.inbox, &mut self.tally)?;
                }
                token => self.serve_client(token as usize, refill)?,
            }
        }
        Ok(ready > 0)
    }

    /// Sets the timer: epoll alone tells milliseconds apart, a schedule does more.
    fn wake_at(&mut self, next: Duration, left: Duration) -> io::Result<()> {
        if self.wakes != next {
            self.wakes = next;
            let once = Expiration::OneShot(left.into());
            self.timer.set(once, TimerSetTimeFlags::empty())?;
        }
        Ok(())
    }

    /// A client takes in what came back and, in a closed window, replaces it.
    fn serve_client(&mut self, index: usize, refill: bool) -> io::Result<()> {
        let flow = &mut self.flows[index];
        let now = flow.receive(&mut self.inbox, &mut self.tally, || self.start.elapsed())?;
        match self.pace {
            Pace::Window(window) if refill => self.fill(index, window, now),
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

    /// Fills the windows of flows that have been silent: at the start, and after losses.
    fn fill_stalled(&mut self, now: Duration, window: u32) -> io::Result<()> {
        for index in 0..self.flows.len() {
            let flow = &mut self.flows[index];
            if flow.is_silent(now, STALL) {
                flow.forget(now);
                self.fill(index, window, self.start.elapsed())?;
            }
        }
        Ok(())
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
        if self.counts {
            self.tally.up.sent += u64::from(took);
        }
        Ok(took)
    }
}
