//! What all datagrams share: the header, the MAC, and cursors over the fields.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::key::{Key, KeyId, KeyRing};

/// Bytes in every report.
pub const REPORT_LEN: usize = 192;
/// Bytes in every acknowledgement.
pub const ACK_LEN: usize = 256;
/// Bytes in every request for revocations.
pub const ASK_LEN: usize = 96;
/// Bytes of the nonce that a page of revocations is sealed with.
pub const NONCE_LEN: usize = 24;
/// The version of all layouts.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"TFLV";
const MAC_LEN: usize = 32;
/// Magic, version, kind, two codes, key id.
pub(crate) const HEADER: usize = 12;
pub(crate) const KIND_REPORT: u8 = 1;
pub(crate) const KIND_ACK: u8 = 2;
pub(crate) const KIND_ASK: u8 = 3;
pub(crate) const KIND_PAGE: u8 = 4;

/// Why a datagram was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not the one length this kind of datagram has.
    #[error("{length} bytes where {expected} are expected")]
    Length {
        /// Bytes received.
        length: usize,
        /// Bytes every such datagram has.
        expected: usize,
    },
    /// Does not begin with `TFLV`.
    #[error("not a liveness datagram")]
    Magic,
    /// A layout this build does not know.
    #[error("version {0} is not spoken here")]
    Version(u8),
    /// A report where an acknowledgement is expected, or the other way round.
    #[error("datagram kind {0} is not expected here")]
    Kind(u8),
    /// Signed with a key that is not in the ring.
    #[error("key id {0} is not known")]
    UnknownKey(KeyId),
    /// The MAC is wrong: forged, damaged, or another key under the same id.
    #[error("the signature does not verify")]
    Mac,
    /// Signed well but makes no sense; names the field.
    #[error("signed, but its {0} is out of range")]
    Malformed(&'static str),
}

fn mac(key: &Key, body: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.bytes()).expect("HMAC takes keys of every length");
    mac.update(body);
    mac
}

/// Checks length, header and MAC; only then hands out the fields between header and MAC.
pub(crate) fn open<'a>(
    bytes: &'a [u8],
    expected: usize,
    kind: u8,
    keys: &KeyRing,
) -> Result<(Header, Reader<'a>), Refused> {
    let length = bytes.len();
    if length != expected {
        return Err(Refused::Length { length, expected });
    }
    let (body, tag) = bytes.split_at(expected - MAC_LEN);
    let (_, key_id) = judge(body, kind)?;
    let key = keys.get(key_id).ok_or(Refused::UnknownKey(key_id))?;
    // `verify_slice` compares in constant time.
    mac(key, body).verify_slice(tag).map_err(|_| Refused::Mac)?;
    let codes = [body[6], body[7]];
    Ok((Header { codes, key_id }, Reader(&body[HEADER..])))
}

/// Whether a datagram begins as one of this kind does; its header, and the key it names.
pub(crate) fn judge(bytes: &[u8], kind: u8) -> Result<(&[u8], KeyId), Refused> {
    let Some(head) = bytes.get(..HEADER) else {
        let (length, expected) = (bytes.len(), HEADER);
        return Err(Refused::Length { length, expected });
    };
    let mut fields = Reader(head);
    if fields.take::<4>() != MAGIC {
        return Err(Refused::Magic);
    }
    let version = fields.u8();
    if version != VERSION {
        return Err(Refused::Version(version));
    }
    let found = fields.u8();
    if found != kind {
        return Err(Refused::Kind(found));
    }
    let _codes = fields.u16();
    Ok((head, KeyId(fields.u32())))
}

/// The first twelve bytes of a datagram.
pub(crate) fn header(kind: u8, codes: [u8; 2], key_id: KeyId) -> [u8; HEADER] {
    let mut head = [0; HEADER];
    head[..4].copy_from_slice(&MAGIC);
    head[4..6].copy_from_slice(&[VERSION, kind]);
    head[6..8].copy_from_slice(&codes);
    head[8..].copy_from_slice(&key_id.0.to_be_bytes());
    head
}

/// What pages are sealed with: a key of its own, so that no MAC tells anything about it.
pub(crate) fn page_key(key: &Key) -> Zeroizing<[u8; 32]> {
    let derived = mac(key, b"turnfleet revocation pages 1").finalize();
    Zeroizing::new(derived.into_bytes().into())
}

/// The first twelve bytes without what `open` has already judged.
pub(crate) struct Header {
    /// Two enumerations, by kind: state and reason, or order and verdict.
    pub(crate) codes: [u8; 2],
    pub(crate) key_id: KeyId,
}

/// Reads fields in order. The layouts are constants and `open` checks the length, so a read past
/// the end cannot happen; it would yield zeros.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(fields: &'a [u8]) -> Self {
        Self(fields)
    }

    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        debug_assert!(self.0.len() >= N, "the layout is longer than the datagram");
        let Some((head, tail)) = self.0.split_first_chunk::<N>() else {
            return [0; N];
        };
        self.0 = tail;
        *head
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }

    pub(crate) fn v4(&mut self) -> Ipv4Addr {
        Ipv4Addr::from(self.take::<4>())
    }

    pub(crate) fn v6(&mut self) -> Ipv6Addr {
        Ipv6Addr::from(self.take::<16>())
    }
}

/// Writes fields in order into a datagram of `N` bytes, zeros where nothing is written.
pub(crate) struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    pub(crate) fn new(kind: u8, codes: [u8; 2], key_id: KeyId) -> Self {
        let mut writer = Self {
            bytes: [0; N],
            at: 0,
        };
        writer.put(&header(kind, codes, key_id));
        writer
    }

    /// Callers write constant layouts only, which the golden bytes pin.
    pub(crate) fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    /// Signs everything before the last 32 bytes.
    pub(crate) fn seal(mut self, key: &Key) -> [u8; N] {
        debug_assert!(self.at <= N - MAC_LEN, "the layout runs into the MAC");
        let tag = mac(key, &self.bytes[..N - MAC_LEN]).finalize().into_bytes();
        self.bytes[N - MAC_LEN..].copy_from_slice(&tag);
        self.bytes
    }
}

/// Address and port for the wire; a port of 0 stands for none and hides the address.
pub(crate) fn v4_parts(address: Option<SocketAddrV4>) -> (Ipv4Addr, u16) {
    address
        .filter(|a| a.port() != 0)
        .map_or((Ipv4Addr::UNSPECIFIED, 0), |a| (*a.ip(), a.port()))
}

/// As [`v4_parts`]; flow label and scope do not travel.
pub(crate) fn v6_parts(address: Option<SocketAddrV6>) -> (Ipv6Addr, u16) {
    address
        .filter(|a| a.port() != 0)
        .map_or((Ipv6Addr::UNSPECIFIED, 0), |a| (*a.ip(), a.port()))
}

pub(crate) fn v4_from(ip: Ipv4Addr, port: u16) -> Option<SocketAddrV4> {
    (port != 0).then(|| SocketAddrV4::new(ip, port))
}

pub(crate) fn v6_from(ip: Ipv6Addr, port: u16) -> Option<SocketAddrV6> {
    (port != 0).then(|| SocketAddrV6::new(ip, port, 0, 0))
}
