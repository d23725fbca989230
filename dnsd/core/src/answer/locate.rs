//! From a name to where its records are: which zone, which node, over which aliases.

use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::inventory::ServedZone;
use crate::limits::ALIASES_MAX;
use crate::names::{Node, Place};
use crate::snapshot::Snapshot;

/// Where a question leads.
pub(super) struct Located<'a> {
    /// The aliases on the way (RFC 1034 section 3.6.2).
    pub(super) aliases: Vec<Alias<'a>>,
    /// The name at their end: the one asked for, where there are none.
    pub(super) name: &'a Name,
    pub(super) end: End<'a>,
}

/// An alias, and where it stands.
pub(super) struct Alias<'a> {
    pub(super) record: Record,
    pub(super) zone: &'a ServedZone,
    pub(super) node: &'a Node,
    /// Whether a wildcard stands for its name.
    pub(super) expanded: bool,
}

/// What is at the end.
pub(super) enum End<'a> {
    /// No zone of ours.
    Outside,
    /// In the zone, and nothing is there.
    Missing(&'a ServedZone),
    /// In a zone that this one delegates at the node.
    Cut(&'a ServedZone, &'a Node),
    /// There; `label` is what a wildcard stands for.
    Node {
        zone: &'a ServedZone,
        node: &'a Node,
        label: Option<&'a [u8]>,
    },
}

/// Finds a name, whatever its case, and follows its aliases as long as they stay in our zones.
pub(super) fn locate<'a>(
    snapshot: &'a Snapshot,
    asked: &'a Name,
    record_type: RecordType,
) -> Located<'a> {
    let mut located = Located {
        aliases: Vec::new(),
        name: asked,
        end: End::Outside,
    };
    loop {
        located.end = end(snapshot, located.name, record_type);
        let End::Node { zone, node, label } = located.end else {
            return located;
        };
        let alias = node.set(RecordType::CNAME);
        let alias = alias.filter(|_| !beside_alias(record_type));
        let target = alias.and_then(|set| Some((set, set.data.first()?)));
        let Some((set, RData::CNAME(target))) = target else {
            return located;
        };
        if located.aliases.len() == ALIASES_MAX {
            // A circle, or as good as one: the resolver has what there is.
            located.end = End::Outside;
            return located;
        }
        let data = RData::CNAME(target.clone());
        located.aliases.push(Alias {
            record: Record::from_rdata(located.name.clone(), set.ttl, data),
            zone,
            node,
            expanded: label.is_some(),
        });
        located.name = &target.0;
    }
}

/// Whether a question of this type is not led on by an alias: it is for the alias itself, or for what
/// stands beside one (RFC 4034 sections 3 and 4).
fn beside_alias(record_type: RecordType) -> bool {
    use RecordType::{ANY, CNAME, NSEC, RRSIG};
    matches!(record_type, CNAME | ANY | NSEC | RRSIG)
}

fn end<'a>(snapshot: &'a Snapshot, name: &'a Name, record_type: RecordType) -> End<'a> {
    let above = (record_type == RecordType::DS).then(|| snapshot.zone_above(name));
    let Some(zone) = above.flatten().or_else(|| snapshot.zone_of(name)) else {
        return End::Outside;
    };
    match zone.names.find(name) {
        Place::Node { node, label } => End::Node { zone, node, label },
        // The DS records of a delegation lie above it (RFC 4035 section 3.1.4.1).
        Place::Cut(node) if record_type == RecordType::DS && node.name == *name => End::Node {
            zone,
            node,
            label: None,
        },
        Place::Cut(node) => End::Cut(zone, node),
        Place::Missing => End::Missing(zone),
    }
}
