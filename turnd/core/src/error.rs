//! Why an authentic request is refused, and the code that says so (RFC 8656 section 19).

use std::net::SocketAddr;

use crate::admission::Denied;
use crate::counters::Counters;
use crate::wire::message::{BadAttribute, Unknown};

/// A refusal that is answered. Handlers return it as their error, so none forgets to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// 300, to a relay of the client's family, and perhaps one of the other.
    TryAlternate {
        first: SocketAddr,
        other: Option<SocketAddr>,
    },
    BadRequest,
    Forbidden,
    MobilityForbidden,
    UnknownAttributes(Unknown),
    AllocationMismatch,
    /// The same to the client, counted apart: the drain is over.
    RefreshRefused,
    AddressFamily,
    WrongCredentials,
    Transport,
    PeerFamily,
    /// 446 (RFC 6062 section 6.3).
    ConnectionExists,
    /// 447 (RFC 6062 section 6.3).
    ConnectionFailed,
    Quota,
    Capacity,
    /// The same to the client, counted apart: new peers come too fast.
    NewPeers,
}

impl Reject {
    /// ERROR-CODE with its reason phrase.
    pub(crate) fn code(self) -> (u16, &'static str) {
        match self {
            Self::TryAlternate { .. } => (300, "Try Alternate"),
            Self::BadRequest => (400, "Bad Request"),
            Self::Forbidden => (403, "Forbidden"),
            Self::MobilityForbidden => (405, "Mobility Forbidden"),
            Self::UnknownAttributes(_) => (420, "Unknown Attribute"),
            Self::AllocationMismatch | Self::RefreshRefused => (437, "Allocation Mismatch"),
            Self::AddressFamily => (440, "Address Family not Supported"),
            Self::WrongCredentials => (441, "Wrong Credentials"),
            Self::Transport => (442, "Unsupported Transport Protocol"),
            Self::PeerFamily => (443, "Peer Address Family Mismatch"),
            Self::ConnectionExists => (446, "Connection Already Exists"),
            Self::ConnectionFailed => (447, "Connection Timeout or Failure"),
            Self::Quota => (486, "Allocation Quota Reached"),
            Self::Capacity | Self::NewPeers => (508, "Insufficient Capacity"),
        }
    }

    pub(crate) fn count(self, counters: &mut Counters) {
        let counter = match self {
            Self::TryAlternate { .. } => &mut counters.errors_try_alternate,
            Self::BadRequest => &mut counters.errors_bad_request,
            Self::Forbidden => &mut counters.errors_forbidden,
            Self::MobilityForbidden => &mut counters.errors_mobility_forbidden,
            Self::UnknownAttributes(_) => &mut counters.errors_unknown_attribute,
            Self::RefreshRefused => {
                counters.refreshes_refused += 1;
                &mut counters.errors_allocation_mismatch
            }
            Self::AllocationMismatch => &mut counters.errors_allocation_mismatch,
            Self::AddressFamily => &mut counters.errors_address_family,
            Self::WrongCredentials => &mut counters.errors_wrong_credentials,
            Self::Transport => &mut counters.errors_transport,
            Self::PeerFamily => &mut counters.errors_peer_family,
            Self::ConnectionExists => &mut counters.errors_connection_exists,
            Self::ConnectionFailed => &mut counters.errors_connection_failed,
            Self::Quota => &mut counters.errors_quota,
            Self::NewPeers => {
                counters.new_peers_refused += 1;
                &mut counters.errors_capacity
            }
            Self::Capacity => &mut counters.errors_capacity,
        };
        *counter += 1;
    }
}

impl From<BadAttribute> for Reject {
    fn from(_: BadAttribute) -> Self {
        Self::BadRequest
    }
}

impl From<Denied> for Reject {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::UserQuota | Denied::SourceQuota => Self::Quota,
            Denied::TotalQuota | Denied::Draining => Self::Capacity,
        }
    }
}
