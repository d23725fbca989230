//! The daemon's side of the control socket and of the HTTP API.

use std::net::IpAddr;
use std::str::FromStr as _;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router, middleware};
use dnsd_core::answer;
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use liveness::RelayId;
use serde::Deserialize;
use serde_json::{Value, json};
use settings::File;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::caller::{Caller, Callers};
use super::decisions;
use super::door::{self, Door};
use super::revocations;
use super::view::{All, Ending, View};
use crate::clock;
use crate::config::Config;
use crate::control::Input;
use crate::handover::{self, Giving};
use crate::history::{Span, Told};
use crate::http;
use crate::limits::{CONFIGURATION_BYTES, DECISION_BYTES};
use crate::metrics::Code;
use crate::reload::{Judgement, Order, Task};
use crate::serve::Served;

/// What is answered from.
#[derive(Debug, Clone)]
pub struct Api {
    /// What is known of the relays.
    pub view: View,
    /// The answers in force.
    pub served: Arc<Served>,
    /// To whoever changes the configuration.
    pub orders: mpsc::Sender<Order>,
    /// To the control loop.
    pub inputs: mpsc::Sender<Input>,
    /// Hands this daemon's sockets over to another.
    pub giving: Giving,
}

/// Serves the control socket until the task is dropped.
pub async fn serve(listener: UnixListener, api: Api) {
    // What a configuration refers to is read with this daemon's rights, so only here, where its
    // own user asks, may it be anybody's.
    let compared = post(compare).layer(DefaultBodyLimit::max(CONFIGURATION_BYTES));
    let router = routes()
        .route("/v1/diff", compared)
        .route(handover::PATH, post(hand_over));
    let router = http::bounded(router, StatusCode::GATEWAY_TIMEOUT).with_state(api);
    http::serve(Callers(listener), router).await;
}

/// Serves the HTTP API until the task is dropped.
pub async fn serve_http(listener: TcpListener, api: Api, door: Arc<Door>) {
    let router = http::bounded(routes(), StatusCode::GATEWAY_TIMEOUT);
    let guard = middleware::from_fn_with_state(door, door::guard);
    http::serve(listener, router.layer(guard).with_state(api)).await;
}

/// What both answer.
fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/relays", get(relays))
        .route("/v1/relays/{relay}", get(relay))
        .route("/v1/answer", get(answered))
        .route("/v1/history", get(history))
        .route("/v1/diff", get(look))
        .route("/v1/reload", post(reload))
        .merge(decisions::router())
        .merge(revocations::router())
        .layer(DefaultBodyLimit::max(DECISION_BYTES))
        .fallback(async || Refused(StatusCode::NOT_FOUND, "there is nothing here".to_owned()))
        .method_not_allowed_fallback(async || {
            let what = "this is asked for in another way";
            Refused(StatusCode::METHOD_NOT_ALLOWED, what.to_owned())
        })
}

/// A request that is refused, and why.
#[derive(Debug)]
pub(super) struct Refused(pub(super) StatusCode, pub(super) String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<Ending> for Refused {
    fn from(ending: Ending) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, ending.to_string())
    }
}

fn bad(what: String) -> Refused {
    Refused(StatusCode::BAD_REQUEST, what)
}

async fn relays(State(api): State<Api>) -> Result<All, Refused> {
    Ok(api.view.all().await?)
}

