//! The TURN relay daemon: sockets, threads, REST, reports around `turnd-core`.
//!
//! ```text
//!   worker 0..n   one thread each: epoll, batched UDP, the relay core; nothing shared   worker/, net/
//!   control       signals, drain, reload, reports to the nameservers, once in a while  control.rs
//!   http          the credentials endpoint and the operators' listener                 rest.rs, admin.rs
//! ```
//!
//! Control tells the workers through a queue and sees of them a progress counter and a snapshot of
//! their counters. A thread that panics ends the process: a half-alive relay is worse than none.
#![deny(unsafe_code)]

pub mod admin;
pub mod admission;
pub mod boot;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod core_config;
pub mod drain;
pub mod http;
pub mod liveliness;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod notify;
pub mod operator;
pub mod reload;
pub mod reports;
pub mod rest;
pub mod selfcheck;
pub mod start;
pub mod status;
pub mod tls;
pub mod transports;
pub mod worker;
