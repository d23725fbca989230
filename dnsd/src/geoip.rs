//! A database of places (`MaxMind`'s file format), compiled once when it is loaded: no query reads it.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use dnsd_core::inventory::{BadGeography, Coordinates, Geography, Region, Rules};
use ipnet::IpNet;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::limits::{GEOIP_BYTES, GEOIP_NETWORKS};

/// What is known of the database that the configuration names.
#[derive(Debug, Clone)]
pub struct Geoip {
    /// Where it is.
    pub path: PathBuf,
    /// What it is, or why it is not used.
    pub found: Result<Facts, String>,
}

/// What a database is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What it calls itself.
    pub kind: String,
    /// When it was made, in seconds since 1970.
    pub built: u64,
    /// Networks in it, those included of which it knows nothing.
    pub networks: u64,
    /// Whether it says countries.
    pub countries: bool,
    /// Whether it says continents.
    pub continents: bool,
    /// Whether it says coordinates.
    pub coordinates: bool,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is too large.
    #[error("is larger than {GEOIP_BYTES} bytes")]
    Size,
    /// It is damaged, or something else.
    #[error("is no sound MaxMind DB file: {0}")]
    Content(#[from] MaxMindDbError),
    /// It has too many networks.
    #[error("has more than {GEOIP_NETWORKS} networks")]
    Networks,
    /// Its networks do not fit.
    #[error("cannot be used: {0}")]
    Ranges(#[from] BadGeography),
}

impl Geoip {
    /// For people and programs; `unix` is now, in seconds since 1970.
    pub fn view(&self, unix: u64) -> Value {
        let path = self.path.display().to_string();
        match &self.found {
            Ok(facts) => json!({
                "path": path,
                "type": facts.kind,
                "built": facts.built,
                "age_s": unix.saturating_sub(facts.built),
                "networks": facts.networks,
            }),
            Err(error) => json!({ "path": path, "error": error }),
        }
    }
}

/// Reads a whole database and says which region its networks belong to.
pub fn compile(path: &Path, regions: &[Region]) -> Result<(Geography, Facts), Error> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(GEOIP_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > GEOIP_BYTES {
        return Err(Error::Size);
    }
    let reader = Reader::from_source(bytes)?;
    let mut facts = Facts {
        kind: reader.metadata().database_type.clone(),
        built: reader.metadata().build_epoch,
        ..Facts::default()
    };
    let rules = Rules::new(regions);
    let mut geography = Geography::default();
    // Many networks share a record.
    let mut known: HashMap<usize, Option<usize>> = HashMap::new();
    // With those of which nothing is known, so that none goes uncounted.
    let options = WithinOptions::default().include_networks_without_data();
    for found in reader.networks(options)? {
        let found = found?;
        facts.networks += 1;
        if facts.networks > GEOIP_NETWORKS {
            return Err(Error::Networks);
        }
        let Some(offset) = found.offset() else {
            continue;
        };
        let region = if let Some(region) = known.get(&offset) {
            *region
        } else {
            let record: Option<Record<'_>> = found.decode()?;
            let region = record.and_then(|record| record.region(&rules, &mut facts));
            known.insert(offset, region);
            region
        };
        if region.is_some() {
            let network = found.network()?;
            let network = IpNet::new(network.ip(), network.prefix());
            let network = network.map_err(|_| BadGeography::Disorder)?;
            geography.add(network, region)?;
        }
    }
    Ok((geography, facts))
}

/// A record, as `MaxMind` nests it, or flat, as ip-location-db has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record<'a> {
    #[serde(borrow)]
    country: Named<'a>,
    #[serde(borrow)]
    registered_country: Named<'a>,
    #[serde(borrow)]
    continent: Named<'a>,
    location: Location,
    country_code: Option<&'a str>,
    continent_code: Option<&'a str>,
    latitude: Option<f64>,
    longitude: Option<f64>,
}

/// Something with a code, or in another shape, which says nothing.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Named<'a> {
    Nested {
        #[serde(alias = "iso_code", default)]
        code: Option<&'a str>,
    },
    Other(IgnoredAny),
}

impl Default for Named<'_> {
    fn default() -> Self {
        Self::Other(IgnoredAny)
    }
}

impl<'a> Named<'a> {
    fn code(&self) -> Option<&'a str> {
        match self {
            Self::Nested { code } => *code,
            Self::Other(IgnoredAny) => None,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Location {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl Record<'_> {
    /// The region that takes those clients; notes what the record says.
    fn region(&self, rules: &Rules, facts: &mut Facts) -> Option<usize> {
        let country = self.country.code().or(self.country_code);
        // Where nobody knows where somebody is, it is known where the network is registered.
        let country = country.or_else(|| self.registered_country.code());
        let country = country.and_then(|code| code.parse().ok());
        let continent = self.continent.code().or(self.continent_code);
        let continent = continent.and_then(|code| code.parse().ok());
        let latitude = self.location.latitude.or(self.latitude);
        let longitude = self.location.longitude.or(self.longitude);
        let place = latitude.zip(longitude);
        let place = place.and_then(|(lat, lon)| Coordinates::new(lat, lon).ok());
        facts.countries |= country.is_some();
        facts.continents |= continent.is_some();
        facts.coordinates |= place.is_some();
        rules.region(country, continent, place)
    }
}
