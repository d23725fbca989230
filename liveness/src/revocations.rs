//! Revocations on the wire: a relay's signed request for one page of a nameserver's list, and the
//! sealed page. Names of people are in neither: only hashes of them, and those encrypted.

use std::fmt;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use sha2::{Digest as _, Sha256};

use crate::key::{Key, KeyId, KeyRing};
use crate::name::{NodeId, RelayId};
use crate::replay::BOOT_MAX;
use crate::wire::{
    ASK_LEN, HEADER, KIND_ASK, KIND_PAGE, NONCE_LEN, Reader, Refused, Writer, header, judge, open,
    page_key,
};

/// Most users and tenants in one nameserver's list.
pub const REVOKED_MAX: usize = 4096;
/// Most of them on one page.
pub const PAGE_TAGS_MAX: usize = 64;
/// Most pages of a list.
pub const PAGES_MAX: u16 = (REVOKED_MAX / PAGE_TAGS_MAX) as u16;
/// The longest page on the wire, in bytes.
pub const PAGE_LEN_MAX: usize = HEADER + NONCE_LEN + FIELDS + PAGE_TAGS_MAX * TAG + SEAL;

/// The fields before the tags.
const FIELDS: usize = 96;
const TAG: usize = 16;
/// The authenticator of XChaCha20-Poly1305.
const SEAL: usize = 16;

/// Stands for a revoked user or tenant: 16 bytes of SHA-256 of its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevocationTag([u8; TAG]);

impl RevocationTag {
    /// The tag of a user id, as it stands behind the first colon of a username.
    pub fn user(id: &str) -> Self {
        Self::new(b"turnfleet revoked user 1\0", id)
    }

    /// The tag of a tenant, as it stands before the first slash of a user id.
    pub fn tenant(id: &str) -> Self {
        Self::new(b"turnfleet revoked tenant 1\0", id)
    }

    fn new(purpose: &[u8], id: &str) -> Self {
        let hash = Sha256::new().chain_update(purpose).chain_update(id);
        let hash: [u8; 32] = hash.finalize().into();
        Self(*hash.first_chunk().unwrap_or(&[0; TAG]))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; TAG] {
        &self.0
    }
}

/// Whom it stands for can be guessed by whoever sees it.
impl fmt::Debug for RevocationTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RevocationTag(..)")
    }
}

/// The generation of a list: what two nodes have alike that revoke the same, however they came to
/// it. 0 for none. `tags` are in order, each once.
pub fn generation<'a>(tags: impl IntoIterator<Item = &'a RevocationTag>) -> u64 {
    let mut tags = tags.into_iter().peekable();
    if tags.peek().is_none() {
        return 0;
    }
    let mut hash = Sha256::new();
    tags.for_each(|tag| hash.update(tag.0));
    let hash: [u8; 32] = hash.finalize().into();
    let first = hash
        .first_chunk()
        .map_or(0, |first| u64::from_be_bytes(*first));
    first.max(1)
}

/// A relay's request for one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationsAsk {
    /// Who asks.
    pub relay: RelayId,
    /// Its boot id, as in its reports; at most [`BOOT_MAX`].
    pub boot: u64,
    /// Rises with every request within a boot, from 1, whomever it is for.
    pub sequence: u64,
    /// Which page, from 0.
    pub page: u16,
}

impl RevocationsAsk {
    /// The signed datagram.
    pub fn encode(&self, key_id: KeyId, key: &Key) -> [u8; ASK_LEN] {
        let mut wire = Writer::<ASK_LEN>::new(KIND_ASK, [0; 2], key_id);
        wire.u16(self.page);
        wire.u16(0);
        wire.u64(self.boot);
        wire.u64(self.sequence);
        wire.put(&self.relay.to_wire());
        wire.seal(key)
    }

    /// Reads a datagram. Nothing in it is believed before its MAC is verified; the caller still
    /// has to see that (boot, sequence) rises.
    pub fn decode(bytes: &[u8], keys: &KeyRing) -> Result<(Self, KeyId), Refused> {
        let (header, mut fields) = open(bytes, ASK_LEN, KIND_ASK, keys)?;
        let page = fields.u16();
        let _reserved = fields.u16();
        let (boot, sequence) = (fields.u64(), fields.u64());
        if boot > BOOT_MAX {
            return Err(Refused::Malformed("boot id"));
        }
        let relay =
            RelayId::from_wire(fields.take()).map_err(|_| Refused::Malformed("relay id"))?;
        let ask = Self {
            relay,
            boot,
            sequence,
            page,
        };
        Ok((ask, header.key_id))
    }
}

