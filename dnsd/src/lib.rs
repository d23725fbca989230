//! The health-steered authoritative DNS daemon: sockets, threads, probes and files around
//! [`dnsd_core`].
//!
//! ```text
//!  reports ──► intake ─┐                          ┌─► serve::udp (threads)
//!  probe ──────────────┼─► control ──► snapshot ──┼─► serve::tcp (TLS too)
//!  api ────────────────┤     │                    └─► serve::quic
//!  share (ballots) ────┘     ├─► persist
//!                            └─► share (ballots)
//! ```
//!
//! One task owns the fleet's health ([`control`]); everything else sends it inputs or reads the
//! answers it has compiled. A query is answered from the compiled answers and nothing else.
#![forbid(unsafe_code)]

pub mod admin;
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod courtesy;
pub mod daemon;
pub mod decisions;
pub mod dnssec;
pub mod gate;
pub mod geoip;
pub mod handover;
pub mod history;
pub mod http;
pub mod intake;
pub mod limits;
pub mod listen;
pub mod logging;
pub mod metrics;
pub mod notify;
pub mod orders;
pub mod persist;
pub mod probe;
pub mod readable;
pub mod reload;
pub mod revocations;
pub mod revoking;
pub mod serve;
pub mod share;
pub mod systemd;
