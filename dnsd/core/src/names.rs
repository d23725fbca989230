//! The names of one zone as a tree, in canonical order: which are there, what each stands for.

use std::collections::BTreeMap;
use std::ops::Bound;

use credentials::label::Lane;
use hickory_proto::rr::{Name, RecordType};

use crate::paths::Transport;
use crate::records::RrSet;

/// What a name is answered by, besides the records of the zone file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Apex,
    /// All relays of one transport.
    Transport(Transport),
    /// A lane, as a whole or of one transport; also every label below it.
    Lane(Lane, Option<Transport>),
    /// Where relays speak a transport (RFC 2782), of all or in a lane.
    Service(Transport, Option<Lane>),
    Api,
    Region(usize),
    Relay(usize),
    Nameserver(usize),
}

impl Owner {
    /// Whether its records of this type are made by the nameserver, so that none stand in a file.
    pub(crate) fn makes(self, record_type: RecordType) -> bool {
        match record_type {
            RecordType::A | RecordType::AAAA => !matches!(self, Self::Service(..)),
            // It could be nothing else besides.
            RecordType::CNAME | RecordType::NS => true,
            _ => false,
        }
    }

    /// By which lane's and which transport's relays it is answered; `None` if by none, or by one
    /// relay alone.
    pub(crate) fn steering(self) -> Option<(Option<Lane>, Option<Transport>)> {
        match self {
            Self::Apex | Self::Api | Self::Region(_) => Some((None, None)),
            Self::Transport(transport) => Some((None, Some(transport))),
            Self::Lane(lane, transport) => Some((Some(lane), transport)),
            Self::Service(transport, lane) => Some((lane, Some(transport))),
            Self::Relay(_) | Self::Nameserver(_) => None,
        }
    }

    /// Whether its records of this type name relays that are chosen for each client.
    pub(crate) fn steers(self, record_type: RecordType) -> bool {
        let service = matches!(self, Self::Service(..));
        match record_type {
            RecordType::A | RecordType::AAAA => self.steering().is_some() && !service,
            RecordType::SRV => service,
            _ => false,
        }
    }
}

/// A name that is there, if only because others lie below it (RFC 4592 section 2.2.2).
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: Name,
    pub(crate) owner: Option<Owner>,
    /// Its records from the zone file.
    pub(crate) sets: Vec<RrSet>,
    /// Its place among all nodes of its zone, in canonical order; once all are there.
    pub(crate) number: usize,
}

impl Node {
    /// The records of a type from the zone file.
    pub(crate) fn set(&self, record_type: RecordType) -> Option<&RrSet> {
        self.sets.iter().find(|set| set.record_type == record_type)
    }
}

/// Where a name of the zone lies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// There, or stood for by a wildcard; then `label` is what it stands for, or the last of several.
    Node {
        node: &'a Node,
        label: Option<&'a [u8]>,
    },
    /// In a zone that this one delegates at the node.
    Cut(&'a Node),
    /// Nothing is there.
    Missing,
}

/// The names of one zone.
///
/// A key is the name's labels below the apex, from the apex down, in lower case, each ended by a
/// zero (and so escaped that it holds none): byte order is canonical order (RFC 4034 section 6.1),
/// and the key of a name begins with those of its ancestors.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    apex: Name,
    depth: usize,
    nodes: BTreeMap<Box<[u8]>, Node>,
}

impl Names {
    /// A zone in which nothing is but its apex.
    pub(crate) fn new(apex: &Name) -> Self {
        let mut names = Self {
            depth: apex.iter().count(),
            nodes: BTreeMap::new(),
            apex: apex.clone(),
        };
        names.node(apex);
        names
    }

    pub(crate) fn apex(&self) -> &Name {
        &self.apex
    }

    /// Whether a name is that of the zone itself.
    pub(crate) fn is_apex(&self, node: &Node) -> bool {
        node.name.iter().count() == self.depth
    }

    /// All nodes, in canonical order (RFC 4034 section 6.1).
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Numbers the nodes, when all are there.
    pub(crate) fn number(&mut self) {
        for (number, node) in self.nodes.values_mut().enumerate() {
            node.number = number;
        }
    }

    /// Whether a name is delegated at a node.
    pub(crate) fn is_cut(&self, node: &Node) -> bool {
        node.set(RecordType::NS).is_some() && !self.is_apex(node)
    }

