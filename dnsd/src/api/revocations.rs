//! Revocations over the control socket and HTTP.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Json, Router};
use dnsd_core::revocations::Subject;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::oneshot;

use super::caller::Caller;
use super::server::{Api, Refused};
use super::view::Ending;
use crate::control::Input;
use crate::revocations::Wish;

/// What may be asked and told.
pub fn router() -> Router<Api> {
    Router::new().route("/v1/revocations", get(list).post(revoke))
}

/// What somebody wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    subject: Subject,
    /// False lifts it.
    #[serde(default = "revoked")]
    revoked: bool,
    seconds: Option<u64>,
    #[serde(default)]
    why: String,
}

fn revoked() -> bool {
    true
}

async fn list(State(api): State<Api>) -> Result<Json<Value>, Refused> {
    let (reply, told) = oneshot::channel();
    let asked = api.inputs.send(Input::Revoked { reply }).await;
    asked.map_err(|_| Ending)?;
    Ok(Json(told.await.map_err(|_| Ending)?))
}

async fn revoke(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Json<Value>, Refused> {
    let Json(wanted) = wanted.map_err(|error| Refused(error.status(), error.body_text()))?;
    let (reply, told) = oneshot::channel();
    let wish = Box::new(Wish {
        subject: wanted.subject,
        revoked: wanted.revoked,
        seconds: wanted.seconds,
        why: wanted.why,
        who: caller.name(),
    });
    let asked = api.inputs.send(Input::Revoke { wish, reply }).await;
    asked.map_err(|_| Ending)?;
    let done = told.await.map_err(|_| Ending)?;
    done.map(Json)
        .map_err(|why| Refused(StatusCode::CONFLICT, why))
}
