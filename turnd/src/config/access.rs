//! `[peers]` and `[limits]`: whom clients may talk to, and how much is taken on.

use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use settings::{BitRate, Table};

use super::limits;

/// How long a session may live by default.
const MAX_SESSION: Duration = Duration::from_hours(48);

/// What one session may carry by default, in bits per second: some forty HD video streams.
const ALLOCATION_BANDWIDTH: u64 = 100_000_000;

/// The least that may be set, in bits per second.
const LEAST_ALLOCATION_BANDWIDTH: u64 = 64_000;

/// Datagrams one session may carry per second by default: twice what the bandwidth is in full ones.
const ALLOCATION_PACKETS: u32 = 20_000;

/// Peer addresses one session may newly permit per second by default, beyond the burst.
const NEW_PEERS: u32 = 5;

/// Challenges that strangers at one address are sent at once by default.
const CHALLENGES_PER_SOURCE: u32 = 200;

/// What may be set: from one allocation lifetime to a month.
const MAX_SESSION_RANGE: RangeInclusive<Duration> =
    Duration::from_mins(10)..=Duration::from_hours(744);

/// The `[peers]` table: changes to the default, which lets clients reach globally routed unicast
/// addresses only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers {
    /// Exceptions to what is denied by default.
    pub allow: Vec<IpNet>,
    /// Denied on top; wins over `allow`.
    pub deny: Vec<IpNet>,
}

impl Peers {
    pub(super) fn build(table: &mut Table<'_>) -> Self {
        let allow = table.list::<IpNet>("allow");
        let deny = table.list::<IpNet>("deny");
        for exception in &allow {
            if let Some(denied) = deny.iter().find(|denied| denied.value == exception.value) {
                table.error(
                    exception.span,
                    format!("{} is in `peers.deny` as well", denied.value),
                    "a denial wins: keep it in one of the two",
                );
            }
        }
        let values = |list: Vec<settings::Spanned<IpNet>>| list.into_iter().map(|net| net.value);
        Self {
            allow: values(allow).collect(),
            deny: values(deny).collect(),
        }
    }
}

/// The `[limits]` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most sessions (allocations) at a time.
    pub sessions: u32,
    /// Most sessions of one user at a time.
    pub sessions_per_user: u32,
    /// Most sessions from one client address at a time (IPv6: one /64).
    pub sessions_per_source: u32,
    /// Most connections of clients over TCP, TLS and DTLS at a time.
    pub connections: u32,
    /// Most of them from one client address (IPv6: one /64).
    pub connections_per_source: u32,
    /// Longest a session may live, however often it is refreshed.
    pub max_session: Duration,
    /// Whether a session ends with the credential it was made with.
    pub strict_expiry: bool,
    /// The capacity that is reported, in bits per second of relayed payload, both directions.
    pub bandwidth: BitRate,
    /// Relayed payload of one session in bits per second, both directions together; 0 is no limit.
    pub allocation_bandwidth: BitRate,
    /// Relayed datagrams of one session per second, both directions together; 0 is no limit.
    pub allocation_packets: u32,
    /// Peer addresses that one session may newly permit per second; 0 is no limit.
    pub new_peers: u32,
    /// What strangers at one client address (IPv6: one /64) are sent at once over UDP, in challenges of
    /// the largest size; those of a network (/24, IPv6: /48) four times as much.
    pub challenges_per_source: u32,
}

impl Limits {
    pub(super) fn build(table: &mut Table<'_>) -> Self {
        let sessions = table.with_default_in("sessions", 10_000, 1..=limits::SESSIONS);
        let per_user = table.with_default_in("sessions_per_user", 100, 1..=limits::SESSIONS);
        let per_source = table.with_default_in("sessions_per_source", 1000, 1..=limits::SESSIONS);
        let connections = table.with_default_in("connections", 10_000, 1..=limits::CONNECTIONS);
        let connections_per_source =
            table.with_default_in("connections_per_source", 1000, 1..=limits::CONNECTIONS);
        let max_session = table.with_default_in("max_session", MAX_SESSION, MAX_SESSION_RANGE);
        let strict_expiry = table.with_default("strict_expiry", false);
        let bandwidth = table.with_default("bandwidth", BitRate(1_000_000_000));
        let allocation_bandwidth =
            table.with_default("allocation_bandwidth", BitRate(ALLOCATION_BANDWIDTH));
        let allocation_packets = table.with_default("allocation_packets", ALLOCATION_PACKETS);
        let new_peers = table.with_default("new_peers", NEW_PEERS);
        let challenges_per_source = table.with_default_in(
            "challenges_per_source",
            CHALLENGES_PER_SOURCE,
            limits::CHALLENGES_PER_SOURCE,
        );
        if (1..LEAST_ALLOCATION_BANDWIDTH).contains(&allocation_bandwidth.value.0) {
            table.error(
                allocation_bandwidth.span,
                "`limits.allocation_bandwidth` is too little even for one voice call",
                "write at least \"64 kbit/s\", or \"0 bit/s\" for no limit",
            );
        }
        if table.has("sessions_per_user") && per_user.value > sessions.value {
            table.error(
                per_user.span,
                format!(
                    "`limits.sessions_per_user` is {}, more than the {} `limits.sessions` of all \
                     users together",
                    per_user.value, sessions.value
                ),
                "one user could take the whole relay: lower it",
            );
        }
        if table.has("connections_per_source") && connections_per_source.value > connections.value {
            table.error(
                connections_per_source.span,
                format!(
                    "`limits.connections_per_source` is {}, more than the {} `limits.connections` \
                     of all sources together",
                    connections_per_source.value, connections.value
                ),
                "one source could take all connections: lower it",
            );
        }
        if bandwidth.value.0 == 0 {
            table.error(
                bandwidth.span,
                "`limits.bandwidth` is zero: the relay would always be full",
                "write what the machine's link can carry, e.g. \"1 Gbit/s\"",
            );
        }
        Self {
            sessions: sessions.value,
            sessions_per_user: per_user.value.min(sessions.value),
            sessions_per_source: per_source.value.min(sessions.value),
            connections: connections.value,
            connections_per_source: connections_per_source.value.min(connections.value),
            max_session: max_session.value,
            strict_expiry: strict_expiry.value,
            bandwidth: bandwidth.value,
            allocation_bandwidth: allocation_bandwidth.value,
            allocation_packets: allocation_packets.value,
            new_peers: new_peers.value,
            challenges_per_source: challenges_per_source.value,
        }
    }
}
