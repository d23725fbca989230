//! The pen: puts RRsets into the form in which they are signed, and remembers what was signed.

use std::collections::BTreeMap;
use std::sync::Arc;

use credentials::UnixTime;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinEncodable as _, BinEncoder, NameEncoding};

use super::fixed::Kept;
use super::keys::{Key, ZoneKeys};
use super::steered::Place;
use super::window::{Window, window};
use crate::limits::SIGNATURES_MAX;
use crate::spread::hash;
use crate::steer::Pause;

/// The number of the algorithm, ECDSA over P-256 with SHA-256 (RFC 6605 section 6).
const ALGORITHM: u8 = 13;

/// The data of an RRSIG record as it goes over the wire (RFC 4034 section 3.1).
pub(crate) type Rrsig = Arc<[u8]>;

/// What was signed before; it outlives snapshots, because few signatures change with one.
#[derive(Debug, Default)]
pub struct Cache {
    /// By everything that is signed but the records' data, and the key; then by that data.
    subjects: BTreeMap<Box<[u8]>, Known>,
    count: usize,
    turn: u64,
    /// The turn of the last sweep.
    swept: u64,
    made: u64,
    failed: u64,
    /// What everybody gets alike, of each zone.
    pub(super) fixed: Kept,
    /// By subject, the signatures of steered answers once more, by their relays: true of one set of
    /// zones and relays, and found without encoding a record. All of them are among the others.
    relays: BTreeMap<Box<[u8]>, ByRelays>,
    /// Called after each small part of the work.
    pause: Option<Pause>,
}

/// The signatures of one subject, by the relays of the answer.
pub(super) type ByRelays = HashMap<Place, Rrsig, FixedState>;

/// The signatures of one subject, by the data of its records.
type Known = BTreeMap<Box<[u8]>, Remembered>;

#[derive(Debug)]
struct Remembered {
    rrsig: Rrsig,
    /// The turn in which it was last of use.
    used: u64,
}

impl Cache {
    /// One with which signing all answers, which takes milliseconds, pauses after each small part.
    pub fn pausing(pause: Pause) -> Self {
        Self {
            pause: Some(pause),
            ..Self::default()
        }
    }

    pub(super) fn pause(&self) {
        if let Some(pause) = self.pause {
            pause();
        }
    }

    /// Signatures that are remembered; at most [`SIGNATURES_MAX`].
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing was signed yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Signatures made so far.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Signatures that could not be made.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Begins another compilation.
    pub(super) fn turn(&mut self) {
        self.turn += 1;
    }

    /// Begins one from other zones, relays or keys, or in another hour.
    pub(super) fn begin_anew(&mut self) {
        self.relays.clear();
    }

    /// Forgets what was of no use since the sweep before. Comes after a compilation that had use for
    /// all that is in force.
    pub(super) fn sweep(&mut self) {
        for known in self.subjects.values_mut() {
            known.retain(|_, remembered| remembered.used >= self.swept);
        }
        self.subjects.retain(|_, known| !known.is_empty());
        self.count = self.subjects.values().map(BTreeMap::len).sum();
        self.swept = self.turn;
    }
}

/// Signs the RRsets of one zone.
pub(super) struct Pen<'a> {
    pub(super) zone: &'a Name,
    pub(super) keys: &'a ZoneKeys,
    pub(super) now: UnixTime,
    pub(super) cache: &'a mut Cache,
}

/// All that is signed of an RRset but the data of its records.
pub(super) struct Subject<'a> {
    key: &'a Key,
    /// The data of the RRSIG record without the signature.
    head: Vec<u8>,
    /// What comes before the data of each record.
    front: Vec<u8>,
    name: Box<[u8]>,
}

