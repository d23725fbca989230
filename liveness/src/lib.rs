//! The signed liveness report of a relay and its acknowledgement, and revocations: types, wire bytes,
//! MAC and seal, replay rule.
//!
//! A relay sends one [`Report`] twice a second to every nameserver node; each node answers with an
//! [`Ack`]. Both are single UDP datagrams of a fixed size that does not depend on how the relay
//! fares, so an outage sends no more bytes than an idle day. All integers are big endian.
//!
//! # Report, 192 bytes
//!
//! ```text
//!        0               4       5       6       7       8              12      14      16
//!       +---------------+-------+-------+-------+-------+---------------+-------+-------+
//!    0  | magic "TFLV"  |version| kind 1| state | reason| key id        |transp.|workers|
//!       +---------------+-------+-------+-------+-------+---------------+-------+-------+
//!   16  | boot                                  | sequence                              |
//!       +---------------------------------------+---------------------------------------+
//!   32  | sent at, unix milliseconds            | configuration                         |
//!       +---------------------------------------+---------------------------------------+
//!   48  | revocations                           | bits per second                       |
//!       +---------------------------------------+-------------------+-------------------+
//!   64  | bits per second, maximum              | sessions          | sessions, maximum |
//!       +---------+---------+-------------------+-------------------+-------------------+
//!   80  |cpu, 1/1k|v4 port  | IPv4 address      | IPv6 address, first half              |
//!       +---------+---------+-------------------+---------+---------+-------------------+
//!   96  | IPv6 address, second half             |v6 port  | zero    | relay id ...      |
//!       +---------------------------------------+---------+---------+                   |
//!  112  |          ... relay id, 32 bytes from offset 108, padded with zeros ...        |
//!       +                                                           +-------------------+
//!  128  |                                                 (to 140)  | zero ...          |
//!       +-----------------------------------------------------------+                   |
//!  144  |                            ... reserved, zero (to 160)                        |
//!       +-------------------------------------------------------------------------------+
//!  160  | HMAC-SHA256 over bytes 0..160                                                 |
//!  176  |                                                                               |
//!       +-------------------------------------------------------------------------------+
//! ```
//!
//! # Acknowledgement, 256 bytes
//!
//! ```text
//!        0               4       5       6       7       8              12              16
//!       +---------------+-------+-------+-------+-------+---------------+---------------+
//!    0  | magic "TFLV"  |version| kind 2| order | seen  | key id        | reserved, zero|
//!       +---------------+-------+-------+-------+-------+---------------+---------------+
//!   16  | boot, echoed                          | sequence, echoed                      |
//!       +---------------------------------------+---------------------------------------+
//!   32  | sent at, unix milliseconds            | boot floor                            |
//!       +---------------------------------------+---------------------------------------+
//!   48  | revocations                           | relay id, 32 bytes ...                |
//!       +---------------------------------------+                                       |
//!   64  |                                                                               |
//!       +                                       +---------------------------------------+
//!   80  |                                       | node id, 32 bytes ...                 |
//!       +---------------------------------------+                                       |
//!   96  |                                                                               |
//!       +                                       +-------------------+---------+---------+
//!  112  |                                       | IPv4 address      |v4 port  |v6 port  |
//!       +---------------------------------------+-------------------+---------+---------+
//!  128  | IPv6 address                                                                  |
//!       +-------------------------------------------------------------------------------+
//!  144  | neighbours 2, 3 and 4, 24 bytes each as the first (from offset 120), to 216   |
//!       +---------------------------------------+---------------------------------------+
//!  208  | ...                                   | reserved, zero (to 224)               |
//!       +---------------------------------------+---------------------------------------+
//!  224  | HMAC-SHA256 over bytes 0..224                                                 |
//!  240  |                                                                               |
//!       +-------------------------------------------------------------------------------+
//! ```
//!
//! # Revocations
//!
//! A relay that is told another generation than the one it has from that nameserver asks for the
//! list, page by page. The request, 96 bytes:
//!
//! ```text
//!        0               4       5       6       7       8              12      14      16
//!       +---------------+-------+-------+-------+-------+---------------+-------+-------+
//!    0  | magic "TFLV"  |version| kind 3| zero          | key id        | page  | zero  |
//!       +---------------+-------+-------+-------+-------+---------------+-------+-------+
//!   16  | boot                                  | sequence                              |
//!       +---------------------------------------+---------------------------------------+
//!   32  | relay id, 32 bytes                                                            |
//!       +-------------------------------------------------------------------------------+
//!   64  | HMAC-SHA256 over bytes 0..64                                                  |
//!       +-------------------------------------------------------------------------------+
//! ```
//!
//! The page, at most 1172 bytes: magic, version, kind 4, two zeros, key id; a nonce of 24 bytes; and,
//! sealed with XChaCha20-Poly1305 under HMAC-SHA256(key, "turnfleet revocation pages 1") with the
//! first twelve bytes authenticated along: relay id 32, node id 32, boot 8, sequence 8 (both echoed),
//! generation 8, page 2, pages 2, count 2, zero 2, then 16 bytes for each of at most 64 users and
//! tenants. A generation is 0 for an empty list, else the first 8 bytes of SHA-256 over all of it, in
//! order.
//!
//! # Rules
//!
//! * Length, magic, version, kind and key id are read first, because they choose the key; nothing
//!   else is looked at before the MAC over all of it has been verified in constant time. The kind is
//!   under the MAC, so a report never passes as an acknowledgement.
//! * Reserved bytes are sent as zero and ignored when received: a later minor revision may use
//!   them. Values of the enumerations that this version does not know are refused.
//! * A port of zero says that there is no address of that family.
//! * Freshness is the receiver's business: [`ReplayGuard`] lets (boot, sequence) only rise, and
//!   [`Report::sent_at_ms`] serves an alarm about clocks, never a decision.
//! * A report's boot id and an acknowledgement's floor above [`BOOT_MAX`] (2^63 - 1) are refused,
//!   signed or not: a wild one, once remembered, would lock its relay out for good.

#![forbid(unsafe_code)]

mod ack;
mod key;
mod name;
mod replay;
mod report;
mod revocations;
mod wire;

pub use ack::{Ack, NEIGHBOURS_MAX, Neighbour, Order, Seen};
pub use key::{KEY_MIN, Key, KeyId, KeyRing, KeyRingError, RING_MAX, WeakKey};
pub use name::{ID_MAX, IdError, NodeId, RelayId};
pub use replay::{BOOT_MAX, ReplayGuard, Replayed};
pub use report::{Load, Reason, Report, State, Transports};
pub use revocations::{
    PAGE_LEN_MAX, PAGE_TAGS_MAX, PAGES_MAX, REVOKED_MAX, RevocationTag, RevocationsAsk,
    RevocationsPage, generation,
};
pub use wire::{ACK_LEN, ASK_LEN, NONCE_LEN, REPORT_LEN, Refused, VERSION};
