//! What the cluster tells: one event per happening, printed for people or as one JSON line each.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// An event with the moment it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    /// Milliseconds since 1970 by this machine's clock.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Stamped {
    /// `event`, seen now.
    pub fn now(event: Event) -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            event,
        }
    }
}

/// Everything a watcher may want to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The processes are being started.
    Starting {
        /// Run directory.
        dir: PathBuf,
        /// How many relays.
        relays: usize,
        /// How many name servers.
        dnsds: usize,
    },
    /// Every name server answers and calls every relay up.
    Ready(Box<Ready>),
    /// A name server changed its mind about a relay.
    Verdict {
        /// Name server id.
        dnsd: String,
        /// Relay id.
        relay: String,
        /// How the relay stands, such as `up` or `down`.
        state: String,
        /// Why, such as `unreachable`.
        reason: String,
    },
    /// A name server began or ceased to tell what it sees.
    Watching {
        /// Name server id.
        dnsd: String,
        /// Whether it tells.
        answers: bool,
    },
    /// A process ended without being asked to; it is not started again.
    Exited {
        /// Relay or name server id.
        process: String,
        /// Process id it had.
        pid: u32,
        /// Exit code, if it exited.
        code: Option<i32>,
        /// Signal number, if one ended it.
        signal: Option<i32>,
    },
    /// Everything is being stopped.
    Stopping {
        /// Why.
        reason: String,
    },
    /// Everything has stopped.
    Stopped,
    /// The cluster cannot start or go on.
    Error {
        /// What went wrong.
        message: String,
        /// What to do about it.
        help: String,
    },
}

/// All facts of a running cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Zone the name servers serve.
    pub zone: String,
    /// Run directory.
    pub dir: PathBuf,
    /// Milliseconds from the start of the first process to this moment.
    pub took_ms: u64,
    /// Bearer key for the credentials endpoint of every relay.
    pub api_key: String,
    /// Where an echo peer for experiments may listen.
    pub peer: SocketAddrV4,
    /// Name servers.
    pub dns_servers: Vec<DnsdFacts>,
    /// Relays.
    pub relays: Vec<RelayFacts>,
    /// A credential as the first relay's REST endpoint issued it.
    pub credential: serde_json::Value,
}

/// One running name server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsdFacts {
    /// Id, and name below the zone.
    pub id: String,
    /// Process id.
    pub pid: u32,
    /// DNS over UDP and TCP.
    pub address: SocketAddrV4,
    /// Health and metrics over HTTP.
    pub admin: SocketAddrV4,
    /// Control socket.
    pub control: PathBuf,
    /// Configuration file.
    pub config: PathBuf,
    /// Log file.
    pub log: PathBuf,
    /// Command line that starts it again.
    pub command: Vec<String>,
}

/// One running relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayFacts {
    /// Id, and name below the zone.
    pub id: String,
    /// Process id.
    pub pid: u32,
    /// TURN over UDP.
    pub address: SocketAddrV4,
    /// Region id.
    pub region: String,
    /// Availability zone id.
    pub zone: String,
    /// Vendor id.
    pub vendor: String,
    /// Credentials over HTTP.
    pub rest: SocketAddrV4,
    /// Health and metrics over HTTP.
    pub admin: SocketAddrV4,
    /// Configuration file.
    pub config: PathBuf,
    /// Log file.
    pub log: PathBuf,
    /// Command line that starts it again.
    pub command: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_json_object() {
        let stamped = Stamped {
            at_ms: 7,
            event: Event::Exited {
                process: "fra-1".into(),
                pid: 9,
                code: None,
                signal: Some(9),
            },
        };
        let line = serde_json::to_string(&stamped).unwrap();
        assert_eq!(
            line,
            r#"{"at_ms":7,"event":"exited","process":"fra-1","pid":9,"code":null,"signal":9}"#
        );
        assert_eq!(serde_json::from_str::<Stamped>(&line).unwrap(), stamped);
        let stopped = Stamped {
            at_ms: 8,
            event: Event::Stopped,
        };
        let line = serde_json::to_string(&stopped).unwrap();
        assert_eq!(serde_json::from_str::<Stamped>(&line).unwrap(), stopped);
    }
}