/// One page of a nameserver's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationsPage {
    /// The relay spoken to.
    pub relay: RelayId,
    /// Who answers.
    pub node: NodeId,
    /// The request's boot id.
    pub boot: u64,
    /// The request's sequence.
    pub sequence: u64,
    /// The [`generation`] of the whole list.
    pub generation: u64,
    /// Which page this is, from 0.
    pub page: u16,
    /// Of how many: at most [`PAGES_MAX`].
    pub pages: u16,
    /// At most [`PAGE_TAGS_MAX`].
    pub tags: Vec<RevocationTag>,
}

impl RevocationsPage {
    /// The page of `tags` that is asked for; empty if there are not so many. `tags` are all of the
    /// list, at most [`REVOKED_MAX`].
    pub fn answer(
        ask: &RevocationsAsk,
        node: NodeId,
        generation: u64,
        tags: &[RevocationTag],
    ) -> Self {
        let page = tags.chunks(PAGE_TAGS_MAX).nth(usize::from(ask.page));
        Self {
            relay: ask.relay,
            node,
            boot: ask.boot,
            sequence: ask.sequence,
            generation,
            page: ask.page,
            pages: tags.len().div_ceil(PAGE_TAGS_MAX) as u16,
            tags: page.unwrap_or_default().to_vec(),
        }
    }

    /// The sealed datagram; `None` if there are too many tags. A `nonce` is never used twice.
    pub fn seal(&self, key_id: KeyId, key: &Key, nonce: [u8; NONCE_LEN]) -> Option<Vec<u8>> {
        if self.tags.len() > PAGE_TAGS_MAX {
            return None;
        }
        let head = header(KIND_PAGE, [0; 2], key_id);
        let mut fields = Vec::with_capacity(FIELDS + self.tags.len() * TAG);
        fields.extend(self.relay.to_wire());
        fields.extend(self.node.to_wire());
        for number in [self.boot, self.sequence, self.generation] {
            fields.extend(number.to_be_bytes());
        }
        for number in [self.page, self.pages, self.tags.len() as u16, 0] {
            fields.extend(number.to_be_bytes());
        }
        self.tags.iter().for_each(|tag| fields.extend(tag.0));
        let sealed = Payload {
            msg: &fields,
            aad: &head,
        };
        let cipher = XChaCha20Poly1305::new((&*page_key(key)).into());
        let sealed = cipher.encrypt(&XNonce::from(nonce), sealed).ok()?;
        Some([&head[..], &nonce, &sealed].concat())
    }

    /// Opens a datagram. Nothing in it is believed before its seal is verified; the caller still
    /// has to find its own request in there.
    pub fn open(bytes: &[u8], keys: &KeyRing) -> Result<(Self, KeyId), Refused> {
        let (head, key_id) = judge(bytes, KIND_PAGE)?;
        let least = HEADER + NONCE_LEN + FIELDS + SEAL;
        let length = bytes.len();
        if !(least..=PAGE_LEN_MAX).contains(&length) {
            let expected = PAGE_LEN_MAX;
            return Err(Refused::Length { length, expected });
        }
        let key = keys.get(key_id).ok_or(Refused::UnknownKey(key_id))?;
        let (nonce, sealed) = bytes[HEADER..].split_at(NONCE_LEN);
        let nonce = XNonce::try_from(nonce).map_err(|_| Refused::Mac)?;
        let sealed = Payload {
            msg: sealed,
            aad: head,
        };
        let cipher = XChaCha20Poly1305::new((&*page_key(key)).into());
        let fields = cipher.decrypt(&nonce, sealed).map_err(|_| Refused::Mac)?;
        let (fields, tags) = fields.split_at(FIELDS);
        Ok((Self::read(&mut Reader::new(fields), tags)?, key_id))
    }

    fn read(fields: &mut Reader<'_>, tags: &[u8]) -> Result<Self, Refused> {
        let relay = RelayId::from_wire(fields.take());
        let node = NodeId::from_wire(fields.take());
        let page = Self {
            relay: relay.map_err(|_| Refused::Malformed("relay id"))?,
            node: node.map_err(|_| Refused::Malformed("node id"))?,
            boot: fields.u64(),
            sequence: fields.u64(),
            generation: fields.u64(),
            page: fields.u16(),
            pages: fields.u16(),
            tags: tags
                .chunks_exact(TAG)
                .filter_map(|tag| tag.try_into().ok().map(RevocationTag))
                .collect(),
        };
        let count = usize::from(fields.u16());
        if count * TAG != tags.len() {
            return Err(Refused::Malformed("count"));
        }
        if page.pages > PAGES_MAX {
            return Err(Refused::Malformed("pages"));
        }
        Ok(page)
    }
}
