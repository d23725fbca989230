//! Connections with peers for TCP allocations (RFC 6062): sockets, and how they are joined with the
//! connections of clients.

pub mod half;
pub mod sockets;
pub mod splice;
pub mod table;

/// Bounds of one link.
pub mod limits {
    use std::time::Duration;

    /// Bytes that may wait for one side before the other is no longer read from; what one read brings
    /// comes on top. The rest waits in the kernel, and then at the sender.
    pub const WAITING: usize = 64 << 10;
    /// Rounds of reading and writing a link gets in a turn before the next one is served.
    pub const ROUNDS: usize = 4;
    /// Peers that wait to be accepted at a relayed transport address.
    pub const BACKLOG: i32 = 32;
    /// How long a link rests whose allocation has used up its bandwidth.
    pub const PAUSE: Duration = Duration::from_millis(10);
}
