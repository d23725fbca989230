//! The keys of zones: which one signs, and which are shown, at a moment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use credentials::UnixTime;
use hickory_proto::dnssec::rdata::{CDNSKEY, CDS, DNSKEY, DNSSECRData};
use hickory_proto::dnssec::{Algorithm, DigestType, PublicKeyBuf};
use hickory_proto::rr::{LowerName, Name, RData};

use crate::limits::ZONE_KEYS_MAX;

/// The private half of a key, wherever it is kept.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The public key as a DNSKEY record has it: both coordinates (RFC 6605 section 4).
    fn public_key(&self) -> [u8; 64];

    /// The signature of `data` as an RRSIG record has it (RFC 6605 section 4); `None` if the system
    /// has no randomness to make one.
    fn sign(&self, data: &[u8]) -> Option<[u8; 64]>;
}

/// From when on a key has which part, by the clock (RFC 7583 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// It is among the zone's DNSKEY records.
    pub publish: UnixTime,
    /// It signs the zone, unless a newer one does.
    pub activate: UnixTime,
    /// It signs the zone no more.
    pub inactive: Option<UnixTime>,
    /// It is no more among the DNSKEY records.
    pub delete: Option<UnixTime>,
    /// The parent zone is asked for its DS record (CDS and CDNSKEY, RFC 7344).
    pub sync_publish: Option<UnixTime>,
    /// The parent is asked for it no more.
    pub sync_delete: Option<UnixTime>,
}

impl Timing {
    /// That of a key that has every part from `now` on, and keeps it.
    pub fn at_once(now: UnixTime) -> Self {
        Self {
            publish: now,
            activate: now,
            inactive: None,
            delete: None,
            sync_publish: Some(now),
            sync_delete: None,
        }
    }

    fn events(&self) -> impl Iterator<Item = UnixTime> {
        let sometimes = [
            self.inactive,
            self.delete,
            self.sync_publish,
            self.sync_delete,
        ];
        let always = [self.publish, self.activate];
        always.into_iter().chain(sometimes.into_iter().flatten())
    }

    /// Whether the key is among the DNSKEY records.
    pub fn is_published(&self, now: UnixTime) -> bool {
        spans(self.publish, self.delete, now)
    }

    /// Whether it may sign the zone.
    pub fn is_active(&self, now: UnixTime) -> bool {
        self.is_published(now) && spans(self.activate, self.inactive, now)
    }

    /// Whether the parent is asked for its DS record.
    pub fn is_announced(&self, now: UnixTime) -> bool {
        let from = self.sync_publish;
        self.is_published(now) && from.is_some_and(|from| spans(from, self.sync_delete, now))
    }
}

fn spans(from: UnixTime, to: Option<UnixTime>, now: UnixTime) -> bool {
    from <= now && to.is_none_or(|to| now < to)
}

/// A key of a zone. It has both roles, that of a key-signing and of a zone-signing key: these are kept
/// apart where the one lies in a safe, and here both would lie in the same directory.
#[derive(Clone, Debug)]
pub struct Key {
    pub(super) signer: Arc<dyn Signer>,
    pub(super) public: [u8; 64],
    tag: u16,
    /// From when on it has which part.
    pub timing: Timing,
}

impl Key {
    /// A key with its timing.
    pub fn new(signer: Arc<dyn Signer>, timing: Timing) -> Self {
        let public = signer.public_key();
        let mut key = Self {
            public,
            signer,
            tag: 0,
            timing,
        };
        // Only what is longer than a record can be has no tag.
        key.tag = key.dnskey().calculate_key_tag().unwrap_or_default();
        key
    }

    /// Its key tag (RFC 4034 appendix B).
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// Its DNSKEY record data: flags 257.
    pub fn dnskey(&self) -> DNSKEY {
        let public = PublicKeyBuf::new(self.public.to_vec(), Algorithm::ECDSAP256SHA256);
        DNSKEY::new(true, true, false, public)
    }

    /// The SHA-256 digest that the DS record for it holds (RFC 4509).
    pub fn digest(&self, zone: &Name) -> Vec<u8> {
        let digest = self.dnskey().to_digest(zone, DigestType::SHA256);
        digest.map_or_else(|_| Vec::new(), |digest| digest.as_ref().to_vec())
    }