    /// The node of a name in the zone, which is made with all between it and the apex.
    pub(crate) fn node(&mut self, name: &Name) -> &mut Node {
        let depth = name.iter().count();
        for above in self.depth..depth {
            self.nodes
                .entry(self.key(&name.trim_to(above)).as_slice().into())
                .or_insert_with(|| Node::bare(name.trim_to(above)));
        }
        let key = self.key(name);
        self.nodes
            .entry(key.as_slice().into())
            .or_insert_with(|| Node::bare(name.clone()))
    }

    /// The node of a name, as if nothing were delegated and no wildcard were there.
    pub(crate) fn get(&self, name: &Name) -> Option<&Node> {
        let inside = self.apex.zone_of(name);
        inside.then(|| self.nodes.get(self.key(name).as_slice()))?
    }

    /// Where a name of the zone lies (RFC 1034 section 4.3.2, RFC 4592).
    pub(crate) fn find<'a>(&'a self, name: &'a Name) -> Place<'a> {
        let labels: Vec<&[u8]> = name.iter().collect();
        let own = labels.len().saturating_sub(self.depth);
        let mut key = Key::default();
        let mut node = self.nodes.get(key.as_slice());
        for label in labels[..own].iter().rev() {
            let above = key.length;
            key.push(label);
            let next = self.nodes.get(key.as_slice());
            if next.is_none() {
                key.length = above;
                key.push(b"*");
                return self
                    .nodes
                    .get(key.as_slice())
                    .map_or(Place::Missing, |node| Place::Node {
                        node,
                        label: Some(label),
                    });
            }
            node = next;
            if let Some(cut) = node.filter(|node| node.set(RecordType::NS).is_some()) {
                return Place::Cut(cut);
            }
        }
        node.map_or(Place::Missing, |node| Place::Node { node, label: None })
    }

    /// For a name that is not there: the node that it would stand behind in canonical order, and the
    /// one that a wildcard which stands for it would (RFC 4035 section 3.1.3.2).
    pub(crate) fn around(&self, name: &Name) -> [Option<&Node>; 2] {
        let key = self.key(name);
        let mut encloser = 0;
        let ends = key.as_slice().iter().enumerate();
        for (at, _) in ends.filter(|(_, byte)| **byte == 0) {
            if self.nodes.contains_key(&key.as_slice()[..=at]) {
                encloser = at + 1;
            }
        }
        let mut wildcard = key;
        wildcard.length = encloser;
        wildcard.push(b"*");
        [self.before(&key), self.before(&wildcard)]
    }

    /// The last node that does not come behind a key.
    pub(crate) fn before(&self, key: &Key) -> Option<&Node> {
        let upto = (Bound::Unbounded, Bound::Included(key.as_slice()));
        let mut upto = self.nodes.range::<[u8], _>(upto);
        upto.next_back().map(|(_, node)| node)
    }

    fn key(&self, name: &Name) -> Key {
        let labels: Vec<&[u8]> = name.iter().collect();
        let own = labels.len().saturating_sub(self.depth);
        let mut key = Key::default();
        for label in labels[..own].iter().rev() {
            key.push(label);
        }
        key
    }
}

impl Node {
    fn bare(name: Name) -> Self {
        Self {
            name,
            owner: None,
            sets: Vec::new(),
            number: 0,
        }
    }
}

/// The key of a name, made without an allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    bytes: [u8; KEY],
    length: usize,
}

/// Most bytes of a key: each byte of a name may be escaped.
const KEY: usize = 2 * 255;

impl Default for Key {
    /// That of the apex.
    fn default() -> Self {
        Self {
            bytes: [0; KEY],
            length: 0,
        }
    }
}

impl Key {
    /// The key of a name on the wire in a zone whose apex has so many bytes there.
    pub(crate) fn new(name: &[u8], apex: usize) -> Option<Self> {
        let own = name.get(..name.len().checked_sub(apex)?)?;
        let (mut begins, mut count, mut at) = ([0; 128], 0, 0);
        while at < own.len() {
            *begins.get_mut(count)? = at;
            count += 1;
            at += 1 + usize::from(own[at]);
        }
        let mut key = Self::default();
        for begin in begins[..count].iter().rev() {
            let (length, rest) = own[*begin..].split_first()?;
            key.push(rest.get(..usize::from(*length))?);
        }
        Some(key)
    }

    /// Adds a label. What does not fit is left out: that is no name.
    pub(crate) fn push(&mut self, label: &[u8]) {
        for byte in label {
            match byte.to_ascii_lowercase() {
                escaped @ 0..=1 => {
                    self.add(1);
                    self.add(escaped + 1);
                }
                byte => self.add(byte),
            }
        }
        self.add(0);
    }

    fn add(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = byte;
            self.length += 1;
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
