//! Packets that another worker has to serve, and who serves which.
//!
//! The kernel gives a five-tuple to the worker it likes. A request may belong to another one: the
//! worker that keeps a reserved port, or the allocation whose ticket is shown. It is handed over,
//! and every later packet of its five-tuple, as long as that worker serves it. Routes are few; with
//! none a packet costs one comparison.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use mio::Waker;
use turnd_core::FiveTuple;

use crate::net::stream::connection::Connection;

/// Most parcels that wait for one worker; further ones are dropped, like packets on any full link.
const WAITING: usize = 1024;

/// Most five-tuples of one worker that are served by others.
const ROUTES: usize = 16_384;

/// What one worker gives another.
#[derive(Debug)]
pub(super) enum Parcel {
    /// A client's packet that came to worker `from`.
    Packet {
        from: usize,
        tuple: FiveTuple,
        bytes: Vec<u8>,
    },
    /// A client's connection, which has come for something of the other worker's.
    Client(Box<Moved>),
    /// Nobody serves this five-tuple for you any more.
    Unserved(FiveTuple),
}

/// A client's connection on its way to another worker.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) connection: Connection,
    /// Its latest message, and what came behind it.
    pub(super) bytes: Vec<u8>,
    /// The client will send nothing more.
    pub(super) ended: bool,
}

/// What came from another worker.
#[derive(Debug)]
pub(super) enum Delivered {
    /// A packet to be served.
    Packet {
        from: usize,
        tuple: FiveTuple,
        bytes: Vec<u8>,
    },
    /// A connection to be taken over.
    Client(Box<Moved>),
}

/// Where parcels for one worker are left.
#[derive(Debug, Clone)]
pub struct Letterbox {
    parcels: SyncSender<Parcel>,
    waker: Arc<Waker>,
}

/// Where a worker finds its parcels.
#[derive(Debug)]
pub(super) struct Inbox(Receiver<Parcel>);

/// A letterbox of the worker that `waker` wakes.
pub(super) fn letterbox(waker: &Arc<Waker>) -> (Letterbox, Inbox) {
    let (parcels, inbox) = sync_channel(WAITING);
    let waker = Arc::clone(waker);
    (Letterbox { parcels, waker }, Inbox(inbox))
}

/// One worker's part of it.
#[derive(Debug)]
pub(super) struct Mail {
    index: usize,
    letterboxes: Arc<[Letterbox]>,
    inbox: Inbox,
    /// Five-tuples that come here and are served by another worker.
    away: HashMap<FiveTuple, usize>,
    /// Five-tuples that are served here and come to another worker.
    guests: HashMap<FiveTuple, usize>,
    dropped: u64,
}

impl Mail {
    pub(super) fn new(index: usize, letterboxes: Arc<[Letterbox]>, inbox: Inbox) -> Self {
        Self {
            index,
            letterboxes,
            inbox,
            away: HashMap::new(),
            guests: HashMap::new(),
            dropped: 0,
        }
    }

    /// Packets that were not handed over.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The worker that serves a five-tuple which comes here.
    pub(super) fn server_of(&self, tuple: &FiveTuple) -> Option<usize> {
        if self.away.is_empty() {
            return None;
        }
        self.away.get(tuple).copied()
    }

    /// Hands over a packet, and all later ones of its five-tuple.
    pub(super) fn hand_over(&mut self, to: usize, tuple: FiveTuple, bytes: Vec<u8>) {
        let from = self.index;
        let has_room = self.away.len() < ROUTES || self.away.contains_key(&tuple);
        if has_room && self.post(to, Parcel::Packet { from, tuple, bytes }) {
            self.away.insert(tuple, to);
        } else {
            self.dropped += 1;
        }
    }

    /// Hands over a connection; when there is no room it is closed.
    pub(super) fn move_client(&mut self, to: usize, moved: Moved) {
        if !self.post(to, Parcel::Client(Box::new(moved))) {
            self.dropped += 1;
        }
    }

    fn post(&self, to: usize, parcel: Parcel) -> bool {
        let Some(letterbox) = self.letterboxes.get(to) else {
            return false;
        };
        match letterbox.parcels.try_send(parcel) {
            Ok(()) => {
                if let Err(error) = letterbox.waker.wake() {
                    tracing::debug!(%error, "a worker was not woken");
                }
                true
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// The next thing that another worker has for this one.
    pub(super) fn next(&mut self) -> Option<Delivered> {
        loop {
            match self.inbox.0.try_recv().ok()? {
                Parcel::Packet { from, tuple, bytes } => {
                    return Some(Delivered::Packet { from, tuple, bytes });
                }
                Parcel::Client(moved) => return Some(Delivered::Client(moved)),
                Parcel::Unserved(tuple) => {
                    self.away.remove(&tuple);
                }
            }
        }
    }

    /// Notes whether a five-tuple that came to worker `from` is served here now.
    pub(super) fn note(&mut self, from: usize, tuple: FiveTuple, is_served: bool) {
        if is_served {
            self.guests.insert(tuple, from);
        } else {
            self.guests.remove(&tuple);
            // One that is lost is said again with the next packet.
            self.post(from, Parcel::Unserved(tuple));
        }
    }

    /// Tells the others which five-tuples are not served here any more.
    pub(super) fn sweep(&mut self, serves: impl Fn(&FiveTuple) -> bool) {
        let gone: Vec<_> = self.guests.iter().filter(|(t, _)| !serves(t)).collect();
        let gone: Vec<_> = gone.into_iter().map(|(t, from)| (*t, *from)).collect();
        for (tuple, from) in gone {
            self.note(from, tuple, false);
        }
    }
}
