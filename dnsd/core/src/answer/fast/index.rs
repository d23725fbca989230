//! All names of all zones in one table, by their wire form, with the records that never change
//! between two configurations.

use std::ops::Range;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinEncodable as _, BinEncoder, NameEncoding};

use crate::inventory::ServedZone;
use crate::names::{Node, Owner};
use crate::records::RrSet;

/// A pointer to the question's name, which follows the header (RFC 1035 section 4.1.4).
pub(super) const OWNER: [u8; 2] = [0xc0, 12];
/// Most labels below the nearest name that is there: deeper ones are left to the slow path.
const DEPTH: usize = 8;
/// Class IN.
pub(super) const IN: [u8; 2] = [0, 1];

/// One name.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The zone's place in the list of zones.
    pub(super) zone: u16,
    /// The number of its node.
    pub(super) number: usize,
    pub(super) owner: Option<Owner>,
    /// An alias, or at or below a delegation: only the slow path knows the answers.
    pub(super) apart: bool,
    /// The wildcard right below.
    wildcard: Option<u32>,
    /// Of a wildcard: the name that it is below, and those right below that one, in canonical order.
    siblings: Box<[Sibling]>,
    sets: Box<[Set]>,
}

impl Entry {
    /// The number of the last node before a name that this wildcard stands for, which has `label`
    /// there.
    pub(super) fn before(&self, label: &[u8]) -> Option<usize> {
        let after = self.siblings.partition_point(|one| *one.label < *label);
        Some(self.siblings.get(after.checked_sub(1)?)?.last)
    }
}

/// A name right below another.
#[derive(Clone, Debug)]
struct Sibling {
    /// Its first label, in lower case.
    label: Box<[u8]>,
    /// The number of the last node that begins with it: itself, or one below.
    last: usize,
}

/// The records of one type, encoded.
#[derive(Clone, Debug)]
struct Set {
    record_type: RecordType,
    count: u16,
    bytes: Range<u32>,
}

