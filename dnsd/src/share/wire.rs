//! The socket between nameservers: seals what leaves, and lets in only what was sealed for this
//! start of this node.
//!
//! A thread of its own, so that a flood of strangers' datagrams costs one core's share of MACs and
//! nothing else: nothing is stored for them, and nothing answered.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dnsd_core::overrides::Entry;
use dnsd_core::revocations;
use dnsd_core::votes::Ballot;
use liveness::{NodeId, RelayId};
use tokio::sync::mpsc;

use super::ballot;
use super::entries::{self, Digests};
use super::frame::{self, Frame, Kind};
use super::hearsay;
use super::refusals::{Refusal, Refusals};
use super::seal::{ClusterKeys, Unsealed};
use super::sessions::{Sessions, Taken, Untaken};
use crate::clock;
use crate::config::Sharing;
use crate::control::{Datagram, Input};
use crate::limits::{SHARE_DATAGRAM, SHARE_GREETING};
use crate::metrics::{Metrics, Shared};

/// How often the thread looks whether it should end.
const LOOK: Duration = Duration::from_millis(250);
/// How long a datagram may wait for the socket; a later one makes up for it.
const SEND: Duration = Duration::from_millis(1);

/// The socket, the keys, and who is at the other end.
#[derive(Debug)]
pub struct Wire {
    me: NodeId,
    boot: u64,
    /// Where the others reach this node.
    own: SocketAddr,
    socket: UdpSocket,
    keys: ArcSwap<ClusterKeys>,
    peers: ArcSwap<BTreeSet<SocketAddr>>,
    sessions: Mutex<Sessions>,
    /// The number of the next frame.
    sequence: AtomicU64,
    /// When each configured peer was last told this node's boot unasked; all others count as one.
    greeted: Mutex<BTreeMap<Option<SocketAddr>, Instant>>,
    refusals: Mutex<Refusals>,
    metrics: Arc<Metrics>,
    stop: AtomicBool,
}

impl Wire {
    /// Talks by `socket`.
    pub fn new(
        socket: UdpSocket,
        me: NodeId,
        sharing: &Sharing,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        socket.set_read_timeout(Some(LOOK))?;
        socket.set_write_timeout(Some(SEND))?;
        let mut boot = [0; 8];
        getrandom::fill(&mut boot).map_err(io::Error::from)?;
        // 0 stands for a boot that is not known.
        let boot = u64::from_be_bytes(boot).max(1);
        let wire = Self {
            me,
            boot,
            own: sharing.advertise,
            socket,
            keys: ArcSwap::from_pointee(sharing.keys.clone()),
            peers: ArcSwap::default(),
            sessions: Mutex::new(Sessions::new(me, boot)),
            sequence: AtomicU64::new(1),
            greeted: Mutex::default(),
            refusals: Mutex::default(),
            metrics,
            stop: AtomicBool::new(false),
        };
        wire.reload(sharing);
        Ok(wire)
    }

    /// Starts the thread, and greets everybody.
    pub fn start(self: &Arc<Self>, inputs: mpsc::Sender<Input>) -> io::Result<JoinHandle<()>> {
        let wire = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("sharing".to_owned())
            .spawn(move || wire.receive(&inputs))?;
        for peer in self.peers.load().iter() {
            self.send(*peer, Kind::Hello, &[]);
        }
        Ok(thread)
    }

    /// Talks to other peers, under other keys, from now on.
    pub fn reload(&self, sharing: &Sharing) {
        self.keys.store(Arc::new(sharing.keys.clone()));
        // One list may serve all nodes: each finds itself in it.
        let others = sharing.peers.iter().filter(|peer| **peer != self.own);
        self.peers.store(Arc::new(others.copied().collect()));
        lock(&self.greeted).clear();
    }

    /// Ends the thread within [`LOOK`].
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Sends this node's ballot to everybody.
    pub fn cast(&self, ballot: &Ballot) {
        let bytes = ballot::encode(ballot);
        for to in self.everybody() {
            self.send(to, Kind::Ballot, &bytes);
        }
    }

