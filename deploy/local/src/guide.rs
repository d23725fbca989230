//! The text printed when the cluster is up: commands that work as they stand.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::event::{Ready, RelayFacts};

/// What to try, with every address, key and process id filled in. `first` is the relay that the
/// credential's lane a names first, if one is known.
pub fn guide(ready: &Ready, first: Option<&RelayFacts>) -> String {
    let text_of = |pointer: &str| ready.credential.pointer(pointer).and_then(Value::as_str);
    let lane = |lane: &str| {
        text_of(&format!("/lanes/{lane}"))
            .map_or_else(|| format!("{lane}.{}", ready.zone), str::to_owned)
    };
    let username = text_of("/iceServers/0/username").unwrap_or_default();
    let credential = text_of("/iceServers/0/credential").unwrap_or_default();
    let mut out = String::new();
    let _ = writeln!(
        out,
        "Turnfleet is up: {} relays, {} name servers, in {:.1} s. Files: {}",
        ready.relays.len(),
        ready.dns_servers.len(),
        Duration::from_millis(ready.took_ms).as_secs_f64(),
        short(&ready.dir),
    );
    if let Some(relay) = ready.relays.first() {
        let _ = writeln!(
            out,
            "\nAsk any relay for credentials:\n  \
             curl -s -H 'Authorization: Bearer {}' 'http://{}/v1/credentials?user=alice'\n\
             This one was just issued:\n  username    {username}\n  credential  {credential}\n  \
             lane a      {}\n  lane b      {}",
            ready.api_key,
            relay.rest,
            lane("a"),
            lane("b"),
        );
    }
    let Some(server) = ready.dns_servers.first() else {
        return out;
    };
    let dig = format!(
        "dig @{} -p {} +short {}",
        server.address.ip(),
        server.address.port(),
        lane("a")
    );
    let relay_port = ready
        .relays
        .first()
        .map_or(3478, |relay| relay.address.port());
    let (peer, port) = (ready.peer.ip(), ready.peer.port());
    let _ = writeln!(
        out,
        "\nResolve it as a client does:\n  {dig}\n\
         Send traffic through the relay it names (turnutils are part of coturn):\n  \
         turnutils_peer -L {peer} -p {port} &\n  \
         turnutils_uclient -c -n 100 -u '{username}' -w '{credential}' -e {peer} -r {port} \
         -p {relay_port} \"$({dig} | head -1)\""
    );
    let shown = first.or_else(|| ready.relays.first());
    if let Some(relay) = shown {
        let _ = writeln!(
            out,
            "\nKill {} ({}, {}), which lane a names first, watch the table, and ask dig again:\n  \
             kill -9 {}\n\
             kill -STOP hangs it, kill -TERM drains it. Start it again:\n  {}",
            relay.id,
            relay.vendor,
            relay.zone,
            relay.pid,
            relay
                .command
                .iter()
                .map(|word| short(Path::new(word)))
                .collect::<Vec<_>>()
                .join(" "),
        );
    }
    if let (Some(program), Some(relay)) = (server.command.first(), shown) {
        let _ = writeln!(
            out,
            "Ask {} why it judges as it does:\n  {} explain {} --control {}",
            server.id,
            short(Path::new(program)),
            relay.id,
            short(&server.control),
        );
    }
    out
}

/// `path` from the current directory where that is shorter to read, as one word of a shell.
fn short(path: &Path) -> String {
    let current = std::env::current_dir().unwrap_or_default();
    let inside = path
        .strip_prefix(&current)
        .ok()
        .filter(|rest| !rest.as_os_str().is_empty());
    let text = inside.unwrap_or(path).display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word_of_a_shell() {
        assert_eq!(short(Path::new("/opt/run-1/x.toml")), "/opt/run-1/x.toml");
        assert_eq!(short(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
