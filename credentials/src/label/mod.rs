//! Labels: what an owner name below a lane carries, sealed for the fleet's eyes only.
//!
//! A label is one DNS label of 63 characters. To everybody but the fleet it is noise; to dnsd it
//! says which draw decides among equals, the client's region, up to two relays the client just
//! saw failing, whose client it is, by which transport it comes, and until when to believe that.
//! A forged, foreign or old label opens to nothing and is then answered like its lane's plain name.
//!
//! Wire, version 2: one header byte (version in the high four bits, key hint in the low four), the
//! 16-byte synthetic IV of AES-256-SIV (RFC 5297), then 22 encrypted bytes, all big-endian: draw 4,
//! region 4, avoid 4 and 4, tenant 2, transport 1 (0 any, 1 UDP, 2 TCP, 3 TLS; others count as
//! any), expiry 3 (in whole minutes since 2024). Associated data: `turnfleet label 2`, the lane's
//! letter and the header byte. Together 39 bytes, in base32hex without padding (RFC 4648, 7), lower
//! case.

mod keys;
mod open;

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

pub use keys::{LabelKey, LabelKeys};

use crate::time::UnixTime;

/// Characters of a label: the most that one DNS label may have (RFC 1035, 2.3.4).
pub const LABEL_LEN: usize = 63;

/// The two owner names of one answer, which never lead to the same vendor while there is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Lane `a`.
    A,
    /// Lane `b`.
    B,
}

impl Lane {
    /// Both lanes, in the order they are handed out.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// Its label in the zone.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// A short hash that stands for a region or a relay's address; 0 stands for none and is never made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u32);

impl Tag {
    /// The tag of a region's id, whatever the case of its letters.
    pub fn of_name(name: &str) -> Self {
        Self::of(
            b"turnfleet region tag 1",
            name.to_ascii_lowercase().as_bytes(),
        )
    }

    /// The tag of a relay's address; an IPv4-mapped address has its IPv4 address's tag.
    pub fn of_addr(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of(b"turnfleet address tag 1", &v4.octets()),
            IpAddr::V6(v6) => Self::of(b"turnfleet address tag 1", &v6.octets()),
        }
    }

    fn of(kind: &[u8], bytes: &[u8]) -> Self {
        let hash = Sha256::new()
            .chain_update(kind)
            .chain_update(bytes)
            .finalize();
        Self(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]).max(1))
    }
}

/// A short hash that stands for a tenant; 0 stands for none and is never made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantTag(pub u16);

impl TenantTag {
    /// The tag of an API key's id.
    pub fn of_key(id: &str) -> Self {
        let Tag(tag) = Tag::of(b"turnfleet tenant tag 1", id.as_bytes());
        Self(((tag >> 16) as u16).max(1))
    }
}

/// What a client speaks to the relay that it finds by a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TURN over UDP.
    Udp = 1,
    /// TURN over TCP.
    Tcp,
    /// TURN over TLS over TCP.
    Tls,
}

impl Transport {
    /// All of them, in the order clients should try them: UDP loses no time on what is lost, TCP
    /// passes most firewalls, TLS nearly all.
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];
}

/// What a label carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label {
    /// Decides among equals; all labels of one answer share it.
    pub draw: u32,
    /// The client's region.
    pub region: Option<Tag>,
    /// Relays that just failed this client.
    pub avoid: [Option<Tag>; 2],
    /// The tenant whose client it is; `None` for labels that were sealed without an API key.
    pub tenant: Option<TenantTag>,
    /// By what the client comes; `None`: it may be anything.
    pub transport: Option<Transport>,
    /// From when on the label says nothing any more. Travels as whole minutes, rounded up; ends in
    /// 2055, where the wire's 24 bits end.
    pub expires: UnixTime,
}