/// What is known of a name that was asked for.
#[derive(Debug)]
pub(super) enum Found<'i, 'n> {
    Name(&'i Entry),
    /// A wildcard stands for it, and for this label right below the name above.
    Wildcard(&'i Entry, &'n [u8]),
    /// It is not there; the nearest name above is, which is this on the wire.
    Missing(&'i Entry, &'n [u8]),
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Index {
    names: HashMap<Box<[u8]>, u32, FixedState>,
    /// How long the longest of them is.
    longest: usize,
    entries: Vec<Entry>,
    records: Vec<u8>,
    /// By zone: the length of its apex on the wire.
    apexes: Vec<usize>,
}

/// A host whose addresses are the same for everybody.
pub(crate) type Addresses = Vec<RData>;

impl Index {
    /// Compiles the names of `zones`. `hosts` gives the addresses of an owner that is not steered,
    /// which live for `ttl` seconds.
    pub(crate) fn new(zones: &[ServedZone], ttl: u32, hosts: impl Fn(Owner) -> Addresses) -> Self {
        let mut index = Self::default();
        for (place, zone) in zones.iter().enumerate() {
            let apex = zone.names.apex();
            index.apexes.push(wire(apex).len());
            let Ok(place) = u16::try_from(place) else {
                break;
            };
            let within = zones
                .iter()
                .map(|zone| zone.names.apex())
                .filter(|other| *other != apex && apex.zone_of(other));
            let within: Vec<&Name> = within.collect();
            let mut cut: Option<&Name> = None;
            // In canonical order, so that what is delegated follows its delegation.
            let nodes: Vec<&Node> = zone.names.nodes().collect();
            for node in &nodes {
                if within.iter().any(|inner| inner.zone_of(&node.name)) {
                    continue;
                }
                if node.set(RecordType::NS).is_some()
                    && cut.is_none_or(|cut| !cut.zone_of(&node.name))
                {
                    cut = Some(&node.name);
                }
                let below = cut.is_some_and(|cut| cut.zone_of(&node.name));
                let apart = below || node.set(RecordType::CNAME).is_some();
                let sets = index.encode(node, ttl, &hosts);
                let above = node.name.base_name();
                let above = zone.names.get(&above).filter(|_| node.name.is_wildcard());
                let siblings = above.map_or_else(Box::default, |above| siblings(&nodes, above));
                index.add(place, node, apart, siblings, sets);
            }
        }
        index.link();
        index
    }

    fn add(
        &mut self,
        zone: u16,
        node: &Node,
        apart: bool,
        siblings: Box<[Sibling]>,
        sets: Box<[Set]>,
    ) {
        let entry = Entry {
            zone,
            number: node.number,
            owner: node.owner,
            apart,
            wildcard: None,
            siblings,
            sets,
        };
        if let Ok(place) = u32::try_from(self.entries.len()) {
            let name = wire(&node.name);
            self.longest = self.longest.max(name.len());
            self.entries.push(entry);
            self.names.insert(name.into(), place);
        }
    }

    /// Tells each name of the wildcard below it.
    fn link(&mut self) {
        let wildcards = self.names.iter().filter_map(|(name, place)| {
            let above = name.strip_prefix(b"\x01*")?;
            Some((*self.names.get(above)?, *place))
        });
        let wildcards: Vec<(u32, u32)> = wildcards.collect();
        for (above, wildcard) in wildcards {
            if let Some(entry) = self.entries.get_mut(above as usize) {
                entry.wildcard = Some(wildcard);
            }
        }
    }

    /// Encodes what a name has, whoever asks. A type of which a record cannot be encoded is left
    /// out, and with it to the slow path.
    fn encode(&mut self, node: &Node, ttl: u32, hosts: impl Fn(Owner) -> Addresses) -> Box<[Set]> {
        let mut sets = Vec::new();
        for RrSet {
            record_type,
            ttl,
            data,
            ..
        } in &node.sets
        {
            sets.extend(self.encode_set(*record_type, *ttl, data));
        }
        let addresses = node.owner.map(hosts).unwrap_or_default();
        for family in [RecordType::A, RecordType::AAAA] {
            let data = addresses.iter().filter(|data| data.record_type() == family);
            let data: Vec<RData> = data.cloned().collect();
            if !data.is_empty() {
                sets.extend(self.encode_set(family, ttl, &data));
            }
        }
        sets.into()
    }

    fn encode_set(&mut self, record_type: RecordType, ttl: u32, data: &[RData]) -> Option<Set> {
        let start = self.records.len();
        for data in data {
            self.records.extend_from_slice(&OWNER);
            if encode_data(&mut self.records, ttl, data).is_err() {
                self.records.truncate(start);
                return None;
            }
        }
        Some(Set {
            record_type,
            count: u16::try_from(data.len()).ok()?,
            bytes: u32::try_from(start).ok()?..u32::try_from(self.records.len()).ok()?,
        })
    }

    /// What is known of a name in wire form and lower case; `None`: it lies in no zone, or too deep.
    pub(super) fn find<'i, 'n>(&'i self, name: &'n [u8]) -> Option<Found<'i, 'n>> {
        if let Some(entry) = self.get(name) {
            return Some(Found::Name(entry));
        }
        let mut rest = name;
        for _ in 0..DEPTH {
            let (length, behind) = rest.split_first()?;
            let (label, above) = behind.split_at_checked(usize::from(*length))?;
            if let Some(entry) = self.get(above) {
                let wildcard = entry
                    .wildcard
                    .and_then(|place| self.entries.get(place as usize));
                return Some(match wildcard {
                    Some(wildcard) => Found::Wildcard(wildcard, label),
                    None => Found::Missing(entry, above),
                });
            }
            rest = above;
        }
        None
    }

    fn get(&self, name: &[u8]) -> Option<&Entry> {
        // Nearly all names with a label of a client are longer, and need not be hashed.
        if name.len() > self.longest {
            return None;
        }
        let place = *self.names.get(name)?;
        self.entries.get(place as usize)
    }

    /// The records of one type: how many, and how they stand in a message.
    pub(super) fn set(&self, entry: &Entry, record_type: RecordType) -> Option<(u16, &[u8])> {
        let mut sets = entry.sets.iter();
        let set = sets.find(|set| set.record_type == record_type)?;
        let bytes = set.bytes.start as usize..set.bytes.end as usize;
        Some((set.count, self.records.get(bytes)?))
    }

    /// How many bytes the apex of a name's zone has on the wire.
    pub(super) fn apex_length(&self, entry: &Entry) -> Option<usize> {
        self.apexes.get(usize::from(entry.zone)).copied()
    }
}

/// The names right below `above`, of all nodes of its zone in their order, and before them itself, as
/// if its label were empty.
fn siblings(nodes: &[&Node], above: &Node) -> Box<[Sibling]> {
    let depth = above.name.iter().count();
    let below = nodes.iter().skip(above.number);
    let below = below.take_while(|node| above.name.zone_of(&node.name));
    let mut siblings: Vec<Sibling> = Vec::new();
    for node in below {
        let label = node.name.iter().rev().nth(depth).unwrap_or_default();
        let label: Box<[u8]> = label.to_ascii_lowercase().into();
        match siblings.last_mut().filter(|last| last.label == label) {
            Some(sibling) => sibling.last = node.number,
            None => siblings.push(Sibling {
                label,
                last: node.number,
            }),
        }
    }
    siblings.into()
}

/// A name on the wire, in lower case.
fn wire(name: &Name) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.len());
    for label in name {
        // A label has at most 63 bytes.
        wire.push(label.len() as u8);
        wire.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    wire.push(0);
    wire
}

/// Appends a record without its owner name, and without compression.
pub(crate) fn encode_data(out: &mut Vec<u8>, ttl: u32, data: &RData) -> Result<(), ProtoError> {
    out.extend_from_slice(&u16::from(data.record_type()).to_be_bytes());
    out.extend_from_slice(&IN);
    out.extend_from_slice(&ttl.to_be_bytes());
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder)?;
    let length = u16::try_from(bytes.len()).map_err(|_| ProtoError::from("too long"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes);
    Ok(())
}
