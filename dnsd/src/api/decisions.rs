//! People's decisions over the control socket: who it is, what they want, what they are told.

use std::io;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::Listener;
use axum::{Extension, Json, Router};
use dnsd_core::health::Override;
use dnsd_core::limits::WHO_MAX;
use dnsd_core::overrides::Scope;
use nix::unistd::{Uid, User};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::server::{Api, Refused};
use super::view::Ending;
use crate::control::Input;
use crate::decisions::{Made, Wish};
use crate::limits::DECISION_BYTES;

/// Whoever is at the other end of the control socket, as the kernel vouches for.
#[derive(Debug, Clone, Copy)]
pub struct Caller(Option<u32>);

impl Caller {
    /// Who that is, for the record.
    fn name(self) -> String {
        let Some(uid) = self.0 else {
            return "unknown".to_owned();
        };
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name = user.map(|user| format!("{} (uid {uid})", user.name));
        let name = name.filter(|name| name.len() <= WHO_MAX);
        name.unwrap_or_else(|| format!("uid {uid}"))
    }
}

/// The control socket, which knows who calls.
#[derive(Debug)]
pub struct Callers(pub UnixListener);

impl Listener for Callers {
    type Io = UnixStream;
    type Addr = Caller;

    async fn accept(&mut self) -> (UnixStream, Caller) {
        let (stream, _) = Listener::accept(&mut self.0).await;
        let caller = stream.peer_cred().ok().map(|peer| peer.uid());
        (stream, Caller(caller))
    }

    fn local_addr(&self) -> io::Result<Caller> {
        Ok(Caller(None))
    }
}

/// What may be asked and told.
pub fn router() -> Router<Api> {
    Router::new()
        .route("/v1/overrides", get(decisions).post(decide))
        .layer(DefaultBodyLimit::max(DECISION_BYTES))
}

/// What somebody wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    scope: Scope,
    decision: Option<Override>,
    seconds: Option<u64>,
    why: String,
    #[serde(default)]
    insisted: bool,
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
) -> Result<Json<Made>, Refused> {
    let Json(wanted) = wanted.map_err(|error| Refused(error.status(), error.body_text()))?;
    let (reply, told) = oneshot::channel();
    let wish = Box::new(Wish {
        scope: wanted.scope,
        decision: wanted.decision,
        seconds: wanted.seconds,
        why: wanted.why,
        who: caller.name(),
        insisted: wanted.insisted,
    });
    let asked = api.inputs.send(Input::Decide { wish, reply }).await;
    asked.map_err(|_| Ending)?;
    let made = told.await.map_err(|_| Ending)?;
    made.map(Json)
        .map_err(|why| Refused(StatusCode::CONFLICT, why))
}
