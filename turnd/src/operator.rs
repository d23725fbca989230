//! The admin socket: orders of an operator on this machine, one per connection.
//!
//! The client sends one word and a line end, the relay answers with one JSON object and a line end.
//! Only the socket's owner can connect.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::start::StartError;

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 8;

/// Longest order, in bytes.
const ORDER_MAX: u64 = 16;

/// Time for an order to arrive, and for its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time for an answer: a reload opens sockets and reads files.
const ANSWER: Duration = Duration::from_secs(30);

/// Largest answer, in bytes.
const ANSWER_MAX: u64 = 1 << 20;

/// Pause after a failed accept: with no descriptors left it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the relay is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Read the configuration again.
    Reload,
    /// Say how it is.
    Status,
}

impl Order {
    const ALL: [Self; 2] = [Self::Reload, Self::Status];

    fn word(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Status => "status",
        }
    }
}

/// An order and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What is asked for.
    pub order: Order,
    /// Takes the answer.
    pub reply: oneshot::Sender<Value>,
}

/// Opens the socket for its owner only. One that nobody listens on any more is replaced, one that
/// is in use is not.
///
/// # Errors
/// When the path cannot be used.
pub fn bind(path: &Path) -> Result<StdListener, StartError> {
    listen(path).map_err(|source| StartError::Socket {
        path: path.display().to_string(),
        source,
    })
}

fn listen(path: &Path) -> io::Result<StdListener> {
    match StdStream::connect(path) {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Nobody else gets to it, not even before its mode could be changed.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = StdListener::bind(path);
    umask(before);
    listener
}

/// Takes orders for ever and hands them to whoever reads `asked`.
///
/// # Errors
/// When the socket cannot be watched.
pub async fn serve(listener: StdListener, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let asked = asked.clone();
                tokio::spawn(async move {
                    // Whoever asked may have gone: nobody else is concerned.
                    let _ = exchange(stream, &asked).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection to the admin socket was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    Ok(())
}

async fn exchange(mut stream: UnixStream, asked: &mpsc::Sender<Asked>) -> io::Result<()> {
    let line = tokio::time::timeout(PATIENCE, line(&mut stream)).await??;
    let order = Order::ALL.into_iter().find(|order| order.word() == line);
    let answer = match order {
        Some(order) => answer(order, asked).await,
        None => None,
    };
    let answer = answer.unwrap_or_else(|| serde_json::json!({ "error": "not understood" }));
    let text = format!("{answer}\n");
    tokio::time::timeout(PATIENCE, stream.write_all(text.as_bytes())).await?
}

async fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut text = String::new();
    let mut bytes = stream.take(ORDER_MAX);
    while !text.ends_with('\n') {
        text.push(char::from(bytes.read_u8().await?));
    }
    text.pop();
    Ok(text)
}

async fn answer(order: Order, asked: &mpsc::Sender<Asked>) -> Option<Value> {
    let (reply, answer) = oneshot::channel();
    asked.send(Asked { order, reply }).await.ok()?;
    answer.await.ok()
}

/// Asks the relay behind the socket at `path`, and waits for its answer.
///
/// # Errors
/// When there is none.
pub fn ask(path: &Path, order: Order) -> io::Result<Value> {
    let mut stream = StdStream::connect(path)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(ANSWER))?;
    writeln!(stream, "{}", order.word())?;
    let mut text = String::new();
    BufReader::new(io::Read::take(stream, ANSWER_MAX)).read_line(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}
