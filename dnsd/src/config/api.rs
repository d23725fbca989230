//! `[api]`: orders and views over HTTP on loopback, and the tokens that open it.

use std::net::SocketAddr;

use settings::{Spanned, Table};

use super::node::Node;
use crate::api::door::Token;
use crate::limits::{API_TOKEN_MIN, API_TOKENS};

/// Longest name of a token, in bytes.
const NAME_MAX: usize = 32;

/// `[api]`: without it there is only the control socket.
#[derive(Debug, Clone)]
pub struct HttpApi {
    /// Where it is served: a loopback address.
    pub listen: SocketAddr,
    /// What opens it.
    pub tokens: Vec<Token>,
}

/// The section, if the file has it; `Err` if it could not be read.
pub(super) fn api(root: &mut Table<'_>, node: Option<&Node>) -> Result<Option<HttpApi>, ()> {
    if !root.has("api") {
        return Ok(None);
    }
    let mut table = root.table("api").ok_or(())?;
    read(&mut table, node).map(Some).ok_or(())
}

fn read(table: &mut Table<'_>, node: Option<&Node>) -> Option<HttpApi> {
    let listen = table.required::<SocketAddr>("listen");
    let every = table.tables("tokens");
    if every.is_empty() {
        let what = "`api.tokens` is empty: nobody could ask for anything";
        let help = "add [[api.tokens]] with name = \"ci\" and token_file = \"path\"";
        table.error(table.key_span("tokens"), what, help);
    }
    if every.len() > API_TOKENS {
        let what = format!("more than {API_TOKENS} tokens");
        table.error(table.key_span("tokens"), what, "remove some");
    }
    let mut tokens: Vec<Token> = Vec::new();
    let mut complete = true;
    for mut one in every {
        let name = one.required_parsed("name", "1 to 32 letters, digits, - or _", "\"ci\"", name);
        let secret = one.required_secret("token", API_TOKEN_MIN);
        let (Some(name), Some(secret)) = (name, secret) else {
            complete = false;
            continue;
        };
        let token = Token::new(&name.value, secret.value.expose());
        if tokens.iter().any(|other| other.name == token.name) {
            let what = format!("{:?} is in `api.tokens` twice", name.value);
            table.error(name.span, what, "give every token a name of its own");
        } else if let Some(same) = tokens.iter().find(|other| other.is_same(&token)) {
            let what = format!(
                "the tokens {:?} and {:?} are the same",
                same.name, token.name
            );
            table.error(secret.span, what, "make one with: openssl rand -base64 48");
        }
        tokens.push(token);
    }
    let listen = listen?;
    reachable_by_nobody_else(table, listen, node);
    complete.then_some(HttpApi {
        listen: listen.value,
        tokens,
    })
}

fn name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if text.is_empty() || text.len() > NAME_MAX || !text.bytes().all(fits) {
        return Err(format!(
            "it has 1 to {NAME_MAX} letters, digits, hyphens and underscores"
        ));
    }
    Ok(text.to_owned())
}

/// It speaks without TLS, so nobody but this machine may hear it.
fn reachable_by_nobody_else(table: &Table<'_>, listen: Spanned<SocketAddr>, node: Option<&Node>) {
    let address = listen.value;
    if !address.ip().is_loopback() || address.port() == 0 {
        let what = format!("`api.listen` is {address}: the API is served without TLS");
        let help = "write a loopback address and a port, such as \"127.0.0.1:9654\"";
        table.error(listen.span, what, help);
    }
    let taken = match node {
        Some(node) if node.listen.contains(&address) => "node.listen",
        Some(node) if node.admin == Some(address) => "node.admin",
        _ => return,
    };
    let what = format!("`api.listen` is {address}, which `{taken}` has taken");
    table.error(listen.span, what, "choose another port");
}