    pub(super) fn cds(&self, zone: &Name) -> RData {
        let algorithm = Some(Algorithm::ECDSAP256SHA256);
        let cds = CDS::new(self.tag, algorithm, DigestType::SHA256, self.digest(zone));
        RData::DNSSEC(DNSSECRData::CDS(cds))
    }

    pub(super) fn cdnskey(&self) -> RData {
        let algorithm = Some(Algorithm::ECDSAP256SHA256);
        let cdnskey = CDNSKEY::with_flags(self.dnskey().flags(), algorithm, self.public.to_vec());
        RData::DNSSEC(DNSSECRData::CDNSKEY(cdnskey))
    }
}

/// Why keys cannot be those of one zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// There is none.
    #[error("it has no key")]
    None,
    /// None of them signs at this time.
    #[error("none of its keys is active")]
    NoneActive,
    /// Two cannot be told apart by their tags.
    #[error("two of its keys have the tag {0}")]
    SameTag(u16),
    /// There are too many.
    #[error("it has more than {ZONE_KEYS_MAX} keys")]
    TooMany,
}

/// All keys of one zone; at least one.
#[derive(Clone, Debug)]
pub struct ZoneKeys(Vec<Key>);

impl ZoneKeys {
    /// Keys that can be told apart, of which one signs at `now`.
    pub fn new(mut keys: Vec<Key>, now: UnixTime) -> Result<Self, KeyProblem> {
        keys.sort_by_key(Key::tag);
        if let Some(pair) = keys.windows(2).find(|pair| pair[0].tag == pair[1].tag) {
            return Err(KeyProblem::SameTag(pair[0].tag));
        }
        if keys.len() > ZONE_KEYS_MAX {
            return Err(KeyProblem::TooMany);
        }
        if keys.is_empty() {
            return Err(KeyProblem::None);
        }
        if !keys.iter().any(|key| key.timing.is_active(now)) {
            return Err(KeyProblem::NoneActive);
        }
        Ok(Self(keys))
    }

    /// All keys, whatever their part, by rising tag.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// The one that signs the zone: the newest of those that are active. Where none is, because all
    /// have run out, the best there is: signatures by it fail nobody whom no signature would not.
    pub fn active(&self, now: UnixTime) -> Option<&Key> {
        let rank = |key: &&Key| {
            let timing = &key.timing;
            (
                timing.is_published(now),
                timing.is_active(now),
                timing.activate,
            )
        };
        self.0.iter().max_by_key(rank)
    }

    /// Those among the DNSKEY records. All of them sign these, so that it makes no difference which
    /// one the parent's DS record names.
    pub fn published(&self, now: UnixTime) -> impl Iterator<Item = &Key> {
        let active = self.active(now).map(Key::tag);
        let shown = move |key: &&Key| key.timing.is_published(now) || Some(key.tag) == active;
        self.0.iter().filter(shown)
    }

    /// Those whose DS records the parent is asked for.
    pub fn announced(&self, now: UnixTime) -> impl Iterator<Item = &Key> {
        self.0
            .iter()
            .filter(move |key| key.timing.is_announced(now))
    }

    fn next_change(&self, now: UnixTime) -> Option<UnixTime> {
        let events = self.0.iter().flat_map(|key| key.timing.events());
        events.filter(|at| *at > now).min()
    }
}

/// The keys of all zones that are signed.
#[derive(Clone, Debug, Default)]
pub struct Keys(BTreeMap<LowerName, ZoneKeys>);

impl Keys {
    /// Has a zone signed by its keys.
    pub fn insert(&mut self, zone: &Name, keys: ZoneKeys) {
        self.0.insert(LowerName::from(zone), keys);
    }

    /// A zone's keys; `None`: it is not signed.
    pub fn of(&self, zone: &Name) -> Option<&ZoneKeys> {
        self.0.get(&LowerName::from(zone))
    }

    /// All zones that are signed, with their keys.
    pub fn zones(&self) -> impl Iterator<Item = (&LowerName, &ZoneKeys)> {
        self.0.iter()
    }

    /// When some key's part changes next.
    pub(super) fn next_change(&self, now: UnixTime) -> Option<UnixTime> {
        self.0
            .values()
            .filter_map(|keys| keys.next_change(now))
            .min()
    }
}
