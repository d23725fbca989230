//! The control socket: what the running daemon tells its operator, and the client that asks.

pub mod client;
pub mod decisions;
pub mod server;
pub mod view;
