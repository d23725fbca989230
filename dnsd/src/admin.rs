//! The admin listener: whether the daemon lives, whether it can serve, its verdicts and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::api::view::View;
use crate::history::Span;
use crate::http;
use crate::metrics::Metrics;

/// What the admin listener shows.
#[derive(Debug, Clone)]
pub struct Admin {
    /// What is known of the relays.
    pub view: View,
    /// Everything that is counted.
    pub metrics: Arc<Metrics>,
    /// Answers are compiled and listeners run.
    pub ready: Arc<AtomicBool>,
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, admin: Admin) {
    let costly = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/status", get(status))
        .route("/api/history", get(history));
    // Whoever looks after the daemon does not queue for those who look at it.
    let router = http::bounded(costly, StatusCode::SERVICE_UNAVAILABLE)
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(admin);
    http::serve(listener, router).await;
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    if admin.ready.load(Ordering::Acquire) {
        // It serves what it knew before; whom that worries sees it here.
        let isolated = admin.metrics.is_isolated();
        let body = if isolated {
            "ready, isolated\n"
        } else {
            "ready\n"
        };
        (StatusCode::OK, body)
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no answers yet\n")
    }
}

async fn status(State(admin): State<Admin>) -> Response {
    match admin.view.all().await {
        Ok(view) => view.into_response(),
        Err(ending) => (StatusCode::SERVICE_UNAVAILABLE, ending.to_string()).into_response(),
    }
}

async fn history(State(admin): State<Admin>, Query(span): Query<Span>) -> Response {
    match admin.view.history(span).await {
        Ok(told) => Json(told).into_response(),
        Err(ending) => (StatusCode::SERVICE_UNAVAILABLE, ending.to_string()).into_response(),
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.metrics.text())
}
