//! The REST surface: what issues, what it is told, and the routes.
//!
//! * `GET|POST /v1/credentials` answers in the shape of `RTCIceServer` (W3C WebRTC 1.0, 4.2.4).
//! * `GET|POST /?service=turn` answers in the shape of draft-uberti-behave-turn-rest-00.
//!
//! Both take an API key as `Authorization: Bearer`; the draft's route also takes `key=`. Parameters
//! stand in the query, in a form or in a JSON object; unknown ones are ignored, so that older
//! relays of a fleet serve newer callers. The user id in the credential is `<API key id>/<user>`, so
//! that tenants share no quota and can be revoked as a whole; who is given no user gets one drawn at
//! random. Every answer hands out fresh labels below both lanes, one for each transport, made from
//! one draw; `lanes` names one more each, for callers that put URLs together themselves.

mod answer;
mod auth;
mod error;
mod params;
mod rate;
mod uris;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::Semaphore;

use crate::label::LabelKeys;
use crate::{Secret, SecretRing, TtlPolicy, UnixTime};
use answer::Answer;
use error::ApiError;
use params::{Ask, Style};

pub use uris::Ports;

/// Hard caps of the REST surface.
pub mod limits {
    use std::time::Duration;

    /// Most bytes of a request's body, and of its query.
    pub const REQUEST_BYTES: usize = 4096;
    /// Most requests worked on at one time; one more is told to come back.
    pub const CONCURRENT: usize = 256;
    /// How long a request may take, its body included.
    pub const REQUEST_TIME: Duration = Duration::from_secs(5);
    /// Most API keys.
    pub const API_KEYS: usize = 1024;
    /// Most characters of a zone, so that `<label>.a.<zone>` is still a name (RFC 1035, 2.3.4).
    pub const ZONE_BYTES: usize = 253 - crate::label::LABEL_LEN - 3;
    /// Largest addition to `Retry-After`, in seconds, so that callers do not come back together.
    pub const RETRY_JITTER: u8 = 3;
}

/// How many credentials a key may draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per second in the long run, at least 1.
    pub per_second: u32,
    /// Requests at once after a pause.
    pub burst: u32,
}

impl Default for RateLimit {
    /// 500 a second: what a large application draws when all its calls restart.
    fn default() -> Self {
        Self {
            per_second: 500,
            burst: 1000,
        }
    }
}

/// A tenant's key to the REST surface.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// The tenant: stands before the slash of every user id it is issued, in logs and limits.
    /// Not empty, without slashes and control characters.
    pub id: String,
    /// What the caller sends.
    pub secret: Secret,
    /// How long its credentials live.
    pub ttl: TtlPolicy,
    /// How many it may draw.
    pub rate: RateLimit,
}

/// What the answers name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The zone that dnsd serves, without the dot at its end.
    pub zone: String,
    /// The relays' ports.
    pub ports: Ports,
    /// Whether to name STUN servers too (without credentials).
    pub stun: bool,
}

/// Finds the region of a client's address.
pub type Regions = Box<dyn Fn(IpAddr) -> Option<String> + Send + Sync>;

/// Everything that an answer is made from; exchanged as a whole on reload.
pub struct Issuer {
    ring: SecretRing,
    labels: LabelKeys,
    keys: Vec<auth::Known>,
    endpoint: Endpoint,
    regions: Regions,
    label_ttl: u32,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Why an [`Issuer`] cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIssuer {
    /// More than [`limits::API_KEYS`].
    #[error("{keys} API keys, at most {} are possible", limits::API_KEYS)]
    TooManyKeys {
        /// How many there were.
        keys: usize,
    },
    /// An id that is empty or holds slashes or control characters.
    #[error("`{0}` cannot be the id of an API key")]
    KeyId(String),
    /// Two keys with one id, or two ids with one key.
    #[error("the API key of `{0}` has an id or a secret that another one has already")]
    DuplicateKey(String),
    /// Not a domain name, or longer than [`limits::ZONE_BYTES`].
    #[error("`{0}` is not a zone that labels fit below")]
    Zone(String),
}

impl Issuer {
    /// Puts an issuer together. `label_ttl` is how long labels are believed, in seconds.
    ///
    /// # Errors
    /// [`InvalidIssuer`].
    pub fn new(
        ring: SecretRing,
        labels: LabelKeys,
        keys: Vec<ApiKey>,
        endpoint: Endpoint,
        regions: Regions,
        label_ttl: u32,
    ) -> Result<Self, InvalidIssuer> {
        if keys.len() > limits::API_KEYS {
            return Err(InvalidIssuer::TooManyKeys { keys: keys.len() });
        }
        let zone = &endpoint.zone;
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(letter);
        if zone.len() > limits::ZONE_BYTES || !zone.split('.').all(label) {
            return Err(InvalidIssuer::Zone(zone.clone()));
        }
        let keys: Vec<auth::Known> = keys.into_iter().map(auth::Known::new).collect();
        for (index, key) in keys.iter().enumerate() {
            let id = &key.key.id;
            if id.is_empty() || id.contains(|c: char| c == '/' || c.is_control()) {
                return Err(InvalidIssuer::KeyId(id.clone()));
            }
            if keys[..index].iter().any(|other| key.same_as(other)) {
                return Err(InvalidIssuer::DuplicateKey(id.clone()));
            }
        }
        Ok(Self {
            ring,
            labels,
            keys,
            endpoint,
            regions,
            label_ttl,
        })
    }
}

/// The world, as the router sees it.
pub trait Provider: Send + Sync + 'static {
    /// What answers are made from now.
    fn issuer(&self) -> Arc<Issuer>;
    /// The time now.
    fn now(&self) -> UnixTime;
    /// Fills `bytes` with unpredictable ones.
    fn fill(&self, bytes: &mut [u8]);
    /// Whether credentials may be issued; otherwise callers are told to come back (503).
    fn ready(&self) -> bool {
        true
    }
}

