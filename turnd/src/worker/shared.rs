//! What a worker shows of itself, and what it can be told, from other threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use std::{io, thread};

use mio::Waker;
use turnd_core::{Config, Counters, Drain};

use super::listeners::{Listener, Listening};
use crate::net::dtls::counters::DtlsCounters;
use crate::net::outbox::SendCounters;
use crate::net::stream::counters::StreamCounters;

/// What a worker is told.
#[derive(Debug)]
pub enum Order {
    /// Go on with this configuration.
    Configure(Arc<Config>),
    /// Let datagrams gather for up to so long under partial load; zero: serve each at once. Until
    /// told, a worker does the latter.
    Gather(Duration),
    /// Take new sessions, or refuse them.
    Drain(Drain),
    /// Take clients on one more listener.
    Listen(Listener),
    /// Close a listener. Sessions of clients that came to it end.
    Leave(Listening),
    /// End, whatever goes on.
    Stop,
}

/// A worker's counters and gauges.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// The relay core's.
    pub relay: Counters,
    /// Allocations now.
    pub sessions: usize,
    /// Whether new ones are refused.
    pub draining: bool,
    /// Share of its time the thread was busy over the last seconds, in thousandths.
    pub cpu_permille: u16,
    /// Datagrams handed to the kernel.
    pub sends: SendCounters,
    /// Connections of clients.
    pub streams: StreamCounters,
    /// DTLS clients.
    pub dtls: DtlsCounters,
    /// Datagrams and messages received, from clients and peers.
    pub received: u64,
    /// Packets of other workers' clients that were dropped for want of room.
    pub handover_dropped: u64,
    /// Receives that the kernel failed.
    pub receive_errors: u64,
    /// Relayed sockets that could not be opened for want of descriptors or memory.
    pub exhausted: u64,
}

/// What a worker shows.
#[derive(Debug, Default)]
pub struct Shared {
    progress: AtomicU64,
    stats: Mutex<Stats>,
}

impl Shared {
    /// Turns of the loop so far. A worker that stands still shows as such.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// The counters as last published, at most about a second old.
    pub fn stats(&self) -> Stats {
        self.stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn turned(&self) {
        // Only this worker writes.
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn publish(&self, stats: Stats) {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }
}

/// A running worker, seen from outside.
#[derive(Debug)]
pub struct Handle {
    /// What it shows.
    pub shared: Arc<Shared>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) waker: Arc<Waker>,
    pub(super) thread: thread::JoinHandle<()>,
}

impl Handle {
    /// Tells the worker; it acts within one turn of its loop.
    pub fn tell(&self, order: Order) {
        // A worker that has ended needs no orders.
        if self.orders.send(order).is_ok() {
            wake(&self.waker);
        }
    }

    /// Waits until the worker has ended.
    pub fn join(self) {
        // A panic aborts the process, so there is no other outcome.
        let _ = self.thread.join();
    }
}

fn wake(waker: &Waker) {
    let woken: io::Result<()> = waker.wake();
    if let Err(error) = woken {
        // It still reads its orders at its next idle wake-up, a quarter of a second away at most.
        tracing::debug!(%error, "a worker was not woken");
    }
}
