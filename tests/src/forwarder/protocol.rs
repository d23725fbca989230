//! What a client says to a forwarder, and hears, beside its data.

use std::{
    fmt,
    net::{SocketAddr, SocketAddrV4},
    str,
};

/// A client's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Opens a session with this peer, or asks again where it is.
    Forward(SocketAddrV4),
    /// Ends the session.
    Close,
}

impl Request {
    /// Reads a datagram; `None` when it is data. No `ChannelData` message can be taken for one: its
    /// length would be more than 20,000 bytes.
    pub fn read(datagram: &[u8]) -> Option<Self> {
        if datagram == b"CLOSE" {
            return Some(Self::Close);
        }
        let peer = datagram.strip_prefix(b"FORWARD ")?;
        Some(Self::Forward(str::from_utf8(peer).ok()?.parse().ok()?))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(peer) => write!(f, "FORWARD {peer}"),
            Self::Close => f.write_str("CLOSE"),
        }
    }
}

/// The relay address in the answer to [`Request::Forward`].
pub fn relay_address(answer: &[u8]) -> Option<SocketAddr> {
    let address = answer.strip_prefix(b"FORWARDED ")?;
    str::from_utf8(address).ok()?.parse().ok()
}

/// The answer that tells the relay address.
pub(super) fn forwarded(relay: SocketAddr) -> String {
    format!("FORWARDED {relay}")
}

/// The answer of a forwarder that opens no session.
pub(super) fn refused(why: &str) -> String {
    format!("REFUSED {why}")
}
