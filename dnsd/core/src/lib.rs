//! Health, verdicts, steering and answers as pure functions and state machines.
//!
//! ```text
//!  reports ─┐
//!  probes ──┼─► health ─► fleet ─► steer ─► snapshot ─► answer ─► records
//!  time ────┤  (a relay) (all)   (choose)  (compiled)  (look-up)
//!  votes ───┤              └─► own votes, for the others
//!  overrides┘
//! ```
//!
//! Knowledge flows one way. A query never computes health: it looks up an answer that was compiled
//! when health last changed. Nothing here reads a clock, opens a socket or draws a random number;
//! `now` is an argument, and what is drawn is drawn by hashes that all nodes compute alike, so that
//! two nameservers with the same view give the same answers.
//!
//! The law for [`fleet::Fleet`]: give it one input, drain [`fleet::Fleet::poll_action`], give it
//! the next input no later than [`fleet::Fleet::poll_timeout`].

#![forbid(unsafe_code)]

pub mod answer;
pub mod difference;
pub mod dnssec;
pub mod explain;
pub mod fleet;
pub mod health;
pub mod inventory;
pub mod limits;
pub mod overrides;
pub mod paths;
pub mod records;
pub mod revocations;
pub mod snapshot;
pub mod steer;
pub mod transfer;
pub mod votes;

mod names;
mod newest;
mod spread;
