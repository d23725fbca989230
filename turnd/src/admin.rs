//! The operators' listener: health, readiness, metrics.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use liveness::{Reason, State as Relay};

use crate::metrics::Metrics;
use crate::status::{Status, word};

/// What the routes show.
#[derive(Debug)]
struct Shown {
    status: Arc<Status>,
    metrics: Metrics,
}

/// The routes: `/healthz`, `/readyz`, `/metrics`.
pub fn router(status: Arc<Status>, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(exposition))
        .with_state(Arc::new(Shown { status, metrics }))
}

/// 200 while every worker turns, whether it takes new sessions or not: only what a restart mends
/// is not healthy.
async fn healthz(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    answer(shown.status.view().state, |state| {
        !matches!(state, Relay::Failing(Reason::WorkerStuck))
    })
}

/// 200 while new sessions are taken.
async fn readyz(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    answer(shown.status.view().state, |state| {
        matches!(state, Relay::Serving | Relay::Full)
    })
}

fn answer(state: Relay, good: impl Fn(Relay) -> bool) -> impl IntoResponse {
    let code = if good(state) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        code,
        [(header::CACHE_CONTROL, "no-store")],
        format!("{}\n", word(state)),
    )
}

async fn exposition(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match shown.metrics.expose() {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, TYPE)], text),
        Err(error) => {
            let why = format!("{error}\n");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                [(header::CONTENT_TYPE, "text/plain")],
                why,
            )
        }
    }
}
