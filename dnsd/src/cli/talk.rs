//! What is said to the running daemon over its control socket, and what it answers.

use std::path::Path;
use std::process::ExitCode;

use hyper::body::Bytes;
use serde_json::Value;

use super::{Daemon, FAILURE, fail, show, wrong};
use crate::api::client;
use crate::config::Config;
use crate::{orders, revoking};

/// Has the running daemon judge a configuration, and prints how it did.
pub(super) fn taken(
    daemon: &Daemon,
    path: &str,
    body: String,
    json: bool,
    readable: fn(&Value) -> String,
) -> ExitCode {
    match posted(daemon, path, body) {
        Ok(value) => {
            let shown = show(&value, json, readable);
            if value["taken"] == true {
                shown
            } else {
                ExitCode::from(FAILURE)
            }
        }
        Err(code) => code,
    }
}

/// What the running daemon answers to a request that changes or judges something.
fn posted(daemon: &Daemon, path: &str, body: String) -> Result<Value, ExitCode> {
    exchange(daemon, async |socket| {
        client::post(socket, path, body).await
    })
}

/// Has the running daemon decide as people want, and prints what that does.
pub(super) fn decided(daemon: &Daemon, body: String, json: bool) -> ExitCode {
    tell(daemon, orders::PATH, body, json, orders::made)
}

/// Has the running daemon revoke or reinstate, and prints that.
pub(super) fn revoked(daemon: &Daemon, body: String, json: bool) -> ExitCode {
    tell(daemon, revoking::PATH, body, json, revoking::done)
}

fn tell(
    daemon: &Daemon,
    path: &str,
    body: String,
    json: bool,
    readable: fn(&Value) -> String,
) -> ExitCode {
    match posted(daemon, path, body) {
        Ok(value) => show(&value, json, readable),
        Err(code) => code,
    }
}

/// Asks the running daemon and prints its answer: as it came, or made readable.
pub(super) fn ask(
    daemon: &Daemon,
    path: &str,
    json: bool,
    readable: fn(&Value) -> String,
) -> ExitCode {
    match exchange(daemon, async |socket| client::get(socket, path).await) {
        Ok(value) => show(&value, json, readable),
        Err(code) => code,
    }
}

/// One exchange with the running daemon; what went wrong has been told.
fn exchange(
    daemon: &Daemon,
    asking: impl AsyncFnOnce(&Path) -> Result<Bytes, client::Error>,
) -> Result<Value, ExitCode> {
    let socket = match &daemon.control {
        Some(socket) => socket.clone(),
        None => match Config::outline(&daemon.file.config) {
            Ok(config) => config.node.control,
            Err(errors) => return Err(wrong(&errors)),
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| fail(&error))?;
    let body = runtime
        .block_on(asking(&socket))
        .map_err(|error| fail(&error))?;
    serde_json::from_slice(&body).map_err(|error| fail(&error))
}
