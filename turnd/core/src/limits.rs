//! Every cap of the relay in one place. What happens at a cap is an error reply or a counted drop.

use std::time::Duration;

/// Most attributes of one STUN message; with more it is malformed. Bounds the work per byte that
/// a stranger can cause.
pub const MESSAGE_ATTRIBUTES: usize = 64;

/// Most unknown attribute types that a 420 names.
pub const UNKNOWN_ATTRIBUTES: usize = 8;

/// Longest realm in bytes. RFC 8489 section 14.9 allows 127 characters; a shorter one keeps the
/// 401 to the smallest honest request, nonce and password algorithms included, within
/// [`AMPLIFICATION`].
pub const REALM: usize = 56;

/// Most bytes that one datagram of a stranger is answered with per byte of it, both counted as IP
/// packets. How many are answered so is limited by [`Limits::unverified_per_address`].
pub const AMPLIFICATION: usize = 3;

/// Most actions waiting for the shell. An input that finds less than [`ACTIONS_PER_INPUT`] free is
/// dropped and counted, or for timeouts put off.
pub const ACTION_QUEUE: usize = 4096;

/// Most actions one input can cause: an allocation loses all its permissions and channels, a
/// request installs one permission per attribute, and there is a reply.
pub const ACTIONS_PER_INPUT: usize = 2 * PEERS_PER_ALLOCATION + MESSAGE_ATTRIBUTES + 8;

/// Most permissions, and most channels, that an allocation can be configured to have.
pub const PEERS_PER_ALLOCATION: usize = 256;

/// Most allocations looked after in one call of `handle_timeout`; the rest is due at once again.
pub const TIMEOUTS_PER_CALL: usize = 64;

/// Bytes of the largest challenge (401 and 438), as an IPv4 packet: with a realm of [`REALM`] bytes.
pub const CHALLENGE: u32 = 168;

/// Most of them that [`Limits::challenges_per_source`] takes: four times as many bytes still fit an
/// [`Allowance`].
pub const CHALLENGES_PER_SOURCE: u32 = 5000;

/// Entries of the table that limits replies to unverified senders. Never grows.
pub const SOURCE_TABLE: usize = 8192;

/// Proofs of nameservers' probes that are remembered. Never grows.
pub const PROVEN: usize = 256;

/// Ports tried for one relayed transport address before the answer is 508.
pub const OPEN_ATTEMPTS: u8 = 8;

/// Most ports of one worker that are reserved for a second allocation.
pub const RESERVATIONS: usize = 1024;

/// How long a port is reserved: 30 seconds from the reply on (RFC 8656 section 7.2), which may come
/// as late as [`OPEN_TIMEOUT`] after the reservation.
pub const RESERVED: Duration = Duration::from_secs(30 + OPEN_TIMEOUT.as_secs());

/// Most deletions remembered for their retransmissions, per worker.
pub const DELETIONS: usize = 1024;

/// Highest bandwidth of an allocation that is enforced, in bytes per second.
pub const BANDWIDTH_MOST: u64 = 12_500_000_000;

/// What an allocation may relay at once in bytes, however low its bandwidth is: the longest
/// datagram there can be. A higher bandwidth may send what it earns in a second.
pub const BANDWIDTH_BURST: u64 = 65_536;

/// Peers an allocation may permit at once before [`Limits::new_peers`] holds: a browser asks for
/// all candidates of the other side together, a few dozen at most.
pub const NEW_PEERS_BURST: u64 = 64;

/// ICMP messages that the client of an allocation is told per second.
pub const ICMP_PER_SECOND: u64 = 10;

/// The same at once.
pub const ICMP_BURST: u64 = 20;

/// How long the shell may take to open a relay socket before the answer is 508.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Most connections with peers that a TCP allocation has at a time (RFC 6062), with those that are
/// being opened or wait for the client.
pub const CONNECTIONS_PER_ALLOCATION: usize = 32;

/// The same of one worker.
pub const PEER_CONNECTIONS: usize = 4096;

/// How long the shell may take to connect to a peer before the answer is 447: at least 30 seconds
/// (RFC 6062 section 5.2).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection with a peer waits for the client's ConnectionBind (RFC 6062 sections 5.2 and
/// 5.3).
pub const BIND_TIMEOUT: Duration = Duration::from_secs(30);

/// Most nameservers whose revocations are kept.
pub const NAMESERVERS: usize = 32;

/// Most users and tenants that can be revoked at a time by a relay's own configuration.
pub const REVOCATIONS: usize = 65_536;

/// Most alternate servers kept for 300 (Try Alternate).
pub const ALTERNATES: usize = 8;

const _: () = assert!(ACTIONS_PER_INPUT < ACTION_QUEUE);
// A TCP allocation has no channels: its connections take their part.
const _: () = assert!(2 * CONNECTIONS_PER_ALLOCATION < PEERS_PER_ALLOCATION);

/// Caps that an operator may set. Values beyond the constants above are cut to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Allocations of one worker.
    pub allocations: usize,
    /// Relay sockets of one worker being opened at a time.
    pub pending_opens: usize,
    /// Permissions of one allocation, up to [`PEERS_PER_ALLOCATION`].
    pub permissions: usize,
    /// Channels of one allocation, up to [`PEERS_PER_ALLOCATION`].
    pub channels: usize,
    /// Payload of one allocation in bytes per second, both directions together; as much again may
    /// come in a burst. Up to [`BANDWIDTH_MOST`]. 0 is no limit.
    pub bandwidth: u64,
    /// Datagrams of one allocation per second, both directions together; as many again may come in
    /// a burst. 0 is no limit.
    pub packets: u32,
    /// Peer addresses that one allocation may permit per second, counted when they are new;
    /// [`NEW_PEERS_BURST`] may come in a burst. 0 is no limit.
    pub new_peers: u32,
    /// What unverified senders of one address (IPv4 /32, IPv6 /64) are sent over UDP, per worker,
    /// beyond seven eighths of what they sent.
    pub unverified_per_address: Allowance,
    /// The same for one network (IPv4 /24, IPv6 /48).
    pub unverified_per_network: Allowance,
}

/// An allowance of bytes, counted as IP packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes at once, after a pause; at most 4 MB. 0 is no limit.
    pub burst: u32,
    /// Bytes earned per second.
    pub per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allocations: 16_384,
            pending_opens: 1024,
            permissions: 128,
            channels: 128,
            bandwidth: 12_500_000,
            packets: 20_000,
            new_peers: 5,
            // After the burst, time allows, with what the requests earn, a Binding reply and a challenge
            // of any size each second, all that a probe of this relay needs; no more, so that a flood
            // of 50 packets per second brings less than it is.
            unverified_per_address: Allowance {
                burst: 200 * CHALLENGE,
                per_second: 256,
            },
            unverified_per_network: Allowance {
                burst: 4 * 200 * CHALLENGE,
                per_second: 1024,
            },
        }
    }
}

impl Limits {
    /// Lets unverified senders of one address have the bytes of this many of the largest challenges
    /// at once, and those of one network four times as many; at most [`CHALLENGES_PER_SOURCE`].
    #[must_use]
    pub fn challenges_per_source(mut self, challenges: u32) -> Self {
        let burst = challenges.min(CHALLENGES_PER_SOURCE) * CHALLENGE;
        self.unverified_per_address.burst = burst;
        self.unverified_per_network.burst = 4 * burst;
        self
    }

    pub(crate) fn permissions(&self) -> usize {
        self.permissions.min(PEERS_PER_ALLOCATION)
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels.min(PEERS_PER_ALLOCATION)
    }
}
