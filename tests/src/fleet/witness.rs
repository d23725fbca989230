//! What every name server of a fleet answers and thinks, from the beginning to the end.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use local_cluster::dns::{self, Records};
use local_cluster::event::Event;
use local_cluster::watch;

use crate::netns::Namespace;

/// From one round of questions to the next.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a name server may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// The answers of one name server, over one protocol, to all names.
#[derive(Debug, Clone)]
pub struct Round {
    /// When the first was asked for.
    pub begun: Instant,
    /// When the last had come.
    pub ended: Instant,
    /// Which name server, over which protocol: all rounds of one asker have this in common.
    pub asker: usize,
    /// Per name, the addresses in their order.
    pub answers: Vec<Vec<IpAddr>>,
    /// The longest time to live, seconds.
    pub ttl: u32,
    /// The first answer that no client may ever get.
    pub wrong: Option<String>,
}

impl Round {
    /// Whether any answer names one of `addresses`.
    pub fn names_any(&self, addresses: &[IpAddr]) -> bool {
        self.answers
            .iter()
            .flatten()
            .any(|named| addresses.contains(named))
    }

    /// All addresses that are named.
    pub fn named(&self) -> BTreeSet<IpAddr> {
        self.answers.iter().flatten().copied().collect()
    }
}

/// A name server's new verdict on a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When it was seen.
    pub at: Instant,
    /// Whose it is.
    pub dnsd: String,
    /// On which relay.
    pub relay: String,
    /// How the relay stands, such as `up` or `down`.
    pub state: String,
    /// Why.
    pub reason: String,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Witness {
    rounds: Arc<Mutex<Vec<Round>>>,
    changes: Arc<Mutex<Vec<Change>>>,
    over: Arc<AtomicBool>,
    askers: Mutex<Vec<thread::JoinHandle<()>>>,
}

impl Witness {
    /// Begins to follow what the name server `id` thinks.
    pub fn follow(&self, id: &str, control: PathBuf) {
        let (sender, updates) = channel();
        watch::start(id, control, sender);
        let (changes, over) = (Arc::clone(&self.changes), Arc::clone(&self.over));
        thread::spawn(move || {
            let mut before = None;
            for update in updates {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let at = Instant::now();
                let news = watch::changes(&update.dnsd, before.as_ref(), update.seen.as_ref());
                before = update.seen;
                let news = news.into_iter().filter_map(|event| match event {
                    Event::Verdict {
                        dnsd,
                        relay,
                        state,
                        reason,
                    } => Some(Change {
                        at,
                        dnsd,
                        relay,
                        state,
                        reason,
                    }),
                    _ => None,
                });
                locked(&changes).extend(news);
            }
        });
    }

    /// Begins to ask `server` for `names` as the client in `namespace` at `from`.
    pub fn ask(&self, namespace: &Namespace, server: SocketAddr, from: IpAddr, names: &[String]) {
        let mut askers = locked(&self.askers);
        let asker = askers.len();
        let (rounds, over) = (Arc::clone(&self.rounds), Arc::clone(&self.over));
        let (namespace, names) = (namespace.clone(), names.to_vec());
        askers.push(thread::spawn(move || {
            namespace.enter();
            while !over.load(Ordering::Relaxed) {
                let round = round(asker, server, from, &names);
                let took = round.begun.elapsed();
                locked(&rounds).push(round);
                thread::sleep(PAUSE.saturating_sub(took));
            }
        }));
    }

    /// How many askers there are.
    pub fn askers(&self) -> usize {
        locked(&self.askers).len()
    }

    /// The rounds that began after `since`.
    pub fn rounds(&self, since: Instant) -> Vec<Round> {
        let rounds = locked(&self.rounds);
        rounds
            .iter()
            .filter(|round| round.begun >= since)
            .cloned()
            .collect()
    }

    /// The newest answers of one asker, if any have come.
    pub fn latest(&self, asker: usize) -> Option<Round> {
        let rounds = locked(&self.rounds);
        rounds
            .iter()
            .rev()
            .find(|round| round.asker == asker)
            .cloned()
    }

    /// The changes of verdicts after `since`.
    pub fn changes(&self, since: Instant) -> Vec<Change> {
        let changes = locked(&self.changes);
        changes
            .iter()
            .filter(|change| change.at >= since)
            .cloned()
            .collect()
    }

    /// How the name server `dnsd` last saw `relay`.
    pub fn state(&self, dnsd: &str, relay: &str) -> Option<String> {
        let changes = locked(&self.changes);
        let last = changes
            .iter()
            .rev()
            .find(|change| change.dnsd == dnsd && change.relay == relay);
        last.map(|change| change.state.clone())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for asker in locked(&self.askers).drain(..) {
            let _ = asker.join();
        }
    }
}

fn round(asker: usize, server: SocketAddr, from: IpAddr, names: &[String]) -> Round {
    let records = if server.is_ipv4() {
        Records::A
    } else {
        Records::Aaaa
    };
    let begun = Instant::now();
    let mut wrong = None;
    let mut ttl = 0;
    let answers =
        names.iter().map(
            |name| match dns::ask_for(records, server, from, name, PATIENCE) {
                Ok(reply) => {
                    if u16::from(reply.code) != 0 || reply.addresses.is_empty() {
                        wrong.get_or_insert_with(|| format!("{server} {name}: {reply:?}"));
                    }
                    ttl = ttl.max(reply.ttl.unwrap_or_default());
                    reply.addresses
                }
                Err(error) => {
                    wrong.get_or_insert_with(|| format!("{server} {name}: {error}"));
                    Vec::new()
                }
            },
        );
    let answers = answers.collect();
    Round {
        begun,
        ended: Instant::now(),
        asker,
        answers,
        ttl,
        wrong,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
