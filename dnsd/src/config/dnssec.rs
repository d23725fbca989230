//! `[dnssec]`: the keys of the zones that are signed.

use std::sync::Arc;

use dnsd_core::dnssec::Keys;
use dnsd_core::inventory::Inventory;
use hickory_proto::rr::Name;
use settings::{Spanned, Table};

use super::geoip::Reading;
use super::zone::zone_name;
use super::zones::Zone;
use crate::clock;
use crate::dnssec::{Dnssec, store};

/// What the section says; the keys are read when the zones are known.
#[derive(Debug)]
pub(super) struct Section {
    directory: Spanned<std::path::PathBuf>,
    unsigned: Vec<Spanned<Name>>,
}

/// The section, and whether it is there.
pub(super) fn section(root: &mut Table<'_>) -> (Option<Section>, bool) {
    let Some(mut table) = root.table("dnssec") else {
        return (None, root.has("dnssec"));
    };
    let directory = table.required_path("keys");
    let expected = "names of zones that are served";
    let unsigned = table.list_parsed("unsigned", expected, "[\"turn.example.net\"]", zone_name);
    let section = directory.map(|directory| Section {
        directory,
        unsigned,
    });
    (section, true)
}

/// The keys of all zones but those that are not to be signed.
pub(super) fn keys(
    root: &Table<'_>,
    section: Option<Section>,
    reading: Reading,
    inventory: &Inventory,
    others: &[Zone],
) -> Option<Dnssec> {
    let Some(Section {
        directory,
        unsigned,
    }) = section
    else {
        return Some(Dnssec::default());
    };
    let others = others.iter().map(|zone| &zone.name.value);
    let zones: Vec<&Name> = std::iter::once(&inventory.zone().name)
        .chain(others)
        .collect();
    let mut right = true;
    for name in &unsigned {
        if !zones.contains(&&name.value) {
            let what = format!("no zone {} is served", name.value);
            root.error(name.span, what, "name a zone that is, or leave it out");
            right = false;
        }
    }
    let mut keys = Keys::default();
    let signed = zones.into_iter();
    let signed = signed.filter(|zone| !unsigned.iter().any(|name| name.value == **zone));
    let signed: Vec<Name> = signed.cloned().collect();
    for zone in signed.iter().filter(|_| reading != Reading::Outline) {
        match store::load(&directory.value, zone, clock::unix()) {
            Ok(own) => keys.insert(zone, own),
            Err(error) => {
                let what = format!("zone {zone} cannot be signed: {error}");
                let help = format!("make a key with: dnsd key generate {zone}");
                root.error(directory.span, what, help);
                right = false;
            }
        }
    }
    right.then(|| Dnssec {
        directory: Some(directory.value),
        zones: signed,
        keys: Arc::new(keys),
    })
}
