//! The client side of the control socket.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::limits::{HTTP_BODY, HTTP_TIMEOUT};

/// Why the daemon could not be asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing listens on the socket.
    #[error("no dnsd is running behind {}: {source}", path.display())]
    Absent {
        /// The control socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket is there, but not for this user.
    #[error("{} may not be used by this user: {source}", path.display())]
    Forbidden {
        /// The control socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon did not answer in time.
    #[error("the daemon behind {} does not answer", path.display())]
    Silent {
        /// The control socket.
        path: PathBuf,
    },
    /// The daemon broke the exchange off.
    #[error("the daemon's answer could not be read: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The daemon refused, and this is what it said.
    #[error("{0}")]
    Refused(String),
}

/// Asks for `path` (with its query) and returns the body of a successful answer.
pub async fn get(socket: &Path, path: &str) -> Result<Bytes, Error> {
    bounded(socket, Request::get(path).body(Full::default())).await
}

/// Gives `body` to `path` (with its query) and returns the body of a successful answer.
pub async fn post(socket: &Path, path: &str, body: String) -> Result<Bytes, Error> {
    bounded(socket, Request::post(path).body(Full::from(body))).await
}

type Asked = Result<Request<Full<Bytes>>, hyper::http::Error>;

async fn bounded(socket: &Path, request: Asked) -> Result<Bytes, Error> {
    match timeout(HTTP_TIMEOUT, exchange(socket, request)).await {
        Ok(result) => result,
        Err(_) => Err(Error::Silent {
            path: socket.to_owned(),
        }),
    }
}

/// Asks for `path` and for another protocol on the connection from then on.
pub async fn upgrade(
    socket: &Path,
    path: &str,
    protocol: &'static str,
) -> Result<UnixStream, Error> {
    let request = Request::post(path)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, protocol)
        .body(Full::default());
    let asked = async {
        let response = answered(socket, request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(response).await);
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(broken)?;
        let parts = upgraded.downcast::<TokioIo<UnixStream>>();
        let parts = parts.map_err(|_| broken("the connection is of another kind"))?;
        Ok(parts.io.into_inner())
    };
    timeout(HTTP_TIMEOUT, asked).await.unwrap_or_else(|_| {
        let path = socket.to_owned();
        Err(Error::Silent { path })
    })
}

/// The head of the answer to a request; its body follows while it is read.
async fn answered(socket: &Path, request: Asked) -> Result<Response<Incoming>, Error> {
    let stream = UnixStream::connect(socket).await.map_err(|source| {
        let path = socket.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Error::Forbidden { path, source },
            _ => Error::Absent { path, source },
        }
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // Ends with the daemon's answer, which is one to each connection.
    tokio::spawn(connection.with_upgrades());
    let mut request = request.map_err(broken)?;
    let host = header::HeaderValue::from_static("dnsd");
    request.headers_mut().insert(header::HOST, host);
    let json = header::HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    sender.send_request(request).await.map_err(broken)
}

async fn exchange(socket: &Path, request: Asked) -> Result<Bytes, Error> {
    let response = answered(socket, request).await?;
    let status = response.status();
    let body = body(response).await?;
    let said = serde_json::from_slice::<serde_json::Value>(&body).ok();
    let error = said.as_ref().and_then(|said| said["error"].as_str());
    // What is not done may say in full what doing it would have meant.
    let told = status == StatusCode::CONFLICT && said.is_some() && error.is_none();
    if status == StatusCode::OK || told {
        return Ok(body);
    }
    Err(told_otherwise(status, error))
}

async fn body(response: Response<Incoming>) -> Result<Bytes, Error> {
    let body = Limited::new(response.into_body(), HTTP_BODY).collect();
    Ok(body.await.map_err(Error::Broken)?.to_bytes())
}

async fn refused(response: Response<Incoming>) -> Error {
    let status = response.status();
    let said = match body(response).await {
        Ok(body) => serde_json::from_slice::<serde_json::Value>(&body).ok(),
        Err(error) => return error,
    };
    told_otherwise(
        status,
        said.as_ref().and_then(|said| said["error"].as_str()),
    )
}

fn told_otherwise(status: StatusCode, error: Option<&str>) -> Error {
    let status = || format!("the daemon answered {status}");
    Error::Refused(error.map_or_else(status, str::to_owned))
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Broken(error.into())
}
