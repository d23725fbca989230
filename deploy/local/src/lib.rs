//! The local cluster as a library: what `local-cluster` is made of, and what its tests read.

#![forbid(unsafe_code)]

pub mod children;
pub mod configs;
pub mod daemons;
pub mod dns;
pub mod event;
pub mod facts;
pub mod failure;
pub mod guide;
pub mod keys;
pub mod layout;
pub mod options;
pub mod output;
pub mod ports;
pub mod run;
pub mod rundir;
pub mod screen;
pub mod watch;
