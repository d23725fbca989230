//! `[geoip]`: a database of places, and whether the regions can do with what it says.

use std::path::PathBuf;

use dnsd_core::inventory::Inventory;
use settings::{Span, Spanned, Table};

use super::relays::Region;
use crate::geoip::{self, Facts, Geoip};

/// What becomes of files that are large and read only to be served from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// They are left alone.
    Outline,
    /// They are read, and something wrong with them is wrong with the configuration.
    Whole,
    /// They are read, and done without if something is wrong with them: for a nameserver that
    /// starts, because one that does not start helps nobody.
    Start,
}

/// The database, if there is to be one.
pub(super) fn geoip(root: &mut Table<'_>) -> Option<Spanned<PathBuf>> {
    let mut table = root.table("geoip")?;
    table.required_path("database")
}

/// An inventory that knows what the database says, and what that is.
pub(super) fn located(
    root: &Table<'_>,
    database: Option<Spanned<PathBuf>>,
    reading: Reading,
    regions: &[Region],
    inventory: Inventory,
) -> Option<(Inventory, Option<Geoip>)> {
    let Some(database) = database.filter(|_| reading != Reading::Outline) else {
        return Some((inventory, None));
    };
    let path = database.value;
    let why = match geoip::compile(&path, inventory.regions()) {
        Ok((geography, facts)) => {
            let lacks = lacks(regions, &facts);
            let Some((_, word)) = lacks.first() else {
                let inventory = inventory.with_geography(geography);
                let found = Ok(facts);
                return Some((inventory, Some(Geoip { path, found })));
            };
            if reading == Reading::Whole {
                for (span, word) in lacks {
                    let what = format!("the database, a {}, says no {word}", facts.kind);
                    let help = "name another database, or regions by what it says";
                    root.error(span, what, help);
                }
                return None;
            }
            format!("says no {word}")
        }
        Err(error) if reading == Reading::Whole => {
            let what = format!("`geoip.database`: {} {error}", path.display());
            let help = "name a MaxMind DB file with countries, such as GeoLite2-City.mmdb";
            root.error(database.span, what, help);
            return None;
        }
        Err(error) => error.to_string(),
    };
    let found = Err(why);
    Some((inventory, Some(Geoip { path, found })))
}

/// The regions' rules that are about something that the database does not say.
fn lacks(regions: &[Region], facts: &Facts) -> Vec<(Span, &'static str)> {
    let mut lacks = Vec::new();
    for region in regions {
        let country = region.countries.first().map(|code| code.span);
        let continent = region.continents.first().map(|code| code.span);
        let coded = country.or(continent).is_some();
        let placed = region.coordinates.is_some() && !coded && !region.is_default();
        let place = placed.then_some(region.id.span);
        let rules = [
            (country, facts.countries, "countries"),
            (continent, facts.continents, "continents"),
            (place, facts.coordinates, "coordinates"),
        ];
        let unmet = rules.into_iter().filter(|(_, says, _)| !says);
        lacks.extend(unmet.filter_map(|(span, _, word)| Some((span?, word))));
    }
    lacks
}
