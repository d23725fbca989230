//! People's decisions over the control socket and HTTP: what they want, what they are told.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use dnsd_core::health::Override;
use dnsd_core::overrides::Scope;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::caller::Caller;
use super::server::{Api, Refused};
use super::view::Ending;
use crate::control::Input;
use crate::decisions::Wish;

/// What may be asked and told.
pub fn router() -> Router<Api> {
    Router::new().route("/v1/overrides", get(decisions).post(decide))
}

/// What somebody wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    scope: Scope,
    decision: Option<Override>,
    seconds: Option<u64>,
    why: String,
    /// Even if fewer relays are left than should be.
    #[serde(default)]
    confirm: bool,
}

async fn decisions(State(api): State<Api>) -> Result<Json<Value>, Refused> {
    let (reply, told) = oneshot::channel();
    let asked = api.inputs.send(Input::Decisions { reply }).await;
    asked.map_err(|_| Ending)?;
    Ok(Json(told.await.map_err(|_| Ending)?))
}

async fn decide(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Response, Refused> {
    let Json(wanted) = wanted.map_err(|error| Refused(error.status(), error.body_text()))?;
    let (reply, told) = oneshot::channel();
    let wish = Box::new(Wish {
        scope: wanted.scope,
        decision: wanted.decision,
        seconds: wanted.seconds,
        why: wanted.why,
        who: caller.name(),
        insisted: wanted.confirm,
    });
    let asked = api.inputs.send(Input::Decide { wish, reply }).await;
    asked.map_err(|_| Ending)?;
    Ok(match told.await.map_err(|_| Ending)? {
        Ok(made) => Json(made).into_response(),
        Err(unmade) => {
            let why = json!({ "error": unmade.why, "foresight": unmade.foresight });
            (StatusCode::CONFLICT, Json(why)).into_response()
        }
    })
}
