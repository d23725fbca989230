//! HTTP for the control socket and the admin listener: so many connections, so many requests and
//! so long.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::serve::Listener;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::ServiceExt as _;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::limits::{HTTP_CONCURRENCY, HTTP_CONNECTIONS, HTTP_TIMEOUT};

/// How long a connection may last: the head of its request, then the request's turn and its answer.
const LIFETIME: Duration = HTTP_TIMEOUT.saturating_mul(2);

/// Bounds how many requests to the routes so far are under way at once, and how long each is;
/// `late` is what those hear that take too long.
pub fn bounded<S: Clone + Send + Sync + 'static>(router: Router<S>, late: StatusCode) -> Router<S> {
    router
        .layer(GlobalConcurrencyLimitLayer::new(HTTP_CONCURRENCY))
        .layer(TimeoutLayer::with_status_code(late, HTTP_TIMEOUT))
}

/// Serves until the task is dropped. A connection carries one request; who comes when all places
/// are taken waits in the kernel's queue. What the listener says of a client is an extension of its
/// request.
pub async fn serve<L>(mut listener: L, router: Router)
where
    L: Listener<Addr: Clone + Send + Sync + 'static>,
{
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut http = http1::Builder::new();
    http.keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_TIMEOUT);
    // Never closed, so the loop does not end.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, client) = listener.accept().await;
        let known = router
            .clone()
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(client.clone());
                request
            });
        let service = TowerToHyperService::new(known);
        let connection = http
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            let _place = place;
            // A client that goes away or says nothing sensible is not an event.
            let _ = timeout(LIFETIME, connection).await;
        });
    }
}
