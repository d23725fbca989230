//! What each name server thinks of each relay: asked for all the time, one thread per name server.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::event::Event;

/// Pause between two looks at one name server.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a name server may take to tell.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most bytes of one status document.
const STATUS_BYTES: u64 = 4 << 20;
/// What is asked on the control socket. HTTP 1.0, whose answer ends with the connection.
const REQUEST: &str = "GET /v1/relays HTTP/1.0\r\nHost: dnsd\r\n\r\n";

/// One name server's verdict on one relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The state's name, such as `up` or `forced_down`.
    pub state: String,
    /// Why, such as `silent` or `echo_fails`.
    pub reason: String,
}

/// One name server's verdicts by relay id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen(BTreeMap<String, Verdict>);

impl Seen {
    /// Whether `relay` is called up.
    pub fn is_up(&self, relay: &str) -> bool {
        self.0
            .get(relay)
            .is_some_and(|verdict| verdict.state == "up")
    }
}

/// The latest word of one name server; none when it did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Name server id.
    pub dnsd: String,
    /// What it sees.
    pub seen: Option<Seen>,
}

/// Watches the name server `dnsd` on its control socket until the receiving end is gone.
pub fn start(dnsd: &str, control: PathBuf, sender: Sender<Update>) {
    let dnsd = dnsd.to_owned();
    thread::spawn(move || {
        loop {
            let seen = look(&control).ok().and_then(|status| seen(&status));
            if sender
                .send(Update {
                    dnsd: dnsd.clone(),
                    seen,
                })
                .is_err()
            {
                return;
            }
            thread::sleep(PAUSE);
        }
    });
}

fn look(control: &Path) -> io::Result<Value> {
    let mut stream = UnixStream::connect(control)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST.as_bytes())?;
    let mut text = String::new();
    stream.take(STATUS_BYTES).read_to_string(&mut text)?;
    let (_, body) = text
        .split_once("\r\n\r\n")
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(serde_json::from_str(body)?)
}

/// Reads a name server's status document.
fn seen(status: &Value) -> Option<Seen> {
    let text = |relay: &Value, key: &str| Some(relay.get(key)?.as_str()?.to_owned());
    let relays = status
        .get("relays")?
        .as_array()?
        .iter()
        .filter_map(|relay| {
            let verdict = Verdict {
                state: text(relay, "state")?,
                reason: text(relay, "reason")?,
            };
            Some((text(relay, "relay")?, verdict))
        });
    Some(Seen(relays.collect()))
}

/// The news between two looks at the name server `dnsd`.
pub fn changes(dnsd: &str, before: Option<&Seen>, after: Option<&Seen>) -> Vec<Event> {
    let mut events = Vec::new();
    if before.is_some() != after.is_some() {
        events.push(Event::Watching {
            dnsd: dnsd.to_owned(),
            answers: after.is_some(),
        });
    }
    let nothing = Seen::default();
    let before = before.unwrap_or(&nothing);
    for (relay, verdict) in after.iter().flat_map(|seen| &seen.0) {
        // A reason carries figures that move all the time; the state alone is news.
        if before
            .0
            .get(relay)
            .is_none_or(|old| old.state != verdict.state)
        {
            events.push(Event::Verdict {
                dnsd: dnsd.to_owned(),
                relay: relay.clone(),
                state: verdict.state.clone(),
                reason: verdict.reason.clone(),
            });
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_changed_verdicts_are_news() {
        let look = |a: (&str, &str), b: (&str, &str)| {
            let relay = |id: &str, (state, reason): (&str, &str)| json!({"relay": id, "state": state, "reason": reason});
            seen(&json!({"relays": [relay("a-1", a), relay("b-1", b)]})).unwrap()
        };
        let up = ("up", "healthy");
        let (first, same, other) = (
            look(up, up),
            look(up, up),
            look(("down", "unreachable"), up),
        );
        assert!(first.is_up("a-1") && !other.is_up("a-1") && !first.is_up("c-1"));
        assert_eq!(changes("ns1", Some(&first), Some(&same)), []);
        let news = changes("ns1", Some(&same), Some(&other));
        assert!(matches!(&news[..], [Event::Verdict { relay, state, .. }]
            if relay == "a-1" && state == "down"));
        let gone = changes("ns1", Some(&other), None);
        assert_eq!(
            gone,
            [Event::Watching {
                dnsd: "ns1".into(),
                answers: false
            }]
        );
        assert_eq!(changes("ns1", None, Some(&other)).len(), 3);
    }
}
