//! What is asked for: parameters of the query, a form or a JSON object, each checked by name.

use std::net::{IpAddr, SocketAddr};

use axum::body::{Body, to_bytes};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use serde_json::Value;

use super::error::ApiError;
use super::limits;

/// Which of the two routes' words are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    IceServers,
    TurnRest,
}

impl Style {
    /// What the user id's parameter is called.
    pub(super) fn user(self) -> &'static str {
        match self {
            Self::IceServers => "user",
            Self::TurnRest => "username",
        }
    }
}

/// All parameters as they came, in order, query first.
#[derive(Debug, Default)]
pub(super) struct Given(Vec<(String, String)>);

impl Given {
    fn form(&mut self, text: &[u8]) {
        self.0.extend(form_urlencoded::parse(text).into_owned());
    }

    /// A JSON object's members; a list is its entries under one name.
    fn json(&mut self, body: &[u8]) -> Result<(), ApiError> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::parameter("body", &format!("not JSON: {error}")))?;
        let Value::Object(members) = body else {
            return Err(ApiError::parameter("body", "not a JSON object"));
        };
        for (name, value) in members {
            let values = match value {
                Value::Array(values) => values,
                value => vec![value],
            };
            for value in values {
                let text = match value {
                    Value::Null => continue,
                    Value::String(text) => text,
                    Value::Number(number) => number.to_string(),
                    _ => {
                        let what = format!("{name:?} is not a text, a number or a list of them");
                        return Err(ApiError::parameter("body", &what));
                    }
                };
                self.0.push((name.clone(), text));
            }
        }
        Ok(())
    }

    /// All values of a parameter that say something.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(given, _)| given == name);
        named
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The one value of a parameter; it may be there several times (query and body) if they agree.
    fn one<'a>(&'a self, name: &'static str) -> Result<Option<&'a str>, ApiError> {
        let mut values = self.all(name);
        let first = values.next();
        if values.any(|value| Some(value) != first) {
            return Err(ApiError::parameter(
                name,
                "given twice with different values",
            ));
        }
        Ok(first)
    }

    /// The draft's `key`.
    pub(super) fn key(&self) -> Result<Option<&str>, ApiError> {
        self.one("key")
    }
}

/// Reads the query, and a POST's body of at most [`limits::REQUEST_BYTES`] bytes.
pub(super) async fn collect(parts: &Parts, body: Body) -> Result<Given, ApiError> {
    let mut given = Given::default();
    let query = parts.uri.query().unwrap_or_default();
    if query.len() > limits::REQUEST_BYTES {
        let detail = format!("the query is longer than {} bytes", limits::REQUEST_BYTES);
        return Err(ApiError::new(StatusCode::URI_TOO_LONG, "too_long", &detail));
    }
    given.form(query.as_bytes());
    if parts.method != Method::POST {
        return Ok(given);
    }
    // The only ways to fail are a body over the cap and a caller that is gone.
    let body = to_bytes(body, limits::REQUEST_BYTES).await.map_err(|_| {
        let detail = format!("the body is longer than {} bytes", limits::REQUEST_BYTES);
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_long", &detail)
    })?;
    let kind = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let json = kind.is_some_and(|kind| kind.trim_start().starts_with("application/json"));
    let body = body.trim_ascii();
    // `curl -d '{…}'` calls JSON a form; no form begins like that.
    if (json && !body.is_empty()) || body.starts_with(b"{") {
        given.json(body)?;
    } else {
        given.form(body);
    }
    Ok(given)
}

/// A request that makes sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) user: Option<String>,
    /// Seconds.
    pub(super) ttl: Option<u32>,
    pub(super) client: Option<IpAddr>,
    pub(super) region: Option<String>,
    pub(super) failed: [Option<IpAddr>; 2],
}

impl Ask {
    pub(super) fn read(given: &Given, style: Style) -> Result<Self, ApiError> {
        if style == Style::TurnRest && given.one("service")? != Some("turn") {
            return Err(ApiError::parameter(
                "service",
                "must be there and be \"turn\"",
            ));
        }
        let ttl = given.one("ttl")?.map(|text| {
            text.parse().ok().filter(|&ttl| ttl > 0).ok_or_else(|| {
                ApiError::parameter("ttl", "not a whole number of seconds from 1 to 4294967295")
            })
        });
        let client = given.one("client")?.map(|text| {
            let address = text.parse().map(|address: IpAddr| address.to_canonical());
            address.map_err(|_| ApiError::parameter("client", "not an IP address"))
        });
        Ok(Self {
            user: given.one(style.user())?.map(str::to_owned),
            ttl: ttl.transpose()?,
            client: client.transpose()?,
            region: given.one("region")?.map(region).transpose()?,
            failed: failed(given)?,
        })
    }
}

/// A region's id has the shape of a DNS label; whether there is such a region only dnsd knows.
fn region(text: &str) -> Result<String, ApiError> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if text.len() > 63 || !text.bytes().all(letter) {
        let what = "not a region's id: at most 63 letters, digits and hyphens";
        return Err(ApiError::parameter("region", what));
    }
    Ok(text.to_ascii_lowercase())
}

/// The first two distinct relays that failed; all are checked.
fn failed(given: &Given) -> Result<[Option<IpAddr>; 2], ApiError> {
    let mut failed = [None; 2];
    for text in given.all("failed") {
        let what = "not an IP address, or an IP address and port";
        let address = address(text).ok_or_else(|| ApiError::parameter("failed", what))?;
        if failed.contains(&Some(address)) {
            continue;
        }
        if let Some(free) = failed.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(address);
        }
    }
    Ok(failed)
}

/// `192.0.2.1`, `192.0.2.1:3478`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:3478`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let bracketed = || {
        text.strip_prefix('[')?
            .strip_suffix(']')?
            .parse()
            .ok()
            .map(IpAddr::V6)
    };
    bare()
        .or_else(with_port)
        .or_else(bracketed)
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_all_their_forms() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:3478", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:3478", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:3478", "192.0.2.1"),
        ] {
            assert_eq!(address(text), expected.parse().ok(), "{text}");
        }
        for text in [
            "",
            "relay",
            "192.0.2",
            "[192.0.2.1]",
            "192.0.2.1:",
            "[2001:db8::1]:99999",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
    }
}
