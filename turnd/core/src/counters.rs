//! What happened, as plain numbers: read once a second by the shell, never by the core.

use crate::meter::Excess;

/// Declares the counters, with their names for whoever exports them.
macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Counts since the relay was made. Each wraps only after centuries.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Every counter with its name, in declaration order.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }
    };
}

impl Counters {
    pub(crate) fn exceeded(&mut self, excess: Excess) {
        let counter = match excess {
            Excess::Bandwidth => &mut self.dropped_bandwidth,
            Excess::Packets => &mut self.dropped_packet_rate,
        };
        *counter += 1;
    }
}

counters! {
    /// Datagrams relayed from clients to peers.
    to_peer_packets,
    /// Their payload bytes.
    to_peer_bytes,
    /// Datagrams relayed from peers to clients.
    to_client_packets,
    /// Their payload bytes.
    to_client_bytes,

    /// Allocations made.
    allocations_created,
    /// Allocations ended by the client's Refresh with lifetime 0.
    allocations_deleted,
    /// Allocations whose lifetime ran out.
    allocations_expired,
    /// Allocations ended because their owner was revoked.
    allocations_revoked,
    /// Allocations ended because the listener their client came to was closed.
    allocations_unserved,
    /// Allocations ended with the connection of their client.
    allocations_disconnected,
    /// Allocations that their client took along to another five-tuple.
    allocations_moved,
    /// Replies to a retransmitted move.
    move_replays,
    /// Connections that ended while their client may come back with a ticket.
    clients_away,
    /// Allocations given up while their socket was being opened.
    allocations_abandoned,
    /// Permissions installed; refreshes do not count.
    permissions_installed,
    /// Channels bound; refreshes do not count.
    channels_bound,
    /// Permissions removed because a new configuration denies the peer.
    permissions_revoked,
    /// Relay sockets that found their port in use and were tried again with another.
    ports_retried,

    /// Ports reserved for a second allocation.
    reservations_made,
    /// Of those, used by it.
    reservations_redeemed,
    /// Of those, given up when nobody came for them.
    reservations_expired,
    /// Requests handed to another worker, whose reservation or ticket they name.
    requests_forwarded,

    /// Connections of peers to TCP allocations that clients were told of.
    connection_attempts,
    /// Connections of peers that were reset: without a permission, or too many.
    peers_refused,
    /// Connections with peers that the client did not come for.
    peer_connections_unbound,
    /// Connections with peers ended because a new configuration denies the peer.
    peer_connections_revoked,
    /// Connections with peers that ended by themselves, or with the client's side of them.
    peer_connections_ended,
    /// Client connections that were moved to the worker that has what they come for.
    clients_moved,

    /// ICMP messages about peers that clients were told.
    icmp_indications,

    /// Binding requests that prove to be a nameserver's.
    probes_proved,
    /// Binding requests answered with success.
    binding_replies,
    /// Allocate requests answered with success.
    allocate_replies,
    /// Success replies to a retransmitted Allocate, included in the above.
    allocate_replays,
    /// Refresh requests answered with success.
    refresh_replies,
    /// Success replies to a retransmitted deletion, included in the above.
    deletion_replays,
    /// CreatePermission requests answered with success.
    permission_replies,
    /// ChannelBind requests answered with success.
    channel_bind_replies,
    /// Connect requests answered with success.
    connect_replies,
    /// ConnectionBind requests answered with success.
    connection_bind_replies,

    /// 300: sent to another relay.
    errors_try_alternate,
    /// 400: the request makes no sense.
    errors_bad_request,
    /// 401: no credential, or not a good one.
    errors_unauthorized,
    /// 403: the peer is denied.
    errors_forbidden,
    /// 405: moving is not allowed here.
    errors_mobility_forbidden,
    /// 420: an attribute that must be understood is not.
    errors_unknown_attribute,
    /// 437: there is no allocation, or there is one already.
    errors_allocation_mismatch,
    /// Of those, refreshes refused at the end of a drain.
    refreshes_refused,
    /// 438: the nonce is old or not ours.
    errors_stale_nonce,
    /// 440: an address family that is not served.
    errors_address_family,
    /// 441: another user's allocation.
    errors_wrong_credentials,
    /// 442: a transport that is not served.
    errors_transport,
    /// 443: a peer of the wrong family.
    errors_peer_family,
    /// 446: there is a connection with that peer already.
    errors_connection_exists,
    /// 447: the peer did not accept a connection.
    errors_connection_failed,
    /// 486: a quota is reached.
    errors_quota,
    /// Of 508, requests that permitted new peers too fast.
    new_peers_refused,
    /// 508: no capacity, for any reason.
    errors_capacity,

    /// Dropped: neither STUN nor ChannelData.
    dropped_not_turn,
    /// Dropped: STUN or ChannelData that is malformed.
    dropped_malformed,
    /// Dropped: FINGERPRINT does not match.
    dropped_fingerprint,
    /// Dropped: responses and methods or classes that servers do not take.
    dropped_unexpected,
    /// Dropped: replies withheld because too many went to one unverified source.
    dropped_unverified_limit,
    /// Dropped: replies withheld because they would be too large for an unverified source.
    dropped_amplification,
    /// Dropped: data from a client without an allocation.
    dropped_no_allocation,
    /// Dropped: ChannelData on a channel that is not bound.
    dropped_no_channel,
    /// Dropped: data to a peer without a permission.
    dropped_no_permission,
    /// Dropped: Send indications on an allocation that relays TCP.
    dropped_send_over_tcp,
    /// Dropped: Send indications to a peer that is denied or of the wrong family.
    dropped_peer_denied,
    /// Dropped: datagrams beyond an allocation's bandwidth.
    dropped_bandwidth,
    /// Dropped: datagrams beyond an allocation's packet rate.
    dropped_packet_rate,
    /// Dropped: ICMP messages of other types, about peers without a permission, or too many.
    dropped_icmp,
    /// Dropped: a peer's datagram for an allocation that is gone.
    dropped_peer_no_allocation,
    /// Dropped: a peer's datagram for a client whose connection has ended.
    dropped_client_away,
    /// Dropped: a peer's datagram without a permission.
    dropped_peer_no_permission,
    /// Dropped: a peer's datagram too large to be framed.
    dropped_peer_too_large,
    /// Dropped: from port 0 or to it; no system sends there.
    dropped_port_zero,
    /// Dropped: inputs while the action queue was full.
    dropped_queue_full,
}
