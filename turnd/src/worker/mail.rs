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
    /// A client's packet.
    Packet {
        from: Origin,
        tuple: FiveTuple,
        bytes: Vec<u8>,
    },
    /// A client's connection, which has come for something of the other worker's.
    Client(Box<Moved>),
    /// Nobody serves this five-tuple for you any more, as of your packet of this number.
    Unserved(FiveTuple, u64),
}

/// Where a packet that was handed over comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// The worker it came to.
    worker: usize,
    /// Its number among all that the worker has handed over.
    number: u64,
}

/// Where packets of a five-tuple go.
#[derive(Debug, Clone, Copy)]
struct Route {
    to: usize,
    /// The number of the latest one.
    latest: u64,
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
        from: Origin,
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
    away: HashMap<FiveTuple, Route>,
    /// Five-tuples that are served here and come to another worker: their latest packet.
    guests: HashMap<FiveTuple, Origin>,
    /// Packets handed over.
    handed: u64,
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
            handed: 0,
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
        self.away.get(tuple).map(|route| route.to)
    }

    /// Hands over a packet, and all later ones of its five-tuple.
    pub(super) fn hand_over(&mut self, to: usize, tuple: FiveTuple, bytes: Vec<u8>) {
        let latest = self.handed + 1;
        let from = Origin {
            worker: self.index,
            number: latest,
        };
        let has_room = self.away.len() < ROUTES || self.away.contains_key(&tuple);
        if has_room && self.post(to, Parcel::Packet { from, tuple, bytes }) {
            self.handed = latest;
            self.away.insert(tuple, Route { to, latest });
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
                // Where a packet has been handed over since, an answer to that one is to come.
                Parcel::Unserved(tuple, number) => {
                    if self.away.get(&tuple).is_some_and(|r| r.latest == number) {
                        self.away.remove(&tuple);
                    }
                }
            }
        }
    }

    /// Notes whether a five-tuple whose packet came `from` another worker is served here now.
    pub(super) fn note(&mut self, from: Origin, tuple: FiveTuple, is_served: bool) {
        if is_served {
            self.guests.insert(tuple, from);
        } else {
            self.guests.remove(&tuple);
            // One that is lost is said again with the next packet.
            self.post(from.worker, Parcel::Unserved(tuple, from.number));
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

#[cfg(test)]
mod tests {
    use mio::{Poll, Token};
    use turnd_core::Transport;

    use super::*;

    /// Two workers' mail.
    fn pair() -> [Mail; 2] {
        let poll = Poll::new().expect("a poll");
        let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
        let waker = Arc::new(waker);
        let (letterboxes, inboxes): (Vec<_>, Vec<_>) = (0..2).map(|_| letterbox(&waker)).unzip();
        let letterboxes: Arc<[Letterbox]> = letterboxes.into();
        let mut inboxes = inboxes.into_iter();
        [0, 1].map(|index| {
            let inbox = inboxes.next().expect("two of them");
            Mail::new(index, Arc::clone(&letterboxes), inbox)
        })
    }

    fn tuple() -> FiveTuple {
        FiveTuple {
            client: ([192, 0, 2, 1], 50_000).into(),
            server: ([192, 0, 2, 2], 3478).into(),
            transport: Transport::Udp,
        }
    }

    /// Takes one packet, and notes whether its five-tuple is served now.
    fn serve(mail: &mut Mail, is_served: bool) {
        let Some(Delivered::Packet { from, tuple, .. }) = mail.next() else {
            panic!("a packet");
        };
        mail.note(from, tuple, is_served);
    }

    #[test]
    fn a_route_ends_with_what_is_served_there() {
        let [mut near, mut far] = pair();
        assert_eq!(near.server_of(&tuple()), None);
        near.hand_over(1, tuple(), b"allocate".to_vec());
        serve(&mut far, true);
        assert!(near.next().is_none());
        assert_eq!(near.server_of(&tuple()), Some(1));
        far.sweep(|_| true);
        assert!(near.next().is_none());
        assert_eq!(near.server_of(&tuple()), Some(1));
        far.sweep(|_| false);
        assert!(near.next().is_none());
        assert_eq!(near.server_of(&tuple()), None);
    }

    #[test]
    fn an_end_told_late_does_not_end_what_has_begun_since() {
        let [mut near, mut far] = pair();
        near.hand_over(1, tuple(), b"allocate".to_vec());
        serve(&mut far, true);
        near.hand_over(1, tuple(), b"delete".to_vec());
        serve(&mut far, false);
        // Before that is heard of, the client begins anew.
        near.hand_over(1, tuple(), b"allocate".to_vec());
        assert!(near.next().is_none());
        assert_eq!(near.server_of(&tuple()), Some(1));
        serve(&mut far, true);
        near.hand_over(1, tuple(), b"delete".to_vec());
        serve(&mut far, false);
        assert!(near.next().is_none());
        assert_eq!(near.server_of(&tuple()), None);
    }
}