/// The router's state.
struct App {
    provider: Arc<dyn Provider>,
    buckets: rate::Buckets,
    running: Semaphore,
}

impl App {
    /// Seconds until a caller should come back: 1 and some jitter.
    fn retry_after(&self) -> u8 {
        let mut byte = [0];
        self.provider.fill(&mut byte);
        1 + byte[0] % (limits::RETRY_JITTER + 1)
    }
}

/// The routes. Nothing in them logs; put a layer around them for that, without queries or bodies.
pub fn router(provider: Arc<dyn Provider>) -> Router {
    let running = Semaphore::new(limits::CONCURRENT);
    let app = Arc::new(App {
        provider,
        buckets: rate::Buckets::default(),
        running,
    });
    Router::new()
        .route("/v1/credentials", get(ice_servers).post(ice_servers))
        .route("/", get(turn_rest).post(turn_rest))
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "not_found", "no such route"))
        .method_not_allowed_fallback(async || {
            let detail = "this route takes GET and POST";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}

/// Around every request: the caps on how many and how long, and `no-store` on every answer.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = match app.running.try_acquire() {
        Ok(_running) => {
            let answered = tokio::time::timeout(limits::REQUEST_TIME, next.run(request)).await;
            answered.unwrap_or_else(|_| {
                let detail = "the request did not arrive in time";
                ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail).into_response()
            })
        }
        Err(_) => ApiError::busy("too many requests at once", app.retry_after()).into_response(),
    };
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

/// `/v1/credentials`.
async fn ice_servers(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Json<serde_json::Value>, ApiError> {
    serve(&app, request, Style::IceServers)
        .await
        .map(|answer| Json(answer.ice_servers()))
}

/// `/`, the TURN REST draft.
async fn turn_rest(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Json<serde_json::Value>, ApiError> {
    serve(&app, request, Style::TurnRest)
        .await
        .map(|answer| Json(answer.turn_rest()))
}

/// What both routes do: who asks, how often, for what.
async fn serve(app: &App, request: Request, style: Style) -> Result<Answer, ApiError> {
    let issuer = app.provider.issuer();
    let (parts, body) = request.into_parts();
    let bearer = auth::bearer(&parts.headers)?;
    // Without a key in the query or body, nobody unknown makes us read a body.
    if style == Style::IceServers && auth::find(&issuer.keys, bearer).is_none() {
        return Err(ApiError::unauthorized(bearer.is_some()));
    }
    let given = params::collect(&parts, body).await?;
    let key = match style {
        Style::IceServers => bearer,
        Style::TurnRest => bearer.or(given.key()?),
    };
    let Some(tenant) = auth::find(&issuer.keys, key) else {
        return Err(ApiError::unauthorized(key.is_some()));
    };
    let now = app.provider.now();
    if !app.buckets.take(tenant, now) {
        let detail = format!("more than {} requests a second", tenant.rate.per_second);
        return Err(ApiError::too_many(&detail, app.retry_after()));
    }
    if !app.provider.ready() {
        return Err(ApiError::busy(
            "this relay issues no credentials now",
            app.retry_after(),
        ));
    }
    let ask = Ask::read(&given, style)?;
    let mut draw = [0; 4];
    app.provider.fill(&mut draw);
    let user = ask.user.clone().unwrap_or_else(|| {
        // Callers without a name would otherwise be one user, with one quota, each second.
        let mut id = [0; 8];
        app.provider.fill(&mut id);
        data_encoding::BASE32_NOPAD.encode(&id).to_ascii_lowercase()
    });
    let draw = u32::from_be_bytes(draw);
    Answer::new(Arc::clone(&issuer), tenant, &user, &ask, now, draw)
        .map_err(|error| ApiError::parameter(style.user(), &error.to_string()))
}
