//! The loop of a worker.
//!
//! One turn, in this order: wait for events (not when sockets are still ready), read orders, serve
//! each ready socket up to its budget, let the core act on the time, send what was gathered, show
//! progress, and perhaps look away for a moment.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Token};
use nix::sys::prctl::set_timerslack;
use turnd_core::{Drain, Now, Relay};

use super::Worker;
use super::busy::Busy;
use super::engine::{Engine, Entry};
use super::gather::Gather;
use super::mail::Letterbox;
use super::ready::Ready;
use super::shared::{Order, Shared, Stats};
use super::streams::{Left, Scratch};
use crate::clock;
use crate::net::batch::Batch;
use crate::net::tokens::Source;

/// The longest wait: the progress counter moves at least this often.
const IDLE: Duration = Duration::from_millis(250);

/// How often the counters are published.
const PUBLISH: Duration = Duration::from_secs(1);

/// Full receives a socket gets in a turn before the next one is served.
const RECEIVES_PER_TURN: usize = 4;

/// Datagrams, or trains, taken from a relayed socket at once: few peers send to one.
const PEER_SLOTS: usize = 8;

/// By how much the kernel may be late with a timer, in nanoseconds.
const TIMER_SLACK: u64 = 1000;

/// A wait from this length on put the thread to sleep.
const WAITED: Duration = Duration::from_micros(5);

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// Why the loop goes on or ends.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Turn,
    End,
}

/// How a receive went.
#[derive(Debug, PartialEq, Eq)]
enum Received {
    /// There may be more.
    Full,
    /// There is nothing more.
    Drained,
}

/// A worker's loop and all it owns.
pub(super) struct Loop {
    engine: Engine,
    inbox: Receiver<Order>,
    shared: Arc<Shared>,
    ready: Ready,
    batch: Batch,
    scratch: Scratch,
    measured: Instant,
    /// Processor time used when it was measured.
    cpu: Duration,
    busy: Busy,
    gather: Gather,
    /// What came in this turn: datagrams, trains that came in one piece, reads of connections.
    arrivals: usize,
    draining: bool,
}

