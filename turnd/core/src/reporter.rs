//! When a relay reports its liveness, and what it says: built from what its workers really do.
//!
//! The shell feeds in a snapshot of every worker several times a second and sends whatever
//! [`Reporter::due`] hands out to every nameserver node. A report goes out twice a second, and at
//! once, three times over, when the state changes: a lost datagram must not cost a second.

use std::net::{SocketAddrV4, SocketAddrV6};
use std::time::{Duration, Instant};

use liveness::{Load, Reason, RelayId, Report, State, Transports};

/// Between two reports.
pub const INTERVAL: Duration = Duration::from_millis(500);
/// Copies sent when the state changes.
pub const COPIES: u8 = 3;
/// Between two copies.
pub const COPY_INTERVAL: Duration = Duration::from_millis(50);
/// A worker whose loop has not turned for so long is stuck. Workers turn at least four times a
/// second even when idle.
pub const STUCK_AFTER: Duration = Duration::from_secs(2);
/// Traffic is averaged over about this long.
pub const RATE_WINDOW: Duration = Duration::from_secs(2);

/// Who reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The relay's name in the fleet.
    pub relay: RelayId,
    /// Rises with every start; not 0.
    pub boot: u64,
    /// Where clients reach it over IPv4.
    pub ipv4: Option<SocketAddrV4>,
    /// Where clients reach it over IPv6.
    pub ipv6: Option<SocketAddrV6>,
    /// What clients may speak to it.
    pub transports: Transports,
}

/// What the relay can carry, and when it calls itself full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Most sessions: the least of configured limit, relayed ports and descriptors.
    pub sessions: u32,
    /// Most relayed traffic in bits per second; 0 is not limited.
    pub bits_per_second: u64,
    /// Share of a capacity, in thousandths, at which the relay becomes full.
    pub high_permille: u16,
    /// Share below which a full relay serves again.
    pub low_permille: u16,
}

impl Capacity {
    /// Full at 90 %, serving again below 80 %.
    pub const fn new(sessions: u32, bits_per_second: u64) -> Self {
        Self {
            sessions,
            bits_per_second,
            high_permille: 900,
            low_permille: 800,
        }
    }
}

/// What one worker says of itself, read by the shell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerSnapshot {
    /// Turns of its loop since it started. Unchanged for [`STUCK_AFTER`] means stuck.
    pub turns: u64,
    /// Its live allocations.
    pub sessions: u32,
    /// Bytes relayed since it started, both directions.
    pub relayed_bytes: u64,
    /// Share of its time it was busy, 0 to 1000.
    pub cpu_permille: u16,
}

/// One worker's last sign of life.
#[derive(Clone, Copy, Debug)]
struct Seen {
    turns: u64,
    at: Instant,
}

/// Decides when to report and what.
#[derive(Debug)]
pub struct Reporter {
    identity: Identity,
    capacity: Capacity,
    configuration: u64,
    revocations: u64,
    sequence: u64,

    ready: bool,
    draining: bool,
    failing: Option<Reason>,
    stuck: Option<Reason>,
    full: bool,

    workers: Vec<Seen>,
    load: Load,
    /// Total bytes at the beginning of the running window.
    window: Option<(Instant, u64)>,

    reported: State,
    copies_left: u8,
    next: Instant,
}

impl Reporter {
    /// A relay that is starting; its first report is due at once.
    pub fn new(identity: Identity, capacity: Capacity, now: Instant) -> Self {
        Self {
            identity,
            capacity,
            configuration: 0,
            revocations: 0,
            sequence: 0,
            ready: false,
            draining: false,
            failing: None,
            stuck: None,
            full: false,
            workers: Vec::new(),
            load: Load {
                sessions_max: capacity.sessions,
                bits_per_second_max: capacity.bits_per_second,
                ..Load::default()
            },
            window: None,
            reported: State::Starting,
            copies_left: 0,
            next: now,
        }
    }

    /// The relay can serve: sockets are bound, workers run.
    pub fn set_ready(&mut self, ready: bool) {
        self.ready = ready;
    }

    /// The relay is on its way out, or no longer.
    pub fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// The relay cannot serve for a reason the shell knows, or can again.
    pub fn set_failing(&mut self, reason: Option<Reason>) {
        self.failing = reason;
    }

    /// New capacity after a reload.
    pub fn set_capacity(&mut self, capacity: Capacity) {
        self.capacity = capacity;
        self.load.sessions_max = capacity.sessions;
        self.load.bits_per_second_max = capacity.bits_per_second;
    }

    /// What clients may speak to the relay after a reload.
    pub fn set_transports(&mut self, transports: Transports) {
        self.identity.transports = transports;
    }

