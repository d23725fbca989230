//! The control socket and the HTTP API: what the running daemon tells its operator, and the client
//! that asks.

pub mod caller;
pub mod client;
pub mod decisions;
pub mod door;
pub mod revocations;
pub mod server;
pub mod view;
