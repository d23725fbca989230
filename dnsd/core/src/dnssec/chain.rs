//! The chain of NSEC records: which names it links, and where a name that is not there would stand.

use hickory_proto::dnssec::rdata::NSEC;
use hickory_proto::rr::{Name, RecordData as _, RecordType};
use hickory_proto::serialize::binary::BinEncodable as _;

use super::pen::{Pen, Rrsig};
use crate::inventory::ServedZone;
use crate::names::{Node, Owner};

/// A name with records of its own and the one that follows it in canonical order.
#[derive(Debug)]
pub(super) struct Link {
    /// The number of its node.
    pub(super) node: usize,
    pub(super) owner: Name,
    /// The owner's labels below the apex, on the wire.
    pub(super) below: Box<[u8]>,
    pub(super) next: Name,
    /// Whether labels below a lane would stand behind it. Then it is never to be kept: a resolver
    /// that does would answer another label by itself, with the records of one it has seen
    /// (RFC 8198 section 5.3).
    pub(super) steered: bool,
}

/// All links of a zone, in canonical order; the last leads to the apex.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) links: Box<[Link]>,
    /// Per node: the link that begins at it or before it, and whether it lies in a zone that this one
    /// delegates.
    before: Box<[(usize, bool)]>,
}

/// An NSEC record (RFC 4034 section 4) with its signature.
#[derive(Debug)]
pub(super) struct Nsec {
    /// The type that it leaves out although some clients are answered with it.
    pub(super) lacks: Option<RecordType>,
    pub(super) data: NSEC,
    /// The same as it stands in messages.
    pub(super) wire: Box<[u8]>,
    pub(super) rrsig: Option<Rrsig>,
}

/// The names whose wildcards stand for labels.
pub(super) fn lanes(zone: &ServedZone) -> Vec<Name> {
    let lanes = zone.names.nodes().filter(|node| {
        let lane = matches!(node.owner, Some(Owner::Lane(..)));
        lane && node.name.is_wildcard()
    });
    lanes.map(|node| node.name.base_name()).collect()
}

impl Chain {
    pub(super) fn new(zone: &ServedZone) -> Self {
        let names = &zone.names;
        let lanes = lanes(zone);
        let mut links: Vec<Link> = Vec::new();
        let mut before = Vec::new();
        let mut cut: Option<&Name> = None;
        for (number, node) in names.nodes().enumerate() {
            let hidden = cut.is_some_and(|cut| cut.zone_of(&node.name));
            let empty = node.owner.is_none() && node.sets.is_empty() && !names.is_apex(node);
            if !hidden {
                cut = names.is_cut(node).then_some(&node.name);
            }
            if !hidden && !empty {
                // Compared and signed as it stands (RFC 6840 section 5.1).
                let owner = node.name.to_lowercase();
                if let Some(last) = links.last_mut() {
                    last.next = owner.clone();
                }
                links.push(Link {
                    node: number,
                    below: below(&owner, names.apex()),
                    owner,
                    next: names.apex().to_lowercase(),
                    steered: lanes.iter().any(|lane| lane.zone_of(&node.name)),
                });
            }
            // The apex comes first and is a link.
            before.push((links.len().saturating_sub(1), hidden));
        }
        Self {
            links: links.into(),
            before: before.into(),
        }
    }

    /// The link that begins at a node or before it, and its place.
    pub(super) fn at(&self, node: &Node) -> Option<(usize, &Link)> {
        self.at_number(node.number)
    }

    /// The same by the number of the node.
    pub(super) fn at_number(&self, number: usize) -> Option<(usize, &Link)> {
        let (place, _) = *self.before.get(number)?;
        Some((place, self.links.get(place)?))
    }

    /// Whether a node lies in a zone that this one delegates.
    pub(super) fn is_hidden(&self, node: &Node) -> bool {
        self.before
            .get(node.number)
            .is_none_or(|(_, hidden)| *hidden)
    }
}

/// The labels of a name below an apex, on the wire.
fn below(name: &Name, apex: &Name) -> Box<[u8]> {
    let own = name.iter().count().saturating_sub(apex.iter().count());
    let labels = name.iter().take(own);
    // A label has at most 63 bytes.
    labels
        .flat_map(|label| std::iter::once(label.len() as u8).chain(label.iter().copied()))
        .collect()
}

impl Nsec {
    /// The record of a name that has these types, signed; `ttl` is that of negative answers
    /// (RFC 9077 section 3).
    pub(super) fn new(
        pen: &mut Pen<'_>,
        link: &Link,
        types: &[RecordType],
        lacks: Option<RecordType>,
        ttl: u32,
    ) -> Self {
        let types = types.iter().copied().filter(|kind| Some(*kind) != lacks);
        let data = NSEC::new_cover_self(link.next.clone(), types);
        let records = [data.clone().into_rdata()];
        Self {
            lacks,
            rrsig: pen.sign_set(&link.owner, RecordType::NSEC, ttl, &records),
            // An NSEC record has no name that could be compressed (RFC 3597 section 4).
            wire: data.to_bytes().unwrap_or_default().into(),
            data,
        }
    }
}
