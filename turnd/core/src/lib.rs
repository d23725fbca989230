//! The TURN server as a pure state machine (RFC 8489, RFC 8656).
//!
//! One [`Relay`] per worker thread; nothing in here knows a socket, a clock, a thread or a source
//! of randomness. The shell gives inputs with the time they happened and carries out the actions:
//!
//! ```text
//!   client datagram ──► handle_client ──┬─► Verdict::ToPeer   bytes of the packet itself, no copy
//!                                       └─► queue ──┐
//!   peer datagram ────► handle_peer ──────► ToClient│         header written into the headroom
//!   ICMP about a peer ► handle_icmp ────────────────┤
//!   socket opened ────► socket_opened ──────────────┤
//!   deadline ─────────► handle_timeout ─────────────┤
//!                                                   ▼
//!                                               poll_action ─► Action: send, open, close, …
//! ```
//!
//! The law is: mutate, drain, mutate. After each input the shell drains [`Relay::poll_action`]
//! before the next one, then asks [`Relay::poll_timeout`]. Relaying a packet queues nothing, except
//! once per allocation after a new configuration.
//!
//! Relaying costs one hash look-up or none, no allocation and no copy of the payload. A packet
//! never touches a timer. Strangers cause no state: nonces are computed, not stored, and the one
//! table they reach has a fixed size.

#![forbid(unsafe_code)]

mod action;
mod address;
mod admission;
mod allocation;
mod auth;
mod config;
mod connections;
mod counters;
mod deadline;
mod deletions;
mod error;
mod headroom;
pub mod limits;
mod meter;
mod mobility;
mod nat;
mod nonce;
mod peer_filter;
mod peers;
mod ports;
mod proven;
pub mod quota;
mod relay;
pub mod reporter;
mod reservations;
mod revocation_lists;
mod revocations;
mod source_limit;
mod table;
mod wire;

pub use action::{Action, OpenError, ToClient, Verdict};
pub use address::{AllocationId, Family, FiveTuple, Now, Transport};
pub use admission::{Admission, Charge, Denied};
pub use config::{Alternates, Config, Drain, Lifetimes, Realm, RealmError, RelayAddresses};
pub use connections::ConnectionId;
pub use counters::Counters;
pub use headroom::{HEADROOM, Headroom, TAILROOM};
pub use limits::{Allowance, Limits};
pub use nonce::{NonceKey, NonceKeys};
pub use peer_filter::{Denial, PeerFilter};
pub use ports::{PortSlice, PortSliceError};
pub use relay::{Direction, Footprint, Icmp, Relay};
pub use revocation_lists::{RevocationLists, Wanted};
pub use revocations::{Revocations, TooManyRevoked};
