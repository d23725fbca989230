//! DNS over UDP: worker threads that read in batches and answer in place.
//!
//! No task, no allocation that outlives a datagram, no queue: what the workers cannot keep up with
//! stays in the kernel's socket buffer and is dropped there. The compiled answers are loaded once
//! per batch. Each worker has a socket of its own per listen address (`SO_REUSEPORT`).

mod pace;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use credentials::UnixTime;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::sys::prctl::set_timerslack;

use super::fast::Query;
use super::rate::Ruling;
use super::wire::{self, Judged};
use super::{Published, Served};
use crate::limits::{BATCHES_PER_TURN, RECEIVE_BATCH, RECEIVE_PAUSE};
use crate::metrics::{Cookie, Drop, Tally, Transport};
use pace::Pace;
use socket::{Inbox, Outbox, Way};

pub use socket::Listener;

/// Token of the waker that makes a worker look whether it should end; listeners count up from 0.
const STOP: Token = Token(usize::MAX);

/// The running worker threads.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<(JoinHandle<()>, Waker)>,
    stop: Arc<AtomicBool>,
}

impl Workers {
    /// Starts one thread per entry of `workers`, each serving its listeners.
    pub fn start(workers: Vec<Vec<Listener>>, served: &Arc<Served>) -> io::Result<Self> {
        let mut threads = Vec::with_capacity(workers.len());
        let stop = Arc::new(AtomicBool::new(false));
        for (index, listeners) in workers.into_iter().enumerate() {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), STOP)?;
            for (token, listener) in listeners.iter().enumerate() {
                let fd = listener.as_raw_fd();
                let interest = Interest::READABLE;
                poll.registry()
                    .register(&mut SourceFd(&fd), Token(token), interest)?;
            }
            let (served, stop) = (Arc::clone(served), Arc::clone(&stop));
            let thread = std::thread::Builder::new()
                .name(format!("dns-udp-{index}"))
                .spawn(move || Worker::new(listeners, served).run(poll, &Asked(stop)))?;
            threads.push((thread, waker));
        }
        Ok(Self { threads, stop })
    }

    /// Ends the threads and waits for them.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        for (_, waker) in &self.threads {
            let _ = waker.wake();
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
    listeners: Vec<Listener>,
    /// Which of them may have more.
    ready: Vec<bool>,
    served: Arc<Served>,
    inbox: Inbox,
    outbox: Outbox,
    pace: Pace,
    tally: Tally,
}

impl Worker {
    fn new(listeners: Vec<Listener>, served: Arc<Served>) -> Self {
        Self {
            ready: vec![true; listeners.len()],
            inbox: Inbox::new(listeners.len()),
            listeners,
            served,
            outbox: Outbox::new(),
            pace: Pace::default(),
            tally: Tally::default(),
        }
    }

    fn run(&mut self, mut poll: Poll, stop: &Asked) {
        // So long may the kernel oversleep; 50 us is what it does else.
        let _ = set_timerslack(1);
        let mut events = Events::with_capacity(64);
        loop {
            match poll.poll(&mut events, None) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "waiting for DNS queries failed");
                    return;
                }
            }
            // Readiness is edge-triggered: every listener is read until it is empty.
            loop {
                if stop.asked() {
                    return;
                }
                let gather = self.drain(stop);
                let Some(rest) = self.pace.rest(gather) else {
                    break;
                };
                std::thread::sleep(rest);
            }
        }
    }

    /// Reads every listener until it is empty, in turns. Tells for how long queries may gather.
    fn drain(&mut self, stop: &Asked) -> Duration {
        self.ready.fill(true);
        while self.ready.contains(&true) && !stop.asked() {
            for index in 0..self.listeners.len() {
                if self.ready[index] {
                    self.ready[index] = self.turn(index);
                }
            }
            self.served.metrics.fold(Transport::Udp, &mut self.tally);
        }
        self.served.published.load().rules.gather
    }

    /// Reads and answers a bounded number of batches. Returns whether there may be more.
    fn turn(&mut self, index: usize) -> bool {
        for _ in 0..BATCHES_PER_TURN {
            if self.inbox.receive(index, &self.listeners[index]).is_err() {
                self.tally.drop(Drop::Receive);
                // Should the error stay, this thread must not take the core.
                std::thread::sleep(RECEIVE_PAUSE);
                continue;
            }
            let count = self.inbox.len();
            self.pace.note(count);
            if count > 0 {
                self.batch(index);
            }
            if count < RECEIVE_BATCH {
                // What comes now wakes this thread.
                return false;
            }
        }
        true
    }

    fn batch(&mut self, index: usize) {
        let published = self.served.published.load();
        let turn = Turn {
            served: &self.served,
            published: &published,
            now: crate::clock::unix(),
            moment: crate::clock::now(),
        };
        for (datagram, way) in self.inbox.iter() {
            turn.answer(datagram, &way, &mut self.outbox, &mut self.tally);
        }
        let lost = self.outbox.send(&self.listeners[index]);
        for _ in 0..lost {
            self.tally.drop(Drop::Send);
        }
    }
}

/// What all queries of a batch are answered with.
struct Turn<'a> {
    served: &'a Served,
    published: &'a Published,
    now: UnixTime,
    moment: Instant,
}

impl Turn<'_> {
    fn answer(&self, datagram: &[u8], way: &Way, outbox: &mut Outbox, tally: &mut Tally) {
        let Some(client) = way.client() else {
            return;
        };
        let (rules, now) = (&*self.published.rules, self.now);
        let query = Query::read(datagram, client, rules, now);
        if let Some(query) = &query {
            let out = outbox.next();
            let answered = match self.ruling(client, query.cookie()) {
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
            None => self.ruling(client, reply.cookie()),
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
    fn ruling(&self, client: SocketAddr, cookie: Cookie) -> Ruling {
        let rules = &*self.published.rules;
        let client = client.ip().to_canonical();
        if cookie == Cookie::Good || !rules.limits(client) {
            return Ruling::Send;
        }
        self.served.limiter.judge(rules.ration, client, self.moment)
    }
}