async fn relay(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<Value>, Refused> {
    let relay = RelayId::from_str(&text).map_err(|error| bad(format!("{text:?}: {error}")))?;
    let none = || {
        Refused(
            StatusCode::NOT_FOUND,
            format!("no relay {relay} is configured"),
        )
    };
    api.view.one(relay).await?.map(Json).ok_or_else(none)
}

async fn history(State(api): State<Api>, Query(span): Query<Span>) -> Result<Json<Told>, Refused> {
    Ok(Json(api.view.history(span).await?))
}

/// What would be asked, and by whom.
#[derive(Debug, Deserialize)]
struct Question {
    name: String,
    r#type: Option<String>,
    from: Option<String>,
    /// The only relay of which is told why it is not answered.
    relay: Option<String>,
}

async fn answered(
    State(api): State<Api>,
    Query(question): Query<Question>,
) -> Result<Json<Value>, Refused> {
    let mut name = Name::from_ascii(&question.name)
        .map_err(|error| bad(format!("{:?} is no domain name: {error}", question.name)))?;
    name.set_fqdn(true);
    let kind = question
        .r#type
        .as_deref()
        .unwrap_or("A")
        .to_ascii_uppercase();
    let kind =
        RecordType::from_str(&kind).map_err(|_| bad(format!("{kind:?} is no record type")))?;
    let (client, subnet) = whence(question.from.as_deref())?;
    let query = answer::Query {
        name: &name,
        record_type: kind,
        class: DNSClass::IN,
        client,
        subnet,
        dnssec_ok: false,
    };
    let published = api.served.published.load();
    let (snapshot, labels, now) = (&published.snapshot, &published.labels, clock::unix());
    let given = answer::answer(snapshot, labels, now, &query);
    let mut trace = answer::trace(snapshot, labels, now, &query);
    if let Some((relay, steering)) = question.relay.as_deref().zip(trace.steering.as_mut())
        && !steering.relays.is_empty()
    {
        steering.relays.retain(|known| known.relay == relay);
        if steering.relays.is_empty() {
            return Err(Refused(
                StatusCode::NOT_FOUND,
                format!("no relay {relay} is configured"),
            ));
        }
    }
    let texts = |records: &[Record]| records.iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(Json(json!({
        "name": name.to_string(),
        "type": kind.to_string(),
        "serial": snapshot.serial(),
        "rcode": Code::from(given.rcode).as_str(),
        "authoritative": given.authoritative,
        "answers": texts(&given.answers),
        "authorities": texts(&given.authorities),
        "additionals": texts(&given.additionals),
        "scope": given.scope,
        "trace": trace,
    })))
}

/// Where a configuration comes from.
#[derive(Debug, Deserialize)]
struct Offered {
    /// The file's path: messages name it, and what it refers to is looked for beside it.
    name: String,
}

async fn compare(
    State(api): State<Api>,
    Query(Offered { name }): Query<Offered>,
    text: String,
) -> Result<Json<Judgement>, Refused> {
    let reading = tokio::task::spawn_blocking(move || Config::parse(&File::new(name, text)));
    let config = reading.await.map_err(|_| Ending)?;
    let config = config.map_err(|errors| bad(errors.to_string()))?;
    Ok(Json(order(&api, Task::Compare(Box::new(config))).await?))
}

async fn look(State(api): State<Api>) -> Result<Json<Judgement>, Refused> {
    Ok(Json(order(&api, Task::Look).await?))
}

/// Whether it is meant.
#[derive(Debug, Deserialize)]
struct Meant {
    #[serde(default)]
    confirm: bool,
}

async fn reload(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Query(Meant { confirm }): Query<Meant>,
) -> Result<(StatusCode, Json<Judgement>), Refused> {
    tracing::info!(target: "audit", who = caller.name(), confirm, "reload ordered");
    let judgement = order(&api, Task::Reload { insisted: confirm }).await?;
    let status = if judgement.taken {
        StatusCode::OK
    } else {
        StatusCode::CONFLICT
    };
    Ok((status, Json(judgement)))
}

/// Nobody else may have the sockets: not over HTTP, and not with less than this daemon's rights.
async fn hand_over(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    mut request: Request,
) -> Result<Response, Refused> {
    if !caller.is_own() {
        let what = "only this daemon's own user takes its place".to_owned();
        return Err(Refused(StatusCode::FORBIDDEN, what));
    }
    let protocol = request.headers().get(header::UPGRADE);
    if protocol.is_none_or(|protocol| protocol != handover::PROTOCOL) {
        let what = format!(
            "upgrade to {} to be handed anything over",
            handover::PROTOCOL
        );
        return Err(Refused(StatusCode::UPGRADE_REQUIRED, what));
    }
    tracing::info!(target: "audit", who = caller.name(), "hand-over asked for");
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade
            .await
            .map(hyper::upgrade::Upgraded::downcast::<TokioIo<UnixStream>>)
        {
            Ok(Ok(parts)) => {
                let stream = parts.io.into_inner();
                api.giving.offer(stream, &parts.read_buf).await;
            }
            // Over HTTP nobody comes this far.
            Ok(Err(_)) => {}
            Err(error) => handover::given_up(&error),
        }
    });
    let granted = [
        (header::CONNECTION, "upgrade"),
        (header::UPGRADE, handover::PROTOCOL),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, granted).into_response())
}

async fn order(api: &Api, task: Task) -> Result<Judgement, Refused> {
    let (reply, answer) = oneshot::channel();
    let sent = api.orders.send(Order { task, reply }).await;
    sent.map_err(|_| Ending)?;
    answer.await.map_err(|_| Ending)?.map_err(bad)
}

/// An address is a resolver's; a network is what a resolver says of its client.
fn whence(from: Option<&str>) -> Result<(IpAddr, Option<IpNet>), Refused> {
    let nobody = IpAddr::from([0; 4]);
    match from {
        None => Ok((nobody, None)),
        Some(text) => match (text.parse::<IpAddr>(), text.parse::<IpNet>()) {
            (Ok(address), _) => Ok((address, None)),
            (_, Ok(network)) => Ok((nobody, Some(network.trunc()))),
            _ => Err(bad(format!("{text:?} is no IP address and no network"))),
        },
    }
}
