//! One daemon takes another's place without a query unanswered: first the sockets go over, then
//! what is known, then the word.
//!
//! ```text
//! new daemon                                              running daemon
//!  │ POST /v1/hand-over on the control socket, upgraded     │ goes on as before
//!  │ ◄──────────── sockets, and the state as last kept ─────│
//!  │ answers DNS beside the other, from that state          │
//!  │ ───────────── "serving" ──────────────────────────────►│ closes QUIC; no longer reads reports and
//!  │                                                        │ ballots, judges, probes or votes; answers on
//!  │ ◄──────────── the state as it is ──────────────────────│
//!  │ reads reports, probes, votes                           │
//!  │ ───────────── "done" ─────────────────────────────────►│
//!  │ ◄──────────── end of the stream ───────────────────────│ writes the state file no more
//!  │ writes the state file                                  │ finishes its connections, ends
//! ```
//!
//! Both have the same sockets, so each datagram and each new connection is some one's, and what
//! comes while nobody reads reports waits in the kernel. At no time do both judge. If the exchange
//! ends before "done", the running daemon is still there with its sockets, and goes on: untouched if
//! it had heard nothing, else from the state it would have given away.

mod frames;
mod give;
mod sockets;
mod take;

pub use give::{Given, Giving, given_up};
pub use sockets::Sockets;
pub use take::{Error, Left, Offered, Taking, ask};

use dnsd_core::fleet::Saved;
use serde::{Deserialize, Serialize};

/// What is asked for on the control socket.
pub const PATH: &str = "/v1/hand-over";
/// What the connection speaks once that was granted.
pub const PROTOCOL: &str = "dnsd-hand-over-1";

/// What goes along with the sockets.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    /// What each is for, in their order.
    sockets: Vec<String>,
    /// The state as last kept.
    state: Saved,
}

/// What the new daemon sends first, a byte: sockets that came before it has left HTTP behind would
/// be lost in HTTP's buffer.
const READY: u8 = b'!';

/// The new daemon's words.
const SERVING: &[u8] = b"serving";
const DONE: &[u8] = b"done";