    /// Tells whoever cast a ballot from `to` which generation of its own it was not above.
    pub fn outrun(&self, to: SocketAddr, newest: u64) {
        self.send(to, Kind::Stale, &newest.to_be_bytes());
    }

    /// Tells everybody of a decision.
    pub fn announce(&self, entry: &Entry) {
        for to in self.everybody() {
            self.table(to, std::iter::once(entry));
        }
    }

    /// Tells whoever is at `to` of decisions.
    pub fn table<'a>(&self, to: SocketAddr, entries: impl Iterator<Item = &'a Entry>) {
        for message in entries::encode(entries) {
            self.send(to, Kind::Entries, &message);
        }
    }

    /// Lets everybody compare the decisions that they know with those of this node.
    pub fn compare(&self, digest: u64) {
        for to in self.everybody() {
            self.send(to, Kind::Digest, &digest.to_be_bytes());
        }
    }

    /// Tells everybody of a revocation.
    pub fn announce_revocation(&self, entry: &revocations::Entry) {
        for to in self.everybody() {
            self.revocations(to, std::iter::once(entry), 1);
        }
    }

    /// Tells whoever is at `to` of revocations, in at most so many messages.
    pub fn revocations<'a>(
        &self,
        to: SocketAddr,
        entries: impl Iterator<Item = &'a revocations::Entry>,
        most: usize,
    ) {
        for message in entries::encode(entries).into_iter().take(most) {
            self.send(to, Kind::Revocations, &message);
        }
    }

    /// Lets everybody compare the revocations that they know with those of this node.
    pub fn compare_revocations(&self, digests: &Digests) {
        let message: Vec<u8> = digests.iter().flat_map(|one| one.to_be_bytes()).collect();
        for to in self.everybody() {
            self.send(to, Kind::RevocationDigests, &message);
        }
    }

    /// Asks everybody for the reports of relays that this node does not hear.
    pub fn ask_around(&self, relays: &[RelayId]) {
        let message = hearsay::names(relays);
        for to in self.everybody() {
            self.send(to, Kind::Unheard, &message);
        }
    }

    /// Passes reports on to whoever is at `to`.
    pub fn pass_on<'a>(&self, to: SocketAddr, datagrams: impl Iterator<Item = &'a Datagram>) {
        for message in hearsay::reports(datagrams) {
            self.send(to, Kind::Hearsay, &message);
        }
    }

    /// Who was last refused, by reason.
    pub fn refusals(&self) -> Vec<Refusal> {
        lock(&self.refusals).list(clock::now())
    }

    /// All peers that are configured, and those that were heard although they are not.
    fn everybody(&self) -> BTreeSet<SocketAddr> {
        let mut everybody = (**self.peers.load()).clone();
        everybody.extend(lock(&self.sessions).addresses(clock::now()));
        everybody
    }

    /// Sends a message. What is lost is made up for by the next.
    fn send(&self, to: SocketAddr, kind: Kind, message: &[u8]) {
        let echo = lock(&self.sessions).boot_at(to);
        self.send_to(to, echo, kind, message);
    }

    fn send_to(&self, to: SocketAddr, echo: u64, kind: Kind, message: &[u8]) {
        let Some(parts) = frame::parts(message) else {
            return self.metrics.shared(Shared::Unsent);
        };
        let count = parts.len() as u8;
        let first = self.sequence.fetch_add(u64::from(count), Ordering::Relaxed);
        let keys = self.keys.load();
        for (payload, part) in parts.into_iter().zip(0..) {
            let frame = Frame {
                sender: self.me,
                boot: self.boot,
                echo,
                sequence: first + u64::from(part),
                kind,
                part,
                parts: count,
                payload: payload.to_vec(),
            };
            let sealed = keys.seal(&frame.encode());
            let sent = sealed.map(|datagram| self.socket.send_to(&datagram, to));
            if !matches!(sent, Some(Ok(_))) {
                self.metrics.shared(Shared::Unsent);
            }
        }
    }

    fn receive(&self, inputs: &mpsc::Sender<Input>) {
        // One byte more than a datagram, so that a longer one is seen as such.
        let mut buffer = [0; SHARE_DATAGRAM + 1];
        while !self.stop.load(Ordering::Acquire) {
            // Errors are the timeout, or ICMP about what was sent: both mean read on.
            if let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
                let outcome = self.take(&buffer[..length], from, inputs);
                self.metrics.shared(outcome);
                lock(&self.refusals).count(clock::now(), outcome, from);
            }
        }
    }

    fn take(&self, datagram: &[u8], from: SocketAddr, inputs: &mpsc::Sender<Input>) -> Shared {
        let frame = match self.keys.load().open(datagram) {
            Ok(bytes) => Frame::decode(&bytes),
            Err(Unsealed::Format) => return Shared::Format,
            Err(Unsealed::UnknownKey) => return Shared::UnknownKey,
            Err(Unsealed::Forged) => return Shared::Forged,
        };
        let Some(frame) = frame else {
            return Shared::Malformed;
        };
        let (sender, kind, boot) = (frame.sender, frame.kind, frame.boot);
        // Not locked while anything is sent.
        let taken = lock(&self.sessions).take(clock::now(), from, frame);
        match taken {
            Ok(Taken::Nothing) => Shared::Ok,
            Ok(Taken::Message(message)) => deliver(sender, from, kind, &message, inputs),
            Err(Untaken::Stranger) => {
                self.greet(from, boot);
                Shared::Stranger
            }
            Err(Untaken::Replay) => Shared::Replay,
            // What this very process has sent came back: one of the peers is this node.
            Err(Untaken::Own) if boot == self.boot => Shared::Echo,
            Err(Untaken::Own) => Shared::Twin,
            Err(Untaken::Crowded) => Shared::Crowded,
        }
    }

    /// Tells whoever does not know this node's boot. Not often: a recorded datagram can be sent
    /// again at any rate and from anybody's address.
    fn greet(&self, to: SocketAddr, boot: u64) {
        let now = clock::now();
        let place = Some(to).filter(|to| self.peers.load().contains(to));
        let mut greeted = lock(&self.greeted);
        let lately = |at: &Instant| now.saturating_duration_since(*at) < SHARE_GREETING;
        if !greeted.get(&place).is_some_and(lately) {
            greeted.insert(place, now);
            drop(greeted);
            self.send_to(to, boot, Kind::Hello, &[]);
        }
    }
}

