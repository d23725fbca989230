//! A worker: one thread with its own listeners, its own relay core, its own relayed sockets.
//!
//! A five-tuple lives on one worker, chosen by the kernel (`SO_REUSEPORT`), so nothing on the packet
//! path is shared. A worker waits in `epoll` and never for a socket.

mod busy;
mod dtls;
mod engine;
mod gather;
mod links;
mod listeners;
mod mail;
mod ready;
mod shared;
mod streams;
mod turn;

use std::sync::{Arc, mpsc};
use std::{io, thread};

use mio::{Poll, Waker};
use turnd_core::Relay;

pub use listeners::{Listener, Listening};
pub use mail::Letterbox;
pub use shared::{Handle, Order, Shared, Stats};

use listeners::Listeners;
use mail::Inbox;

use crate::net::dtls::table::Sessions;
use crate::net::links::table::Links;
use crate::net::relayed::RelayedSockets;
use crate::net::stream::Entrance;
use crate::net::stream::table::Streams;
use crate::net::tokens::Source;
use crate::net::udp::Buffers;

/// Relayed sockets get this part of the buffer the listeners get: each carries one session.
const RELAYED_BUFFER_DIVISOR: usize = 4;

/// A worker whose sockets are open but that does not run yet.
#[derive(Debug)]
pub struct Worker {
    poll: Poll,
    waker: Arc<Waker>,
    listeners: Listeners,
    relayed: RelayedSockets,
    links: Links,
    streams: Streams,
    dtls: Sessions,
    letterbox: Letterbox,
    parcels: Inbox,
}

impl Worker {
    /// A worker without listeners.
    ///
    /// # Errors
    /// When the system has no event queue for it.
    pub fn new(buffers: Buffers, entrance: Entrance, dtls: Sessions) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Source::Waker.token())?;
        let relayed = Buffers {
            receive: buffers.receive / RELAYED_BUFFER_DIVISOR,
            send: buffers.send / RELAYED_BUFFER_DIVISOR,
        };
        let waker = Arc::new(waker);
        let (letterbox, parcels) = mail::letterbox(&waker);
        Ok(Self {
            poll,
            waker,
            listeners: Listeners::default(),
            relayed: RelayedSockets::new(relayed, entrance.descriptors.clone()),
            links: Links::new(entrance.descriptors.clone()),
            streams: Streams::new(entrance),
            dtls,
            letterbox,
            parcels,
        })
    }

    /// Takes clients on one more listener.
    ///
    /// # Errors
    /// When the system does not watch it.
    pub fn listen(&mut self, listener: Listener) -> io::Result<()> {
        self.listeners.add(self.poll.registry(), listener)
    }

    /// Where other workers leave packets for it.
    pub fn letterbox(&self) -> Letterbox {
        self.letterbox.clone()
    }

    /// Starts the thread of worker `index`. `others` are the letterboxes of all workers.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start(self, relay: Relay, index: usize, others: Arc<[Letterbox]>) -> io::Result<Handle> {
        let (orders, inbox) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let waker = Arc::clone(&self.waker);
        let run = turn::Loop::new(self, relay, (index, others), inbox, Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || run.run())?;
        Ok(Handle {
            shared,
            orders,
            waker,
            thread,
        })
    }
}
