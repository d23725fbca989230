//! Keys of labels: derived or given, kept in a ring, and sealing and opening with them.

use std::fmt;
use std::sync::LazyLock;

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes256Siv;
use data_encoding::{Encoding, Specification};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};
use zeroize::Zeroizing;

use super::open::Opener;
use super::{LABEL_LEN, Label, Lane, Tag, TenantTag, Transport};
use crate::limits;
use crate::secret::{RingTooLong, Secret, SecretRing};
use crate::time::UnixTime;

/// Bytes of a key: two AES-256 keys, one to authenticate and one to encrypt (RFC 5297, 2.2).
pub(super) const KEY_LEN: usize = 64;
/// Bytes of the synthetic IV.
pub(super) const SIV_LEN: usize = 16;
/// Bytes of what is encrypted.
pub(super) const CONTENT_LEN: usize = 22;
/// Bytes of a label before its encoding.
const WIRE_LEN: usize = 1 + SIV_LEN + CONTENT_LEN;
/// Version in the header's high bits.
const VERSION: u8 = 2;
/// 2024-01-01T00:00:00Z, from which the expiry counts.
const EPOCH: u64 = 1_704_067_200;
/// The latest expiry, in minutes since the epoch.
const MINUTES_MAX: u32 = (1 << 24) - 1;

/// Lower-case base32hex that reads any case: resolvers may change it (DNS 0x20).
static TEXT: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification
        .symbols
        .push_str("0123456789abcdefghijklmnopqrstuv");
    specification
        .translate
        .from
        .push_str("ABCDEFGHIJKLMNOPQRSTUV");
    specification
        .translate
        .to
        .push_str("abcdefghijklmnopqrstuv");
    specification.encoding().expect("a constant specification")
});

/// One key that labels are sealed under; erased when dropped, never printed.
#[derive(Clone)]
pub struct LabelKey {
    bytes: Zeroizing<[u8; KEY_LEN]>,
    opener: Opener,
    /// Four bits of its hash, on the wire: spares trying the other keys of the ring.
    hint: u8,
}

impl LabelKey {
    /// A key of 64 random bytes.
    pub fn new(bytes: [u8; KEY_LEN]) -> Self {
        let bytes = Zeroizing::new(bytes);
        let hash = Sha256::new()
            .chain_update(b"turnfleet label hint 1")
            .chain_update(*bytes);
        let hint = hash.finalize()[0] & 0x0f;
        let opener = Opener::new(&bytes, |lane| associated(lane, header(hint)));
        Self {
            bytes,
            opener,
            hint,
        }
    }

    /// The key that belongs to a shared secret: `HMAC-SHA512(secret, "turnfleet label key 1")`.
    pub fn derive(secret: &Secret) -> Self {
        let mac = Hmac::<Sha512>::new_from_slice(secret.expose());
        // HMAC takes keys of every length (RFC 2104, 2).
        let mac = mac
            .expect("any key length")
            .chain_update(b"turnfleet label key 1");
        Self::new(mac.finalize().into_bytes().into())
    }

    fn header(&self) -> u8 {
        header(self.hint)
    }
}

impl fmt::Debug for LabelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LabelKey(..)")
    }
}

/// The key that labels are sealed under, and up to [`limits::PREVIOUS`] older ones that still open.
#[derive(Debug, Clone)]
pub struct LabelKeys {
    current: LabelKey,
    previous: Vec<LabelKey>,
}

impl LabelKeys {
    /// A ring; `previous` newest first.
    ///
    /// # Errors
    /// [`RingTooLong`].
    pub fn new(current: LabelKey, previous: Vec<LabelKey>) -> Result<Self, RingTooLong> {
        if previous.len() > limits::PREVIOUS {
            return Err(RingTooLong {
                previous: previous.len(),
            });
        }
        Ok(Self { current, previous })
    }

    /// The ring that belongs to a ring of shared secrets: whoever has those needs no other key.
    pub fn derive(secrets: &SecretRing) -> Self {
        let previous = secrets.iter().skip(1).map(LabelKey::derive).collect();
        Self {
            current: LabelKey::derive(secrets.current()),
            previous,
        }
    }

