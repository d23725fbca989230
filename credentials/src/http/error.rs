//! Errors of the REST surface: a status, a code for programs, and a sentence for people.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// `{"error": code, "detail": sentence[, "parameter": name]}` with its status and headers.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    body: Body,
    header: Option<Header>,
}

/// The header that some errors come with.
#[derive(Debug)]
enum Header {
    WwwAuthenticate(&'static str),
    /// In seconds.
    RetryAfter(u8),
}

#[derive(Debug, Serialize)]
struct Body {
    error: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'static str>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, error: &'static str, detail: &str) -> Self {
        let body = Body {
            error,
            detail: detail.to_owned(),
            parameter: None,
        };
        Self {
            status,
            body,
            header: None,
        }
    }

    /// A parameter that makes no sense.
    pub(super) fn parameter(name: &'static str, what: &str) -> Self {
        let detail = format!("{name}: {what}");
        let mut error = Self::new(StatusCode::BAD_REQUEST, "bad_parameter", &detail);
        error.body.parameter = Some(name);
        error
    }

    /// No key (RFC 6750, 3: then no error code in the challenge), or a wrong one.
    pub(super) fn unauthorized(presented: bool) -> Self {
        let (detail, challenge) = if presented {
            ("unknown API key", "Bearer error=\"invalid_token\"")
        } else {
            ("send an API key as Authorization: Bearer <key>", "Bearer")
        };
        let mut error = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        error.header = Some(Header::WwwAuthenticate(challenge));
        error
    }

    /// A key that draws too many.
    pub(super) fn too_many(detail: &str, retry_after: u8) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail).retry(retry_after)
    }

    /// Not now.
    pub(super) fn busy(detail: &str, retry_after: u8) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry(retry_after)
    }

    fn retry(mut self, seconds: u8) -> Self {
        self.header = Some(Header::RetryAfter(seconds));
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let (name, value) = match self.header {
            None => return response,
            Some(Header::WwwAuthenticate(challenge)) => (
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            ),
            Some(Header::RetryAfter(seconds)) => {
                (header::RETRY_AFTER, HeaderValue::from(u16::from(seconds)))
            }
        };
        response.headers_mut().insert(name, value);
        response
    }
}
