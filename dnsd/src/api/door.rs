//! Who is let in to the HTTP API: whoever shows a token, asks for this very address, and has not
//! guessed too often.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::caller::Caller;
use super::server::Refused;
use crate::clock;
use crate::config::HttpApi;
use crate::limits::{API_FAILURES, API_RECOVERY};

/// A token: its name, and what it is known by. Hashes have one length, so comparing them tells
/// nothing about the tokens'.
#[derive(Clone)]
pub struct Token {
    /// What the record calls whoever holds it.
    pub name: Arc<str>,
    hash: [u8; 32],
}

impl Token {
    /// The token `secret` under `name`.
    pub fn new(name: &str, secret: &str) -> Self {
        Self {
            name: name.into(),
            hash: Sha256::digest(secret).into(),
        }
    }

    /// Whether both are one secret.
    pub fn is_same(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.name)
    }
}

/// The way in.
#[derive(Debug)]
pub struct Door {
    listen: SocketAddr,
    tokens: ArcSwap<Vec<Token>>,
    guesses: Mutex<Guesses>,
}

impl Door {
    /// The way in to an API as configured.
    pub fn new(api: &HttpApi) -> Self {
        Self {
            listen: api.listen,
            tokens: ArcSwap::from_pointee(api.tokens.clone()),
            guesses: Mutex::default(),
        }
    }

    /// Other tokens open it from now on.
    pub fn reload(&self, api: &HttpApi) {
        self.tokens.store(Arc::new(api.tokens.clone()));
    }

    /// Who asks; or what is answered instead.
    fn enter(&self, now: Instant, headers: &HeaderMap) -> Result<Caller, Refused> {
        let refused = |status, why: &str| Err(Refused(status, why.to_owned()));
        if !self.is_meant(headers) {
            // A page in somebody's browser whose name was made to point here.
            let why = "the Host header does not name this listener";
            return refused(StatusCode::MISDIRECTED_REQUEST, why);
        }
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        if guesses.are_spent(now) {
            let why = "too many wrong tokens lately: nobody is let in for a moment";
            return refused(StatusCode::TOO_MANY_REQUESTS, why);
        }
        if let Some(name) = self.find(bearer(headers)) {
            return Ok(Caller::Token(name));
        }
        guesses.count();
        tracing::warn!("the HTTP API was asked without a right token");
        refused(
            StatusCode::UNAUTHORIZED,
            "show a token: Authorization: Bearer TOKEN",
        )
    }

    /// Whether the request was made for this listener by name, and for no other that leads here.
    fn is_meant(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        let Some(host) = host
            .to_str()
            .ok()
            .and_then(|host| host.parse::<Authority>().ok())
        else {
            return false;
        };
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        let own = name
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip == self.listen.ip());
        (own || name.eq_ignore_ascii_case("localhost"))
            && host.port_u16().unwrap_or(80) == self.listen.port()
    }

    /// Whose token was shown. Looks at every one, so that the time tells nothing.
    fn find(&self, shown: Option<&str>) -> Option<Arc<str>> {
        let hash = Sha256::digest(shown?);
        let mut found = None;
        for token in self.tokens.load().iter() {
            if token.hash.ct_eq(hash.as_slice()).into() {
                found = Some(Arc::clone(&token.name));
            }
        }
        found
    }
}

/// The token in `Authorization: Bearer TOKEN` (RFC 6750, 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Wrong tokens lately.
#[derive(Debug, Default)]
struct Guesses {
    count: u32,
    since: Option<Instant>,
}

impl Guesses {
    /// Whether there were so many that no token is looked at.
    fn are_spent(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_nanos() / API_RECOVERY.as_nanos();
        let forgiven = u32::try_from(passed).unwrap_or(u32::MAX);
        if forgiven > 0 {
            self.count = self.count.saturating_sub(forgiven);
            self.since = Some(now);
        }
        self.count >= API_FAILURES
    }

    fn count(&mut self) {
        self.count += 1;
    }
}

/// Lets a request in with its caller, or answers it.
pub(super) async fn guard(
    State(door): State<Arc<Door>>,
    mut request: Request,
    next: Next,
) -> Response {
    match door.enter(clock::now(), request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => {
            let status = refused.0;
            let mut answer = refused.into_response();
            let headers = answer.headers_mut();
            if status == StatusCode::UNAUTHORIZED {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            if status == StatusCode::TOO_MANY_REQUESTS {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TOKEN: &str = "a token of sixteen bytes or more";

    fn door() -> Door {
        Door::new(&HttpApi {
            listen: "127.0.0.1:9654".parse().expect("address"),
            tokens: vec![Token::new("first", "another"), Token::new("ci", TOKEN)],
        })
    }

    fn enter(door: &Door, now: Instant, host: &str, token: &str) -> Result<String, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("value"));
        let shown = format!("Bearer {token}");
        headers.insert(header::AUTHORIZATION, shown.parse().expect("value"));
        let entered = door.enter(now, &headers);
        entered
            .map(|caller| caller.name())
            .map_err(|refused| refused.0.as_u16())
    }

    #[test]
    fn only_requests_for_this_very_listener_are_looked_at() {
        let (door, now) = (door(), Instant::now());
        for host in ["127.0.0.1:9654", "localhost:9654", "LOCALHOST:9654"] {
            let caller = enter(&door, now, host, TOKEN);
            assert_eq!(caller.as_deref(), Ok("http token ci"), "{host}");
        }
        for host in [
            "attacker.example:9654",
            "attacker.example",
            "127.0.0.1",
            "127.0.0.1:9655",
            "127.0.0.2:9654",
            "localhost.attacker.example:9654",
            "[::1]:9654",
            "",
        ] {
            assert_eq!(enter(&door, now, host, TOKEN), Err(421), "{host}");
        }
        let none = door.enter(now, &HeaderMap::new());
        assert_eq!(none.map_err(|refused| refused.0.as_u16()).err(), Some(421));
    }

    #[test]
    fn guessing_is_slow_and_says_nothing_meanwhile() {
        let (door, start) = (door(), Instant::now());
        let ask = |at: Duration, token: &str| enter(&door, start + at, "localhost:9654", token);
        for _ in 0..API_FAILURES {
            assert_eq!(ask(Duration::ZERO, "wrong"), Err(401));
        }
        assert_eq!(ask(Duration::ZERO, "wrong"), Err(429));
        assert_eq!(ask(Duration::ZERO, TOKEN), Err(429), "not even looked at");
        assert_eq!(ask(API_RECOVERY, "wrong"), Err(401));
        assert_eq!(ask(API_RECOVERY, "wrong"), Err(429));
        assert!(ask(API_RECOVERY * 2, TOKEN).is_ok());
        assert!(!format!("{door:?}").contains(TOKEN));
    }
}
