//! `[[zones]]` and the zone files: what is answered besides the steered names.

use dnsd_core::inventory::OtherZone;
use dnsd_core::limits::OTHER_ZONES_MAX;
use dnsd_core::records::{RecordProblem, Records};
use hickory_proto::rr::Name;
use settings::{NamedFile, Spanned, Table};

use super::zone::{contact, zone_name};
use crate::limits::ZONE_FILE_BYTES;

/// Where a zone's other records stand, and what they are.
#[derive(Debug)]
pub(super) struct ZoneFile {
    file: Spanned<NamedFile>,
    pub(super) records: Records,
}

/// One entry of `[[zones]]`.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) name: Spanned<Name>,
    contact: Option<Name>,
    steered: bool,
    pub(super) file: Option<ZoneFile>,
}

impl ZoneFile {
    /// Says what is wrong with the record that begins on a line of the file.
    pub(super) fn error(&self, root: &Table<'_>, line: u32, message: &str) {
        error(root, &self.file, line, message);
    }
}

fn error(table: &Table<'_>, file: &Spanned<NamedFile>, line: u32, message: &str) {
    let what = format!("{}:{line}: {message}", file.value.path.display());
    table.error(file.span, what, "mend or remove the record");
}

/// The file that `records` names, if it does.
pub(super) fn records(table: &mut Table<'_>, zone: Option<&Name>) -> Option<ZoneFile> {
    let file = table.optional_file("records", ZONE_FILE_BYTES)?;
    match Records::parse(file.value.text(), zone?) {
        Ok(records) => Some(ZoneFile { file, records }),
        Err(problems) => {
            for RecordProblem { line, message } in problems {
                error(table, &file, line, &message);
            }
            None
        }
    }
}

/// All zones besides the first, and whether every one could be read.
pub(super) fn zones(root: &mut Table<'_>) -> (Vec<Zone>, bool) {
    let span = root.key_span("zones");
    let entries = root.tables("zones");
    let count = entries.len();
    if count > OTHER_ZONES_MAX {
        let what = format!("{count} zones besides the first");
        root.error(span, what, format!("keep at most {OTHER_ZONES_MAX}"));
    }
    let zones: Vec<_> = entries.into_iter().filter_map(zone).collect();
    let every = zones.len() == count;
    (zones, every)
}

fn zone(mut table: Table<'_>) -> Option<Zone> {
    let expected = "a domain name";
    let name = table.required_parsed("name", expected, "\"turn.example.net\"", zone_name);
    let contact = table.optional_parsed(
        "contact",
        "the mailbox of those responsible, as a domain name",
        "\"hostmaster.example.net\"",
        contact,
    );
    let steered = table.with_default("steered", true);
    let file = records(&mut table, name.as_ref().map(|name| &name.value));
    Some(Zone {
        name: name?,
        contact: contact.map(|contact| contact.value),
        steered: steered.value,
        file,
    })
}

impl Zone {
    /// The zone for the core; without a contact of its own it has the first zone's.
    pub(super) fn other(&self, contact: &Name) -> OtherZone {
        let records = self.file.as_ref().map(|file| file.records.clone());
        OtherZone {
            name: self.name.value.clone(),
            contact: self.contact.clone().unwrap_or_else(|| contact.clone()),
            steered: self.steered,
            records: records.unwrap_or_default(),
        }
    }
}
