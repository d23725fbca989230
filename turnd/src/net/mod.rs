//! Sockets of the data plane: batched UDP in and out, and the relay's own relayed sockets.

pub mod batch;
pub mod descriptors;
pub mod dtls;
pub mod errors;
pub mod links;
pub mod mmsg;
mod options;
pub mod outbox;
pub mod relayed;
pub mod stream;
pub mod tokens;
pub mod udp;
