//! The new daemon's side: it asks for the sockets, serves with them, and then for the rest.

use std::io;
use std::path::Path;

use dnsd_core::fleet::Saved;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::frames::{receive, receive_with, send};
use super::sockets::Sockets;
use super::{DONE, Offer, PATH, PROTOCOL, READY, SERVING};
use crate::api::client;
use crate::limits::HANDOVER_DONE;

/// Why nothing is taken over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The running daemon does not give anything.
    #[error("taking over: {0}")]
    Refused(#[from] client::Error),
    /// The exchange broke off.
    #[error("taking over: {0}")]
    Broken(#[from] io::Error),
}

/// What the running daemon offers.
#[derive(Debug)]
pub struct Offered {
    /// Its sockets.
    pub sockets: Sockets,
    /// Its state as it last kept it.
    pub state: Saved,
    /// What is to be told to it.
    pub taking: Taking,
}

/// A running daemon whose place is being taken.
#[derive(Debug)]
pub struct Taking(UnixStream);

/// Asks the daemon behind `control` for its place. `None` if there is no daemon.
///
/// # Errors
/// If there is one that does not give it.
pub async fn ask(control: &Path) -> Result<Option<Offered>, Error> {
    let mut stream = match client::upgrade(control, PATH, PROTOCOL).await {
        Ok(stream) => stream,
        Err(client::Error::Absent { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    stream.write_all(&[READY]).await?;
    let (descriptors, text) = limited(receive_with(&mut stream)).await?;
    let offer: Offer = serde_json::from_slice(&text).map_err(io::Error::from)?;
    if offer.sockets.len() != descriptors.len() {
        return Err(io::Error::other("not all sockets have arrived").into());
    }
    let sockets = offer.sockets.into_iter().zip(descriptors).collect();
    Ok(Some(Offered {
        sockets: Sockets::of(sockets),
        state: offer.state,
        taking: Taking(stream),
    }))
}

impl Taking {
    /// Tells the other daemon that this one answers. It stops judging; what it knew then is returned.
    ///
    /// # Errors
    /// If the other has thought otherwise, or is gone.
    pub async fn serving(&mut self) -> Result<Saved, Error> {
        send(&mut self.0, SERVING).await?;
        let text = limited(receive(&mut self.0)).await?;
        Ok(serde_json::from_slice(&text).map_err(io::Error::from)?)
    }

    /// Tells the other daemon to end.
    pub async fn done(mut self) -> Left {
        // If it is gone, it has ended.
        let _ = send(&mut self.0, DONE).await;
        Left(self.0)
    }
}

/// A daemon whose place was taken, and that may still be writing its state file.
#[derive(Debug)]
pub struct Left(UnixStream);

impl Left {
    /// Waits until it does so no longer; not for ever.
    pub async fn wait(mut self) {
        let _ = timeout(HANDOVER_DONE, self.0.read_u8()).await;
    }
}

async fn limited<T>(answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(HANDOVER_DONE, answer).await?
}