impl<'a> Pen<'a> {
    /// What is signed of one name and type; `ttl` is the longest that its records ever have.
    pub(super) fn subject(
        &self,
        key: &'a Key,
        owner: &Name,
        record_type: RecordType,
        ttl: u32,
    ) -> Subject<'a> {
        let owner_wire = wire(owner);
        let kind = u16::from(record_type).to_be_bytes();
        let Window {
            inception,
            expiration,
        } = window(self.now, hash(&[&owner_wire[..], &kind].concat()));
        let mut head = Vec::with_capacity(64);
        head.extend(kind);
        head.extend([ALGORITHM, owner.num_labels()]);
        for number in [ttl, expiration, inception] {
            head.extend(number.to_be_bytes());
        }
        head.extend(key.tag().to_be_bytes());
        head.extend(wire(self.zone));
        let mut front = owner_wire;
        front.extend(kind);
        front.extend(u16::from(DNSClass::IN).to_be_bytes());
        front.extend(ttl.to_be_bytes());
        let name = [&key.public, &head[..], &front].concat().into();
        Subject {
            key,
            head,
            front,
            name,
        }
    }

    /// The signature over an RRset whose records have these data, in any order (RFC 4034
    /// section 3.1.8.1, RFC 4035 section 5.3.2).
    pub(super) fn sign(&mut self, subject: &Subject<'_>, mut data: Vec<Vec<u8>>) -> Option<Rrsig> {
        // Canonical order (RFC 4034 section 6.3); what is there twice counts once.
        data.sort_unstable();
        data.dedup();
        let mut all = Vec::with_capacity(data.iter().map(|one| one.len() + 2).sum());
        for one in &data {
            all.extend(u16::try_from(one.len()).ok()?.to_be_bytes());
            all.extend(one);
        }
        let turn = self.cache.turn;
        let known = self.cache.subjects.get_mut(&subject.name);
        if let Some(remembered) = known.and_then(|known| known.get_mut(&all[..])) {
            remembered.used = turn;
            return Some(Arc::clone(&remembered.rrsig));
        }
        let mut signed = subject.head.clone();
        for one in &data {
            signed.extend(&subject.front);
            signed.extend(u16::try_from(one.len()).ok()?.to_be_bytes());
            signed.extend(one);
        }
        let Some(signature) = subject.key.signer.sign(&signed) else {
            self.cache.failed += 1;
            return None;
        };
        self.cache.made += 1;
        self.cache.pause();
        let rrsig: Rrsig = [&subject.head[..], &signature].concat().into();
        if self.cache.count < SIGNATURES_MAX {
            let remembered = Remembered {
                rrsig: Arc::clone(&rrsig),
                used: turn,
            };
            let known = self.cache.subjects.entry(subject.name.clone()).or_default();
            known.insert(all.into(), remembered);
            self.cache.count += 1;
        }
        Some(rrsig)
    }

    /// What is known of a subject by relays, to be given back with what was added.
    pub(super) fn take_relays(&mut self, subject: &Subject<'_>) -> ByRelays {
        let known = self.cache.relays.get_mut(&subject.name);
        known.map(std::mem::take).unwrap_or_default()
    }

    /// Takes back what [`Self::take_relays`] gave, unless more is signed than can be remembered.
    pub(super) fn keep_relays(&mut self, subject: Subject<'_>, known: ByRelays) {
        if self.cache.count < SIGNATURES_MAX {
            self.cache.relays.insert(subject.name, known);
        }
    }

    /// The signature over records that everybody gets alike, by the key that signs the zone.
    pub(super) fn sign_set(
        &mut self,
        owner: &Name,
        record_type: RecordType,
        ttl: u32,
        data: &[RData],
    ) -> Option<Rrsig> {
        let key = self.keys.active(self.now)?;
        self.sign_with(key, owner, record_type, ttl, data)
    }

    /// The same by any key.
    pub(super) fn sign_with(
        &mut self,
        key: &'a Key,
        owner: &Name,
        record_type: RecordType,
        ttl: u32,
        data: &[RData],
    ) -> Option<Rrsig> {
        let subject = self.subject(key, owner, record_type, ttl);
        let data: Option<_> = data.iter().map(canonical).collect();
        self.sign(&subject, data?)
    }
}

/// A name in canonical form (RFC 4034 section 6.2).
pub(super) fn wire(name: &Name) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.len() + 1);
    for label in name {
        // A label has at most 63 bytes.
        wire.push(label.len() as u8);
        wire.extend(label.to_ascii_lowercase());
    }
    wire.push(0);
    wire
}

/// The data of a record in canonical form (RFC 4034 section 6.2).
pub(super) fn canonical(data: &RData) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_canonical_form(true);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).ok()?;
    Some(bytes)
}
