//! DNS over UDP: worker threads that read in batches and answer in place.
//!
//! No task, no allocation that outlives a datagram, no queue: what the workers cannot keep up with
//! stays in the kernel's socket buffer and is dropped there. The compiled answers are loaded once
//! per batch. Each worker has two sockets of its own per listen address: one for those who show a
//! cookie, which it reads first, and one for all others (see [`Group`]).

mod group;
mod pace;
mod pulse;
mod socket;
mod ticks;

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use credentials::UnixTime;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::fast::Query;
use super::fast::parse::Room;
use super::rate::Ruling;
use super::wire::{self, Judged};
use super::{Published, Served};
use crate::limits::{BATCHES_PER_TURN, RECEIVE_BATCH, RECEIVE_FEW, RECEIVE_PAUSE, TALLY_MOST};
use crate::metrics::{Cookie, Drop, Tally, Transport};
use pace::Pace;
use pulse::Turns;
use socket::{Inbox, Outbox, Way};
use ticks::Ticks;

pub use group::{Group, SOCKETS};
pub use pulse::Pulse;
pub use socket::Listener;

/// The running worker threads.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<(JoinHandle<()>, Arc<EventFd>)>,
    stop: Arc<AtomicBool>,
    pulse: Pulse,
}

impl Workers {
    /// Starts one thread per entry of `workers`, each serving its listeners.
    pub fn start(workers: Vec<Vec<Listener>>, served: &Arc<Served>) -> io::Result<Self> {
        let mut threads = Vec::with_capacity(workers.len());
        let stop = Arc::new(AtomicBool::new(false));
        let mut pulse = Pulse::default();
        for (index, listeners) in workers.into_iter().enumerate() {
            // Makes the thread turn and look whether it should end.
            let waker = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
            let waker = Arc::new(EventFd::from_flags(waker)?);
            let turns = Turns::default();
            pulse.add(Arc::clone(&waker), turns.clone());
            let ticks = Ticks::new()?;
            let (served, stop) = (Arc::clone(served), Arc::clone(&stop));
            let woken = Arc::clone(&waker);
            let thread = std::thread::Builder::new()
                .name(format!("dns-udp-{index}"))
                .spawn(move || {
                    Worker::new(listeners, served, turns, ticks).run(&woken, &Asked(stop));
                })?;
            threads.push((thread, waker));
        }
        Ok(Self {
            threads,
            stop,
            pulse,
        })
    }

    /// What tells whether all of them turn; the first who asks has it.
    pub fn pulse(&mut self) -> Pulse {
        std::mem::take(&mut self.pulse)
    }

    /// Ends the threads and waits for them.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        for (_, waker) in &self.threads {
            let _ = waker.write(1);
        }
        for (thread, _) in self.threads {
            let _ = thread.join();
        }
    }
}

/// Whether the threads should end. One that ends unasked, by an error or a panic, takes the
/// process with it: the kernel would go on handing its share of the queries to its sockets, where
/// nobody reads them.
struct Asked(Arc<AtomicBool>);

impl Asked {
    fn asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl std::ops::Drop for Asked {
    fn drop(&mut self) {
        if !self.asked() {
            tracing::error!("a DNS thread ended, and dnsd with it");
            std::process::exit(1);
        }
    }
}

struct Worker {
    /// The preferred ones, then the others.
    listeners: Arc<[Listener]>,
    /// How many are preferred.
    preferred: usize,
    /// Which of them may have more.
    ready: Vec<bool>,
    /// How many datagrams each is asked for: twice what it had the last time. To make room for many
    /// where there are few costs more than to take these.
    most: Vec<usize>,
    served: Arc<Served>,
    inbox: Inbox,
    outbox: Outbox,
    pace: Pace,
    ticks: Ticks,
    tally: Tally,
    /// Datagrams since the tally was folded in.
    tallied: usize,
    turns: Turns,
}

impl Worker {
    fn new(mut listeners: Vec<Listener>, served: Arc<Served>, turns: Turns, ticks: Ticks) -> Self {
        listeners.sort_by_key(|listener| !listener.preferred);
        Self {
            preferred: listeners.partition_point(|listener| listener.preferred),
            ready: vec![false; listeners.len()],
            most: vec![RECEIVE_FEW; listeners.len()],
            inbox: Inbox::new(&listeners),
            listeners: listeners.into(),
            served,
            outbox: Outbox::new(),
            pace: Pace::default(),
            ticks,
            tally: Tally::default(),
            tallied: 0,
            turns,
        }
    }

    fn run(&mut self, woken: &EventFd, stop: &Asked) {
        let listeners = Arc::clone(&self.listeners);
        // Not epoll(7), which would be called whenever a reply has left a socket, only to find that
        // nobody asked for that: as dear as all that is done here with a query.
        let awaited = listeners.iter().map(AsFd::as_fd).chain([woken.as_fd()]);
        let awaited = awaited.map(|one| PollFd::new(one, PollFlags::POLLIN));
        let mut awaited: Vec<PollFd<'_>> = awaited.collect();
        loop {
            match poll(&mut awaited, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(error) => {
                    tracing::error!(%error, "waiting for DNS queries failed");
                    return;
                }
            }
            let has = |one: &PollFd<'_>| one.any() != Some(false);
            if awaited.last().is_some_and(has) {
                let _ = woken.read();
                self.turns.count();
            }
            for (ready, one) in self.ready.iter_mut().zip(&awaited) {
                *ready = has(one);
            }
            loop {
                if stop.asked() {
                    return;
                }
                let gather = self.drain(stop);
                let Some(rest) = self.pace.rest(gather) else {
                    self.fold();
                    break;
                };
                if let Err(error) = self.ticks.rest(rest, crate::clock::now()) {
                    tracing::debug!(%error, "queries do not gather");
                }
                self.ready.fill(true);
            }
        }
    }