/// Hands a message on.
fn deliver(
    sender: NodeId,
    from: SocketAddr,
    kind: Kind,
    message: &[u8],
    inputs: &mpsc::Sender<Input>,
) -> Shared {
    let number = || message.try_into().ok().map(u64::from_be_bytes);
    let input = match kind {
        Kind::Hello => return Shared::Ok,
        Kind::Ballot => ballot::decode(sender, message).map(|ballot| Input::Ballot {
            ballot: Box::new(ballot),
            from,
        }),
        Kind::Stale => number().map(|generation| Input::Outrun { generation }),
        Kind::Digest => number().map(|digest| Input::Digest { digest, from }),
        Kind::Entries => Some(Input::Overrides {
            entries: entries::decode(message),
        }),
        Kind::RevocationDigests => digests(message).map(|digests| Input::RevocationDigests {
            digests: Box::new(digests),
            from,
        }),
        Kind::Unheard => hearsay::read_names(message).map(|relays| Input::Unheard { relays, from }),
        Kind::Hearsay => {
            hearsay::read_reports(message).map(|datagrams| Input::Hearsay { datagrams })
        }
        Kind::Revocations => Some(Input::Revocations {
            entries: entries::decode(message),
        }),
    };
    match input.map(|input| inputs.try_send(input)) {
        Some(Ok(())) => Shared::Ok,
        Some(Err(_)) => Shared::Overload,
        None => Shared::Malformed,
    }
}

fn digests(message: &[u8]) -> Option<Digests> {
    let (numbers, []) = message.as_chunks::<8>() else {
        return None;
    };
    let numbers: Vec<_> = numbers.iter().map(|one| u64::from_be_bytes(*one)).collect();
    numbers.try_into().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