impl Loop {
    pub(super) fn new(
        worker: Worker,
        relay: Relay,
        place: (usize, Arc<[Letterbox]>),
        inbox: Receiver<Order>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            engine: Engine::new(worker, relay, place),
            inbox,
            shared,
            ready: Ready::default(),
            batch: Batch::default(),
            scratch: Scratch::default(),
            measured: clock::instant(),
            cpu: Duration::ZERO,
            busy: Busy::default(),
            gather: Gather::new(Duration::ZERO, clock::instant()),
            arrivals: 0,
            draining: false,
        }
    }

    pub(super) fn run(mut self) {
        // Or moments would be as long again as the kernel's tolerance for timers.
        if let Err(error) = set_timerslack(TIMER_SLACK) {
            tracing::debug!(%error, "timers stay imprecise");
        }
        let mut events = Events::with_capacity(EVENTS);
        while self.turn(&mut events) == Next::Turn {}
    }

    fn turn(&mut self, events: &mut Events) -> Next {
        let patience = self.patience();
        let woken = !patience.is_zero();
        let asked = clock::instant();
        if let Err(error) = self.engine.poll.poll(events, Some(patience))
            && error.kind() != io::ErrorKind::Interrupted
        {
            // Never seen with a valid descriptor; the progress counter stops and says so outside.
            tracing::error!(%error, "waiting for events failed");
            return Next::End;
        }
        let now = clock::now();
        let began = now.instant;
        let woken = woken && began.duration_since(asked) >= WAITED;
        for event in events.iter() {
            if event.is_error() {
                self.engine.take_errors(now, event.token());
            }
            if event.is_read_closed() {
                self.engine.note_end(event.token());
            }
            if event.token() != Source::Waker.token() {
                self.ready.push(event.token());
            }
        }
        if self.read_orders() == Next::End {
            return Next::End;
        }
        self.arrivals = 0;
        self.engine.read_mail(now);
        // Those ready now; a socket that becomes ready again waits for the next turn.
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop() else { break };
            self.serve(now, token);
        }
        let now = clock::now();
        self.engine.pass_time(now);
        self.engine.judge_streams(now.instant);
        self.engine.judge_dtls(now);
        self.engine.flush();
        self.engine.end_streams(now);
        self.engine.flush();
        self.accept_again(now.instant);
        for token in self.engine.rested_links(now) {
            self.ready.push(token);
        }
        self.shared.turned();
        if now.instant.duration_since(self.measured) >= PUBLISH {
            self.publish_measured(now.instant);
        }
        if self.ready.is_empty() {
            let times = (began, clock::instant());
            let moment = self.gather.moment(times, self.arrivals, woken);
            moment.into_iter().for_each(thread::sleep);
        }
        Next::Turn
    }

    /// Measures how busy the thread was, over a whole interval, and publishes.
    fn publish_measured(&mut self, now: Instant) {
        let wall = now.duration_since(self.measured).as_micros().max(1);
        let cpu = clock::thread_cpu();
        let busy = cpu.saturating_sub(self.cpu).as_micros() * 1000 / wall;
        self.busy.add(u16::try_from(busy.min(1000)).unwrap_or(1000));
        (self.measured, self.cpu) = (now, cpu);
        self.engine.sweep_mail();
        self.publish();
    }

    fn publish(&self) {
        self.shared.publish(Stats {
            cpu_permille: self.busy.permille(),
            draining: self.draining,
            ..self.engine.stats()
        });
    }

    /// How long the loop may wait for events.
    fn patience(&self) -> Duration {
        if !self.ready.is_empty() {
            return Duration::ZERO;
        }
        let streams = self.engine.streams_timeout();
        let due = self
            .engine
            .relay
            .poll_timeout()
            .into_iter()
            .chain(streams)
            .chain(self.engine.dtls_timeout())
            .min();
        let until = due.map_or(IDLE, |due| due.saturating_duration_since(clock::instant()));
        until.min(IDLE)
    }

    fn read_orders(&mut self) -> Next {
        let mut told = false;
        while let Ok(order) = self.inbox.try_recv() {
            told = true;
            match order {
                Order::Configure(config) => self.engine.relay.reconfigure(config),
                Order::Gather(most) => self.gather.allow(most),
                Order::Drain(drain) => {
                    self.draining = drain != Drain::Serving;
                    self.engine.relay.drain_mode(drain);
                }
                Order::Listen(listener) => self.engine.listen(listener),
                Order::Leave(at) => self.engine.leave(clock::now(), at),
                Order::Stop => return Next::End,
            }
            self.engine.act(clock::now());
        }
        if told {
            // Whoever waits for a drain to be empty must not see sessions of before it.
            self.publish();
        }
        Next::Turn
    }

    /// Serves one socket: receives up to its budget, and asks for another turn when that was not
    /// enough.
    fn serve(&mut self, now: Now, token: Token) {
        let left = match Source::of(token) {
            Source::Tcp(place) => self.engine.accept(now.instant, place),
            Source::Stream(place) => {
                self.arrivals += 1;
                self.engine.serve_stream(now, place, &mut self.scratch)
            }
            Source::RelayedTcp(place) => self.engine.accept_peers(now, place),
            Source::Peer(place) | Source::Joined(place) => {
                self.arrivals += 1;
                self.engine.serve_link(now, place, &mut self.scratch)
            }
            Source::Waker | Source::Udp(_) | Source::Relayed(_) => self.serve_udp(now, token),
        };
        if left == Left::Perhaps {
            self.ready.push(token);
        }
    }

    /// Looks at the listeners again some time after an accept that failed.
    fn accept_again(&mut self, now: Instant) {
        if self.engine.accept_again.take_if(|at| *at <= now).is_some() {
            for token in self.engine.sockets.listeners.tcp_tokens() {
                self.ready.push(token);
            }
        }
    }

    fn serve_udp(&mut self, now: Now, token: Token) -> Left {
        for _ in 0..RECEIVES_PER_TURN {
            if self.receive(now, token) != Some(Received::Full) {
                return Left::Nothing;
            }
        }
        Left::Perhaps
    }

    /// One receive from one socket. `None` when there is nothing, or no such socket.
    fn receive(&mut self, now: Now, token: Token) -> Option<Received> {
        let (entry, udp) = self.engine.entry(token)?;
        let slots = match entry {
            Entry::Client(_) => Batch::SLOTS,
            Entry::Peer(_) => PEER_SLOTS,
        };
        // An ICMP message fails one receive and leaves what has arrived where it is.
        let received = match self.batch.receive(udp, slots) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.batch.receive(udp, slots)
            }
            received => received,
        };
        let filled = match received {
            Ok(filled) => filled,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) => {
                // Left alone until its next event, so that a socket that keeps failing cannot
                // keep the loop busy.
                tracing::debug!(%error, local = %udp.local(), "receive failed");
                self.engine.receive_failed();
                return None;
            }
        };
        self.arrivals += filled;
        for slot in 0..filled {
            let (meta, buffer) = self.batch.slot(slot);
            match entry {
                Entry::Peer(id) => self.engine.take_from_peer(now, id, &meta, buffer),
                Entry::Client(listener) => {
                    self.engine.take_from_client(now, listener, &meta, buffer);
                }
            }
        }
        Some(if filled == slots {
            Received::Full
        } else {
            Received::Drained
        })
    }
}
