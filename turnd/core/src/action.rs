//! What the core asks of the shell, and what it says about a packet it was given.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::address::{AllocationId, Family, FiveTuple};
use crate::connections::ConnectionId;

/// What the shell must carry out, in order, before it gives the next input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send `bytes` to `tuple.client` from `tuple.server`.
    Send {
        /// Whom to, and where from.
        tuple: FiveTuple,
        /// One whole STUN message.
        bytes: Vec<u8>,
    },
    /// Hand a client's packet to another worker, and all later ones of its five-tuple, until that
    /// worker no longer [serves](crate::Relay::serves) it. The packet is an authentic request.
    Forward {
        /// Index of the worker, below the number of workers.
        worker: u16,
        /// The packet's five-tuple.
        tuple: FiveTuple,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// Bind a UDP socket to `address` and answer with
    /// [`Relay::socket_opened`](crate::Relay::socket_opened), now or later. An allocation has one
    /// socket per family at most.
    OpenRelay {
        /// The allocation it is for.
        id: AllocationId,
        /// Address and port; the port is chosen already.
        address: SocketAddr,
    },
    /// The same with a TCP socket that listens, for an allocation that relays TCP (RFC 6062). Each
    /// connection it accepts is given to [`Relay::peer_incoming`](crate::Relay::peer_incoming).
    ListenRelay {
        /// The allocation it is for.
        id: AllocationId,
        /// Address and port; the port is chosen already.
        address: SocketAddr,
    },
    /// Connect to `peer` from `from`, where a socket of [`Action::ListenRelay`] listens, and answer
    /// with [`Relay::peer_connected`](crate::Relay::peer_connected) or
    /// [`Relay::peer_connect_failed`](crate::Relay::peer_connect_failed).
    Connect {
        /// What the connection is called from now on.
        connection: ConnectionId,
        /// Bind it to this relayed transport address.
        from: SocketAddr,
        /// Where to: the peer, or the internal address of one behind this relay's own NAT.
        peer: SocketAddr,
    },
    /// The client's connection carries no more messages: behind its latest one come bytes for the
    /// peer, and bytes of the peer go to it behind what was sent to it before. When either ends for
    /// good, close both and say [`Relay::connection_gone`](crate::Relay::connection_gone).
    JoinClient {
        /// The connection with the peer.
        connection: ConnectionId,
        /// The client's.
        tuple: FiveTuple,
    },
    /// Hand a client's connection, with all that has come on it and was not dealt with, to another
    /// worker. Its latest message is a request that the other one answers, as yet from anybody.
    MoveClient {
        /// Index of the worker, below the number of workers.
        worker: u16,
        /// The connection.
        tuple: FiveTuple,
        /// The request.
        bytes: Vec<u8>,
    },
    /// Close a connection with a peer, and the client's that was joined to it.
    CloseConnection {
        /// Which one. Never refers to a later one.
        connection: ConnectionId,
    },
    /// Close the sockets of `id`, whose allocation is gone with all its permissions and channels.
    /// Never refers to a later tenant of the same slot.
    CloseRelay {
        /// The allocation that was.
        id: AllocationId,
    },
    /// Close the socket of one family of `id`; the other one goes on.
    CloseFamily {
        /// The allocation.
        id: AllocationId,
        /// Whose socket.
        family: Family,
    },
    /// `channel` now stands for `peer`. Announced for fast paths outside the core.
    ChannelBound {
        /// The allocation.
        id: AllocationId,
        /// Its client.
        tuple: FiveTuple,
        /// 0x4000 to 0x7FFF.
        channel: u16,
        /// The peer's transport address.
        peer: SocketAddr,
    },
    /// `channel` no longer stands for `peer`. Not sent for each channel when the whole allocation
    /// goes: [`Action::CloseRelay`] says so for all.
    ChannelUnbound {
        /// The allocation.
        id: AllocationId,
        /// Its client.
        tuple: FiveTuple,
        /// 0x4000 to 0x7FFF.
        channel: u16,
        /// The peer's transport address.
        peer: SocketAddr,
    },
    /// The client of `id` has moved (RFC 8016): all its channels are told apart by the new
    /// five-tuple now, and the old one is nobody's.
    ClientMoved {
        /// The allocation.
        id: AllocationId,
        /// Its client so far.
        from: FiveTuple,
        /// Its client now. `None` if its connection has ended, and nothing is to be relayed until
        /// it comes back.
        to: Option<FiveTuple>,
    },
    /// The peer address `peer` may, or may no longer, exchange data with the client. Not sent
    /// when the whole allocation goes.
    PermissionChanged {
        /// The allocation.
        id: AllocationId,
        /// The peer's address; a permission covers all its ports (RFC 8656 section 9).
        peer: IpAddr,
        /// Installed or gone. A refresh is not announced.
        permitted: bool,
    },
}

/// What became of a client's packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Send `packet[payload]` to `peer` from the socket that `relay` has of that family.
    ToPeer {
        /// Whose socket.
        relay: AllocationId,
        /// Where to: the peer, or the internal address of one behind this relay's own NAT.
        peer: SocketAddr,
        /// Which bytes of the packet given. May be empty: an empty datagram is sent, too.
        payload: Range<usize>,
        /// Whether the datagram must not be fragmented on its way (RFC 8656 section 15).
        dont_fragment: bool,
    },
    /// Dealt with: actions are queued, or it was dropped and counted.
    Handled,
}

/// A peer's datagram, framed for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ToClient {
    /// Whom to, and where from.
    pub tuple: FiveTuple,
    /// Which bytes of the headroom's buffer to send.
    pub bytes: Range<usize>,
}

/// Why a relay socket could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The port is taken by somebody else: another one is tried.
    #[error("the port is in use")]
    InUse,
    /// No descriptors or buffers are left.
    #[error("no descriptors or buffers are left")]
    Exhausted,
    /// Anything else, such as an address this host does not have.
    #[error("the socket could not be opened")]
    Failed,
}