    /// Hash or generation of the running configuration.
    pub fn set_configuration(&mut self, configuration: u64) {
        self.configuration = configuration;
    }

    /// Newest generation of revocations that is applied.
    pub fn set_revocations(&mut self, revocations: u64) {
        self.revocations = revocations;
    }

    /// Reports under a higher boot id from now on, all else unchanged: a relay that serves would
    /// otherwise seem to start again.
    pub fn set_boot(&mut self, boot: u64) {
        self.identity.boot = boot;
        self.sequence = 0;
    }

    /// What the relay is now. A draining relay stays draining whatever else it is, except failing;
    /// of reasons to fail a stuck worker comes first.
    pub fn state(&self) -> State {
        if let Some(reason) = self.stuck.or(self.failing) {
            State::Failing(reason)
        } else if self.draining {
            State::Draining
        } else if !self.ready {
            State::Starting
        } else if self.full {
            State::Full
        } else {
            State::Serving
        }
    }

    /// Takes in what the workers say of themselves, always all of them and in the same order.
    pub fn observe(&mut self, now: Instant, workers: &[WorkerSnapshot]) {
        self.workers.truncate(workers.len());
        for (index, worker) in workers.iter().enumerate() {
            match self.workers.get_mut(index) {
                Some(seen) if seen.turns == worker.turns => {}
                Some(seen) => {
                    *seen = Seen {
                        turns: worker.turns,
                        at: now,
                    };
                }
                None => self.workers.push(Seen {
                    turns: worker.turns,
                    at: now,
                }),
            }
        }
        self.judge_workers(now);
        self.load.sessions = workers.iter().map(|w| w.sessions).sum();
        self.load.cpu_permille = workers.iter().map(|w| w.cpu_permille).max().unwrap_or(0);
        self.measure(now, workers.iter().map(|w| w.relayed_bytes).sum());
        self.judge_load();
    }

    fn judge_workers(&mut self, now: Instant) {
        let silent = |seen: &Seen| now.saturating_duration_since(seen.at) >= STUCK_AFTER;
        let stuck = self.workers.iter().any(silent);
        self.stuck = stuck.then_some(Reason::WorkerStuck);
    }

    fn measure(&mut self, now: Instant, bytes: u64) {
        let Some((since, at_start)) = self.window else {
            self.window = Some((now, bytes));
            return;
        };
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= RATE_WINDOW {
            // A restarted worker counts from zero again.
            let relayed = u128::from(bytes.saturating_sub(at_start));
            let millis = elapsed.as_millis().max(1);
            self.load.bits_per_second = u64::try_from(relayed * 8000 / millis).unwrap_or(u64::MAX);
            self.window = Some((now, bytes));
        }
    }

    fn judge_load(&mut self) {
        let share = |used: u64, max: u64| (u128::from(used) * 1000).checked_div(max.into());
        // A relay that can carry no session at all is full.
        let sessions =
            share(self.load.sessions.into(), self.capacity.sessions.into()).unwrap_or(1000);
        let bits = share(self.load.bits_per_second, self.capacity.bits_per_second).unwrap_or(0);
        let highest = sessions.max(bits).max(self.load.cpu_permille.into());
        let threshold = if self.full {
            self.capacity.low_permille
        } else {
            self.capacity.high_permille
        };
        self.full = highest >= u128::from(threshold);
    }

    /// The report to send now, if one is due. `unix_ms` is the wall clock.
    pub fn due(&mut self, now: Instant, unix_ms: u64) -> Option<Report> {
        self.judge_workers(now);
        let state = self.state();
        if state != self.reported {
            self.reported = state;
            self.copies_left = COPIES;
            self.next = now;
        }
        if now < self.next {
            return None;
        }
        self.copies_left = self.copies_left.saturating_sub(1);
        self.next = now
            + if self.copies_left > 0 {
                COPY_INTERVAL
            } else {
                INTERVAL
            };
        self.sequence += 1;
        Some(self.report(state, unix_ms))
    }

    fn report(&self, state: State, unix_ms: u64) -> Report {
        Report {
            relay: self.identity.relay,
            boot: self.identity.boot,
            sequence: self.sequence,
            sent_at_ms: unix_ms,
            state,
            load: self.load,
            ipv4: self.identity.ipv4,
            ipv6: self.identity.ipv6,
            transports: self.identity.transports,
            workers: u16::try_from(self.workers.len()).unwrap_or(u16::MAX),
            configuration: self.configuration,
            revocations: self.revocations,
        }
    }

    /// When to call [`Self::due`] again at the latest.
    pub fn poll_timeout(&self) -> Instant {
        self.next
    }
}

#[cfg(test)]
mod tests;