    /// Seals a label for one lane: [`LABEL_LEN`] characters of `[0-9a-v]`.
    pub fn seal(&self, label: &Label, lane: Lane) -> String {
        let header = self.current.header();
        let mut wire = [0; WIRE_LEN];
        wire[0] = header;
        let (siv, content) = wire[1..].split_at_mut(SIV_LEN);
        content.copy_from_slice(&encode(label));
        let sealed = Aes256Siv::new(&(*self.current.bytes).into())
            .encrypt_inout_detached([associated(lane, header)], content.into());
        siv.copy_from_slice(&sealed.expect("one associated string, of at most 126"));
        TEXT.encode(&wire)
    }

    /// Opens a label of any case, or `None`: not a label, forged, of the other lane, or expired.
    ///
    /// Never allocates. A forged label costs at most one decryption per key with its hint.
    pub fn open(&self, text: &[u8], lane: Lane, now: UnixTime) -> Option<Label> {
        if text.len() != LABEL_LEN {
            return None;
        }
        // The first whole bytes tell whether the others are worth reading.
        let mut wire = [0; WIRE_LEN];
        let (first, others) = text.split_at_checked(8)?;
        let (begin, rest) = wire.split_at_mut(5);
        TEXT.decode_mut(first, begin).ok()?;
        let header = begin[0];
        let keys = std::iter::once(&self.current).chain(&self.previous);
        let mut keys = keys.filter(|key| key.header() == header).peekable();
        keys.peek()?;
        TEXT.decode_mut(others, rest).ok()?;
        let (siv, sealed) = wire.get(1..)?.split_first_chunk::<SIV_LEN>()?;
        let sealed = sealed.try_into().ok()?;
        let label = keys.find_map(|key| {
            let content = key.opener.open(lane, *siv, sealed)?;
            Some(decode(&content))
        })?;
        (now < label.expires).then_some(label)
    }
}

/// The first byte of a label.
fn header(hint: u8) -> u8 {
    VERSION << 4 | hint
}

/// What is authenticated besides the content, so that no label speaks in another place.
fn associated(lane: Lane, header: u8) -> [u8; 19] {
    let mut data = *b"turnfleet label 2__";
    data[17] = match lane {
        Lane::A => b'a',
        Lane::B => b'b',
    };
    data[18] = header;
    data
}

fn encode(label: &Label) -> [u8; CONTENT_LEN] {
    let tag = |tag: Option<Tag>| tag.map_or(0, |tag| tag.0).to_be_bytes();
    let minutes = label.expires.seconds_since(UnixTime(EPOCH)).div_ceil(60);
    let minutes = u32::try_from(minutes).map_or(MINUTES_MAX, |minutes| minutes.min(MINUTES_MAX));
    let mut content = [0; CONTENT_LEN];
    content[..4].copy_from_slice(&label.draw.to_be_bytes());
    content[4..8].copy_from_slice(&tag(label.region));
    content[8..12].copy_from_slice(&tag(label.avoid[0]));
    content[12..16].copy_from_slice(&tag(label.avoid[1]));
    let tenant = label.tenant.map_or(0, |tenant| tenant.0);
    content[16..18].copy_from_slice(&tenant.to_be_bytes());
    content[18] = label.transport.map_or(0, |transport| transport as u8);
    content[19..].copy_from_slice(&minutes.to_be_bytes()[1..]);
    content
}

fn decode(content: &[u8; CONTENT_LEN]) -> Label {
    let number = |at: usize, len: usize| {
        let bytes = content[at..at + len].iter();
        bytes.fold(0, |number, &byte| number << 8 | u32::from(byte))
    };
    let tag = |at| Some(number(at, 4)).filter(|&tag| tag != 0).map(Tag);
    let tenant = u16::from_be_bytes([content[16], content[17]]);
    let mut transports = Transport::ALL.into_iter();
    Label {
        draw: number(0, 4),
        region: tag(4),
        avoid: [tag(8), tag(12)],
        tenant: Some(tenant).filter(|&tag| tag != 0).map(TenantTag),
        transport: transports.find(|transport| *transport as u8 == content[18]),
        expires: UnixTime(EPOCH + 60 * u64::from(number(19, 3))),
    }
}
