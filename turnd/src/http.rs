//! A small HTTP/1.1 server for the REST and admin routes, safe to put before strangers: connections
//! are capped, and one that does not send its request in time is closed.

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Connections of one listener at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 512;

/// Time for a request's header to arrive, also between two requests of one connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest life of a connection, however busy.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(5);

/// Largest request header, in bytes.
const HEADER_MAX: usize = 16 << 10;

/// Pause after a failed accept: with no descriptors left it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Exchanges the listener of a running server: what is given takes the place of the one before.
pub type Exchange = mpsc::UnboundedSender<Option<StdListener>>;

/// Serves `router` on the listener that was given last, for ever. Connections of the one before are
/// served to their end.
pub async fn serve(mut listeners: mpsc::UnboundedReceiver<Option<StdListener>>, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut listener = None;
    loop {
        tokio::select! {
            // Nobody is left to exchange it when the process ends.
            Some(next) = listeners.recv() => listener = next.and_then(watched),
            Some((stream, permit)) = accept(listener.as_ref(), &room) => {
                tokio::spawn(connection(stream, router.clone(), permit));
            }
            else => return,
        }
    }
}

fn watched(listener: StdListener) -> Option<TcpListener> {
    let watched = listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener));
    watched
        .inspect_err(|error| tracing::error!(%error, "a listener is not watched"))
        .ok()
}

/// The next connection; `None` without a listener.
async fn accept(
    listener: Option<&TcpListener>,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let listener = listener?;
    loop {
        let permit = Arc::clone(room).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, permit)),
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, permit: OwnedSemaphorePermit) {
    let serve = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A connection that breaks or runs out of time is nobody's concern but the client's.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, serve).await;
    drop(permit);
}
