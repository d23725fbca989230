//! Whether the worker threads turn, which nobody else would notice: whoever is not answered by one
//! that is stuck asks another nameserver.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::eventfd::EventFd;

use crate::limits::TURNS_MISSED;

/// Counts a thread's turns.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<AtomicU64>);

impl Turns {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Feels whether threads turn.
#[derive(Debug, Default)]
pub struct Pulse {
    threads: Vec<Thread>,
    stuck: bool,
}

#[derive(Debug)]
struct Thread {
    waker: Arc<EventFd>,
    turns: Turns,
    /// When last looked at.
    seen: u64,
    /// How often there were no more than the time before.
    missed: u32,
}

impl Pulse {
    pub(super) fn add(&mut self, waker: Arc<EventFd>, turns: Turns) {
        self.threads.push(Thread {
            waker,
            turns,
            seen: 0,
            missed: 0,
        });
    }

    /// Whether all threads turn; to be called about once a second. Each is woken, and has to have
    /// turned one of the next [`TURNS_MISSED`] times.
    pub fn beats(&mut self) -> bool {
        for thread in &mut self.threads {
            let turns = thread.turns.0.load(Ordering::Relaxed);
            let missed = turns == thread.seen;
            thread.missed = if missed { thread.missed + 1 } else { 0 };
            thread.seen = turns;
            let _ = thread.waker.write(1);
        }
        let mut threads = self.threads.iter();
        let stuck = threads.any(|thread| thread.missed >= TURNS_MISSED);
        if stuck && !self.stuck {
            tracing::error!("a DNS thread is stuck; the service manager is not told of life");
        }
        self.stuck = stuck;
        !stuck
    }
}