    /// Reads every listener that may have something until it is empty, in turns. Tells for how long
    /// queries may gather.
    fn drain(&mut self, stop: &Asked) -> Duration {
        while self.ready.contains(&true) && !stop.asked() {
            self.turns.count();
            if self.ready[..self.preferred].contains(&true) {
                self.read_preferred();
            }
            for index in self.preferred..self.listeners.len() {
                for batch in 0..BATCHES_PER_TURN {
                    if !self.ready[index] {
                        break;
                    }
                    if batch > 0 {
                        self.read_preferred();
                    }
                    self.ready[index] = self.read(index);
                }
            }
            if self.tallied >= TALLY_MOST {
                self.fold();
            }
        }
        self.served.published.load().rules.gather
    }

    fn fold(&mut self) {
        self.tallied = 0;
        self.served.metrics.fold(Transport::Udp, &mut self.tally);
    }

    /// Reads the preferred listeners until they are empty, but not for ever: whoever floods these
    /// must leave something to the others.
    fn read_preferred(&mut self) {
        for index in 0..self.preferred {
            for _ in 0..BATCHES_PER_TURN {
                self.ready[index] = self.read(index);
                if !self.ready[index] {
                    break;
                }
            }
        }
    }

    /// Reads and answers a batch. Returns whether there may be more.
    fn read(&mut self, index: usize) -> bool {
        let most = self.most[index];
        let listener = &self.listeners[index];
        if self.inbox.receive(index, listener, most).is_err() {
            self.tally.drop(Drop::Receive);
            self.tallied += 1;
            // Should the error stay, this thread must not take the core.
            std::thread::sleep(RECEIVE_PAUSE);
            return true;
        }
        let count = self.inbox.len();
        self.pace.note(count);
        self.tallied += count;
        self.most[index] = (2 * count).clamp(RECEIVE_FEW, RECEIVE_BATCH);
        if count > 0 {
            self.batch(index);
        }
        // Where there are fewer, what comes now wakes this thread.
        count == most
    }

    fn batch(&mut self, index: usize) {
        let published = self.served.published.load();
        let turn = Turn {
            crowded: index < self.preferred && self.inbox.len() == RECEIVE_BATCH,
            served: &self.served,
            published: &published,
            now: crate::clock::unix(),
            moment: crate::clock::now(),
        };
        let mut room = Room::default();
        for (datagram, way) in self.inbox.iter() {
            let (outbox, tally) = (&mut self.outbox, &mut self.tally);
            turn.answer(datagram, way, &mut room, outbox, tally);
        }
        let lost = self.outbox.send(&self.listeners[index]);
        for _ in 0..lost {
            self.tally.drop(Drop::Send);
        }
    }
}

/// What all queries of a batch are answered with.
struct Turn<'a> {
    /// More wait that show a cookie than are read at once.
    crowded: bool,
    served: &'a Served,
    published: &'a Published,
    now: UnixTime,
    moment: Instant,
}

impl Turn<'_> {
    fn answer(
        &self,
        datagram: &[u8],
        way: &Way,
        room: &mut Room,
        outbox: &mut Outbox,
        tally: &mut Tally,
    ) {
        let client = way.client();
        let (rules, now) = (&*self.published.rules, self.now);
        let address = client.ip().to_canonical();
        if self.crowded && rules.cookies.refute(datagram, address, now) {
            tally.drop(Drop::Cookie);
            return;
        }
        let query = Query::read(datagram, client, rules, now, room);
        if let Some(query) = &query {
            let out = outbox.next();
            let answered = match self.ruling(&address, query.cookie()) {
                Ruling::Send => query.answer(self.published, now, out),
                Ruling::Truncate => {
                    tally.drop(Drop::Truncated);
                    Some(query.withhold(rules, now, out))
                }
                Ruling::Withhold => {
                    tally.drop(Drop::Ration);
                    return;
                }
            };
            if let Some(answered) = answered {
                self.served
                    .count(&answered, &self.published.shares, now, tally);
                outbox.take(way);
                return;
            }
        }
        let mut reply = match wire::judge(datagram, client, Transport::Udp, self.published, now) {
            Judged::Reply(reply) => reply,
            Judged::Dropped(reason) => {
                tally.drop(reason);
                return;
            }
        };
        // The fast path has asked already.
        let ruling = match query {
            Some(_) => Ruling::Send,
            None => self.ruling(&address, reply.cookie()),
        };
        match ruling {
            Ruling::Send => {}
            Ruling::Truncate => {
                tally.drop(Drop::Truncated);
                reply.withhold();
            }
            Ruling::Withhold => {
                tally.drop(Drop::Ration);
                return;
            }
        }
        let shares = &self.published.shares;
        self.served.count(&reply.answered(), shares, now, tally);
        if reply.encode(outbox.next()) {
            outbox.take(way);
        } else {
            tally.drop(Drop::Encode);
        }
    }

    /// Whether a client has its answer now.
    fn ruling(&self, client: &IpAddr, cookie: Cookie) -> Ruling {
        let rules = &*self.published.rules;
        if cookie == Cookie::Good || !rules.limits(client) {
            return Ruling::Send;
        }
        self.served
            .limiter
            .judge(rules.ration, *client, self.moment)
    }
}
