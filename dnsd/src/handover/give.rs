//! The running daemon's side: it offers its sockets and goes on, until the other serves.

use std::io;
use std::sync::Arc;

use dnsd_core::fleet::Saved;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::frames::{receive, send, send_with};
use super::sockets::Sockets;
use super::{DONE, Offer, READY, SERVING};
use crate::limits::{HANDOVER_BEGIN, HANDOVER_DONE};

/// What is offered, and to whom it is told that somebody serves.
#[derive(Debug, Clone)]
pub struct Giving {
    sockets: Arc<Sockets>,
    states: watch::Receiver<Arc<Saved>>,
    serving: mpsc::Sender<Given>,
    /// One at a time.
    turn: Arc<Semaphore>,
}

/// A daemon that serves with the sockets of this one, and waits for what this one knows.
#[derive(Debug)]
pub struct Given(UnixStream);

impl Giving {
    /// Offers `sockets` and the newest of `states`; who serves with them goes to `serving`.
    pub fn new(
        sockets: Arc<Sockets>,
        states: watch::Receiver<Arc<Saved>>,
        serving: mpsc::Sender<Given>,
    ) -> Self {
        let turn = Arc::new(Semaphore::new(1));
        Self {
            sockets,
            states,
            serving,
            turn,
        }
    }

    /// Hands everything over to the daemon at the other end, which then may serve or not. `read` is
    /// what it has said already.
    pub async fn offer(self, mut stream: UnixStream, read: &[u8]) {
        let Ok(_turn) = self.turn.try_acquire() else {
            tracing::warn!("another daemon is taking over already");
            return;
        };
        match timeout(HANDOVER_BEGIN, self.prepare(&mut stream, read)).await {
            Ok(Ok(())) => {
                // Gone only if this daemon ends anyway.
                let _ = self.serving.send(Given(stream)).await;
            }
            Ok(Err(error)) => given_up(&error),
            Err(_) => {
                tracing::warn!("the daemon that was to take over takes too long; this one goes on");
            }
        }
    }

    async fn prepare(&self, stream: &mut UnixStream, read: &[u8]) -> io::Result<()> {
        let ready = match read.first() {
            Some(byte) => *byte,
            None => stream.read_u8().await?,
        };
        if ready != READY {
            return Err(io::Error::other("it says something else"));
        }
        let offer = Offer {
            sockets: self.sockets.purposes(),
            state: Saved::clone(&self.states.borrow()),
        };
        let text = serde_json::to_vec(&offer)?;
        send_with(stream, &self.sockets.descriptors(), &text).await?;
        expect(stream, SERVING).await
    }
}

/// Notes that the daemon that asked for everything is gone, or wants something else.
pub fn given_up(error: &impl std::error::Error) {
    tracing::warn!(%error, "the daemon that was to take over does not; this one goes on");
}

impl Given {
    /// Tells the other what is known, for it to go on with, and waits until it does. It writes no
    /// state file before what is returned is dropped.
    ///
    /// # Errors
    /// If it does not: it knows nothing then that this daemon could not go on with.
    pub async fn finish(mut self, state: &Saved) -> io::Result<Self> {
        let text = serde_json::to_vec(state)?;
        let finished = async {
            send(&mut self.0, &text).await?;
            expect(&mut self.0, DONE).await
        };
        timeout(HANDOVER_DONE, finished).await??;
        Ok(self)
    }
}

async fn expect(stream: &mut UnixStream, word: &[u8]) -> io::Result<()> {
    if receive(stream).await? == word {
        Ok(())
    } else {
        Err(io::Error::other("it says something else"))
    }
}
