//! A worker: one thread with its own listeners, its own relay core, its own relayed sockets.
//!
//! A five-tuple lives on one worker, chosen by the kernel (`SO_REUSEPORT`), so nothing on the packet
//! path is shared. A worker waits in `epoll` and never for a socket.

mod busy;
mod engine;
mod ready;
mod shared;
mod turn;

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::{io, thread};

use mio::{Interest, Poll, Token, Waker};
use turnd_core::Relay;

pub use shared::{Handle, Order, Shared, Stats};

use crate::net::descriptors::Descriptors;
use crate::net::relayed::RelayedSockets;
use crate::net::udp::{Buffers, Sharing, Udp};

/// Wakes the worker to read its orders.
const WAKER: Token = Token(0);
/// The first listener; the others follow.
const LISTENERS: usize = 1;

/// Relayed sockets get this part of the buffer the listeners get: each carries one session.
const RELAYED_BUFFER_DIVISOR: usize = 4;

/// A worker whose sockets are open but that does not run yet.
#[derive(Debug)]
pub struct Worker {
    poll: Poll,
    waker: Arc<Waker>,
    listeners: Vec<Udp>,
    relayed: RelayedSockets,
}

impl Worker {
    /// Opens the listeners of one worker.
    ///
    /// # Errors
    /// With the address that could not be listened on.
    pub fn open(
        listen: &[SocketAddr],
        buffers: Buffers,
        descriptors: Descriptors,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let poll = Poll::new().map_err(|error| (nowhere, error))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(|error| (nowhere, error))?;
        let mut listeners = Vec::with_capacity(listen.len());
        for (index, address) in listen.iter().enumerate() {
            let open = || {
                let mut udp = Udp::bind(*address, Sharing::PerWorker, buffers)?;
                let token = Token(LISTENERS + index);
                poll.registry()
                    .register(&mut udp.socket, token, Interest::READABLE)?;
                Ok(udp)
            };
            listeners.push(open().map_err(|error| (*address, error))?);
        }
        let relayed = RelayedSockets::new(
            LISTENERS + listeners.len(),
            Buffers {
                receive: buffers.receive / RELAYED_BUFFER_DIVISOR,
                send: buffers.send / RELAYED_BUFFER_DIVISOR,
            },
            descriptors,
        );
        Ok(Self {
            poll,
            waker: Arc::new(waker),
            listeners,
            relayed,
        })
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start(self, index: usize, relay: Relay) -> io::Result<Handle> {
        let (orders, inbox) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let waker = Arc::clone(&self.waker);
        let run = turn::Loop::new(self, relay, inbox, Arc::clone(&shared));
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
